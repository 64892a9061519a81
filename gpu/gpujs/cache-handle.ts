/**
 * A cache behind the contract, its work left in the engine's queue.
 * @module
 */
import { guardCache } from '../../src/core/operations.ts';
import * as check from '../../src/core/checks.ts';
import type { Cache, CacheOptions, CacheSnapshot, CacheStats, Tensor } from '../../src/core/engine.ts';
import { DisposedError } from '../../src/core/errors.ts';
import { checkCounts, checkTypeValues } from '../../src/core/shape.ts';
import { DeviceCache } from './cache.ts';
import type { EngineJobs } from './jobs.ts';
import { float, integer, memoriesOf } from './tensor.ts';

/** A cache behind the contract: checks at once, leaves jobs, and keeps an error until it is asked for something. */
export class GpuCache implements Cache {
  readonly options: CacheOptions;
  readonly #engine: EngineJobs;
  readonly #cache: DeviceCache;
  #counts: readonly number[] = [];
  #failure: Error | undefined;
  #disposed = false;

  constructor(engine: EngineJobs, cache: DeviceCache) {
    this.options = cache.options;
    this.#engine = engine;
    this.#cache = cache;
    guardCache(this);
  }

  append(k: Tensor, v: Tensor, types: Tensor, counts?: readonly number[]): void {
    this.#assertAlive();
    const T = check.appendedTokens(k, v, types, this.options);
    const taken = checkCounts(counts, this.options.batch, T);
    const inputs = [float(k), float(v), integer(types)];
    const { host } = inputs[2];
    if (host) checkTypeValues(host);
    this.#counts = taken;
    this.#job(async () => {
      const [keys, values, kinds] = await memoriesOf(inputs);
      await this.#cache.append(keys, values, kinds, host, T, taken);
    });
  }
  attend(q: Tensor, scale: number): Tensor {
    this.#assertAlive();
    const T = q.shape[2] ?? 0;
    const H = check.checkQueries(q, T, this.options);
    check.checkStep(this.#counts, T);
    return this.#engine.call([float(q)], [q.shape], async (scope, [queries]) => {
      if (this.#failure) throw this.#failure;
      return [await this.#cache.attend(scope, queries, H, T, scale)];
    })[0];
  }
  evict(): void {
    this.#assertAlive();
    this.#job(async () => this.#cache.evict());
  }
  clear(): void {
    this.#assertAlive();
    this.#counts = [];
    this.#job(() => this.#cache.clear());
  }
  async stats(): Promise<CacheStats> {
    this.#assertAlive();
    return this.#ask(() => this.#cache.stats());
  }
  async positions(b: number, g: number): Promise<Int32Array> {
    this.#assertAlive();
    check.headIndex(b, g, this.options);
    return this.#ask(() => this.#cache.positions(b, g));
  }
  fork(): Cache {
    this.#assertAlive();
    const copy = new GpuCache(this.#engine, new DeviceCache(this.#engine.device, this.options));
    copy.#counts = this.#counts;
    this.#job(() => this.#cache.settle());
    copy.#job(async () => {
      if (this.#failure) throw this.#failure;
      copy.#cache.copyOf(this.#cache);
    });
    return copy;
  }
  async snapshot(): Promise<CacheSnapshot> {
    this.#assertAlive();
    return this.#ask(() => this.#cache.snapshot());
  }
  restore(snapshot: CacheSnapshot): void {
    this.#assertAlive();
    check.checkCacheSnapshot(snapshot, this.options);
    // The job comes later: the caller may have changed its arrays by then.
    const kept = Object.fromEntries(Object.entries(snapshot).map(([name, array]) => [name, array.slice()]));
    this.#counts = [];
    this.#job(() => this.#cache.restore(kept as unknown as CacheSnapshot));
  }
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#engine.add(async () => this.#cache.free());
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** A job whose failure waits for someone to ask. */
  #job(work: () => Promise<void>): void {
    this.#engine.add(async () => {
      if (this.#failure) return;
      try {
        await work();
      } catch (error) {
        this.#failure = error as Error;
      }
    });
  }
  #ask<T>(question: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#engine.add(async () => {
        try {
          if (this.#failure) throw this.#failure;
          resolve(await question());
        } catch (error) {
          this.#failure = error as Error;
          reject(this.#failure);
        }
      });
    });
  }
  #assertAlive(): void {
    this.#engine.assertAlive();
    if (this.#disposed) throw new DisposedError('a cache was used after dispose(): create a new one');
  }
}
