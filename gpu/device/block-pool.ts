/**
 * §8 on the host: which blocks of a cache's memory are free.
 * @module
 */

/** The free blocks of a pool, which doubles when it is full and halves when three quarters of it are free. */
export class BlockPool {
  /** Blocks that the pool has memory for. */
  capacity = 0;
  #free: number[] = [];
  readonly #most: number;
  readonly #full: () => Error;

  /** The pool never has more than `most` blocks: taking one more throws `full()`. */
  constructor(most: number, full: () => Error) {
    this.#most = most;
    this.#full = full;
  }

  take(): number {
    if (this.#free.length === 0) {
      if (this.capacity >= this.#most) throw this.#full();
      const grown = Math.min(this.#most, Math.max(4, this.capacity * 2));
      for (let block = grown - 1; block >= this.capacity; block--) this.#free.push(block);
      this.capacity = grown;
    }
    return this.#free.pop()!;
  }

  give(block: number): void {
    this.#free.push(block);
  }

  get used(): number {
    return this.capacity - this.#free.length;
  }

  /** A copy in which the same blocks are taken. */
  copy(full: () => Error): BlockPool {
    const copy = new BlockPool(this.#most, full);
    copy.capacity = this.capacity;
    copy.#free = [...this.#free];
    return copy;
  }

  /** New numbers of the blocks in use once the free ones are left out, or undefined if that is not worth a copy. */
  compacted(): Map<number, number> | undefined {
    if (this.capacity <= 4 || this.used * 4 > this.capacity) return undefined;
    const free = new Set(this.#free);
    const moves = new Map<number, number>();
    for (let block = 0; block < this.capacity; block++) if (!free.has(block)) moves.set(block, moves.size);
    this.capacity = Math.max(4, moves.size * 2); // half of what it was, or less
    this.#free = [];
    for (let block = this.capacity - 1; block >= moves.size; block--) this.#free.push(block);
    return moves;
  }
}
