/**
 * What outlives a step of inference: the evicting cache of a layer, and the pool of a chunk that is not full yet.
 * @module
 */
import type { LifetimeOptions } from './lifetime.ts';
import { type MassOptions, scoreWidth } from './mass.ts';
import type { FloatArray, Tensor } from './tensor.ts';

/** What keys and values of a cache are stored in. */
export type CacheDtype = 'f64' | 'f32' | 'f16';

/** Layout of a cache: B sequences, G KV heads of size d, entries allocated in blocks. */
export interface CacheLayout {
  readonly batch: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Entries per allocation block; a head's memory is a whole number of blocks. */
  readonly blockSize: number;
  /** What keys and values are stored in; by default the first that the engine names in `stores.cache`. */
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
  /** [B,G,nc] integer, as append() takes them; none under a budget. */
  readonly types?: T | undefined;
  readonly scale: number;
}

/** Bytes of one entry of size d: key, value, position and last (4 bytes each) and type (1 byte). */
export function entryBytes(headDim: number, dtype: CacheDtype): number {
  return 2 * headDim * { f64: 8, f32: 4, f16: 2 }[dtype] + 4 + 4 + 1;
}

/** A cache whose entries live as long as their types say (§2). */
export interface CacheOptions extends CacheLayout, LifetimeOptions {}

/** A cache that holds a budget of entries, those of the highest scores (§11). */
export interface MassCacheOptions extends CacheLayout, MassOptions {}

/** The same under a budget: no type, and what the rule remembers, in numbers of `bytes` bytes. */
export function massEntryBytes({ headDim, mass }: MassCacheOptions, dtype: CacheDtype, bytes: number): number {
  return entryBytes(headDim, dtype) - 1 + scoreWidth(mass) * bytes;
}

/** What a cache holds and has served; every array is [B*G], sequence-major. */
export interface CacheStats {
  /** Tokens seen so far by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries held now. */
  readonly live: Int32Array;
  /** The most entries that one query could see so far. */
  readonly peakLive: Int32Array;
  /** Sum over all queries so far of the entries each could see. */
  readonly visiblePairs: Float64Array;
  /** Bytes resident now, bookkeeping included. */
  readonly bytes: Float64Array;
  /** Bytes of one entry: key, value and bookkeeping. */
  readonly entryBytes: number;
}

/**
 * What a cache holds, as plain arrays. Heads follow one another, sequence-major, and the E entries of a head keep
 * the order in which its engine adds them up.
 */
export interface CacheSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries of each head, [B*G]; they add up to E. */
  readonly live: Int32Array;
  /** Keys and values [E,d], in the precision that the engine keeps. */
  readonly keys: FloatArray;
  readonly values: FloatArray;
  /** Position of each entry, [E]. */
  readonly positions: Int32Array;
  /** The last query that may see it, [E]; FOREVER, or what the bound leaves of it, where its type does not say yet. */
  readonly last: Int32Array;
  /** 1 for a LOCAL entry that no GLOBAL has closed, [E]. */
  readonly open: Uint8Array;
  /** As in CacheStats. */
  readonly peakLive: Int32Array;
  readonly visiblePairs: Float64Array;
  /** What a mass rule remembers of each entry, [E, scoreWidth(rule)]; left out under the other rule. */
  readonly scores?: FloatArray;
}

/** What a chunk pool remembers. */
export interface ChunkPoolSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Sum or maximum of what has arrived of each sequence's newest chunk, [B,D]. */
  readonly state: FloatArray;
}

/** The evicting cache of one layer (§8): ragged heads, original positions, blocks freed. */
export interface Cache {
  readonly options: CacheOptions | MassCacheOptions;
  /**
   * Step 1: appends k and v [B,G,T,d]. Sequence b takes only its first counts[b] tokens (default T).
   * `types` [B,G,nc] holds one type per chunk touched: row r is chunk floor(seen_b / C) + r, so for
   * C = 1 it is one type per new token. The type of a chunk that is not full yet is ignored. A mass rule has no
   * types, and what it keeps rests on what was attended to: every append() wants its one attend().
   */
  append(k: Tensor, v: Tensor, types: Tensor | undefined, counts?: readonly number[]): void;
  /**
   * Step 2: each of the newest queries q [B,H,T,d] over all entries, cached and new: out [B,H,T,d].
   * Rows beyond counts[b] are 0.
   */
  attend(q: Tensor, scale: number): Tensor;
  /** Step 3: frees every entry that the next query cannot see. */
  evict(): void;
  /** The three in one call: out [B,H,T,d]. */
  step(step: CacheStep, counts?: readonly number[]): Tensor;
  /**
   * The same for a cache that has seen nothing: masked attention over the prompt, of which only what the next query
   * can see is stored.
   * @throws {ValueError} If the cache has seen a token.
   */
  prefill(step: CacheStep, counts?: readonly number[]): Tensor;
  /** Forgets everything and frees all blocks. */
  clear(): void;
  stats(): Promise<CacheStats>;
  /** Positions held by KV head `g` of sequence `b`, ascending. */
  positions(b: number, g: number): Promise<Int32Array>;
  /** A cache of its own that goes on as this one does, to the bit. */
  fork(): Cache;
  /** What is held between two steps. Dead entries are left out once evict() was called. */
  snapshot(): Promise<CacheSnapshot>;
  /**
   * Holds what the snapshot holds, and nothing else: the cache goes on as the one of which it was taken, to the bit
   * on the same engine. There is no newest step: attend() wants an append() first.
   * @throws {ShapeError} If the snapshot is of another layout. @throws {ValueError} If it contradicts itself.
   */
  restore(snapshot: CacheSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Pools hidden states over chunks while they arrive in steps of any size (§2, C > 1). */
export interface ChunkPool {
  /**
   * Takes x [B,T,D], of which sequence b uses its first counts[b] rows (default T), and returns
   * [B,nc,D] with nc = floor((T + C - 2) / C) + 1: row r pools what has arrived so far of chunk
   * floor(seen_b / C) + r. Rows of chunks that nothing has reached are 0.
   */
  push(x: Tensor, counts?: readonly number[]): Tensor;
  /** A pool of its own that goes on as this one does, to the bit. */
  fork(): ChunkPool;
  snapshot(): Promise<ChunkPoolSnapshot>;
  /** Remembers what the snapshot does, and nothing else. Errors as of Cache.restore. */
  restore(snapshot: ChunkPoolSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}
