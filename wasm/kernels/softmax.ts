/** §3: one row of scores becomes exponentials, in float32. */
import { exp4, sum4 } from './math';

/** The largest of m scores, which are filled up to a multiple of four by -Infinity. */
@inline
export function largest(s: usize, m: i32): f32 {
  for (let j = m; j < ((m + 3) & ~3); j++) store<f32>(s + (<usize>j << 2), -Infinity);
  let top = f32x4.splat(-Infinity);
  for (let p = s; p < s + (<usize>m << 2); p += 16) top = f32x4.max(top, v128.load(p));
  return max<f32>(max<f32>(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)), max<f32>(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)));
}
/**
 * Replaces m scores by exp(score - top), and returns their sum. Two vectors at a time share the constants of exp4, which
 * take longer to make than to use.
 */
@inline
export function exponentials(s: usize, m: i32, top: f32): f32 {
  let z = f32x4.splat(0);
  const most = f32x4.splat(top);
  const end = s + (<usize>m << 2);
  for (; s + 16 < end; s += 32) {
    const e = exp4(f32x4.sub(v128.load(s), most));
    const f = exp4(f32x4.sub(v128.load(s, 16), most));
    v128.store(s, e);
    v128.store(s, f, 16);
    z = f32x4.add(f32x4.add(z, e), f);
  }
  if (s < end) {
    const e = exp4(f32x4.sub(v128.load(s), most));
    v128.store(s, e);
    z = f32x4.add(z, e);
  }
  return sum4(z);
}
/** Writes n numbers times `by`. */
@inline
export function scaled(from: usize, to: usize, n: i32, by: f32): void {
  const f = f32x4.splat(by);
  let k = 0;
  for (; k + 4 <= n; k += 4) v128.store(to + (<usize>k << 2), f32x4.mul(v128.load(from + (<usize>k << 2)), f));
  for (; k < n; k++) store<f32>(to + (<usize>k << 2), load<f32>(from + (<usize>k << 2)) * by);
}
