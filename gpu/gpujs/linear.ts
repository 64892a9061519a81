/**
 * Matrix products: y = x Wᵀ and its two gradients.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { partsOf, sumParts } from './elementwise.ts';
import { kernel } from './kernel.ts';

const LINEAR = kernel('linear', 'x weight | K', `
  let sum = 0;
  for (let k = 0; k < K; k++) {
    sum += x[this.thread.y * K + k] * weight[this.thread.x * K + k];
  }
  return sum;`);

const LINEAR_4 = kernel('linear, 4 columns', 'x weight | K', `
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let k = 0; k < K; k++) {
    const value = x[this.thread.y * K + k];
    a += value * weight[this.thread.x * 4 * K + k];
    b += value * weight[(this.thread.x * 4 + 1) * K + k];
    c += value * weight[(this.thread.x * 4 + 2) * K + k];
    d += value * weight[(this.thread.x * 4 + 3) * K + k];
  }
  return [a, b, c, d];`, { parts: 4 });

const ADD_BIAS = kernel('add bias', 'y bias | M', `
  return y[this.thread.y * M + this.thread.x] + bias[this.thread.x];`);

/** y[r,m] = sum_k x[r,k] W[m,k] + b[m]: [rows,M]. */
export async function linear(
  scope: Scope, x: Memory, weight: Memory, bias: Memory | undefined, rows: number, M: number, K: number,
): Promise<Memory> {
  const y = scope.device.vectors && M % 4 === 0
    ? await scope.run(LINEAR_4, [M / 4, rows], [x, weight], [K])
    : await scope.run(LINEAR, [M, rows], [x, weight], [K]);
  return bias ? scope.run(ADD_BIAS, [M, rows], [y, bias], [M]) : y;
}

const SUM_ROWS = kernel('sum of rows', 'x | rows M', `
  let sum = 0;
  for (let r = 0; r < rows; r++) {
    sum += x[r * M + this.thread.x];
  }
  return sum;`, { flat: true });

/** db[m] = sum_r dy[r,m]: [M]. */
export function linearBackwardBias(scope: Scope, dOut: Memory, rows: number, M: number): Promise<Memory> {
  return scope.run(SUM_ROWS, [M], [dOut], [rows, M]);
}

const BACKWARD_INPUT = kernel('linear backward input', 'dOut weight | M K', `
  let sum = 0;
  for (let m = 0; m < M; m++) {
    sum += dOut[this.thread.y * M + m] * weight[m * K + this.thread.x];
  }
  return sum;`);

const BACKWARD_INPUT_4 = kernel('linear backward input, 4 columns', 'dOut weight | M K', `
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let m = 0; m < M; m++) {
    const value = dOut[this.thread.y * M + m];
    a += value * weight[m * K + this.thread.x * 4];
    b += value * weight[m * K + this.thread.x * 4 + 1];
    c += value * weight[m * K + this.thread.x * 4 + 2];
    d += value * weight[m * K + this.thread.x * 4 + 3];
  }
  return [a, b, c, d];`, { parts: 4 });

/** dx[r,k] = sum_m dy[r,m] W[m,k]: [rows,K]. */
export function linearBackwardInput(
  scope: Scope, dOut: Memory, weight: Memory, rows: number, M: number, K: number,
): Promise<Memory> {
  if (scope.device.vectors && K % 4 === 0) return scope.run(BACKWARD_INPUT_4, [K / 4, rows], [dOut, weight], [M, K]);
  return scope.run(BACKWARD_INPUT, [K, rows], [dOut, weight], [M, K]);
}

const BACKWARD_WEIGHT = kernel('linear backward weight', 'dOut x | rows size M K', `
  let sum = 0;
  for (let t = 0; t < size; t++) {
    if (this.thread.z * size + t < rows) {
      sum += dOut[(this.thread.z * size + t) * M + this.thread.y] * x[(this.thread.z * size + t) * K + this.thread.x];
    }
  }
  return sum;`);

const BACKWARD_WEIGHT_4 = kernel('linear backward weight, 4 columns', 'dOut x | rows size M K', `
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  for (let t = 0; t < size; t++) {
    if (this.thread.z * size + t < rows) {
      const value = dOut[(this.thread.z * size + t) * M + this.thread.y];
      a += value * x[(this.thread.z * size + t) * K + this.thread.x * 4];
      b += value * x[(this.thread.z * size + t) * K + this.thread.x * 4 + 1];
      c += value * x[(this.thread.z * size + t) * K + this.thread.x * 4 + 2];
      d += value * x[(this.thread.z * size + t) * K + this.thread.x * 4 + 3];
    }
  }
  return [a, b, c, d];`, { parts: 4 });

/** dW[m,k] = sum_r dy[r,m] x[r,k], the rows in parts that are added up afterwards: [M,K]. */
export async function linearBackwardWeight(
  scope: Scope, dOut: Memory, x: Memory, rows: number, M: number, K: number,
): Promise<Memory> {
  const four = scope.device.vectors && K % 4 === 0;
  const parts = partsOf(rows, four ? (M * K) / 4 : M * K);
  const size = Math.ceil(rows / parts);
  const partial = four
    ? await scope.run(BACKWARD_WEIGHT_4, [K / 4, M, parts], [dOut, x], [rows, size, M, K])
    : await scope.run(BACKWARD_WEIGHT, [K, M, parts], [dOut, x], [rows, size, M, K]);
  return sumParts(scope, partial, M * K, parts);
}
