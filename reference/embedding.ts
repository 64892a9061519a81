/**
 * Embedding: one row of the table per token.
 * @module
 */
import { checkIds, checkRows, pickedRows } from '../src/core/checks.ts';
import { expectRank, expectShape } from '../src/core/shape.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';
import { axpy } from './matmul.ts';

/** y_n = weight[ids_n]: weight [V,D], ids [...] -> [...,D]. */
export function embedding(weight: NDArray, ids: NDArray<Int32Array>): NDArray {
  expectRank('weight', weight, 'V,D');
  const [V, D] = weight.shape as [number, number];
  const out = zerosLike(weight.data, ids.data.length * D);
  checkIds(ids.data, V);
  ids.data.forEach((id, n) => {
    out.set(weight.data.subarray(id * D, (id + 1) * D), n * D);
  });
  return { data: out, shape: [...ids.shape, D] };
}

/** y_n = row rows_n of x, seen as a list of rows: x [...,D], rows [...] -> [...,D]. */
export function pickRows(x: NDArray, rows: NDArray<Int32Array>): NDArray {
  const { count, width } = pickedRows(x);
  checkRows(rows.data, count);
  return embedding({ data: x.data, shape: [count, width] }, rows);
}

/** dWeight[v] = sum of dy_n over the n with ids_n = v: dOut [...,D] -> [V,D]. */
export function embeddingBackward(dOut: NDArray, ids: NDArray<Int32Array>, vocabulary: number): NDArray {
  const D = dOut.shape[dOut.shape.length - 1];
  expectShape('dOut', dOut, [...ids.shape, D], `ids is [${ids.shape}]`);
  const dWeight = zerosLike(dOut.data, vocabulary * D);
  checkIds(ids.data, vocabulary);
  ids.data.forEach((id, n) => {
    axpy(1, dOut.data, n * D, dWeight, id * D, D);
  });
  return { data: dWeight, shape: [vocabulary, D] };
}
