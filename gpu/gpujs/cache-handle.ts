/**
 * A cache whose work is left in the engine's queue, and whose failures wait until it is asked for something.
 * @module
 */
import type { CacheOptions, CacheSnapshot, CacheStats } from '../../src/core/cache.ts';
import type { CacheKernels } from '../../src/core/kernels.ts';
import type { AppendSizes } from '../../src/core/sizes.ts';
import { type DeviceArray, memoriesOf } from './array.ts';
import { DeviceCache } from './cache.ts';
import type { Jobs } from './jobs.ts';

export class GpuCache implements CacheKernels<DeviceArray> {
  readonly #jobs: Jobs;
  readonly #options: CacheOptions;
  readonly #cache: DeviceCache;
  #failure: Error | undefined;

  constructor(jobs: Jobs, options: CacheOptions) {
    this.#jobs = jobs;
    this.#options = options;
    this.#cache = new DeviceCache(jobs.device, options);
  }

  append(k: DeviceArray, v: DeviceArray, types: DeviceArray, { T, counts }: AppendSizes): void {
    this.#job(async () => {
      const [keys, values, kinds] = await memoriesOf([k, v, types]);
      await this.#cache.append(keys, values, kinds, types.host, T, counts);
    });
  }
  attend(q: DeviceArray, scale: number, { H, T }: { H: number; T: number }): DeviceArray {
    return this.#jobs.one([q], q.shape, async (scope, [queries]) => {
      if (this.#failure) throw this.#failure;
      return this.#cache.attend(scope, queries, H, T, scale);
    });
  }
  evict(): void {
    this.#job(async () => this.#cache.evict());
  }
  clear(): void {
    this.#job(() => this.#cache.clear());
  }
  stats(): Promise<CacheStats> {
    return this.#ask(() => this.#cache.stats());
  }
  positions(head: number): Promise<Int32Array> {
    const { kvHeads } = this.#options;
    return this.#ask(() => this.#cache.positions(Math.floor(head / kvHeads), head % kvHeads));
  }
  fork(): GpuCache {
    const copy = new GpuCache(this.#jobs, this.#options);
    this.#job(() => this.#cache.settle());
    copy.#job(async () => {
      if (this.#failure) throw this.#failure;
      copy.#cache.copyOf(this.#cache);
    });
    return copy;
  }
  snapshot(): Promise<CacheSnapshot> {
    return this.#ask(() => this.#cache.snapshot());
  }
  restore(snapshot: CacheSnapshot): void {
    // The job comes later: the caller may have changed its arrays by then.
    const kept = Object.fromEntries(Object.entries(snapshot).map(([name, array]) => [name, array.slice()]));
    this.#job(() => this.#cache.restore(kept as unknown as CacheSnapshot));
  }
  dispose(): void {
    this.#jobs.add(async () => this.#cache.free());
  }

  /** A job whose failure waits for someone to ask. */
  #job(work: () => Promise<void>): void {
    this.#jobs.add(async () => {
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
      this.#jobs.add(async () => {
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
}
