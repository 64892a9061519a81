/**
 * Lifetimes for callers with arrays (§2): checks the arguments, then lets the reference compute.
 * @module
 */
import { integers } from '../../src/core/arguments.ts';
import { anything, expectFields } from '../../src/core/known-options.ts';
import { checkTypeValues, typesSizes } from '../../src/core/shape.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import * as reference from '../lifetime.ts';

/**
 * last(j) of every token: the last query that may see its key and value (§2).
 *
 * | type of token j | last(j) |
 * |---|---|
 * | GLOBAL | FOREVER |
 * | LOCAL | the last token of the first GLOBAL chunk after j's; FOREVER if there is none |
 * | WINDOW | the last token of j's chunk + W |
 *
 * With C = 1 every token is its own chunk. A last chunk that is not full counts as GLOBAL. With a `localWindow`,
 * LOCAL is a second window: last(j) is the last token of j's chunk + localWindow, whatever follows it.
 *
 * @param types Types [B,G,Nc], one per chunk: 0 GLOBAL, 1 LOCAL, 2 WINDOW.
 * @param options.window W in tokens, a whole number >= 0.
 * @param options.chunk C in tokens, a whole number >= 1. Default: 1.
 * @param options.localWindow Makes LOCAL a second window of this many tokens, a whole number >= 0. Default: none.
 * @param options.reach Ends the lifetime of every token j at j + reach. Default: no reach.
 * @param options.length N in tokens, with Nc = ceil(N / C). Default: Nc * C.
 * @returns last(j), [B,G,N]; FOREVER is the largest 32-bit integer.
 * @throws {ShapeError} If types is not [B,G,ceil(N / C)].
 * @throws {ValueError} If a window or the reach is below 0, C < 1, one is fractional, or a type is outside 0..2.
 * @example
 * ```ts
 * import { lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 1, 1, 2, 0, 1, 2, 2), [1, 1, 8]); // G L L W G L W W
 * const last = lifetime(types, { window: 2 });
 * console.log([...last.data].map((n) => (n > 99 ? 'inf' : n)).join(' ')); // inf 4 4 5 inf inf 8 9
 * const twice = lifetime(types, { window: 2, localWindow: 4 }); // LOCAL: four more queries, past any GLOBAL
 * console.log([...twice.data].map((n) => (n > 99 ? 'inf' : n)).join(' ')); // inf 5 6 5 inf 9 8 9
 * ```
 */
export function lifetime(
  types: NDArray<Int32Array>,
  options: { window: number; localWindow?: number; chunk?: number; reach?: number; length?: number },
): NDArray<Int32Array> {
  integers('types', types);
  expectFields('lifetime()', 'options', options, {
    window: anything, localWindow: anything, chunk: anything, reach: anything, length: anything,
  });
  const { chunk = 1, length = (types.shape[2] ?? 0) * chunk, ...rest } = options;
  const how = { ...rest, chunk };
  const sizes = typesSizes(types, length, how);
  checkTypeValues(types.data);
  return reference.lifetime(types, how, sizes);
}
