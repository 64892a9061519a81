/**
 * Masks for callers with arrays (§2, §5): checks the arguments, then lets the reference compute.
 * @module
 */
import { finiteFloats, integers, wholeFrom } from '../../src/core/arguments.ts';
import { anything, expectFields } from '../../src/core/known-options.ts';
import { chunkCount } from '../../src/core/lifetime.ts';
import { checkLifetimeOptions, expectRank, expectShape } from '../../src/core/shape.ts';
import { lastSizes } from '../../src/core/sizes.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import * as reference from '../mask.ts';

/**
 * The mask M of §2: M[i,j] = 1 if j <= i <= last(j), else 0.
 *
 * @param last Lifetimes, [B,G,N].
 * @returns M, [B,G,N,N], one byte per pair.
 * @throws {ShapeError} If last is not [B,G,N].
 * @example
 * ```ts
 * import { attentionMask, lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 1, 0), [1, 1, 3]); // G L G
 * const mask = attentionMask(lifetime(types, { window: 0 }));
 * console.log([...mask.data]); // [1,0,0,1,1,0,1,1,1]
 * ```
 */
export function attentionMask(last: NDArray<Int32Array>): NDArray<Uint8Array> {
  integers('last', last);
  return reference.attentionMask(last, lastSizes(last));
}

/**
 * The mask of §5 for real-valued types, for j <= i, with c = floor(j / C) and r = floor(i / C):
 * M[i,j] = g_c + l_c * prod_{c < n < r} (1 - g_n) + w_c * [i <= end(c) + W]. With a `localWindow`, the product is
 * [i <= end(c) + localWindow] instead.
 *
 * @param soft (g, l, w) per chunk, [B,G,Nc,3].
 * @param options W, C and the second window as in `lifetime`, and the number of tokens N.
 * @returns M, [B,G,N,N], 0 above the diagonal.
 * @throws {ShapeError} If soft is not [B,G,ceil(N / C),3].
 * @example
 * ```ts
 * import { ndarray, relaxedMask } from 'neural-attention-search';
 * const soft = ndarray(Float64Array.of(1, 0, 0, 0.25, 0.75, 0, 1, 0, 0), [1, 1, 3, 3]);
 * console.log([...relaxedMask(soft, { window: 0, length: 3 }).data]); // [1,0,0,1,1,0,1,1,1]
 * // With a second window of 0 tokens, query 2 sees only the GLOBAL part of token 1.
 * console.log([...relaxedMask(soft, { window: 0, localWindow: 0, length: 3 }).data]); // [1,0,0,1,1,0,1,0.25,1]
 * ```
 */
export function relaxedMask(
  soft: NDArray,
  options: { window: number; localWindow?: number; chunk?: number; length: number },
): NDArray {
  finiteFloats('soft', soft);
  expectFields('relaxedMask()', 'options', options, {
    window: anything, localWindow: anything, chunk: anything, length: wholeFrom(0),
  });
  const { chunk = 1, length: N, ...windows } = options;
  const how = { ...windows, chunk };
  checkLifetimeOptions(how);
  expectRank('soft', soft, 'B,G,Nc,3');
  const [B, G] = soft.shape;
  const chunks = chunkCount(N, chunk);
  expectShape('soft', soft, [B, G, chunks, 3], `${N} tokens in chunks of ${chunk} need ${chunks} triples`);
  return reference.relaxedMask(soft, how, { B, G, N, chunks });
}
