/**
 * §2, C > 1: pools of hidden states over chunks. One pass over the hidden states, in plain TypeScript and float64.
 * @module
 */
import type { ChunkPoolSnapshot, Pooling } from '../src/core/engine.ts';
import type { PoolKernels } from '../src/core/kernels.ts';
import type { AppendSizes, PoolSizes } from '../src/core/sizes.ts';
import type { Machine, WasmArray } from './machine.ts';

/** Pools while tokens arrive in steps of any size. */
export class RunningPool implements PoolKernels<WasmArray> {
  readonly #on: Machine;
  readonly #pooling: Pooling;
  readonly #sizes: PoolSizes;
  readonly #seen: Int32Array;
  /** The sum or maximum over the unfinished chunk, [B,D]. */
  readonly #state: Float64Array;

  constructor(on: Machine, pooling: Pooling, sizes: PoolSizes) {
    this.#on = on;
    this.#pooling = pooling;
    this.#sizes = sizes;
    this.#seen = new Int32Array(sizes.B);
    this.#state = new Float64Array(sizes.B * sizes.D);
  }

  /** x [B,T,D] -> [B,rows,D]: row r pools what has arrived of chunk floor(seen_b/C) + r. */
  push(x: WasmArray, { T, rows, counts }: AppendSizes): WasmArray {
    const { B, D, C } = this.#sizes;
    const made = this.#on.zeros([B, rows, D]);
    this.#on.real(x);
    const [input, out] = [this.#on.view(x), this.#on.view(made)];
    const mean = this.#pooling === 'mean';
    for (let b = 0; b < B; b++) {
      const first = Math.floor(this.#seen[b] / C);
      for (let t = 0; t < counts[b]; t++) {
        const position = this.#seen[b] + t;
        const [from, to] = [(b * T + t) * D, (b * rows + Math.floor(position / C) - first) * D];
        const n = position % C;
        for (let column = 0, at = b * D; column < D; column++, at++) {
          const [value, before] = [input[from + column], this.#state[at]];
          this.#state[at] = n === 0 ? value : mean ? before + value : Math.max(before, value);
          out[to + column] = mean ? this.#state[at] / (n + 1) : this.#state[at];
        }
      }
      this.#seen[b] += counts[b];
    }
    return made;
  }

  fork(): RunningPool {
    const copy = new RunningPool(this.#on, this.#pooling, this.#sizes);
    copy.restore({ seen: this.#seen, state: this.#state });
    return copy;
  }

  async snapshot(): Promise<ChunkPoolSnapshot> {
    return { seen: this.#seen.slice(), state: this.#state.slice() };
  }

  restore({ seen, state }: ChunkPoolSnapshot): void {
    this.#seen.set(seen);
    this.#state.set(state);
  }

  dispose(): void {
    // It has no memory of the module.
  }
}

/** x [B,N,D] -> [B,Nc,D]. */
export function poolChunks(
  on: Machine, x: WasmArray, pooling: Pooling, { B, N, D, C, chunks }: PoolSizes & { N: number; chunks: number },
): WasmArray {
  const counts = new Array<number>(B).fill(N);
  return new RunningPool(on, pooling, { B, D, C }).push(x, { T: N, rows: chunks, counts });
}
