/**
 * Storage of one KV head of a cache: entries (key, value, position, last, type) in blocks of fixed size.
 * @module
 */
import { FOREVER, TokenType } from '../src/core/lifetime.ts';
import { type FloatArray, zeros, zerosLike } from '../src/core/tensor.ts';

/** Room for a fixed number of entries, of which the first `used` are held. */
export interface Block {
  used: number;
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

  /** The blocks allocated; all but the newest are full. */
  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** Appends the key and value at `start` of k and v, GLOBAL unless told, or until setLifetime says otherwise. */
  push(
    k: FloatArray, v: FloatArray, start: number, position: number,
    type: TokenType = TokenType.GLOBAL, last: number = FOREVER,
  ): void {
    const d = this.#headDim;
    if (this.count === this.#blocks.length * this.blockSize) this.#blocks.push(this.#newBlock());
    const block = this.#blocks[this.#blocks.length - 1];
    const slot = block.used++;
    block.k.set(k.subarray(start, start + d), slot * d);
    block.v.set(v.subarray(start, start + d), slot * d);
    block.position[slot] = position;
    block.last[slot] = last;
    block.type[slot] = type;
    this.count++;
  }

  /** Gives the newest entries, those from position `from` on, their type and lifetime. */
  setLifetime(from: number, type: number, last: number): void {
    for (let n = this.count - 1; n >= 0; n--) {
      const { block, slot } = this.#at(n);
      if (block.position[slot] < from) return;
      block.type[slot] = type;
      block.last[slot] = last;
    }
  }

  /** A GLOBAL token ended at `last`: every LOCAL entry still open lives until then. */
  closeLocals(last: number): void {
    for (const block of this.#blocks) {
      for (let slot = 0; slot < block.used; slot++) {
        if (block.type[slot] === TokenType.LOCAL && block.last[slot] === FOREVER) block.last[slot] = last;
      }
    }
  }

  /** Keeps the entries whose `last` and position pass, in order, and frees the blocks behind them. */
  keepIf(keep: (last: number, position: number) => boolean): void {
    let target = 0; // entries move down to blocks[target]
    let kept = 0; // of which `kept` slots are taken
    for (const block of this.#blocks) {
      const { used, last, position } = block;
      for (let slot = 0; slot < used; slot++) {
        if (!keep(last[slot], position[slot])) continue;
        if (kept === this.blockSize) {
          target++;
          kept = 0;
        }
        this.#move(block, slot, this.#blocks[target], kept++);
      }
    }
    this.count = target * this.blockSize + kept;
    this.#blocks.length = Math.ceil(this.count / this.blockSize);
    this.#blocks.forEach((block, n) => (block.used = n < target ? this.blockSize : kept));
  }

  #move(from: Block, fromSlot: number, to: Block, toSlot: number): void {
    if (from === to && fromSlot === toSlot) return;
    const d = this.#headDim;
    for (let n = 0; n < d; n++) {
      to.k[toSlot * d + n] = from.k[fromSlot * d + n];
      to.v[toSlot * d + n] = from.v[fromSlot * d + n];
    }
    to.position[toSlot] = from.position[fromSlot];
    to.last[toSlot] = from.last[fromSlot];
    to.type[toSlot] = from.type[fromSlot];
  }

  /** Positions held, ascending. */
  positions(): Int32Array {
    return Int32Array.from(this.#blocks.flatMap(({ used, position }) => [...position.subarray(0, used)]));
  }

  #at(n: number): { block: Block; slot: number } {
    return { block: this.#blocks[Math.floor(n / this.blockSize)], slot: n % this.blockSize };
  }

  #newBlock(): Block {
    const size = this.blockSize;
    return {
      used: 0,
      k: zerosLike(this.#like, size * this.#headDim),
      v: zerosLike(this.#like, size * this.#headDim),
      position: zeros(Int32Array, size),
      last: zeros(Int32Array, size),
      type: zeros(Uint8Array, size),
    };
  }
}
