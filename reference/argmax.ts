/**
 * The index of the largest number of a row, such as the most likely token of logits.
 * @module
 */
import type { NDArray } from '../src/core/tensor.ts';

/** argmax_v x_nv, ties to the lowest index: x [...,V] -> [...]. -1 for a row with a number that is not finite. */
export function argmax(x: NDArray, { rows, D: V }: { rows: number; D: number }): NDArray<Int32Array> {
  const best = new Int32Array(rows);
  for (let n = 0; n < rows; n++) {
    const row = x.data.subarray(n * V, (n + 1) * V);
    best[n] = 0;
    for (let v = 0; v < V && best[n] >= 0; v++) {
      if (!Number.isFinite(row[v])) best[n] = -1;
      else if (row[v] > row[best[n]]) best[n] = v;
    }
  }
  return { data: best, shape: x.shape.slice(0, -1) };
}
