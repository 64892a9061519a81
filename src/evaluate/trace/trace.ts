/**
 * What a trace holds: for every policy, layer, KV head and token, how long the cache kept it and what used it.
 * @module
 */
import { FOREVER } from '../../core/lifetime.ts';

/** The type of tokens that have none, because a budget keeps them and not a type. */
export const NO_TYPE = 255;
/** How many queries are named for every entry, those that used it most. */
export const TOP_QUERIES = 3;
/** How many entries are named for every query, those that it used most. */
export const TOP_KEYS = 6;

/** One KV head under one policy, over N tokens. */
export interface HeadTrace {
  /** Types, [N]: 0 GLOBAL, 1 LOCAL or 2 WINDOW, or NO_TYPE under a budget. Tokens have the type of their chunk. */
  readonly types: Uint8Array;
  /** The last query that could see each entry, [N]; FOREVER if the cache still holds it after the last token. */
  readonly last: Int32Array;
  /** The model's scores for GLOBAL, LOCAL and WINDOW, [N,3], or empty if no scorer was asked. */
  readonly scores: Float32Array;
  /** The attention that each entry received in all, [N], the mean over the query heads that share it. */
  readonly received: Float32Array;
  /** The queries that used each entry most, [N,TOP_QUERIES], the strongest first; -1 if there are fewer. */
  readonly users: Int32Array;
  /** Their weights, [N,TOP_QUERIES], 0 to 1. */
  readonly userWeights: Float32Array;
  /** The entries that each query used most, [N,TOP_KEYS], the strongest first; -1 if there are fewer. */
  readonly used: Int32Array;
  /** Their weights, [N,TOP_KEYS]. */
  readonly usedWeights: Float32Array;
}

/** One policy on the text. */
export interface PolicyTrace {
  readonly policy: string;
  /** W, C and the second window of its types; absent under a budget. */
  readonly lifetimes?: { readonly window: number; readonly localWindow?: number; readonly chunk: number };
  /** By what a budget ranks entries, and how many it holds; absent if tokens have types. */
  readonly budget?: { readonly by: string; readonly base: number; readonly perToken: number };
  /** The model's own sliding window, in tokens before the query; absent if it has none. */
  readonly reach?: number;
  /** Bytes of one entry: key, value and bookkeeping. */
  readonly entryBytes: number;
  /** The loss of the token after each, [N], in nats; NaN after the last. */
  readonly loss: Float32Array;
  /** The token that the model thinks most likely to come after each, [N]. */
  readonly predicted: Int32Array;
  /** By layer, then KV head. */
  readonly heads: readonly (readonly HeadTrace[])[];
}

/** Tokens to watch, such as a pass key. */
export interface Mark {
  readonly name: string;
  /** The first token, and the one after the last. */
  readonly begin: number;
  readonly end: number;
}

/** What happened to a text under several policies. */
export interface Trace {
  readonly model: string;
  readonly engine: string;
  /** The tokens as they were fed, [N]. */
  readonly tokens: Int32Array;
  /** The text that each token completes, [N]; '' for the first bytes of a character. */
  readonly pieces: readonly string[];
  /** What each token that occurs or is predicted stands for on its own, by its number. */
  readonly texts: Readonly<Record<number, string>>;
  /** The numbers of the layers that were recorded. */
  readonly layers: readonly number[];
  readonly kvHeads: number;
  readonly policies: readonly PolicyTrace[];
  readonly marks: readonly Mark[];
}

/** Whether the cache holds entry j once token `time` has been read. */
export function isHeld({ last }: Pick<HeadTrace, 'last'>, j: number, time: number): boolean {
  return j <= time && last[j] > time;
}

/**
 * The positions that a head's cache holds once token `time` has been read, ascending.
 */
export function heldAt(head: Pick<HeadTrace, 'last'>, time: number): Int32Array {
  const held: number[] = [];
  for (let j = 0; j <= time && j < head.last.length; j++) if (head.last[j] > time) held.push(j);
  return Int32Array.from(held);
}

/** The entries that all recorded heads hold after each token, [N]. */
export function entriesOverTime({ heads, loss: { length: N } }: PolicyTrace): Int32Array {
  const change = new Int32Array(N + 1);
  for (const { last } of heads.flat()) {
    for (let j = 0; j < N; j++) {
      if (last[j] === j) continue; // it never outlives its own step
      change[j]++;
      if (last[j] !== FOREVER) change[last[j]]--; // the step of its last query evicts it
    }
  }
  let held = 0;
  return Int32Array.from({ length: N }, (_, i) => (held += change[i]));
}

/** After each token, the share of a mark's entries, over its tokens read so far and all heads, that are held, [N]. */
export function markOverTime({ heads, loss: { length: N } }: PolicyTrace, { begin, end }: Mark): Float64Array {
  const all = heads.flat();
  return Float64Array.from({ length: N }, (_, time) => {
    const arrived = Math.min(end, time + 1) - begin;
    if (arrived <= 0) return NaN;
    let held = 0;
    for (const head of all) for (let j = begin; j < begin + arrived; j++) if (isHeld(head, j, time)) held++;
    return held / (arrived * all.length);
  });
}
