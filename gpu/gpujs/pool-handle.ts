/**
 * A chunk pool's state is an array on the device; the tokens seen are counted on the host.
 * @module
 */
import type { ChunkPoolSnapshot } from '../../src/core/cache.ts';
import type { Pooling } from '../../src/core/engine.ts';
import type { PoolKernels } from '../../src/core/kernels.ts';
import type { AppendSizes, PoolSizes } from '../../src/core/sizes.ts';
import type { DeviceArray } from './array.ts';
import { pushChunks } from './chunks.ts';
import type { Jobs } from './jobs.ts';

export class GpuChunkPool implements PoolKernels<DeviceArray> {
  readonly #jobs: Jobs;
  readonly #pooling: Pooling;
  readonly #sizes: PoolSizes;
  /** Sum or maximum of the newest chunk, [B,D]. */
  #state: DeviceArray;
  #seen: number[];

  constructor(jobs: Jobs, pooling: Pooling, sizes: PoolSizes, state: DeviceArray, seen?: readonly number[]) {
    this.#jobs = jobs;
    this.#pooling = pooling;
    this.#sizes = sizes;
    this.#state = state;
    this.#seen = seen ? [...seen] : new Array<number>(sizes.B).fill(0);
  }

  push(x: DeviceArray, { T, rows, counts }: AppendSizes): DeviceArray {
    const { B, D, C } = this.#sizes;
    const used = this.#seen.map((n) => n % C);
    const step = { B, T, D, C, largest: this.#pooling === 'max', used, counts };
    const pooled = this.#jobs.replace(this.#state, [x, this.#state], [B, rows, D], (scope, [a, s]) =>
      pushChunks(scope, a, s, step));
    counts.forEach((count, b) => (this.#seen[b] += count));
    return pooled;
  }

  fork(): GpuChunkPool {
    const { B, D } = this.#sizes;
    // A step replaces the state and leaves the old one as it is.
    const state = this.#jobs.one([this.#state], [B, D], async (scope, [shared]) => scope.share(shared));
    return new GpuChunkPool(this.#jobs, this.#pooling, this.#sizes, state, this.#seen);
  }

  async snapshot(): Promise<ChunkPoolSnapshot> {
    const seen = Int32Array.from(this.#seen);
    return { seen, state: await this.#jobs.read(this.#state) };
  }

  restore({ seen, state }: ChunkPoolSnapshot): void {
    const old = this.#state;
    this.#state = this.#jobs.upload(Float32Array.from(state), [this.#sizes.B, this.#sizes.D]);
    this.#seen = Array.from(seen);
    this.#jobs.free(old);
  }

  dispose(): void {
    this.#jobs.free(this.#state);
  }
}
