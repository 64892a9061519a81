/**
 * Linear layers without bias.
 * @module
 */
import { linearGradientSizes, rowsOf } from '../src/core/checks.ts';
import { expectRank } from '../src/core/shape.ts';
import type { NDArray } from '../src/core/tensor.ts';
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
  const { rows, M, K } = linearGradientSizes(dOut, x);
  const data = matmulNT(transpose(dOut.data, rows, M), transpose(x.data, rows, K), M, K, rows);
  return { data, shape: [M, K] };
}
