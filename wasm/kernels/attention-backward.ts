/** §4 and §5 for one KV head: the gradients of its queries, keys, values and types. */
import { axpy, dot, exp4, expOf } from './math';
import { logSumExp } from './training';

@inline
function at32(list: usize, n: i32): i32 {
  return load<i32>(list + (<usize>n << 2));
}

/** Adds to dq, dk and dv. Heads of q, out, dOut and dq are `head` bytes apart, those of lse `lseHead`. */
@inline
function backward<T>(
  q: usize, out: usize, dOut: usize, dq: usize, head: usize, lse: usize, lseHead: usize,
  k: usize, v: usize, dk: usize, dv: usize, last: usize, N: i32, share: i32, d: i32, scale: T, live: usize,
): void {
  const size = sizeof<T>();
  const ld = <usize>d * size;
  let count = 0;
  for (let i = 0; i < N; i++) {
    let kept = 0;
    store<i32>(live + (<usize>(count++) << 2), i);
    for (let m = 0; m < count; m++) {
      const j = at32(live, m);
      if (at32(last, j) >= i) store<i32>(live + (<usize>(kept++) << 2), j);
    }
    count = kept;
    for (let h = 0; h < share; h++) {
      const row = <usize>h * head + <usize>i * ld;
      const D = dot<T>(dOut + row, out + row, d);
      const sum = load<T>(lse + <usize>h * lseHead + <usize>i * size);
      for (let m = 0; m < count; m++) {
        const key = <usize>at32(live, m) * ld;
        const A = expOf<T>(scale * dot<T>(q + row, k + key, d) - sum);
        const dS = scale * A * (dot<T>(dOut + row, v + key, d) - D);
        axpy<T>(dS, k + key, dq + row, d);
        axpy<T>(dS, q + row, dk + key, d);
        axpy<T>(A, dOut + row, dv + key, d);
      }
    }
  }
}
export function backward32(
  q: usize, out: usize, dOut: usize, dq: usize, head: usize, lse: usize, lseHead: usize,
  k: usize, v: usize, dk: usize, dv: usize, last: usize, N: i32, share: i32, d: i32, scale: f64, live: usize,
): void {
  backward<f32>(q, out, dOut, dq, head, lse, lseHead, k, v, dk, dv, last, N, share, d, <f32>scale, live);
}
export function backward64(
  q: usize, out: usize, dOut: usize, dq: usize, head: usize, lse: usize, lseHead: usize,
  k: usize, v: usize, dk: usize, dv: usize, last: usize, N: i32, share: i32, d: i32, scale: f64, live: usize,
): void {
  backward<f64>(q, out, dOut, dq, head, lse, lseHead, k, v, dk, dv, last, N, share, d, scale, live);
}

/**
 * Adds to rows of dM [rows,keys] what one query head gives, from its products S and P [rows,keys]. Row r is query
 * first + r. With `bounded`, rows are weighed by their own log-sum-exp over all j <= i within the reach.
 */
@inline
function maskRows<T>(
  S: usize, P: usize, dOut: usize, out: usize, lse: usize, dM: usize,
  rows: i32, keys: i32, first: i32, d: i32, scale: T, bounded: i32, reach: i32,
): void {
  const size = sizeof<T>();
  const ld = <usize>d * size;
  for (let r = 0; r < rows; r++) {
    const i = first + r;
    const D = dot<T>(dOut + <usize>r * ld, out + <usize>r * ld, d);
    const oldest = max(0, i - reach);
    const start = (<usize>r * keys + oldest) * size;
    const n = i + 1 - oldest;
    const sum = bounded ? logSumExp<T>(S + start, n, scale) : load<T>(lse + <usize>r * size);
    const end = start + <usize>n * size;
    let at = start;
    if (size == 4) {
      for (; at + 16 <= end; at += 16) {
        const weight = exp4(f32x4.sub(f32x4.mul(f32x4.splat(<f32>scale), v128.load(S + at)), f32x4.splat(<f32>sum)));
        v128.store(dM + at, f32x4.add(v128.load(dM + at), f32x4.mul(weight, f32x4.sub(v128.load(P + at), f32x4.splat(<f32>D)))));
      }
    }
    for (; at < end; at += size) {
      store<T>(dM + at, load<T>(dM + at) + expOf<T>(scale * load<T>(S + at) - sum) * (load<T>(P + at) - D));
    }
  }
}
export function maskRows32(S: usize, P: usize, dOut: usize, out: usize, lse: usize, dM: usize, rows: i32, keys: i32, first: i32, d: i32, scale: f64, bounded: i32, reach: i32): void {
  maskRows<f32>(S, P, dOut, out, lse, dM, rows, keys, first, d, <f32>scale, bounded, reach);
}
export function maskRows64(S: usize, P: usize, dOut: usize, out: usize, lse: usize, dM: usize, rows: i32, keys: i32, first: i32, d: i32, scale: f64, bounded: i32, reach: i32): void {
  maskRows<f64>(S, P, dOut, out, lse, dM, rows, keys, first, d, scale, bounded, reach);
}

/**
 * Adds what rows of dM contribute to dTypes [Nc,3], as reference/mask.ts explains. `plan` holds closing, previousGlobal,
 * types and the end of the window of each of the `chunks` chunks, one after the other.
 */
@inline
function typeRows<T>(plan: usize, chunks: i32, chunk: i32, dM: usize, rows: i32, keys: i32, first: i32, dTypes: usize): void {
  const size = sizeof<T>();
  const closing = plan;
  const previous = closing + (<usize>chunks << 2);
  const types = previous + (<usize>chunks << 2);
  const window = types + (<usize>chunks << 2);
  for (let r = 0; r < rows; r++) {
    const row = dM + <usize>r * keys * size;
    const i = first + r;
    const own = i / chunk;
    const p = at32(previous, own);
    const oldest = p < 0 ? 0 : at32(previous, p) + 1;
    let openLocal: T = 0;
    for (let c = 0; c <= own; c++) {
      let sum: T = 0;
      for (let j = c * chunk, end = min((c + 1) * chunk, i + 1); j < end; j++) sum += load<T>(row + <usize>j * size);
      const to = dTypes + <usize>c * 3 * size;
      store<T>(to, load<T>(to) + sum);
      if (i <= at32(closing, c)) store<T>(to + size, load<T>(to + size) + sum);
      if (i <= at32(window, c)) store<T>(to + 2 * size, load<T>(to + 2 * size) + sum);
      if (c < oldest) continue;
      if (c >= p && c < own) store<T>(to, load<T>(to) - openLocal);
      const type = at32(types, c);
      if (type == 0) openLocal = 0;
      else if (type == 1) openLocal += sum;
    }
  }
}
export function typeRows32(plan: usize, chunks: i32, chunk: i32, dM: usize, rows: i32, keys: i32, first: i32, dTypes: usize): void {
  typeRows<f32>(plan, chunks, chunk, dM, rows, keys, first, dTypes);
}
export function typeRows64(plan: usize, chunks: i32, chunk: i32, dM: usize, rows: i32, keys: i32, first: i32, dTypes: usize): void {
  typeRows<f64>(plan, chunks, chunk, dM, rows, keys, first, dTypes);
}
