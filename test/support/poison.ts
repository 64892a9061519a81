/**
 * Values that must never be read: NaN and infinities written over keys and values, and which results they may affect.
 * @module
 */
import type { AttentionProblem } from './arbitraries.ts';
import { denseMask } from './dense.ts';

export const POISONS: readonly number[] = [NaN, Infinity, -Infinity];

/** The rows of a poisoned problem that may differ from the clean one. Everything else must have the same bits. */
export interface Spread {
  /** [B,G,N]: query rows (of every head of the group) that see a poisoned entry. */
  readonly queries: Uint8Array;
  /** [B,G,N]: keys seen by such a row. */
  readonly keys: Uint8Array;
}

/** A copy of x [..,d] in which the marked rows are overwritten, by POISONS in turn. */
export function poisoned(x: Float64Array, marked: Uint8Array, d: number): Float64Array {
  return x.map((value, n) => (marked[Math.floor(n / d)] ? POISONS[n % POISONS.length] : value));
}

/** Determines by §3's mask which rows the marked entries [B,G,N] can affect. */
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
