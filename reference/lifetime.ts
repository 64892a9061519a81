/**
 * §2: from token types to lifetimes.
 * @module
 */
import {
  endWithin, chunkEnd, chunkOf, FOREVER, type LifetimeOptions, localEnd, TokenType, windowEnd,
} from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import { type NDArray, zeros } from '../src/core/tensor.ts';

/** last(j) [B,G,N] from types [B,G,Nc]. A last chunk that is not full counts as GLOBAL (§2). */
export function lifetime(
  types: NDArray<Int32Array>, { window, localWindow, chunk, reach }: LifetimeOptions,
  { B, G, N, chunks }: TypeSizes & { N: number },
): NDArray<Int32Array> {
  const last = zeros(Int32Array, B * G * N);
  for (let head = 0; head < B * G; head++) {
    // From the last chunk to the first, so that the first GLOBAL chunk after the current one is always known.
    let closing = FOREVER;
    for (let c = chunks - 1; c >= 0; c--) {
      const full = chunkEnd(c, chunk) < N;
      const type = full ? types.data[head * chunks + c] : TokenType.GLOBAL;
      const isGlobal = type === TokenType.GLOBAL;
      const end = isGlobal
        ? FOREVER
        : type === TokenType.LOCAL ? localEnd(c, chunk, closing, localWindow) : windowEnd(c, chunk, window);
      const start = head * N;
      for (let j = c * chunk; j < Math.min((c + 1) * chunk, N); j++) last[start + j] = endWithin(end, j, reach);
      if (isGlobal) closing = chunkEnd(c, chunk);
    }
  }
  return { data: last, shape: [B, G, N] };
}

/** For each token of one head, the type of its chunk, or GLOBAL if the chunk is unfinished. */
export function tokenTypesOfHead(
  types: Int32Array, start: number, chunk: number, length: number,
): Int32Array {
  return Int32Array.from({ length }, (_, j) => {
    const c = chunkOf(j, chunk);
    return chunkEnd(c, chunk) < length ? types[start + c] : TokenType.GLOBAL;
  });
}
