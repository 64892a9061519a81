/**
 * A chunk pool of the contract, made from the raw pool of an engine.
 * @module
 */
import { record } from '../arguments.ts';
import type { ChunkPool, ChunkPoolSnapshot } from '../cache.ts';
import { DisposedError } from '../errors.ts';
import type { PoolKernels } from '../kernels.ts';
import { type PoolSizes, pushSizes } from '../sizes.ts';
import { checkChunkPoolSnapshot } from '../snapshots.ts';
import type { Shaped, Tensor } from '../tensor.ts';
import { expectCounts } from './cache.ts';
import type { Handles } from './handles.ts';

export class CheckedPool<A extends Shaped> implements ChunkPool {
  readonly #on: Handles<A>;
  readonly #sizes: PoolSizes;
  #raw: PoolKernels<A> | undefined;

  constructor(on: Handles<A>, raw: PoolKernels<A>, sizes: PoolSizes) {
    this.#on = on;
    this.#raw = raw;
    this.#sizes = sizes;
  }

  push(x: Tensor, counts?: readonly number[]): Tensor {
    const raw = this.#alive();
    const tokens = this.#on.float('x', x);
    expectCounts('counts', counts);
    const sizes = pushSizes(tokens, counts, this.#sizes);
    return this.#on.real('push', () => raw.push(tokens, sizes));
  }
  fork(): ChunkPool {
    const raw = this.#alive();
    return new CheckedPool(this.#on, this.#on.run('fork', () => raw.fork()), this.#sizes);
  }
  async snapshot(): Promise<ChunkPoolSnapshot> {
    return this.#alive().snapshot();
  }
  restore(snapshot: ChunkPoolSnapshot): void {
    const raw = this.#alive();
    record()('snapshot', snapshot);
    checkChunkPoolSnapshot(snapshot, this.#sizes.B, this.#sizes.D);
    this.#on.run('restore', () => raw.restore(snapshot));
  }
  dispose(): void {
    this.#raw?.dispose();
    this.#raw = undefined;
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #alive(): PoolKernels<A> {
    this.#on.assertAlive();
    if (this.#raw) return this.#raw;
    throw new DisposedError('a chunk pool was used after dispose(): create a new one');
  }
}
