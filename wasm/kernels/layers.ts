/** The small layers: sums, norms, rotation, SwiGLU, heads, rows. `T` is float32 or float64. */
import { axpy, dotWide, exp4, exp64, expOf } from './math';

/** out = a + b. */
@inline
function add<T>(a: usize, b: usize, out: usize, n: i32): void {
  const size = sizeof<T>();
  const end = <usize>n * size;
  const whole = end & ~15;
  let at: usize = 0;
  for (; at < whole; at += 16) v128.store(out + at, v128.add<T>(v128.load(a + at), v128.load(b + at)));
  for (; at < end; at += size) store<T>(out + at, load<T>(a + at) + load<T>(b + at));
}
export function add32(a: usize, b: usize, out: usize, n: i32): void { add<f32>(a, b, out, n); }
export function add64(a: usize, b: usize, out: usize, n: i32): void { add<f64>(a, b, out, n); }

/** r = 1 / sqrt(mean(x²) + epsilon) of a row. */
@inline
function inverseRoot<T>(x: usize, D: i32, epsilon: f64): f64 {
  return 1 / sqrt<f64>(dotWide<T>(x, x, D) / <f64>D + epsilon);
}

/** y = x r w. Returns the first row whose x² overflows or is NaN, or -1. */
@inline
function rmsNorm<T>(x: usize, weight: usize, out: usize, rows: i32, D: i32, epsilon: f64): i32 {
  const size = sizeof<T>();
  const row = <usize>D * size;
  let bad = -1;
  for (let r = 0; r < rows; r++) {
    const by = inverseRoot<T>(x, D, epsilon);
    if (bad < 0 && by === 0) bad = r;
    const wide = v128.splat<T>(<T>by);
    let at: usize = 0;
    for (; at < (row & ~15); at += 16) {
      v128.store(out + at, v128.mul<T>(v128.mul<T>(v128.load(x + at), wide), v128.load(weight + at)));
    }
    for (; at < row; at += size) store<T>(out + at, load<T>(x + at) * <T>by * load<T>(weight + at));
    x += row;
    out += row;
  }
  return bad;
}
export function rmsNorm32(x: usize, w: usize, out: usize, rows: i32, D: i32, e: f64): i32 { return rmsNorm<f32>(x, w, out, rows, D, e); }
export function rmsNorm64(x: usize, w: usize, out: usize, rows: i32, D: i32, e: f64): i32 { return rmsNorm<f64>(x, w, out, rows, D, e); }

/** With u = dy w: dx = r u - x r³ mean(u x), dw = sum over rows of dy x r. */
@inline
function rmsNormBackward<T>(dOut: usize, x: usize, weight: usize, dx: usize, dWeight: usize, rows: i32, D: i32, epsilon: f64): i32 {
  const size = sizeof<T>();
  const row = <usize>D * size;
  let bad = -1;
  for (let n = 0; n < rows; n++) {
    const r = inverseRoot<T>(x, D, epsilon);
    if (bad < 0 && r === 0) bad = n;
    let mean: f64 = 0;
    for (let at: usize = 0; at < row; at += size) {
      mean += <f64>load<T>(dOut + at) * <f64>load<T>(weight + at) * <f64>load<T>(x + at) / <f64>D;
    }
    for (let at: usize = 0; at < row; at += size) {
      const dy = <f64>load<T>(dOut + at);
      const value = <f64>load<T>(x + at);
      store<T>(dx + at, <T>(r * dy * <f64>load<T>(weight + at) - value * r * r * r * mean));
      store<T>(dWeight + at, <T>(<f64>load<T>(dWeight + at) + dy * value * r));
    }
    dOut += row;
    x += row;
    dx += row;
  }
  return bad;
}
export function rmsNormBackward32(dOut: usize, x: usize, w: usize, dx: usize, dw: usize, rows: i32, D: i32, e: f64): i32 { return rmsNormBackward<f32>(dOut, x, w, dx, dw, rows, D, e); }
export function rmsNormBackward64(dOut: usize, x: usize, w: usize, dx: usize, dw: usize, rows: i32, D: i32, e: f64): i32 { return rmsNormBackward<f64>(dOut, x, w, dx, dw, rows, D, e); }

/** x [B,heads,N,d], cos and sin [B,N,d/2]; sign is -1 for the inverse. */
@inline
function rope<T>(x: usize, cos: usize, sin: usize, out: usize, B: i32, heads: i32, N: i32, d: i32, sign: T): void {
  const size = sizeof<T>();
  const half = <usize>(d / 2) * size;
  const turned = v128.splat<T>(sign);
  for (let b = 0; b < B; b++) for (let h = 0; h < heads; h++) for (let n = 0; n < N; n++) {
    const c0 = cos + <usize>(b * N + n) * half;
    const s0 = sin + <usize>(b * N + n) * half;
    let at: usize = 0;
    for (; at < (half & ~15); at += 16) {
      const c = v128.load(c0 + at);
      const s = v128.mul<T>(turned, v128.load(s0 + at));
      const first = v128.load(x + at);
      const second = v128.load(x + half + at);
      v128.store(out + at, v128.sub<T>(v128.mul<T>(first, c), v128.mul<T>(second, s)));
      v128.store(out + half + at, v128.add<T>(v128.mul<T>(second, c), v128.mul<T>(first, s)));
    }
    for (; at < half; at += size) {
      const c = load<T>(c0 + at);
      const s = sign * load<T>(s0 + at);
      const first = load<T>(x + at);
      const second = load<T>(x + half + at);
      store<T>(out + at, first * c - second * s);
      store<T>(out + half + at, second * c + first * s);
    }
    x += 2 * half;
    out += 2 * half;
  }
}
export function rope32(x: usize, c: usize, s: usize, out: usize, B: i32, heads: i32, N: i32, d: i32, sign: f64): void { rope<f32>(x, c, s, out, B, heads, N, d, <f32>sign); }
export function rope64(x: usize, c: usize, s: usize, out: usize, B: i32, heads: i32, N: i32, d: i32, sign: f64): void { rope<f64>(x, c, s, out, B, heads, N, d, sign); }

