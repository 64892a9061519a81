/**
 * §2: from token types to lifetimes.
 * @module
 */
import { expectObject, integers } from '../src/core/arguments.ts';
import { boundedEnd, chunkEnd, chunkOf, FOREVER, TokenType, windowEnd } from '../src/core/lifetime.ts';
import { checkTypeValues, checkTypesShape } from '../src/core/shape.ts';
import { type NDArray, zeros } from '../src/core/tensor.ts';

/**
 * last(j) of every token: the last query that may see its key and value (§2).
 *
 * | type of token j | last(j) |
 * |---|---|
 * | GLOBAL | FOREVER |
 * | LOCAL | the last token of the first GLOBAL chunk after j's; FOREVER while there is none |
 * | WINDOW | the last token of j's chunk + W |
 *
 * With C = 1 every token is its own chunk. A last chunk that is not full counts as GLOBAL.
 *
 * @param types Types 0 GLOBAL, 1 LOCAL, 2 WINDOW, [B,G,Nc]: one per chunk.
 * @param options.window W in tokens, a whole number >= 0.
 * @param options.chunk C in tokens, a whole number >= 1 (default 1).
 * @param options.bound No token lives beyond j + bound (default: no bound).
 * @param options.length N in tokens, with Nc = ceil(N / C) (default Nc * C).
 * @returns last(j), [B,G,N]; FOREVER is the largest 32-bit integer.
 * @throws {ShapeError} If types is not [B,G,ceil(N / C)].
 * @throws {ValueError} If W < 0, C < 1, either is fractional, or a type is outside 0..2.
 * @example
 * ```ts
 * import { lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 1, 1, 2, 0, 1, 2, 2), [1, 1, 8]); // G L L W G L W W
 * const last = lifetime(types, { window: 2 });
 * console.log([...last.data].map((n) => (n > 99 ? 'inf' : n)).join(' ')); // inf 4 4 5 inf inf 8 9
 * ```
 */
export function lifetime(
  types: NDArray<Int32Array>,
  options: { window: number; chunk?: number; bound?: number; length?: number },
): NDArray<Int32Array> {
  integers('types', types);
  expectObject('options', options);
  const { window, chunk = 1, bound, length = (types.shape[2] ?? 0) * chunk } = options;
  checkTypesShape(types, length, { window, chunk, bound });
  checkTypeValues(types.data);
  const [B, G, chunks] = types.shape as [number, number, number];
  const last = zeros(Int32Array, B * G * length);
  for (let head = 0; head < B * G; head++) {
    // Backwards, so that the first GLOBAL chunk after the current one is always known.
    let closing = FOREVER;
    for (let c = chunks - 1; c >= 0; c--) {
      const full = chunkEnd(c, chunk) < length;
      const type = full ? types.data[head * chunks + c] : TokenType.GLOBAL;
      const isGlobal = type === TokenType.GLOBAL;
      const end = isGlobal ? FOREVER : type === TokenType.LOCAL ? closing : windowEnd(c, chunk, window);
      const start = head * length;
      for (let j = c * chunk; j < Math.min((c + 1) * chunk, length); j++) last[start + j] = boundedEnd(end, j, bound);
      if (isGlobal) closing = chunkEnd(c, chunk);
    }
  }
  return { data: last, shape: [B, G, length] };
}

/** Per token of one head, the type of its chunk; GLOBAL while the chunk is unfinished. */
export function tokenTypesOfHead(
  types: Int32Array, start: number, chunk: number, length: number,
): Int32Array {
  return Int32Array.from({ length }, (_, j) => {
    const c = chunkOf(j, chunk);
    return chunkEnd(c, chunk) < length ? types[start + c] : TokenType.GLOBAL;
  });
}
