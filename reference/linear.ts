/**
 * Linear layers.
 * @module
 */
import type { LinearSizes } from '../src/core/sizes.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';
import { axpy, matmulNT, transpose } from './matmul.ts';

/** y = x Wᵀ + b: x [...,K], weight [M,K], bias [M] if there is one -> [...,M]. */
export function linear(x: NDArray, weight: NDArray, bias: NDArray | undefined, { rows, M, K }: LinearSizes): NDArray {
  const y = matmulNT(x.data, weight.data, rows, M, K);
  if (bias) for (let r = 0; r < rows; r++) axpy(1, bias.data, 0, y, r * M, M);
  return { data: y, shape: [...x.shape.slice(0, -1), M] };
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

/** db = sum of dy over its rows: dOut [...,M] -> [M]. */
export function linearBackwardBias(dOut: NDArray, { rows, M }: { rows: number; M: number }): NDArray {
  const data = zerosLike(dOut.data, M);
  for (let r = 0; r < rows; r++) axpy(1, dOut.data, r * M, data, 0, M);
  return { data, shape: [M] };
}
