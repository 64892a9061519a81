/**
 * What the gradient of types knows about the types of a head, and the price of memory: whole numbers, in plain
 * TypeScript.
 * @module
 */
import {
  chunkCount, chunkEnd, endWithin, type LifetimeOptions, localEnd, TokenType, windowEnd,
} from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import type { Machine, WasmArray } from './machine.ts';

/**
 * Of each chunk: the last token of the first GLOBAL chunk after it, or end(c) + localWindow, at most N-1; the last
 * GLOBAL chunk before it; and its type.
 */
export interface TypeGradientPlan {
  readonly closing: Int32Array;
  readonly previousGlobal: Int32Array;
  readonly types: Int32Array;
}

/** Of one head of N tokens, whose types begin at `start`. */
export function planTypeGradient(
  types: Int32Array, start: number, N: number, { chunk, localWindow }: LifetimeOptions,
): TypeGradientPlan {
  const chunks = chunkCount(N, chunk);
  const own = types.slice(start, start + chunks);
  if (chunks > 0 && chunkEnd(chunks - 1, chunk) >= N) own[chunks - 1] = TokenType.GLOBAL; // unfinished
  const closing = new Int32Array(chunks);
  for (let c = chunks - 1, end = N - 1; c >= 0; c--) {
    closing[c] = Math.min(localEnd(c, chunk, end, localWindow), N - 1);
    if (own[c] === TokenType.GLOBAL) end = Math.min(chunkEnd(c, chunk), N - 1);
  }
  const previousGlobal = new Int32Array(chunks);
  for (let c = 0, previous = -1; c < chunks; c++) {
    previousGlobal[c] = previous;
    if (own[c] === TokenType.GLOBAL) previous = c;
  }
  return { closing, previousGlobal, types: own };
}

/** §7: the mean over a head's tokens of kept_j, [B,G]. */
export function keptShare(on: Machine, last: Int32Array, { B, G, N }: { B: number; G: number; N: number }): WasmArray {
  const share = Array.from({ length: B * G }, (_, head) => {
    let kept = 0;
    for (let j = 0; j < N; j++) kept += Math.min(last[head * N + j], N - 1) - j;
    return N > 0 ? (kept * 2) / (N * N) : 0;
  });
  return on.upload(share, [B, G]);
}

/** §7: adds the cotangent of the price to (dg, dl, dw). */
export function addMemoryPrice(
  on: Machine, dTypes: WasmArray, types: Int32Array,
  { window, localWindow, chunk, reach, weight }: LifetimeOptions & { weight: number },
  { B, G, N, chunks }: TypeSizes & { N: number },
): WasmArray {
  const made = on.upload(on.view(dTypes).slice(), dTypes.shape);
  const data = on.view(made);
  for (let head = 0; head < B * G; head++) {
    const { closing } = planTypeGradient(types, head * chunks, N, { window, localWindow, chunk });
    for (let c = 0; c < chunks; c++) {
      const at = (head * chunks + c) * 3;
      for (let j = c * chunk, end = Math.min((c + 1) * chunk, N); j < end; j++) {
        const price = (last: number): number => weight * (endWithin(last, j, reach) - j);
        data[at + TokenType.GLOBAL] += price(N - 1);
        data[at + TokenType.LOCAL] += price(closing[c]);
        data[at + TokenType.WINDOW] += price(Math.min(windowEnd(c, chunk, window), N - 1));
      }
    }
  }
  return made;
}
