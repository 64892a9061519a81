/**
 * A cache of the contract over the raw one of an engine.
 * @module
 */
import { type Expected, finite, list, optional, record, wholeFrom } from '../arguments.ts';
import type { Cache, CacheOptions, CacheSnapshot, CacheStats } from '../cache.ts';
import { DisposedError } from '../errors.ts';
import type { CacheKernels } from '../kernels.ts';
import { checkTypeValues } from '../shape.ts';
import { appendSizes, checkStep, headIndex, querySizes } from '../sizes.ts';
import { checkCacheSnapshot } from '../snapshots.ts';
import type { Shaped, Tensor } from '../tensor.ts';
import type { Handles } from './handles.ts';

/** How many tokens of a step each sequence takes. */
export const expectCounts: Expected = (name, value) => optional(list(wholeFrom(0)))(name, value);

export class CheckedCache<A extends Shaped> implements Cache {
  readonly options: CacheOptions;
  readonly #on: Handles<A>;
  #raw: CacheKernels<A> | undefined;
  /** Of the newest step. */
  #counts: readonly number[] = [];

  constructor(on: Handles<A>, raw: CacheKernels<A>, options: CacheOptions) {
    this.#on = on;
    this.#raw = raw;
    this.options = options;
  }

  append(k: Tensor, v: Tensor, types: Tensor, counts?: readonly number[]): void {
    const raw = this.#alive();
    const [keys, values] = [this.#on.float('k', k), this.#on.float('v', v)];
    const kinds = this.#on.integer('types', types);
    expectCounts('counts', counts);
    const sizes = appendSizes(keys, values, kinds, counts, this.options);
    this.#on.values(kinds, checkTypeValues);
    this.#counts = sizes.counts;
    this.#on.run('append', () => raw.append(keys, values, kinds, sizes));
  }
  attend(q: Tensor, scale: number): Tensor {
    const raw = this.#alive();
    const queries = this.#on.float('q', q);
    finite('scale', scale);
    const sizes = querySizes(queries, this.options);
    checkStep(this.#counts, sizes.T);
    return this.#on.real('attend', () => raw.attend(queries, scale, sizes));
  }
  evict(): void {
    this.#alive().evict();
  }
  clear(): void {
    this.#alive().clear();
    this.#counts = [];
  }
  async stats(): Promise<CacheStats> {
    return this.#alive().stats();
  }
  async positions(b: number, g: number): Promise<Int32Array> {
    const raw = this.#alive();
    wholeFrom(0)('b', b);
    wholeFrom(0)('g', g);
    return raw.positions(headIndex(b, g, this.options));
  }
  fork(): Cache {
    const raw = this.#alive();
    const copy = new CheckedCache(this.#on, this.#on.run('fork', () => raw.fork()), this.options);
    copy.#counts = this.#counts;
    return copy;
  }
  async snapshot(): Promise<CacheSnapshot> {
    return this.#alive().snapshot();
  }
  restore(snapshot: CacheSnapshot): void {
    const raw = this.#alive();
    record()('snapshot', snapshot);
    checkCacheSnapshot(snapshot, this.options);
    this.#on.run('restore', () => raw.restore(snapshot));
    this.#counts = [];
  }
  dispose(): void {
    this.#raw?.dispose();
    this.#raw = undefined;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): CacheKernels<A> {
    this.#on.assertAlive();
    if (this.#raw) return this.#raw;
    throw new DisposedError('a cache was used after dispose(): create a new one');
  }
}
