/**
 * Dot products, and the matrix product in 4 x 4 register tiles: the only part of the reference written for speed.
 * @module
 */
import { type FloatArray, zerosLike } from '../src/core/tensor.ts';

/** sum_n a[aStart + n] * b[bStart + n]. */
export function dot(a: FloatArray, aStart: number, b: FloatArray, bStart: number, length: number): number {
  let even = 0;
  let odd = 0;
  let n = 0;
  for (; n + 1 < length; n += 2) {
    even += a[aStart + n] * b[bStart + n];
    odd += a[aStart + n + 1] * b[bStart + n + 1];
  }
  if (n < length) even += a[aStart + n] * b[bStart + n];
  return even + odd;
}

/** y[yStart + n] += alpha * x[xStart + n]. */
export function axpy(
  alpha: number, x: FloatArray, xStart: number, y: FloatArray, yStart: number, length: number,
): void {
  for (let n = 0; n < length; n++) y[yStart + n] = y[yStart + n] + alpha * x[xStart + n];
}

/** The transpose [columns, rows] of x [rows, columns]. */
export function transpose<T extends FloatArray>(x: T, rows: number, columns: number): T {
  const out = zerosLike(x, x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = x[r * columns + c];
  return out;
}

/**
 * C = A Bᵀ: A [M,K], B [N,K] -> [M,N]. Both operands are read along their rows, sixteen sums at a time, in panels of B
 * that fit the first-level cache. Each sum runs over K in order, so the result does not depend on M, N or the tiling.
 * If B has another precision than A, many rows of A read it from a panel converted once, and few rows read it directly:
 * both are the same numbers.
 */
export function matmulNT<T extends FloatArray>(A: T, B: FloatArray, M: number, N: number, K: number): T {
  const C = zerosLike(A, M * N);
  const panel = Math.max(4, Math.floor(2048 / Math.max(K, 1)) * 4);
  const direct = M < 4 || A.constructor === B.constructor;
  const copy = direct ? undefined : zerosLike(A, Math.min(panel, N) * K);
  for (let n0 = 0; n0 < N; n0 += panel) {
    const n1 = Math.min(N, n0 + panel);
    copy?.set(B.subarray(n0 * K, n1 * K));
    const [rows, first] = copy ? [copy, 0] : [B, n0];
    for (let m = 0; m < M; m += 4) {
      if (m + 4 <= M) tileRows(A, rows, C, m, n0, n1, N, K, first);
      else for (let r = m; r < M; r++) tileRow(A, rows, C, r, n0, n1, N, K, first);
    }
  }
  return C;
}

/** Row r of C, columns n0..n1-1, with four independent sums at a time. */
function tileRow(
  A: FloatArray, B: FloatArray, C: FloatArray, r: number, n0: number, n1: number, N: number, K: number, first: number,
): void {
  const a = r * K;
  let n = n0;
  for (; n + 4 <= n1; n += 4) {
    const b0 = (n - n0 + first) * K;
    const b1 = b0 + K;
    const b2 = b1 + K;
    const b3 = b2 + K;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let k = 0; k < K; k++) {
      const x = A[a + k];
      s0 += x * B[b0 + k]; s1 += x * B[b1 + k]; s2 += x * B[b2 + k]; s3 += x * B[b3 + k];
    }
    const c = r * N + n;
    C[c] = s0; C[c + 1] = s1; C[c + 2] = s2; C[c + 3] = s3;
  }
  for (; n < n1; n++) C[r * N + n] = dotInOrder(A, a, B, (n - n0 + first) * K, K);
}

function dotInOrder(a: FloatArray, aStart: number, b: FloatArray, bStart: number, length: number): number {
  let sum = 0;
  for (let n = 0; n < length; n++) sum += a[aStart + n] * b[bStart + n];
  return sum;
}

/** Rows m..m+3 of C, columns n0..n1-1. Row `first` of B belongs to column n0. */
function tileRows(
  A: FloatArray, B: FloatArray, C: FloatArray, m: number, n0: number, n1: number, N: number, K: number, first: number,
): void {
  const a0 = m * K;
  const a1 = a0 + K;
  const a2 = a1 + K;
  const a3 = a2 + K;
  const c0 = m * N;
  const c1 = c0 + N;
  const c2 = c1 + N;
  const c3 = c2 + N;
  let n = n0;
  for (; n + 4 <= n1; n += 4) {
    const b0 = (n - n0 + first) * K;
    const b1 = b0 + K;
    const b2 = b1 + K;
    const b3 = b2 + K;
    let s00 = 0, s01 = 0, s02 = 0, s03 = 0;
    let s10 = 0, s11 = 0, s12 = 0, s13 = 0;
    let s20 = 0, s21 = 0, s22 = 0, s23 = 0;
    let s30 = 0, s31 = 0, s32 = 0, s33 = 0;
    for (let k = 0; k < K; k++) {
      const x0 = A[a0 + k], x1 = A[a1 + k], x2 = A[a2 + k], x3 = A[a3 + k];
      const y0 = B[b0 + k], y1 = B[b1 + k], y2 = B[b2 + k], y3 = B[b3 + k];
      s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
      s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
      s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
      s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
    }
    C[c0 + n] = s00; C[c0 + n + 1] = s01; C[c0 + n + 2] = s02; C[c0 + n + 3] = s03;
    C[c1 + n] = s10; C[c1 + n + 1] = s11; C[c1 + n + 2] = s12; C[c1 + n + 3] = s13;
    C[c2 + n] = s20; C[c2 + n + 1] = s21; C[c2 + n + 2] = s22; C[c2 + n + 3] = s23;
    C[c3 + n] = s30; C[c3 + n + 1] = s31; C[c3 + n + 2] = s32; C[c3 + n + 3] = s33;
  }
  for (; n < n1; n++) {
    const b = (n - n0 + first) * K;
    C[c0 + n] = dotInOrder(A, a0, B, b, K);
    C[c1 + n] = dotInOrder(A, a1, B, b, K);
    C[c2 + n] = dotInOrder(A, a2, B, b, K);
    C[c3 + n] = dotInOrder(A, a3, B, b, K);
  }
}
