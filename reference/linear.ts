/**
 * Linear layers without bias.
 * @module
 */
import type { LinearSizes } from '../src/core/sizes.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { matmulNT, transpose } from './matmul.ts';

/** y = x Wᵀ: x [...,K], weight [M,K] -> [...,M]. */
export function linear(x: NDArray, weight: NDArray, { rows, M, K }: LinearSizes): NDArray {
  return { data: matmulNT(x.data, weight.data, rows, M, K), shape: [...x.shape.slice(0, -1), M] };
}

/** dx = dy W: dOut [...,M], weight [M,K] -> [...,K]. */
export function linearBackwardInput(dOut: NDArray, weight: NDArray, { rows, M, K }: LinearSizes): NDArray {
  const data = matmulNT(dOut.data, transpose(weight.data, M, K), rows, K, M);
  return { data, shape: [...dOut.shape.slice(0, -1), K] };
}

/** dW = dyᵀ x: dOut [...,M], x [...,K] -> [M,K]. */
export function linearBackwardWeight(dOut: NDArray, x: NDArray, { rows, M, K }: LinearSizes): NDArray {
  const data = matmulNT(transpose(dOut.data, rows, M), transpose(x.data, rows, K), M, K, rows);
  return { data, shape: [M, K] };
}
