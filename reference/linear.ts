/**
 * Linear layers without bias.
 * @module
 */
import { ShapeError } from '../src/errors.ts';
import { expectRank, expectShape } from '../src/shape.ts';
import { type NDArray, sizeOf } from '../src/tensor.ts';
import { matmulNT, transpose } from './matmul.ts';

/** y = x Wᵀ: x [...,K], weight [M,K] -> [...,M]. */
export function linear(x: NDArray, weight: NDArray): NDArray {
  expectRank('weight', weight, 'M,K');
  const [M, K] = weight.shape as [number, number];
  const rows = rowsOf('x', x, K, weight);
  return { data: matmulNT(x.data, weight.data, rows, M, K), shape: [...x.shape.slice(0, -1), M] };
}

/** dx = dy W: dOut [...,M], weight [M,K] -> [...,K]. */
export function linearBackwardInput(dOut: NDArray, weight: NDArray): NDArray {
  expectRank('weight', weight, 'M,K');
  const [M, K] = weight.shape as [number, number];
  const rows = rowsOf('dOut', dOut, M, weight);
  const data = matmulNT(dOut.data, transpose(weight.data, M, K), rows, K, M);
  return { data, shape: [...dOut.shape.slice(0, -1), K] };
}

/** dW = dyᵀ x: dOut [...,M], x [...,K] -> [M,K]. */
export function linearBackwardWeight(dOut: NDArray, x: NDArray): NDArray {
  const M = dOut.shape[dOut.shape.length - 1]!;
  const K = x.shape[x.shape.length - 1]!;
  expectShape('dOut', dOut, [...x.shape.slice(0, -1), M], `x is [${x.shape}]`);
  const rows = sizeOf(x.shape.slice(0, -1));
  const data = matmulNT(transpose(dOut.data, rows, M), transpose(x.data, rows, K), M, K, rows);
  return { data, shape: [M, K] };
}

function rowsOf(name: string, x: NDArray, columns: number, weight: NDArray): number {
  if (x.shape[x.shape.length - 1] !== columns) {
    throw new ShapeError(`${name} is [${x.shape}] but the weight is [${weight.shape}]: the last axis must be ${columns}`);
  }
  return sizeOf(x.shape.slice(0, -1));
}
