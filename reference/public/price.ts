/**
 * The price of memory for callers with arrays (§7): checks the arguments, then lets the reference compute.
 * @module
 */
import { finite, floats, integers } from '../../src/core/arguments.ts';
import { anything, expectFields } from '../../src/core/known-options.ts';
import { checkTypeValues, expectShape, typesSizes } from '../../src/core/shape.ts';
import { lastSizes } from '../../src/core/sizes.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import * as reference from '../price.ts';

/**
 * The mean over a head's tokens of kept_j = (min(last(j), N-1) - j) / N * 2 (§7). It is 1 - 1/N if all are GLOBAL, and
 * 0 if no token outlives its own query.
 *
 * @param last Lifetimes, [B,G,N].
 * @returns Kept share per head, [B,G].
 * @throws {ShapeError} If last is not [B,G,N].
 * @example
 * ```ts
 * import { keptShare, lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 0, 0, 0), [1, 1, 4]); // all GLOBAL
 * console.log([...keptShare(lifetime(types, { window: 0 })).data]); // [0.75]
 * ```
 */
export function keptShare(last: NDArray<Int32Array>): NDArray<Float64Array> {
  integers('last', last);
  return reference.keptShare(last, lastSizes(last));
}

/**
 * Adds the cotangent of the price to (dg, dl, dw) (§7). With weight K, token j adds
 * g: K (N-1-j), l: K (e(j)-j), w: K min(W, N-1-j), none of them above K reach. A chunk adds the sum over its tokens.
 * With a `localWindow`, l adds K min(localWindow, N-1-j) instead.
 *
 * @param options.dTypes [B,G,Nc,3]. It is not changed.
 * @param options.types [B,G,Nc].
 * @param options.length N in tokens.
 * @param options.localWindow The second window with which lifetimes were computed. Default: none.
 * @param options.weight K = lambda * 2 / (layers * G * B * N²), in nats per query that a token is kept.
 * @returns dTypes plus the price, [B,G,Nc,3].
 * @throws {ShapeError} If types or dTypes do not fit N and C.
 * @throws {ValueError} If a window or the reach is below 0, C < 1, or one is fractional.
 * @example
 * ```ts
 * import { addMemoryPrice, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 1, 0, 0), [1, 1, 4]); // G L G G
 * const dTypes = ndarray(new Float64Array(12), [1, 1, 4, 3]);
 * const { data } = addMemoryPrice({ dTypes, types, length: 4, window: 0, weight: 1 });
 * console.log([...data.subarray(3, 6)]); // [2,1,0]
 * ```
 */
export function addMemoryPrice(options: {
  dTypes: NDArray;
  types: NDArray<Int32Array>;
  length: number;
  window: number;
  localWindow?: number;
  chunk?: number;
  reach?: number;
  weight: number;
}): NDArray {
  expectFields('addMemoryPrice()', 'options', options, {
    dTypes: floats, types: integers, weight: finite, length: anything, window: anything, localWindow: anything,
    chunk: anything, reach: anything,
  });
  const { dTypes, types, length, chunk = 1, ...rest } = options;
  const how = { ...rest, chunk };
  const sizes = typesSizes(types, length, how);
  checkTypeValues(types.data);
  expectShape('dTypes', dTypes, [sizes.B, sizes.G, sizes.chunks, 3], `types is [${types.shape}]`);
  return reference.addMemoryPrice(dTypes, types, how, sizes);
}
