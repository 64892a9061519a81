/**
 * What is kept between steps of inference: the evicting cache of a layer, and the pool of a chunk that is not full yet.
 * @module
 */
import type { LifetimeOptions } from './lifetime.ts';
import { type MassOptions, scoreWidth } from './mass.ts';
import type { FloatArray, Tensor } from './tensor.ts';

/** The dtype of the keys and values of a cache. */
export type CacheDtype = 'f64' | 'f32' | 'f16';

/** All of them, the widest first. */
export const CACHE_DTYPES: readonly CacheDtype[] = ['f64', 'f32', 'f16'];

/** The bytes of a number of each. */
export const CACHE_BYTES: Readonly<Record<CacheDtype, number>> = { f64: 8, f32: 4, f16: 2 };

/** Layout of a cache: B sequences, G KV heads of size d, entries allocated in blocks. */
export interface CacheLayout {
  readonly batch: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Entries per allocation block. The memory of a head is a whole number of blocks. */
  readonly blockSize: number;
  /** The dtype of keys and values. Default: the first in the engine's `stores.cache`. */
  readonly storage?: CacheDtype;
}

/** One step of a cache: T new tokens with their queries. */
export interface CacheStep<T = Tensor> {
  /** [B,H,T,d] */
  readonly q: T;
  /** [B,G,T,d] */
  readonly k: T;
  /** [B,G,T,d] */
  readonly v: T;
  /** As for append(): integers [B,G,nc], or under a budget undefined, or the scores of types [B,G,T,3]. */
  readonly types?: T | undefined;
  readonly scale: number;
}

/** The bytes of one entry: key and value of size d, position and last (4 bytes each), and type (1 byte). */
export function entryBytes(headDim: number, dtype: CacheDtype): number {
  return 2 * headDim * CACHE_BYTES[dtype] + 4 + 4 + 1;
}

/** Options of a cache whose entries live as long as their types say (§2). */
export interface CacheOptions extends CacheLayout, LifetimeOptions {}

/** Options of a cache that holds a budget of entries, those with the highest scores (§11). */
export interface MassCacheOptions extends CacheLayout, MassOptions {}

/** The same under a budget: without the type, but with the scores that the rule needs, of `bytes` bytes each. */
export function massEntryBytes(
  { headDim, mass }: Pick<CacheLayout, 'headDim'> & MassOptions, dtype: CacheDtype, bytes: number,
): number {
  return entryBytes(headDim, dtype) - 1 + scoreWidth(mass) * bytes;
}

/** What a cache holds, and what its queries have seen. Arrays are [B*G], sequence-major, unless stated otherwise. */
export interface CacheStats {
  /** Tokens seen so far by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries held now. */
  readonly live: Int32Array;
  /** The most entries that any query so far could see. */
  readonly peakLive: Int32Array;
  /** The sum, over all queries so far, of the entries that each could see. */
  readonly visiblePairs: Float64Array;
  /** Bytes held now, including bookkeeping. */
  readonly bytes: Float64Array;
  /** Bytes of one entry: key, value and bookkeeping. */
  readonly entryBytes: number;
}

/**
 * What a cache holds, as plain arrays with E entries in all. Heads are one after the other, sequence-major, and the
 * entries of a head are in the order in which the engine sums over them.
 */
export interface CacheSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries of each head, [B*G]; they add up to E. */
  readonly live: Int32Array;
  /** Keys and values [E,d], in the precision in which the engine keeps them. */
  readonly keys: FloatArray;
  readonly values: FloatArray;
  /** Position of each entry, [E]. */
  readonly positions: Int32Array;
  /**
   * The last query that may see each entry, [E]. If its type does not determine that yet: FOREVER, or the end of its
   * reach.
   */
  readonly last: Int32Array;
  /** 1 for a LOCAL entry that no GLOBAL has closed, [E]. */
  readonly open: Uint8Array;
  /** As in CacheStats. */
  readonly peakLive: Int32Array;
  readonly visiblePairs: Float64Array;
  /** The numbers that a mass rule keeps for each entry, [E, scoreWidth(rule)]. Absent if entries have types. */
  readonly scores?: FloatArray;
}

/** The state of a chunk pool. */
export interface ChunkPoolSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Sum or maximum of what has arrived of each sequence's newest chunk, [B,D]. */
  readonly state: FloatArray;
}

/**
 * The evicting cache of one layer (§8). Each head has its own number of entries, entries keep their original positions,
 * and empty blocks are freed.
 */
export interface Cache {
  readonly options: CacheOptions | MassCacheOptions;
  /**
   * Step 1: appends k and v [B,G,T,d]. Sequence b takes only its first counts[b] tokens (default: T).
   * `types` [B,G,nc] holds one type per chunk touched: row r is chunk floor(seen_b / C) + r, so for
   * C = 1 it is one type per new token. The type of a chunk that is not full yet is ignored. A mass rule has no
   * types; if it ranks entries by the scores of types, `types` holds these, reals [B,G,T,3]. It decides what to keep
   * while the new queries attend, so exactly one attend() must follow each append().
   */
  append(k: Tensor, v: Tensor, types: Tensor | undefined, counts?: readonly number[]): void;
  /**
   * Step 2: each of the newest queries q [B,H,T,d] attends to all entries, cached and new: out [B,H,T,d].
   * Rows beyond counts[b] are 0.
   */
  attend(q: Tensor, scale: number): Tensor;
  /** Step 3: frees every entry that the next query cannot see. */
  evict(): void;
  /** All three steps in one call: out [B,H,T,d]. */
  step(step: CacheStep, counts?: readonly number[]): Tensor;
  /**
   * The same for a cache that has not seen any token: masked attention over the prompt, of which only the entries that
   * the next query can see are stored.
   * @throws {ValueError} If the cache has seen a token.
   */
  prefill(step: CacheStep, counts?: readonly number[]): Tensor;
  /** Forgets everything and frees all blocks. */
  clear(): void;
  stats(): Promise<CacheStats>;
  /** Positions held by KV head `g` of sequence `b`, ascending. */
  positions(b: number, g: number): Promise<Int32Array>;
  /** An independent copy, which gives the same results bit for bit. */
  fork(): Cache;
  /** What is held between two steps. Dead entries are left out once evict() was called. */
  snapshot(): Promise<CacheSnapshot>;
  /**
   * Replaces what is held by the content of the snapshot. The cache then continues like the one from which the snapshot
   * was taken, bit for bit on the same engine. attend() needs a new append() first.
   * @throws {ShapeError} If the snapshot has another layout. @throws {ValueError} If it contradicts itself.
   */
  restore(snapshot: CacheSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Pools hidden states over chunks as they arrive in steps of any size (§2, C > 1). */
export interface ChunkPool {
  /**
   * Takes x [B,T,D], of which sequence b uses its first counts[b] rows (default: T), and returns
   * [B,nc,D] with nc = floor((T + C - 2) / C) + 1: row r pools what has arrived so far of chunk
   * floor(seen_b / C) + r. Rows of chunks of which no token has arrived are 0.
   */
  push(x: Tensor, counts?: readonly number[]): Tensor;
  /** An independent copy, which gives the same results bit for bit. */
  fork(): ChunkPool;
  snapshot(): Promise<ChunkPoolSnapshot>;
  /** Replaces the state by that of the snapshot. It throws the same errors as Cache.restore. */
  restore(snapshot: ChunkPoolSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}