@inline
function sigmoid4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1), f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}
@inline
function sigmoid<T>(x: T): T {
  return <T>1 / (<T>1 + expOf<T>(-x));
}

/** y = gate sigmoid(gate) up. */
export function swiglu32(gate: usize, up: usize, out: usize, n: i32): void {
  let k = 0;
  for (; k + 4 <= n; k += 4) {
    const at = <usize>k << 2;
    const g = v128.load(gate + at);
    v128.store(out + at, f32x4.mul(f32x4.mul(g, sigmoid4(g)), v128.load(up + at)));
  }
  for (; k < n; k++) {
    const at = <usize>k << 2;
    const g = load<f32>(gate + at);
    store<f32>(out + at, g * sigmoid<f32>(g) * load<f32>(up + at));
  }
}
export function swiglu64(gate: usize, up: usize, out: usize, n: i32): void {
  for (let at: usize = 0; at < <usize>n << 3; at += 8) {
    const g = load<f64>(gate + at);
    store<f64>(out + at, g * (1 / (1 + exp64(-g))) * load<f64>(up + at));
  }
}

/** With s = sigmoid(gate): dGate = dy up s (1 + gate (1 - s)), dUp = dy gate s. */
@inline
function swigluBackward<T>(dOut: usize, gate: usize, up: usize, dGate: usize, dUp: usize, n: i32): void {
  const size = sizeof<T>();
  const end = <usize>n * size;
  let at: usize = 0;
  if (size == 4) {
    const one = f32x4.splat(1);
    for (; at < (end & ~15); at += 16) {
      const x = v128.load(gate + at);
      const dy = v128.load(dOut + at);
      const s = sigmoid4(x);
      const slope = f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s)));
      v128.store(dGate + at, f32x4.mul(f32x4.mul(f32x4.mul(dy, v128.load(up + at)), s), slope));
      v128.store(dUp + at, f32x4.mul(f32x4.mul(dy, x), s));
    }
  }
  for (; at < end; at += size) {
    const x = load<T>(gate + at);
    const dy = load<T>(dOut + at);
    const s = sigmoid<T>(x);
    store<T>(dGate + at, dy * load<T>(up + at) * s * (<T>1 + x * (<T>1 - s)));
    store<T>(dUp + at, dy * x * s);
  }
}
export function swigluBackward32(dOut: usize, g: usize, u: usize, dg: usize, du: usize, n: i32): void { swigluBackward<f32>(dOut, g, u, dg, du, n); }
export function swigluBackward64(dOut: usize, g: usize, u: usize, dg: usize, du: usize, n: i32): void { swigluBackward<f64>(dOut, g, u, dg, du, n); }

/** Swaps the middle axes: x [B,M,N,width bytes] -> [B,N,M,width bytes]. */
export function swapAxes(x: usize, out: usize, B: i32, M: i32, N: i32, width: usize): void {
  for (let b = 0; b < B; b++) for (let m = 0; m < M; m++) for (let n = 0; n < N; n++) {
    memory.copy(out + <usize>((b * N + n) * M + m) * width, x, width);
    x += width;
  }
}

/** Copies rows of `width` bytes, whose numbers are at `rows`. */
export function pickRows(x: usize, rows: usize, out: usize, count: i32, width: usize): void {
  for (let n = 0; n < count; n++) memory.copy(out + <usize>n * width, x + <usize>load<i32>(rows + (<usize>n << 2)) * width, width);
}

/** into[rows_n] += x_n over rows of D numbers. */
export function addRows32(x: usize, rows: usize, into: usize, count: i32, D: i32): void {
  for (let n = 0; n < count; n++) axpy<f32>(1, x + (<usize>n * D << 2), into + (<usize>load<i32>(rows + (<usize>n << 2)) * D << 2), D);
}
export function addRows64(x: usize, rows: usize, into: usize, count: i32, D: i32): void {
  for (let n = 0; n < count; n++) axpy<f64>(1, x + (<usize>n * D << 3), into + (<usize>load<i32>(rows + (<usize>n << 2)) * D << 3), D);
}

/** The index of the largest number of each row, ties to the lowest; -1 for a row that is not finite. */
@inline
function argmax<T>(x: usize, out: usize, rows: i32, V: i32): void {
  for (let n = 0; n < rows; n++) {
    let best = 0;
    let most = -<T>Infinity;
    for (let v = 0; v < V; v++) {
      const value = load<T>(x);
      x += sizeof<T>();
      if (value - value !== <T>0) best = -1;
      if (best >= 0 && value > most) { most = value; best = v; }
    }
    store<i32>(out + (<usize>n << 2), best);
  }
}
export function argmax32(x: usize, out: usize, rows: i32, V: i32): void { argmax<f32>(x, out, rows, V); }
export function argmax64(x: usize, out: usize, rows: i32, V: i32): void { argmax<f64>(x, out, rows, V); }
