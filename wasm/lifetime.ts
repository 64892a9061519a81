/**
 * §2: from token types to lifetimes. Whole numbers, in plain TypeScript.
 * @module
 */
import {
  chunkEnd, endWithin, FOREVER, type LifetimeOptions, localEnd, TokenType, windowEnd,
} from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';

/** last(j) [B,G,N] from types [B,G,Nc]. */
export function lifetime(
  types: Int32Array, { window, localWindow, chunk, reach }: LifetimeOptions,
  { B, G, N, chunks }: TypeSizes & { N: number },
): Int32Array {
  const last = new Int32Array(B * G * N);
  for (let head = 0; head < B * G; head++) {
    let closing = FOREVER; // the end of the first GLOBAL chunk after this one
    for (let c = chunks - 1; c >= 0; c--) {
      const type = chunkEnd(c, chunk) < N ? types[head * chunks + c] : TokenType.GLOBAL;
      const kept = type === TokenType.LOCAL ? localEnd(c, chunk, closing, localWindow) : FOREVER;
      const end = type === TokenType.WINDOW ? windowEnd(c, chunk, window) : kept;
      for (let j = c * chunk; j < Math.min((c + 1) * chunk, N); j++) last[head * N + j] = endWithin(end, j, reach);
      if (type === TokenType.GLOBAL) closing = chunkEnd(c, chunk);
    }
  }
  return last;
}
