/**
 * A chunk pool behind the contract: its state is a tensor, the tokens seen are counted on the host.
 * @module
 */
import { guardPool } from '../../src/core/operations.ts';
import * as check from '../../src/core/checks.ts';
import type { ChunkPool, ChunkPoolSnapshot, Pooling, Tensor } from '../../src/core/engine.ts';
import { checkCounts, expectRank, expectShape } from '../../src/core/shape.ts';
import { pushChunks } from './chunks.ts';
import type { EngineJobs } from './jobs.ts';
import { type DeviceTensor, float } from './tensor.ts';

/** Sizes of a pool. */
interface PoolSizes {
  readonly batch: number;
  readonly width: number;
  readonly chunk: number;
  readonly pooling: Pooling;
}

export class GpuChunkPool implements ChunkPool {
  readonly #engine: EngineJobs;
  readonly #sizes: PoolSizes;
  /** Sum or maximum of the newest chunk, [B,D]. */
  #state: DeviceTensor;
  #seen: number[];

  constructor(engine: EngineJobs, sizes: PoolSizes, state: DeviceTensor, seen?: readonly number[]) {
    this.#engine = engine;
    this.#sizes = sizes;
    this.#state = state;
    this.#seen = seen ? [...seen] : new Array<number>(sizes.batch).fill(0);
    guardPool(this);
  }

  push(x: Tensor, counts?: readonly number[]): Tensor {
    const { batch, width, chunk, pooling } = this.#sizes;
    expectRank('x', x, 'B,T,D');
    const T = x.shape[1];
    expectShape('x', x, [batch, T, width], 'the pool was made with this batch and width');
    const taken = checkCounts(counts, batch, T);
    const inputs = [float(x), float(this.#state)];
    const used = this.#seen.map((n) => n % chunk);
    const step = { B: batch, T, D: width, C: chunk, largest: pooling === 'max', used, counts: taken };
    const shape = [batch, Math.floor((T + chunk - 2) / chunk) + 1, width];
    const rows = this.#engine.replace(this.#state, inputs, shape, (scope, [a, s]) => pushChunks(scope, a, s, step));
    taken.forEach((count, b) => (this.#seen[b] = this.#seen[b] + count));
    return rows;
  }

  fork(): ChunkPool {
    const { batch, width } = this.#sizes;
    const [state] = this.#engine.call([float(this.#state)], [[batch, width]], async ({ device }, [old]) => {
      const copy = device.allocate(batch * width);
      device.copy(old, copy, [{ from: 0, to: 0, length: batch * width }]);
      return [copy];
    });
    return new GpuChunkPool(this.#engine, this.#sizes, state, this.#seen);
  }

  async snapshot(): Promise<ChunkPoolSnapshot> {
    const seen = Int32Array.from(this.#seen);
    return { seen, state: await this.#engine.read(float(this.#state)) };
  }

  restore(snapshot: ChunkPoolSnapshot): void {
    const { batch, width } = this.#sizes;
    const old = float(this.#state);
    check.checkChunkPoolSnapshot(snapshot, batch, width);
    this.#state = this.#engine.upload(Float32Array.from(snapshot.state), [batch, width]);
    this.#seen = Array.from(snapshot.seen);
    old.dispose();
  }

  dispose(): void {
    this.#state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
