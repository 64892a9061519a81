/**
 * Embedding: one row of the table per token.
 * @module
 */
import { type NDArray, zerosLike } from '../src/core/tensor.ts';
import { axpy } from './matmul.ts';

/** y_n = weight[ids_n]: weight [V,D], ids [...] -> [...,D]. */
export function embedding(weight: NDArray, ids: NDArray<Int32Array>, { D }: { D: number }): NDArray {
  const out = zerosLike(weight.data, ids.data.length * D);
  ids.data.forEach((id, n) => {
    out.set(weight.data.subarray(id * D, (id + 1) * D), n * D);
  });
  return { data: out, shape: [...ids.shape, D] };
}

/** y_n = row rows_n of x, where x [...,D] is read as a list of rows; rows [...] -> [...,D]. */
export function pickRows(x: NDArray, rows: NDArray<Int32Array>, sizes: { D: number }): NDArray {
  return embedding(x, rows, sizes);
}

/** dWeight[v] = sum of dy_n over all n with ids_n = v: dOut [...,D] -> [V,D]. */
export function embeddingBackward(
  dOut: NDArray, ids: NDArray<Int32Array>, { V, D }: { V: number; D: number },
): NDArray {
  const dWeight = zerosLike(dOut.data, V * D);
  ids.data.forEach((id, n) => {
    axpy(1, dOut.data, n * D, dWeight, id * D, D);
  });
  return { data: dWeight, shape: [V, D] };
}
