/**
 * §8 on the device: the keys and values of a cache, in blocks that all its heads share. Rows are written and moved
 * in place; the book knows which head a block belongs to.
 * @module
 */
import type { CacheOptions } from '../../src/core/engine.ts';
import { DeviceError } from '../../src/core/errors.ts';
import type { FloatArray } from '../../src/core/tensor.ts';
import { BlockPool } from '../device/block-pool.ts';
import type { HeadBook, Move } from '../device/head-book.ts';
import type { CopyRange, Device, Memory } from './device.ts';

/** Memory for the entries of one layer. A place is an entry's number in it. */
export class EntryPool {
  readonly #device: Device;
  readonly #options: CacheOptions;
  #blocks: BlockPool;
  #k: Memory | undefined;
  #v: Memory | undefined;

  constructor(device: Device, options: CacheOptions) {
    this.#device = device;
    this.#options = options;
    const { blockSize, headDim } = options;
    this.#blocks = new BlockPool(Math.floor(device.maxLength / (blockSize * headDim)), () => this.#full());
  }

  /** Which blocks are free. */
  get blocks(): BlockPool {
    return this.#blocks;
  }

  /** Keys and values [capacity,d], undefined until something is written. */
  get memories(): readonly [keys: Memory | undefined, values: Memory | undefined] {
    return [this.#k, this.#v];
  }

  /** Writes rows of k and v to their places, for which blocks have been taken. */
  write(k: Memory, v: Memory, rows: readonly CopyRange[]): void {
    if ((this.#k?.length ?? 0) < this.#capacity) this.#replace([{ from: 0, to: 0, length: this.#k?.length ?? 0 }]);
    if (!this.#k || !this.#v) return;
    const ranges = merged(rows, this.#options.headDim);
    this.#device.copy(k, this.#k, ranges);
    this.#device.copy(v, this.#v, ranges);
  }

  /** Moves entries through scratch memory, since a buffer cannot be copied into itself. */
  move(moves: readonly Move[]): void {
    if (moves.length === 0) return;
    const d = this.#options.headDim;
    const scratch = this.#device.allocate(moves.length * d);
    const out = moves.map(({ from }, n) => ({ from: from * d, to: n * d, length: d }));
    const back = moves.map(({ to }, n) => ({ from: n * d, to: to * d, length: d }));
    for (const memory of [this.#k!, this.#v!]) {
      this.#device.copy(memory, scratch, out);
      this.#device.copy(scratch, memory, back);
    }
    this.#device.free(scratch);
  }

  /** Drops the free blocks if they are most of the pool. */
  shrink(heads: readonly HeadBook[]): void {
    const { blockSize, headDim } = this.#options;
    const moves = this.#blocks.compacted();
    if (!moves) return;
    for (const head of heads) head.rename(moves);
    this.#replace(merged([...moves].map(([from, to]) => ({ from, to, length: 1 })), blockSize * headDim));
  }

  /** Reads back the keys and values [places,d] of entries. */
  async gather(places: readonly number[]): Promise<[keys: Float32Array, values: Float32Array]> {
    const d = this.#options.headDim;
    const ranges = merged(places.map((from, to) => ({ from, to, length: 1 })), d);
    const read = async (memory: Memory | undefined): Promise<Float32Array> => {
      if (!memory || places.length === 0) return new Float32Array(0);
      const rows = this.#device.allocate(places.length * d);
      try {
        this.#device.copy(memory, rows, ranges);
        return await this.#device.read(rows, places.length * d);
      } finally {
        this.#device.free(rows);
      }
    };
    return [await read(this.#k), await read(this.#v)];
  }

  /** Replaces everything by these keys and values [places,d] in their places, for which blocks have been taken. */
  fill(places: readonly number[], keys: FloatArray, values: FloatArray): void {
    this.free();
    if (this.#capacity === 0) return;
    const d = this.#options.headDim;
    const placed = (rows: FloatArray): Memory => {
      const all = new Float32Array(this.#capacity);
      places.forEach((place, n) => all.set(rows.subarray(n * d, (n + 1) * d), place * d));
      return this.#device.upload(all);
    };
    this.#k = placed(keys);
    this.#v = placed(values);
  }

  /** Becomes a copy of another pool of the same options, block for block. */
  copyOf(other: EntryPool): void {
    const copied = (from: Memory): Memory => {
      const to = this.#device.allocate(from.length);
      this.#device.copy(from, to, [{ from: 0, to: 0, length: from.length }]);
      return to;
    };
    this.free();
    this.#blocks = other.#blocks.copy(() => this.#full());
    this.#k = other.#k && copied(other.#k);
    this.#v = other.#v && copied(other.#v);
  }

  /** Frees the memory. */
  free(): void {
    for (const memory of this.memories) if (memory) this.#device.free(memory);
    this.#k = this.#v = undefined;
  }

  get #capacity(): number {
    return this.#blocks.capacity * this.#options.blockSize * this.#options.headDim;
  }

  /** Moves the given ranges to new memory of the pool's capacity. */
  #replace(ranges: readonly CopyRange[]): void {
    const replaced = (old: Memory | undefined): Memory => {
      const made = this.#device.allocate(this.#capacity);
      if (old) {
        this.#device.copy(old, made, ranges);
        this.#device.free(old);
      }
      return made;
    };
    this.#k = replaced(this.#k);
    this.#v = replaced(this.#v);
  }

  #full(): Error {
    const { batch, kvHeads, blockSize, headDim } = this.#options;
    const { maxLength, limitName } = this.#device;
    const fits = this.#blocks.capacity * blockSize;
    const wanted = (fits + blockSize) * headDim * 4;
    const tokens = Math.floor(this.#blocks.capacity / (batch * kvHeads)) * blockSize;
    return new DeviceError(`the keys of a cache take ${wanted} bytes but ${limitName} is ${maxLength * 4}: at most ${fits} entries fit over ${batch * kvHeads} heads, a context of ${tokens} tokens if all are kept; evict more, or use a shorter context or a smaller batch`);
  }
}

/** Ranges of elements from ranges of rows of `width` elements, with neighbours joined. */
function merged(rows: readonly CopyRange[], width: number): CopyRange[] {
  const ranges: { from: number; to: number; length: number }[] = [];
  for (const { from, to, length } of rows) {
    const open = ranges[ranges.length - 1];
    if (open && open.from + open.length === from && open.to + open.length === to) open.length += length;
    else ranges.push({ from, to, length });
  }
  return ranges.map((range) => ({ from: range.from * width, to: range.to * width, length: range.length * width }));
}
