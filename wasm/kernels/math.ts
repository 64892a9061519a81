/**
 * exp and log made of + - * / only, as in src/core/elementary.ts; in float64 they have the same bits. Dot products, in
 * float64 with the reference's two sums, which are the two lanes of a vector.
 */

const LN2_HIGH: f64 = 0.6931471803691238;
const LN2_LOW: f64 = 1.9082149292705877e-10;
const PER_LN2: f64 = 1 / 0.6931471805599453;
const SQRT2: f64 = 1.4142135623730951;
const SQRT1_2: f64 = 0.7071067811865476;

/** 2^k for k from -1074 to 1023, exactly. */
@inline
function power2(k: i32): f64 {
  return k >= -1022 ? reinterpret<f64>(<i64>(k + 1023) << 52) : reinterpret<f64>(<i64>1 << (k + 1074));
}

/** e^x in float64. */
export function exp64(x: f64): f64 {
  if (x < -745.2) return 0;
  if (x > 709.7827128933841) return Infinity;
  if (x !== x) return NaN;
  const k = floor(x * PER_LN2 + 0.5);
  const high = x - k * LN2_HIGH;
  const low = k * LN2_LOW;
  const r = high - low;
  const lost = (high - r) - low;
  const s = r * r;
  const even = 0.5 + s * (<f64>1 / 24 + s * (<f64>1 / 720 + s * (<f64>1 / 40320 + s * (<f64>1 / 3628800 + s * (<f64>1 / 479001600 + s * (<f64>1 / 87178291200))))));
  const odd = <f64>1 / 6 + s * (<f64>1 / 120 + s * (<f64>1 / 5040 + s * (<f64>1 / 362880 + s * (<f64>1 / 39916800 + s * (<f64>1 / 6227020800)))));
  const y = 1 + (r + (lost + s * (even + r * odd)));
  const n = <i32>k;
  if (n > 1023) return y * 2 * power2(1023);
  return n < -1074 ? y / 2 * power2(-1074) : y * power2(n);
}

/** The natural logarithm in float64. */
export function log64(x: f64): f64 {
  if (!(x > 0 && x < Infinity)) return x === 0 ? -Infinity : x === Infinity ? x : NaN;
  let m = x;
  let k: f64 = 0;
  while (m >= SQRT2) { m /= 2; k += 1; }
  while (m < SQRT1_2) { m *= 2; k -= 1; }
  const f = (m - 1) / (m + 1);
  let p: f64 = 0;
  for (let n: f64 = 23; n >= 3; n -= 2) p = f * f * (1 / n + p);
  return k * LN2_HIGH + (2 * f + (2 * f * p + k * LN2_LOW));
}

/** e^x of four float32 numbers, within 2 ulp: 0 where the result would be below the normal numbers. */
@inline
export function exp4(given: v128): v128 {
  const x = f32x4.min(f32x4.max(given, f32x4.splat(-87.5)), f32x4.splat(88.8));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504)));
  let r = f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375)));
  r = f32x4.sub(r, f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.3981999507e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(8.3334519073e-3));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(4.1665795894e-2));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(1.6666665459e-1));
  p = f32x4.add(f32x4.mul(p, r), f32x4.splat(5.0000001201e-1));
  p = f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), f32x4.add(r, f32x4.splat(1)));
  const y = f32x4.mul(p, i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23));
  return v128.andnot(y, f32x4.lt(given, f32x4.splat(-87.33)));
}

/** The same of one number, with the same bits as in a vector of four; in float64, exp64. */
@inline
export function expOf<T>(x: T): T {
  if (sizeof<T>() == 8) return <T>exp64(<f64>x);
  return <T>f32x4.extract_lane(exp4(f32x4.splat(<f32>x)), 0);
}

@inline
export function sum4(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

/** a . b over n numbers. */
export function dot<T>(a: usize, b: usize, n: i32): T {
  if (sizeof<T>() == 8) {
    let s = f64x2.splat(0);
    let k = 0;
    for (; k + 2 <= n; k += 2) {
      const at = <usize>k << 3;
      s = f64x2.add(s, f64x2.mul(v128.load(a + at), v128.load(b + at)));
    }
    let even = f64x2.extract_lane(s, 0);
    if (k < n) even += load<f64>(a + (<usize>k << 3)) * load<f64>(b + (<usize>k << 3));
    return <T>(even + f64x2.extract_lane(s, 1));
  }
  let s = f32x4.splat(0);
  let t = s;
  let k = 0;
  for (; k + 8 <= n; k += 8) {
    const at = <usize>k << 2;
    s = f32x4.add(s, f32x4.mul(v128.load(a + at), v128.load(b + at)));
    t = f32x4.add(t, f32x4.mul(v128.load(a + at, 16), v128.load(b + at, 16)));
  }
  let sum = sum4(f32x4.add(s, t));
  for (; k < n; k++) sum += load<f32>(a + (<usize>k << 2)) * load<f32>(b + (<usize>k << 2));
  return <T>sum;
}

/** The same with sums in float64, in which squares of float32 numbers cannot overflow. */
export function dotWide<T>(a: usize, b: usize, n: i32): f64 {
  if (sizeof<T>() == 8) return <f64>dot<T>(a, b, n);
  let s = f64x2.splat(0);
  let k = 0;
  for (; k + 2 <= n; k += 2) {
    const at = <usize>k << 2;
    s = f64x2.add(s, f64x2.mul(f64x2.promote_low_f32x4(v128.load64_zero(a + at)), f64x2.promote_low_f32x4(v128.load64_zero(b + at))));
  }
  let even = f64x2.extract_lane(s, 0);
  if (k < n) even += <f64>load<f32>(a + (<usize>k << 2)) * <f64>load<f32>(b + (<usize>k << 2));
  return even + f64x2.extract_lane(s, 1);
}

/** y += alpha x over n numbers. */
export function axpy<T>(alpha: T, x: usize, y: usize, n: i32): void {
  const size = sizeof<T>();
  const end = <usize>n * size;
  const whole = end & ~15;
  const by = v128.splat<T>(alpha);
  let at: usize = 0;
  for (; at < whole; at += 16) {
    v128.store(y + at, v128.add<T>(v128.load(y + at), v128.mul<T>(by, v128.load(x + at))));
  }
  for (; at < end; at += size) store<T>(y + at, load<T>(y + at) + alpha * load<T>(x + at));
}
