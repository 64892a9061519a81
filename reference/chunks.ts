/**
 * §2, C > 1: the hidden states of a chunk become one before they are scored.
 * @module
 */
import type { ChunkPoolSnapshot, Pooling } from '../src/core/engine.ts';
import { checkChunkPoolSnapshot, checkPooling } from '../src/core/checks.ts';
import { chunkCount } from '../src/core/lifetime.ts';
import { checkCounts, expectRank, expectShape } from '../src/core/shape.ts';
import { type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';

/** x [B,N,D] -> [B,ceil(N/C),D]: mean or max over each chunk, the last one possibly short. */
export function poolChunks(x: NDArray, chunk: number, pooling: Pooling): NDArray {
  expectRank('x', x, 'B,N,D');
  const [B, N, D] = x.shape as [number, number, number];
  const pooled = new RunningPool(B, D, chunk, pooling).push(x);
  const chunks = chunkCount(N, chunk);
  const rows = pooled.shape[1];
  const out = zerosLike(x.data, B * chunks * D);
  for (let b = 0; b < B; b++) out.set(pooled.data.subarray(b * rows * D, (b * rows + chunks) * D), b * chunks * D);
  return { data: out, shape: [B, chunks, D] };
}

/** The same, while tokens arrive in steps of any size; see ChunkPool in the engine contract. */
export class RunningPool {
  readonly #batch: number;
  readonly #width: number;
  readonly #chunk: number;
  readonly #pooling: Pooling;
  readonly #seen: Int32Array;
  /** Sum or maximum of the unfinished chunk, [B,D]. */
  readonly #state: Float64Array;

  constructor(batch: number, width: number, chunk: number, pooling: Pooling) {
    checkPooling(chunk, pooling);
    this.#batch = batch;
    this.#width = width;
    this.#chunk = chunk;
    this.#pooling = pooling;
    this.#seen = zeros(Int32Array, batch);
    this.#state = zeros(Float64Array, batch * width);
  }

  /** x [B,T,D] -> [B,floor((T+C-2)/C)+1,D]: row r pools what has arrived of chunk floor(seen_b/C) + r. */
  push(x: NDArray, counts?: readonly number[]): NDArray {
    const [B, D, C] = [this.#batch, this.#width, this.#chunk];
    expectRank('x', x, 'B,T,D');
    const T = x.shape[1];
    expectShape('x', x, [B, T, D], 'the pool was made with this batch and width');
    const taken = checkCounts(counts, B, T);
    const rows = Math.floor((T + C - 2) / C) + 1;
    const out = zerosLike(x.data, B * rows * D);
    for (let b = 0; b < B; b++) {
      const first = Math.floor(this.#seen[b] / C);
      for (let t = 0; t < taken[b]; t++) {
        const position = this.#seen[b] + t;
        const row = (b * rows + Math.floor(position / C) - first) * D;
        this.#take(x.data.subarray((b * T + t) * D, (b * T + t + 1) * D), b, position % C, out.subarray(row, row + D));
      }
      this.#seen[b] = this.#seen[b] + taken[b];
    }
    return { data: out, shape: [B, rows, D] };
  }

  /** A pool of its own that goes on as this one does. */
  fork(): RunningPool {
    const copy = new RunningPool(this.#batch, this.#width, this.#chunk, this.#pooling);
    copy.restore(this.snapshot());
    return copy;
  }

  /** The tokens seen, and the state in float64, whatever the precision of the tokens. */
  snapshot(): ChunkPoolSnapshot {
    return { seen: this.#seen.slice(), state: this.#state.slice() };
  }

  /** Remembers what the snapshot does, and nothing else. */
  restore(snapshot: ChunkPoolSnapshot): void {
    checkChunkPoolSnapshot(snapshot, this.#batch, this.#width);
    this.#seen.set(snapshot.seen);
    this.#state.set(snapshot.state);
  }

  /** Folds the token that is number `n` of its chunk into the state, and writes the pooled row. */
  #take(token: NDArray['data'], b: number, n: number, row: NDArray['data']): void {
    const state = this.#state.subarray(b * this.#width, (b + 1) * this.#width);
    for (let column = 0; column < state.length; column++) {
      const value = token[column];
      const before = state[column];
      state[column] = n === 0 ? value : this.#pooling === 'mean' ? before + value : Math.max(before, value);
      row[column] = this.#pooling === 'mean' ? state[column] / (n + 1) : state[column];
    }
  }
}
