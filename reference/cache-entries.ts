/**
 * The storage of one KV head of a cache: entries (key, value, position, last, type) in blocks of fixed size.
 * @module
 */
import type { CacheDtype } from '../src/core/cache.ts';
import { toFloat16 } from '../src/core/float16.ts';
import { FOREVER, TokenType } from '../src/core/lifetime.ts';
import { widen } from '../src/core/stored.ts';
import { type FloatArray, zeros } from '../src/core/tensor.ts';

/** Keys or values as a cache stores them: floats, or bit patterns of binary16. */
export type Numbers = FloatArray | Uint16Array;

export const STORAGE: Readonly<Record<CacheDtype, new (length: number) => Numbers>> =
  { f64: Float64Array, f32: Float32Array, f16: Uint16Array };

/** The dtype in which numbers are stored if the options do not say. */
export const dtypeOf = (x: FloatArray): CacheDtype => (x instanceof Float64Array ? 'f64' : 'f32');

/** Stores d numbers of x from `start` at index `at`, rounded to nearest, ties to even. */
export function store(into: Numbers, x: FloatArray, start: number, at: number, d: number): void {
  if (into instanceof Uint16Array) for (let n = 0; n < d; n++) into[at + n] = toFloat16(x[start + n]);
  else into.set(x.subarray(start, start + d), at);
}

/** Stored numbers as floats. Half-precision patterns are widened, other arrays are returned unchanged. */
export function stored(x: Numbers): FloatArray {
  return x instanceof Uint16Array ? widen(new Uint8Array(x.buffer, x.byteOffset, x.byteLength), 'f16') : x;
}

/** Numbers after they were stored as `dtype` and read again. */
export function roundedTo(dtype: CacheDtype, x: FloatArray): FloatArray {
  const into = new STORAGE[dtype](x.length);
  store(into, x, 0, 0, x.length);
  return stored(into);
}

/** Room for a fixed number of entries, of which the first `used` are occupied. */
export interface Block {
  used: number;
  readonly k: Numbers;
  readonly v: Numbers;
  readonly position: Int32Array;
  readonly last: Int32Array;
  readonly type: Uint8Array;
}

/** Entries in the order of their positions. Blocks that become empty are freed. */
export class HeadEntries {
  /** The number of entries held. */
  count = 0;
  readonly #blocks: Block[] = [];
  readonly #headDim: number;
  readonly blockSize: number;
  readonly #dtype: CacheDtype;

  constructor(headDim: number, blockSize: number, dtype: CacheDtype) {
    this.#headDim = headDim;
    this.blockSize = blockSize;
    this.#dtype = dtype;
  }

  /** The allocated blocks, all of which are full except the newest. */
  get blocks(): readonly Block[] {
    return this.#blocks;
  }

  /** Appends the key and value at `start` of k and v. Type and lifetime may be set later by setLifetime(). */
  push(
    k: FloatArray, v: FloatArray, start: number, position: number,
    type: TokenType = TokenType.GLOBAL, last: number = FOREVER,
  ): void {
    const d = this.#headDim;
    if (this.count === this.#blocks.length * this.blockSize) this.#blocks.push(this.#newBlock());
    const block = this.#blocks[this.#blocks.length - 1];
    const slot = block.used++;
    store(block.k, k, start, slot * d, d);
    store(block.v, v, start, slot * d, d);
    block.position[slot] = position;
    block.last[slot] = last;
    block.type[slot] = type;
    this.count++;
  }

  /** Sets the type and lifetime of the entries from position `from` on. */
  setLifetime(from: number, type: number, last: number): void {
    for (let n = this.count - 1; n >= 0; n--) {
      const { block, slot } = this.#at(n);
      if (block.position[slot] < from) return;
      block.type[slot] = type;
      block.last[slot] = last;
    }
  }

  /** Ends the lifetime of every open LOCAL entry at `last`, where a GLOBAL chunk has ended. */
  closeLocals(last: number): void {
    for (const block of this.#blocks) {
      for (let slot = 0; slot < block.used; slot++) {
        if (block.type[slot] === TokenType.LOCAL && block.last[slot] === FOREVER) block.last[slot] = last;
      }
    }
  }

  /** Keeps the entries for which `keep` is true, in their order, and frees blocks that become empty. */
  keepIf(keep: (last: number, position: number) => boolean): void {
    let target = 0; // the block that entries are moved to
    let kept = 0; // how many of its slots are occupied
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

  /** The positions held, in ascending order. */
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
      k: zeros<Numbers>(STORAGE[this.#dtype], size * this.#headDim),
      v: zeros<Numbers>(STORAGE[this.#dtype], size * this.#headDim),
      position: zeros(Int32Array, size),
      last: zeros(Int32Array, size),
      type: zeros(Uint8Array, size),
    };
  }
}
