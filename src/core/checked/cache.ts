/**
 * A cache of the contract, made from the raw cache of an engine.
 * @module
 */
import { type Expected, finite, list, optional, record, wholeFrom } from '../arguments.ts';
import type { Cache, CacheOptions, CacheSnapshot, CacheStats, CacheStep, MassCacheOptions } from '../cache.ts';
import { DisposedError, ValueError } from '../errors.ts';
import type { CacheKernels } from '../kernels.ts';
import { AttendOnce } from '../mass-checks.ts';
import { checkTypeValues } from '../shape.ts';
import { type AppendSizes, appendSizes, checkStep, expectTypeScores, headIndex, keySizes, querySizes } from '../sizes.ts';
import { checkCacheSnapshot } from '../snapshots.ts';
import type { Shaped, Tensor } from '../tensor.ts';
import type { Handles } from './handles.ts';

/** Expects the number of tokens that each sequence takes of a step. */
export const expectCounts: Expected = (name, value) => optional(list(wholeFrom(0)))(name, value);

// For forms that take a step of several caches at once. Methods would be open to whoever has a cache.
/** The raw cache, of which a form takes a step of one token of every sequence; noteTokens() follows. */
export let rawOf: <A extends Shaped>(cache: CheckedCache<A>, on: Handles<A>) => CacheKernels<A>;
/** Notes that a form took that step. */
export let noteTokens: <A extends Shaped>(cache: CheckedCache<A>) => void;

export class CheckedCache<A extends Shaped> implements Cache {
  readonly options: CacheOptions | MassCacheOptions;
  readonly #on: Handles<A>;
  #raw: CacheKernels<A> | undefined;
  /** The counts of the newest step. */
  #counts: readonly number[] = [];
  /** Whether no sequence has seen a token. */
  #fresh = true;
  /** Under a budget, checks that append() and attend() alternate. */
  readonly #once: AttendOnce | undefined;

  constructor(on: Handles<A>, raw: CacheKernels<A>, options: CacheOptions | MassCacheOptions) {
    this.#on = on;
    this.#raw = raw;
    this.options = options;
    this.#once = 'mass' in options ? new AttendOnce() : undefined;
  }

  append(k: Tensor, v: Tensor, types: Tensor | undefined, counts?: readonly number[]): void {
    const raw = this.#alive();
    const { keys, values, kinds, sizes } = this.#checkAppend(k, v, types, counts);
    this.#noteStep(sizes.counts);
    this.#on.run('append', () => raw.append(keys, values, kinds, sizes));
    this.#once?.appended();
  }
  attend(q: Tensor, scale: number): Tensor {
    const raw = this.#alive();
    const { queries, sizes } = this.#checkQueries(q, scale);
    checkStep(this.#counts, sizes.T);
    this.#once?.attend();
    return this.#on.real('attend', () => raw.attend(queries, scale, sizes));
  }
  step(step: CacheStep, counts?: readonly number[]): Tensor {
    return this.#inOneCall('step', step, counts);
  }
  prefill(step: CacheStep, counts?: readonly number[]): Tensor {
    if (!this.#fresh) throw new ValueError('prefill() is for a cache that has not seen any token: clear() it, or use step()');
    return this.#inOneCall('prefill', step, counts);
  }

  static {
    rawOf = (cache, on) => {
      if (on !== cache.#on) throw new ValueError(`a cache of another engine reached the engine '${on.kernels.name}': fork() does not move it`);
      return cache.#alive();
    };
    noteTokens = (cache) => cache.#noteStep(new Array<number>(cache.options.batch).fill(1));
  }

  /** A step in one call if the engine has one, and otherwise the three calls for which it stands. */
  #inOneCall(name: 'step' | 'prefill', step: CacheStep, counts: readonly number[] | undefined): Tensor {
    const raw = this.#alive();
    record()('step', step);
    const { keys: k, values: v, kinds: types, sizes } = this.#checkAppend(step.k, step.v, step.types, counts);
    const { queries: q, sizes: { H, T } } = this.#checkQueries(step.q, step.scale);
    checkStep(sizes.counts, T);
    this.#noteStep(sizes.counts);
    const { scale } = step;
    return this.#on.real(name, () => {
      const own = raw[name] ?? raw.step;
      if (own) return own.call(raw, { q, k, v, types, scale }, { ...sizes, H });
      raw.append(k, v, types, sizes);
      const out = raw.attend(q, scale, { H, T });
      raw.evict();
      return out;
    });
  }

  #checkAppend(
    k: Tensor, v: Tensor, types: Tensor | undefined, counts: readonly number[] | undefined,
  ): { keys: A; values: A; kinds: A | undefined; sizes: AppendSizes } {
    const [keys, values] = [this.#on.float('k', k), this.#on.float('v', v)];
    if ('mass' in this.options) {
      expectCounts('counts', counts);
      this.#once?.expectAttended('append()');
      const sizes = keySizes(keys, values, counts, this.options);
      const scores = this.options.mass.score.by === 'types' ? this.#on.float('types', types) : undefined;
      if (scores) expectTypeScores(scores, sizes.T, this.options);
      return { keys, values, kinds: scores, sizes };
    }
    const kinds = this.#on.integer('types', types);
    expectCounts('counts', counts);
    const sizes = appendSizes(keys, values, kinds, counts, this.options);
    this.#on.values(kinds, checkTypeValues);
    return { keys, values, kinds, sizes };
  }

  #checkQueries(q: Tensor, scale: number): { queries: A; sizes: { H: number; T: number } } {
    const queries = this.#on.float('q', q);
    finite('scale', scale);
    return { queries, sizes: querySizes(queries, this.options) };
  }

  #noteStep(counts: readonly number[]): void {
    this.#counts = counts;
    if (counts.some((count) => count > 0)) this.#fresh = false;
  }
  evict(): void {
    const raw = this.#alive();
    this.#once?.expectAttended('evict()');
    raw.evict();
  }
  clear(): void {
    this.#alive().clear();
    this.#once?.clear();
    this.#counts = [];
    this.#fresh = true;
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
    this.#once?.expectAttended('fork()');
    const copy = new CheckedCache(this.#on, this.#on.run('fork', () => raw.fork()), this.options);
    copy.#counts = this.#counts;
    copy.#fresh = this.#fresh;
    return copy;
  }
  async snapshot(): Promise<CacheSnapshot> {
    const raw = this.#alive();
    this.#once?.expectAttended('snapshot()');
    return raw.snapshot();
  }
  restore(snapshot: CacheSnapshot): void {
    const raw = this.#alive();
    record()('snapshot', snapshot);
    checkCacheSnapshot(snapshot, this.options);
    this.#on.run('restore', () => raw.restore(snapshot));
    this.#once?.clear();
    this.#counts = [];
    this.#fresh = snapshot.seen.every((tokens) => tokens === 0);
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
