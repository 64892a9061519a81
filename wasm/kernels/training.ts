/** Cross-entropy, the norm of gradients, and AdamW. `T` is float32 or float64. */
import { dotWide, exp4, expOf, log64, sum4 } from './math';

/** log sum exp(scale z) of n numbers. */
@inline
export function logSumExp<T>(z: usize, n: i32, scale: T): T {
  const size = sizeof<T>();
  const end = z + <usize>n * size;
  let most = -<T>Infinity;
  for (let p = z; p < end; p += size) most = max<T>(most, scale * load<T>(p));
  let sum: T = 0;
  let p = z;
  if (size == 4) {
    let s = f32x4.splat(0);
    const by = f32x4.splat(<f32>scale);
    const top = f32x4.splat(<f32>most);
    for (; p + 16 <= end; p += 16) s = f32x4.add(s, exp4(f32x4.sub(f32x4.mul(by, v128.load(p)), top)));
    sum = <T>sum4(s);
  }
  for (; p < end; p += size) sum += expOf<T>(scale * load<T>(p) - most);
  return most + <T>log64(<f64>sum);
}

/** loss_n = logSumExp(z_n) - z_n,target, 0 where the target is -1. */
@inline
function crossEntropy<T>(logits: usize, targets: usize, loss: usize, rows: i32, V: i32): void {
  for (let n = 0; n < rows; n++) {
    const z = logits + <usize>n * V * sizeof<T>();
    const target = load<i32>(targets + (<usize>n << 2));
    store<T>(loss + <usize>n * sizeof<T>(), target < 0 ? <T>0 : logSumExp<T>(z, V, 1) - load<T>(z + <usize>target * sizeof<T>()));
  }
}
export function crossEntropy32(z: usize, t: usize, loss: usize, rows: i32, V: i32): void { crossEntropy<f32>(z, t, loss, rows, V); }
export function crossEntropy64(z: usize, t: usize, loss: usize, rows: i32, V: i32): void { crossEntropy<f64>(z, t, loss, rows, V); }

/** dz = weight (softmax(z) - [target]), 0 where the target is -1. */
@inline
function crossEntropyBackward<T>(logits: usize, targets: usize, dLogits: usize, rows: i32, V: i32, weight: T): void {
  const size = sizeof<T>();
  for (let n = 0; n < rows; n++) {
    const z = logits + <usize>n * V * size;
    const to = dLogits + <usize>n * V * size;
    const row = <usize>V * size;
    const target = load<i32>(targets + (<usize>n << 2));
    if (target < 0) {
      memory.fill(to, 0, row);
      continue;
    }
    const lse = logSumExp<T>(z, V, 1);
    let at: usize = 0;
    if (size == 4) {
      for (; at < (row & ~15); at += 16) {
        v128.store(to + at, f32x4.mul(f32x4.splat(<f32>weight), exp4(f32x4.sub(v128.load(z + at), f32x4.splat(<f32>lse)))));
      }
    }
    for (; at < row; at += size) store<T>(to + at, weight * expOf<T>(load<T>(z + at) - lse));
    const hit = to + <usize>target * size;
    store<T>(hit, load<T>(hit) - weight);
  }
}
export function crossEntropyBackward32(z: usize, t: usize, dz: usize, rows: i32, V: i32, w: f64): void { crossEntropyBackward<f32>(z, t, dz, rows, V, <f32>w); }
export function crossEntropyBackward64(z: usize, t: usize, dz: usize, rows: i32, V: i32, w: f64): void { crossEntropyBackward<f64>(z, t, dz, rows, V, w); }

export function squares32(x: usize, n: i32): f64 { return dotWide<f32>(x, x, n); }
export function squares64(x: usize, n: i32): f64 { return dotWide<f64>(x, x, n); }

/** One step in place, with g = factor * gradient and c1, c2 the corrections of m and v. */
@inline
function adamW<T>(
  theta: usize, gradient: usize, m: usize, v: usize, n: i32, factor: T, rate: T, beta1: T, rest1: T, beta2: T, rest2: T,
  epsilon: T, decay: T, c1: T, c2: T,
): void {
  const size = sizeof<T>();
  const end = <usize>n * size;
  let at: usize = 0;
  for (; at < (end & ~15); at += 16) {
    const g = v128.mul<T>(v128.splat<T>(factor), v128.load(gradient + at));
    const mean = v128.add<T>(v128.mul<T>(v128.splat<T>(beta1), v128.load(m + at)), v128.mul<T>(v128.splat<T>(rest1), g));
    const square = v128.add<T>(v128.mul<T>(v128.splat<T>(beta2), v128.load(v + at)), v128.mul<T>(v128.mul<T>(v128.splat<T>(rest2), g), g));
    v128.store(m + at, mean);
    v128.store(v + at, square);
    const root = v128.add<T>(v128.sqrt<T>(v128.div<T>(square, v128.splat<T>(c2))), v128.splat<T>(epsilon));
    const now = v128.load(theta + at);
    const update = v128.add<T>(v128.div<T>(v128.div<T>(mean, v128.splat<T>(c1)), root), v128.mul<T>(v128.splat<T>(decay), now));
    v128.store(theta + at, v128.sub<T>(now, v128.mul<T>(v128.splat<T>(rate), update)));
  }
  for (; at < end; at += size) {
    const g = factor * load<T>(gradient + at);
    const mean = beta1 * load<T>(m + at) + rest1 * g;
    const square = beta2 * load<T>(v + at) + rest2 * g * g;
    store<T>(m + at, mean);
    store<T>(v + at, square);
    const now = load<T>(theta + at);
    store<T>(theta + at, now - rate * (mean / c1 / (sqrt<T>(square / c2) + epsilon) + decay * now));
  }
}
export function adamW32(theta: usize, g: usize, m: usize, v: usize, n: i32, factor: f64, rate: f64, b1: f64, r1: f64, b2: f64, r2: f64, e: f64, decay: f64, c1: f64, c2: f64): void {
  adamW<f32>(theta, g, m, v, n, <f32>factor, <f32>rate, <f32>b1, <f32>r1, <f32>b2, <f32>r2, <f32>e, <f32>decay, <f32>c1, <f32>c2);
}
export function adamW64(theta: usize, g: usize, m: usize, v: usize, n: i32, factor: f64, rate: f64, b1: f64, r1: f64, b2: f64, r2: f64, e: f64, decay: f64, c1: f64, c2: f64): void {
  adamW<f64>(theta, g, m, v, n, factor, rate, b1, r1, b2, r2, e, decay, c1, c2);
}
