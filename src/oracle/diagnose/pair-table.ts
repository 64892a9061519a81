/**
 * Numbers of pairs of a query and a key, each computed when it is first asked for.
 * @module
 */

/** Numbers by query (b H + h) N + i and key (b G + g) N + j. */
export class PairTable {
  /** By KV heads of the query and of the key, [R N, N] numbers. */
  readonly #blocks: (Float64Array | undefined)[];
  readonly #heads: number;
  readonly #queries: number;
  readonly #N: number;
  readonly #make: (query: number, key: number) => number;

  constructor(heads: number, R: number, N: number, make: (query: number, key: number) => number) {
    this.#blocks = Array.from({ length: heads * heads });
    this.#heads = heads;
    this.#queries = R * N;
    this.#N = N;
    this.#make = make;
  }

  at(query: number, key: number): number {
    const [N, queries] = [this.#N, this.#queries];
    const own = Math.floor(query / queries);
    const from = Math.floor(key / N);
    const block = this.#blocks[own * this.#heads + from] ??= new Float64Array(queries * N).fill(NaN);
    const at = (query - own * queries) * N + key - from * N;
    const kept = block[at];
    return Number.isNaN(kept) ? (block[at] = this.#make(query, key)) : kept;
  }
}
