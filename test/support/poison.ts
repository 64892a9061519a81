/**
 * Values that must never be read: NaN and infinities written over keys and values, and who may notice.
 * @module
 */
import type { AttentionProblem } from './arbitraries.ts';
import { denseMask } from './dense.ts';

export const POISONS: readonly number[] = [NaN, Infinity, -Infinity];

/** Which rows of a poisoned problem may differ from the clean one; everything else must keep its bits. */
export interface Spread {
  /** [B,G,N]: query rows (of every head of the group) that see a poisoned entry. */
  readonly queries: Uint8Array;
  /** [B,G,N]: keys seen by such a row. */
  readonly keys: Uint8Array;
}

/** A copy of x [..,d] with the marked rows overwritten, cycling through POISONS. */
export function poisoned(x: Float64Array, marked: Uint8Array, d: number): Float64Array {
  return x.map((value, n) => (marked[Math.floor(n / d)] ? POISONS[n % POISONS.length] : value));
}

/** Follows §3's mask from the marked entries [B,G,N]. */
export function spread(p: AttentionProblem, marked: Uint8Array): Spread {
  const M = denseMask(p.last, p);
  const queries = new Uint8Array(marked.length);
  const keys = new Uint8Array(marked.length);
  const pairs = (visit: (query: number, key: number) => void): void => {
    for (let n = 0; n < M.length; n++) {
      const head = Math.floor(n / (p.N * p.N));
      if (M[n]) visit(head * p.N + (Math.floor(n / p.N) % p.N), head * p.N + (n % p.N));
    }
  };
  pairs((query, key) => (queries[query] |= marked[key]));
  pairs((query, key) => (keys[key] |= queries[query]));
  return { queries, keys };
}
