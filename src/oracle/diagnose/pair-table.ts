/**
 * Numbers of pairs of a query and a key, each computed when it is first asked for.
 * @module
 */

/** How many queries share an array: memory is taken only where it is asked for. */
const SHIFT = 5;

/** Numbers by query (b H + h) N + i and key (b G + g) N + j. */
export class PairTable {
  /** By KV head of the key and 2^SHIFT queries, [2^SHIFT, N] numbers. */
  readonly #blocks: (Float64Array | undefined)[];
  readonly #heads: number;
  readonly #N: number;
  readonly #make: (query: number, key: number) => number;

  /** @param heads KV heads of all sequences. @param R Query heads of each. */
  constructor(heads: number, R: number, N: number, make: (query: number, key: number) => number) {
    this.#blocks = Array.from({ length: heads * ((heads * R * N >> SHIFT) + 1) });
    this.#heads = heads;
    this.#N = N;
    this.#make = make;
  }

  at(query: number, key: number): number {
    const N = this.#N;
    const from = Math.floor(key / N);
    const block = this.#blocks[(query >> SHIFT) * this.#heads + from] ??= new Float64Array(N << SHIFT).fill(NaN);
    const at = (query & ((1 << SHIFT) - 1)) * N + key - from * N;
    const kept = block[at];
    return Number.isNaN(kept) ? (block[at] = this.#make(query, key)) : kept;
  }
}
