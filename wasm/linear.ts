/**
 * Linear layers: products with panels (kernels/matmul.ts). A weight is packed when it is first used in a product, in
 * the dtype in which it came, and stays so.
 * @module
 */
import type { LinearSizes } from '../src/core/sizes.ts';
import { BYTES, type Machine, type WasmArray } from './machine.ts';

/** Calls of a kernel that compute a product, and how many products of numbers they are. */
interface Job {
  readonly name: string;
  readonly parts: readonly (readonly number[])[];
  readonly work: number;
  readonly room?: number;
}

/** Products that do not depend on one another. Those of one kernel are one job for all threads. */
function run(on: Machine, jobs: readonly Job[]): void {
  for (const name of new Set(jobs.map((job) => job.name))) {
    const same = jobs.filter((job) => job.name === name);
    on.together(name, same.flatMap(({ parts }) => parts), {
      room: Math.max(...same.map(({ room = 0 }) => room)), work: same.reduce((sum, { work }) => sum + work, 0),
    });
  }
}

/**
 * C [M,N] = A [M,K] times panels, in the engine's precision. A, panels and C are addresses. Threads share the columns,
 * or the rows if there are few columns.
 */
export function product(
  on: Machine, A: number, panels: number, C: number, M: number, N: number, K: number, ldc: number = N,
): void {
  run(on, [productJob(on, A, panels, C, M, N, K, ldc)]);
}

function productJob(
  on: Machine, A: number, panels: number, C: number, M: number, N: number, K: number, ldc: number,
): Job {
  const name = on.size === 4 ? 'gemm32' : 'gemm64x64';
  if (N >= M || M < ROWS) return byColumns(on, name, [A, panels, C, M, N, K, ldc], on.size);
  const work = M * N * K;
  return { name, work, parts: on.ranges(M, ROWS, work).map(([from, to]) => [
    A + from * K * on.size, panels, C + from * ldc * on.size, to - from, N, K, ldc,
  ]) };
}

/** Rows that tiles divide, and enough of them to pay for reading all panels. */
const ROWS = 24;
/** Columns that are the same number of panels for every kernel. */
const COLUMNS = 32;

/** A kernel with the arguments A, panels, C, M, N, K and perhaps more. @param bytes Of a number of the panels. */
function byColumns(
  on: Machine, name: string, [A, panels, C, M, N, K, ...more]: readonly number[], bytes: number, room = 0,
): Job {
  const work = M * N * K;
  return { name, work, room, parts: on.ranges(N, COLUMNS, work).map(([from, to]) => [
    A, panels + from * K * bytes, C + from * on.size, M, to - from, K, ...more,
  ]) };
}

/** The same for a kernel of a single row, which has no argument M. */
function ofOneRow(
  on: Machine, name: string, A: number, panels: number, C: number, N: number, K: number, bytes: number,
): Job {
  return { name, work: N * K, parts: on.ranges(N, COLUMNS, N * K).map(([from, to]) => [
    A, panels + from * K * bytes, C + from * on.size, to - from, K,
  ]) };
}

/** A product with rows of x at address A, whose result goes to address y. `lifted` is from the kernel lift(). */
function linearJob(
  on: Machine, A: number, lifted: number | undefined, rows: number, weight: WasmArray, y: number,
): Job {
  const { at: W, dtype, shape: [M, K] } = weight;
  const bytes = BYTES[dtype];
  const one = rows === 1;
  if (dtype === on.dtype && !(one && on.size === 4)) return productJob(on, A, W, y, rows, M, K, M);
  if (dtype === 'f32' && one) return ofOneRow(on, on.size === 4 ? 'gemv32' : 'gemv64x32', A, W, y, M, K, bytes);
  if (dtype === 'f32') return byColumns(on, 'gemm64x32', [A, W, y, rows, M, K, M], bytes);
  if (one && dtype === 'bf16') return ofOneRow(on, 'gemvBF16', A, W, y, M, K, bytes);
  if (one && lifted !== undefined) return ofOneRow(on, 'gemvF16', lifted, W, y, M, K, bytes);
  return byColumns(on, 'gemm16', [A, W, y, rows, M, K, M, dtype === 'f16' ? 1 : 2], bytes, 32 * K);
}

/** Products of the rows at address A with several weights, whose results go to addresses. */
export function multiply(
  on: Machine, A: number, rows: number, pairs: readonly (readonly [weight: WasmArray, y: number])[],
): void {
  for (const [weight] of pairs) on.panels(weight);
  const K = pairs[0][0].shape[1];
  const compute = (lifted?: number): void => {
    run(on, pairs.map(([weight, y]) => linearJob(on, A, lifted, rows, weight, y)));
  };
  // One row times float16, unless a number of the row is so large that it has to take the slower way.
  if (rows > 1 || !pairs.some(([{ dtype }]) => dtype === 'f16')) compute();
  else on.within(4 * K, (row) => compute(on.call('lift', A, row, K) === 1 ? row : undefined));
}

/** y = x Wᵀ, plus the bias. */
export function linear(
  on: Machine, x: WasmArray, weight: WasmArray, bias: WasmArray | undefined, { rows, M }: LinearSizes,
): WasmArray {
  const y = on.make([...x.shape.slice(0, -1), M]);
  multiply(on, on.real(x), rows, [[weight, y.at]]);
  if (bias) addBias(on, y.at, bias, rows, M);
  return y;
}

/** Adds a bias [M] to the rows at address y. */
export function addBias(on: Machine, y: number, bias: WasmArray, rows: number, M: number): void {
  const b = on.real(bias);
  for (let r = 0; r < rows; r++) on.run('add', y + r * M * on.size, b, y + r * M * on.size, M);
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
