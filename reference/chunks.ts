/**
 * §2, C > 1: pools the hidden states of each chunk into one before it is scored.
 * @module
 */
import type { ChunkPoolSnapshot, Pooling } from '../src/core/engine.ts';
import type { AppendSizes, PoolSizes } from '../src/core/sizes.ts';
import { type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';

/** x [B,N,D] -> [B,ceil(N/C),D]: the mean or maximum over each chunk, of which the last may be shorter. */
export function poolChunks(
  x: NDArray, pooling: Pooling, { B, N, D, C, chunks }: PoolSizes & { N: number; chunks: number },
): NDArray {
  return new RunningPool(pooling, { B, D, C }).push(x, { T: N, rows: chunks, counts: new Array<number>(B).fill(N) });
}

/** Does the same while tokens arrive in steps of any size; see ChunkPool in the engine contract. */
export class RunningPool {
  readonly #pooling: Pooling;
  readonly #sizes: PoolSizes;
  readonly #seen: Int32Array;
  /** The sum or maximum over the unfinished chunk, [B,D]. */
  readonly #state: Float64Array;

  constructor(pooling: Pooling, sizes: PoolSizes) {
    this.#pooling = pooling;
    this.#sizes = sizes;
    this.#seen = zeros(Int32Array, sizes.B);
    this.#state = zeros(Float64Array, sizes.B * sizes.D);
  }

  /** x [B,T,D] -> [B,floor((T+C-2)/C)+1,D]: row r pools what has arrived of chunk floor(seen_b/C) + r. */
  push(x: NDArray, { T, rows, counts: taken }: AppendSizes): NDArray {
    const { B, D, C } = this.#sizes;
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

  /** An independent copy. */
  fork(): RunningPool {
    const copy = new RunningPool(this.#pooling, this.#sizes);
    copy.restore(this.snapshot());
    return copy;
  }

  /** The number of tokens seen, and the state, in float64 whatever the precision of the tokens. */
  snapshot(): ChunkPoolSnapshot {
    return { seen: this.#seen.slice(), state: this.#state.slice() };
  }

  /** Replaces the contents by those of the snapshot. */
  restore(snapshot: ChunkPoolSnapshot): void {
    this.#seen.set(snapshot.seen);
    this.#state.set(snapshot.state);
  }

  /** Adds token `n` of its chunk to the state, and writes the pooled row. */
  #take(token: NDArray['data'], b: number, n: number, row: NDArray['data']): void {
    const state = this.#state.subarray(b * this.#sizes.D, (b + 1) * this.#sizes.D);
    for (let column = 0; column < state.length; column++) {
      const value = token[column];
      const before = state[column];
      state[column] = n === 0 ? value : this.#pooling === 'mean' ? before + value : Math.max(before, value);
      row[column] = this.#pooling === 'mean' ? state[column] / (n + 1) : state[column];
    }
  }
}
