/**
 * Linear layers: products with panels (kernels/matmul.ts). A weight is packed when it is first used in a product, in
 * the dtype in which it came, and stays so.
 * @module
 */
import type { LinearSizes } from '../src/core/sizes.ts';
import { BYTES, type Machine, type WasmArray } from './machine.ts';

/**
 * C [M,N] = A [M,K] times panels, in the engine's precision. A, panels and C are addresses. Threads share the columns,
 * or the rows if there are few columns.
 */
export function product(
  on: Machine, A: number, panels: number, C: number, M: number, N: number, K: number, ldc: number = N,
): void {
  const name = on.size === 4 ? 'gemm32' : 'gemm64x64';
  if (N >= M || M < ROWS) byColumns(on, name, [A, panels, C, M, N, K, ldc], on.size);
  else {
    on.together(name, on.ranges(M, ROWS, M * N * K).map(([from, to]) => [
      A + from * K * on.size, panels, C + from * ldc * on.size, to - from, N, K, ldc,
    ]));
  }
}

/** Rows that tiles divide, and enough of them to pay for reading all panels. */
const ROWS = 24;
/** Columns that are the same number of panels for every kernel. */
const COLUMNS = 32;

/** A kernel with the arguments A, panels, C, M, N, K and perhaps more. @param bytes Of a number of the panels. */
function byColumns(
  on: Machine, name: string, [A, panels, C, M, N, K, ...more]: readonly number[], bytes: number, room = 0,
): void {
  on.together(name, on.ranges(N, COLUMNS, M * N * K).map(([from, to]) => [
    A, panels + from * K * bytes, C + from * on.size, M, to - from, K, ...more,
  ]), { room });
}

/** The same for a kernel of a single row, which has no argument M. */
function ofOneRow(
  on: Machine, name: string, A: number, panels: number, C: number, N: number, K: number, bytes: number,
): void {
  on.together(name, on.ranges(N, COLUMNS, N * K).map(([from, to]) => [
    A, panels + from * K * bytes, C + from * on.size, to - from, K,
  ]));
}

/** y = x Wᵀ, plus the bias. */
export function linear(
  on: Machine, x: WasmArray, weight: WasmArray, bias: WasmArray | undefined, { rows, M, K }: LinearSizes,
): WasmArray {
  const y = on.make([...x.shape.slice(0, -1), M]);
  const A = on.real(x);
  const W = on.panels(weight);
  const { dtype } = weight;
  const bytes = BYTES[dtype];
  const one = rows === 1;
  if (dtype === on.dtype && !(one && on.size === 4)) product(on, A, W, y.at, rows, M, K);
  else if (dtype === 'f32' && one) ofOneRow(on, on.size === 4 ? 'gemv32' : 'gemv64x32', A, W, y.at, M, K, bytes);
  else if (dtype === 'f32') byColumns(on, 'gemm64x32', [A, W, y.at, rows, M, K, M], bytes);
  else if (one && dtype === 'bf16') ofOneRow(on, 'gemvBF16', A, W, y.at, M, K, bytes);
  else if (!one || !halfProduct(on, A, W, y.at, M, K)) {
    byColumns(on, 'gemm16', [A, W, y.at, rows, M, K, M, dtype === 'f16' ? 1 : 2], bytes, 32 * K);
  }
  if (bias) {
    const b = on.real(bias);
    for (let r = 0; r < rows; r++) on.run('add', y.at + r * M * on.size, b, y.at + r * M * on.size, M);
  }
  return y;
}

/** One row times panels of float16, unless a number of the row is so large that it has to take the slower way. */
function halfProduct(on: Machine, A: number, panels: number, C: number, M: number, K: number): boolean {
  return on.within(4 * K, (row) => {
    const fits = on.call('lift', A, row, K) === 1;
    if (fits) ofOneRow(on, 'gemvF16', row, panels, C, M, K, 2);
    return fits;
  });
}

/** The bytes of panels of N columns and K rows. Their rows have 32 bytes. */
export const panelBytes = (on: Machine, N: number, K: number): number => Math.ceil(N * on.size / 32) * 32 * K;

/** dx = dy W. */
export function linearBackwardInput(
  on: Machine, dOut: WasmArray, weight: WasmArray, { rows, M, K }: LinearSizes,
): WasmArray {
  const dx = on.make([...dOut.shape.slice(0, -1), K]);
  const [A, W] = [on.real(dOut), on.real(weight)];
  on.within(panelBytes(on, K, M), (panels) => {
    on.call('packTransposed', W, K, M, panels, on.size);
    product(on, A, panels, dx.at, rows, K, M);
  });
  return dx;
}

/** dW = dyᵀ x. */
export function linearBackwardWeight(
  on: Machine, dOut: WasmArray, x: WasmArray, { rows, M, K }: LinearSizes,
): WasmArray {
  const dW = on.make([M, K]);
  const [dy, X] = [on.real(dOut), on.real(x)];
  on.within(rows * M * on.size, (turned) => {
    on.run('transpose', dy, rows, M, turned);
    on.within(panelBytes(on, K, rows), (panels) => {
      on.call('packTransposed', X, K, rows, panels, on.size);
      product(on, turned, panels, dW.at, M, K, rows);
    });
  });
  return dW;
}

/** db = sum of dy over its rows. */
export function linearBackwardBias(on: Machine, dOut: WasmArray, { rows, M }: { rows: number; M: number }): WasmArray {
  const db = on.zeros([M]);
  const dy = on.real(dOut);
  for (let r = 0; r < rows; r++) on.run('add', db.at, dy + r * M * on.size, db.at, M);
  return db;
}
