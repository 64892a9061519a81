/**
 * The evicting cache for callers with arrays (§8): checks the arguments, then lets the reference compute.
 * @module
 */
import { type Expected, finite, floats, integers, list, oneOf, optional, record, wholeFrom } from '../../src/core/arguments.ts';
import type { CacheOptions, CacheSnapshot, CacheStats } from '../../src/core/cache.ts';
import { checkCacheOptions } from '../../src/core/checks.ts';
import { ValueError } from '../../src/core/errors.ts';
import { firstNotFinite } from '../../src/core/finite.ts';
import { CACHE_OPTIONS, expectKnown, TYPE_OPTIONS } from '../../src/core/known-options.ts';
import { checkTypeValues } from '../../src/core/shape.ts';
import { appendSizes, checkStep, headIndex, querySizes } from '../../src/core/sizes.ts';
import { checkCacheSnapshot } from '../../src/core/snapshots.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import { EvictingCache } from '../cache.ts';

/** Keys and values that no query sees may hold anything. */
const step = (): Record<string, Expected> =>
  ({ k: floats, v: floats, types: integers, counts: optional(list(wholeFrom(0))) });

/** The inputs of a step. Sequence b takes the first counts[b] <= T of its T tokens (default: all). */
export interface StepInputs {
  q: NDArray;
  k: NDArray;
  v: NDArray;
  types: NDArray<Int32Array>;
  counts?: readonly number[];
  scale?: number;
}

/** The fields of a whole step may be given to each of its parts. */
const known = (what: string, inputs: unknown): void => {
  expectKnown(what, inputs, ['q', 'k', 'v', 'types', 'counts', 'scale'], 'input');
};

/**
 * The evicting KV cache of one layer (§8), for B sequences and G KV heads of size d.
 *
 * A step is append, attend, evict. Its outputs equal row i of full masked attention for every split of
 * a sequence into steps, and a key is held exactly while a query may still see it: after a step the
 * positions held are { j : last(j) >= next query }. Memory is a whole number of blocks per head. The options
 * `window`, `localWindow`, `chunk` and `reach` are those of `lifetime()`.
 *
 * @throws {ValueError} If a size is not a whole number in its range.
 * @example
 * ```ts
 * import { KVCache, ndarray } from 'neural-attention-search';
 * const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 2, window: 1, blockSize: 4 });
 * for (const type of [0, 2, 2, 2]) { // GLOBAL, then WINDOW tokens that live for one more query
 *   const x = ndarray(Float64Array.of(1, 0), [1, 1, 1, 2]);
 *   cache.step({ q: x, k: x, v: x, types: ndarray(Int32Array.of(type), [1, 1, 1]) });
 * }
 * console.log([...cache.positions(0, 0)]); // [0,3]
 * ```
 */
export class KVCache {
  readonly options: CacheOptions;
  #cache: EvictingCache;
  #counts: readonly number[] = [];

  constructor(options: Omit<CacheOptions, 'chunk' | 'blockSize'> & { chunk?: number; blockSize?: number }) {
    record()('options', options);
    expectKnown('KVCache', options, [...CACHE_OPTIONS, ...TYPE_OPTIONS]);
    this.options = { chunk: 1, blockSize: 16, ...options };
    checkCacheOptions(this.options);
    optional(oneOf('f64', 'f32', 'f16'))('storage', this.options.storage);
    this.#cache = new EvictingCache(this.options);
  }

  /** Append, attend, evict: returns out [B,H,T,d], whose rows beyond counts[b] are 0. */
  step(inputs: StepInputs): NDArray {
    known('step()', inputs);
    record({ ...step(), q: floats, scale: optional(finite) })('inputs', inputs);
    const { q, k, v, types, counts, scale = 1 / Math.sqrt(this.options.headDim) } = inputs;
    const sizes = appendSizes(k, v, types, counts, this.options);
    const { H } = querySizes(q, this.options, sizes.T);
    checkTypeValues(types.data);
    checkFiniteRows(q, sizes.counts);
    this.#counts = sizes.counts;
    return this.#cache.step({ q, k, v, types, scale }, { ...sizes, H });
  }

  /**
   * Step 1: appends k and v [B,G,T,d]. types [B,G,nc] has one type per chunk that the step touches: row r is chunk
   * floor(seen_b / C) + r. The type of a chunk that is not yet full is ignored.
   */
  append(inputs: Omit<StepInputs, 'q'>): void {
    known('append()', inputs);
    record(step())('inputs', inputs);
    const { k, v, types, counts } = inputs;
    const sizes = appendSizes(k, v, types, counts, this.options);
    checkTypeValues(types.data);
    this.#counts = sizes.counts;
    this.#cache.append(k, v, types, sizes);
  }

  /**
   * Step 2: attention of the newest queries q [B,H,T,d] over all entries, cached and new. Default scale: 1 / sqrt(d).
   */
  attend(inputs: { q: NDArray; scale?: number }): NDArray {
    known('attend()', inputs);
    record({ q: floats, scale: optional(finite) })('inputs', inputs);
    const { q, scale = 1 / Math.sqrt(this.options.headDim) } = inputs;
    const sizes = querySizes(q, this.options);
    checkStep(this.#counts, sizes.T);
    return this.#cache.attend(q, scale, sizes);
  }

  /** Step 3: frees every entry that the next query cannot see, and blocks that become empty. */
  evict(): void {
    this.#cache.evict();
  }

  /** Removes all entries and frees all blocks. */
  clear(): void {
    this.#counts = [];
    this.#cache.clear();
  }

  /** An independent copy, which continues to the same bits. */
  fork(): KVCache {
    const copy = new KVCache(this.options);
    copy.#cache = this.#cache.fork();
    copy.#counts = this.#counts;
    return copy;
  }

  /** The contents as plain arrays; see CacheSnapshot. */
  snapshot(): CacheSnapshot {
    return this.#cache.snapshot();
  }

  /**
   * Replaces the contents by those of the snapshot.
   *
   * @throws {ShapeError} If the snapshot has another layout.
   * @throws {ValueError} If it contradicts itself.
   */
  restore(snapshot: CacheSnapshot): void {
    record()('snapshot', snapshot);
    checkCacheSnapshot(snapshot, this.options);
    this.#counts = [];
    this.#cache.restore(snapshot);
  }

  /** The positions that KV head g of sequence b holds, in ascending order. */
  positions(b: number, g: number): Int32Array {
    return this.#cache.positions(headIndex(b, g, this.options));
  }

  /** The number of tokens that each sequence has seen, [B]. */
  lengths(): Int32Array {
    return this.#cache.stats().seen;
  }

  /** The live entries, bytes and counts of every head. */
  stats(): CacheStats {
    return this.#cache.stats();
  }
}

/** Refuses queries [B,H,T,d] that are not finite, except in rows beyond counts. */
export function checkFiniteRows({ data, shape }: NDArray, counts: readonly number[]): void {
  const [, H, T, d] = shape as [number, number, number, number];
  for (let row = 0; row < data.length / d; row++) {
    const t = row % T;
    if (t >= counts[Math.floor(row / (H * T))]) continue;
    const at = firstNotFinite(data, row * d, (row + 1) * d);
    if (at >= 0) throw new ValueError(`q holds ${data[at]} at element ${at}: it must be finite in every row within counts`);
  }
}
