/**
 * Rows of tables.
 * @module
 */
import { BYTES, type Machine, WasmArray } from './machine.ts';

/** y_n = weight[ids_n], in the engine's precision. A table that is also the head may be packed. */
export function embedding(on: Machine, weight: WasmArray, ids: Int32Array, shape: readonly number[]): WasmArray {
  const D = shape[shape.length - 1];
  const rows = new WasmArray(shape, on.take(ids.length * D * BYTES[weight.dtype]), weight.dtype);
  if (weight.packed) ids.forEach((id, n) => on.copyRow(weight, id, rows.at + n * D * BYTES[weight.dtype]));
  else on.withIntegers(ids, (list) => on.call('pickRows', weight.at, list, rows.at, ids.length, D * BYTES[weight.dtype]));
  on.real(rows);
  return rows;
}

/** dWeight[v] = sum of dy_n over all n with ids_n = v. */
export function embeddingBackward(
  on: Machine, dOut: WasmArray, ids: Int32Array, { V, D }: { V: number; D: number },
): WasmArray {
  const dWeight = on.zeros([V, D]);
  const dy = on.real(dOut);
  on.withIntegers(ids, (list) => on.run('addRows', dy, list, dWeight.at, ids.length, D));
  return dWeight;
}
