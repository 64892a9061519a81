/** §4 and §5 for one KV head: the gradients of its queries, keys, values and types. */
import { axpy, dot, exp4, expOf } from './math';
import { gemm32, gemm64x64 } from './matmul';
import { pack32x8, pack64x4 } from './panels';
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

/** How many rows of dM are in memory at once. */
const QUERY_BLOCK: i32 = 32;

/** Bytes of a matrix of N rows of d numbers in panels, and of the `room` of typeHead. */
@inline
function panelSize<T>(N: i32, d: i32): usize {
  return ((<usize>N * sizeof<T>() + 31) & ~31) * <usize>d;
}
export function typeRoom32(N: i32, d: i32): usize { return 2 * panelSize<f32>(N, d) + 3 * <usize>(QUERY_BLOCK * N) * 4 + 64; }
export function typeRoom64(N: i32, d: i32): usize { return 2 * panelSize<f64>(N, d) + 3 * <usize>(QUERY_BLOCK * N) * 8 + 64; }

/**
 * (dg, dl, dw) of one KV head, added to dTypes [Nc,3], from blocks of rows of dM. Since hidden pairs count too, S and P are
 * plain matrix products. Heads of q, out and dOut are `head` bytes apart, those of lse `lseHead`.
 */
@inline
function typeHead<T>(
  q: usize, out: usize, dOut: usize, head: usize, lse: usize, lseHead: usize, k: usize, v: usize, plan: usize,
  dTypes: usize, N: i32, share: i32, d: i32, chunks: i32, chunk: i32, scale: T, bounded: i32, reach: i32, room: usize,
): void {
  const size = sizeof<T>();
  const ld = <usize>d * size;
  const panels = panelSize<T>(N, d);
  const block = <usize>(QUERY_BLOCK * N) * size;
  const values = room + panels;
  const S = values + panels;
  const P = S + block;
  const dM = P + block;
  if (size == 4) { pack32x8(k, N, d, room); pack32x8(v, N, d, values); }
  else { pack64x4(k, N, d, room); pack64x4(v, N, d, values); }
  for (let first = 0; first < N; first += QUERY_BLOCK) {
    const rows = min(QUERY_BLOCK, N - first);
    const seen = first + rows;
    memory.fill(dM, 0, <usize>(rows * seen) * size);
    for (let h = 0; h < share; h++) {
      const at = <usize>h * head + <usize>first * ld;
      if (size == 4) {
        gemm32(q + at, room, S, rows, seen, d, seen);
        gemm32(dOut + at, values, P, rows, seen, d, seen);
      } else {
        gemm64x64(q + at, room, S, rows, seen, d, seen);
        gemm64x64(dOut + at, values, P, rows, seen, d, seen);
      }
      maskRows<T>(S, P, dOut + at, out + at, lse + <usize>h * lseHead + <usize>first * size, dM, rows, seen, first, d, scale, bounded, reach);
    }
    typeRows<T>(plan, chunks, chunk, dM, rows, seen, first, dTypes);
  }
}
export function typeHead32(
  q: usize, out: usize, dOut: usize, head: usize, lse: usize, lseHead: usize, k: usize, v: usize, plan: usize,
  dTypes: usize, N: i32, share: i32, d: i32, chunks: i32, chunk: i32, scale: f64, bounded: i32, reach: i32, room: usize,
): void {
  typeHead<f32>(q, out, dOut, head, lse, lseHead, k, v, plan, dTypes, N, share, d, chunks, chunk, <f32>scale, bounded, reach, room);
}
export function typeHead64(
  q: usize, out: usize, dOut: usize, head: usize, lse: usize, lseHead: usize, k: usize, v: usize, plan: usize,
  dTypes: usize, N: i32, share: i32, d: i32, chunks: i32, chunk: i32, scale: f64, bounded: i32, reach: i32, room: usize,
): void {
  typeHead<f64>(q, out, dOut, head, lse, lseHead, k, v, plan, dTypes, N, share, d, chunks, chunk, scale, bounded, reach, room);
}
