/**
 * Storage of one KV head of a cache: entries (key, value, position, last, type) in blocks of fixed size.
 * @module
 */
import { FOREVER, TokenType } from '../src/lifetime.ts';
import { type FloatArray, zerosLike } from '../src/tensor.ts';

/** Room for a fixed number of entries. */
export interface Block {
  readonly k: FloatArray;
  readonly v: FloatArray;
  readonly position: Int32Array;
  readonly last: Int32Array;
  readonly type: Uint8Array;
}

/** Entries in the order of their positions; a block that empties is dropped. */
export class HeadEntries {
  /** Entries held. */
  count = 0;
  readonly #blocks: Block[] = [];
  readonly #headDim: number;
  readonly blockSize: number;
  readonly #like: FloatArray;

  constructor(headDim: number, blockSize: number, like: FloatArray) {
    this.#headDim = headDim;
    this.blockSize = blockSize;
    this.#like = zerosLike(like, 0);
  }

  /** Key, value, position, last (4 bytes each) and type (1 byte). */
  static bytesPerEntry(headDim: number, bytesPerNumber: number): number {
    return 2 * headDim * bytesPerNumber + 4 + 4 + 1;
  }

  /** The blocks allocated: entry n is slot n % blockSize of block floor(n / blockSize). */
  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** Appends the key and value at `start` of k and v, GLOBAL until setLifetime says otherwise. */
  push(k: FloatArray, v: FloatArray, start: number, position: number): void {
    const d = this.#headDim;
    const slot = this.count % this.blockSize;
    if (slot === 0) this.#blocks.push(this.#newBlock());
    const block = this.#blocks[this.#blocks.length - 1]!;
    block.k.set(k.subarray(start, start + d), slot * d);
    block.v.set(v.subarray(start, start + d), slot * d);
    block.position[slot] = position;
    block.last[slot] = FOREVER;
    block.type[slot] = TokenType.GLOBAL;
    this.count++;
  }

  /** Gives the newest entries, those from position `from` on, their type and lifetime. */
  setLifetime(from: number, type: number, last: number): void {
    for (let n = this.count - 1; n >= 0; n--) {
      const { block, slot } = this.#at(n);
      if (block.position[slot]! < from) return;
      block.type[slot] = type;
      block.last[slot] = last;
    }
  }

  /** A GLOBAL token ended at `last`: every LOCAL entry still open lives until then. */
  closeLocals(last: number): void {
    for (let n = 0; n < this.count; n++) {
      const { block, slot } = this.#at(n);
      if (block.type[slot] === TokenType.LOCAL && block.last[slot] === FOREVER) block.last[slot] = last;
    }
  }

  /** Keeps the entries whose `last` passes, in order, and frees the blocks behind them. */
  keepIf(keep: (last: number) => boolean): void {
    const d = this.#headDim;
    let kept = 0;
    for (let n = 0; n < this.count; n++) {
      const { block, slot } = this.#at(n);
      if (!keep(block.last[slot]!)) continue;
      if (kept !== n) {
        const to = this.#at(kept);
        to.block.k.set(block.k.subarray(slot * d, slot * d + d), to.slot * d);
        to.block.v.set(block.v.subarray(slot * d, slot * d + d), to.slot * d);
        to.block.position[to.slot] = block.position[slot]!;
        to.block.last[to.slot] = block.last[slot]!;
        to.block.type[to.slot] = block.type[slot]!;
      }
      kept++;
    }
    this.count = kept;
    this.#blocks.length = Math.ceil(kept / this.blockSize);
  }

  /** Positions held, ascending. */
  positions(): Int32Array {
    return Int32Array.from({ length: this.count }, (_, n) => {
      const { block, slot } = this.#at(n);
      return block.position[slot]!;
    });
  }

  #at(n: number): { block: Block; slot: number } {
    return { block: this.#blocks[Math.floor(n / this.blockSize)]!, slot: n % this.blockSize };
  }

  #newBlock(): Block {
    const size = this.blockSize;
    return {
      k: zerosLike(this.#like, size * this.#headDim),
      v: zerosLike(this.#like, size * this.#headDim),
      position: new Int32Array(size),
      last: new Int32Array(size),
      type: new Uint8Array(size),
    };
  }
}
