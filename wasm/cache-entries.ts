/**
 * The storage of one KV head of a cache. Keys and values are in the memory of the module, a whole number of blocks of
 * each, without gaps and in the order of their positions. The host keeps what decides about their lives.
 * @module
 */
import { CACHE_BYTES, type CacheDtype } from '../src/core/cache.ts';
import { fromFloat16, toFloat16 } from '../src/core/float16.ts';
import { endWithin, FOREVER, isEvictable, TokenType } from '../src/core/lifetime.ts';
import type { FloatArray } from '../src/core/tensor.ts';
import type { Machine } from './machine.ts';

export class HeadEntries {
  count = 0;
  /** Entries for which there is room, in whole blocks. */
  capacity = 0;
  position: Int32Array = new Int32Array(16);
  last: Int32Array = new Int32Array(16);
  type: Uint8Array = new Uint8Array(16);
  #k = 0;
  #v = 0;
  readonly #on: Machine;
  readonly #d: number;
  readonly #blockSize: number;
  readonly dtype: CacheDtype;

  constructor(on: Machine, d: number, blockSize: number, dtype: CacheDtype) {
    this.#on = on;
    this.#d = d;
    this.#blockSize = blockSize;
    this.dtype = dtype;
  }

  get #row(): number {
    return this.#d * CACHE_BYTES[this.dtype];
  }

  /** Makes room for `count` entries. */
  reserve(count: number): void {
    this.#setCapacity(Math.max(this.capacity, Math.ceil(count / this.#blockSize) * this.#blockSize));
    if (count <= this.position.length) return;
    const grown = <T extends Int32Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    const length = Math.max(count, 2 * this.position.length);
    this.position = grown(this.position, new Int32Array(length));
    this.last = grown(this.last, new Int32Array(length));
    this.type = grown(this.type, new Uint8Array(length));
  }

  #setCapacity(capacity: number): void {
    if (capacity === this.capacity) return;
    const [before, bytes] = [this.capacity * this.#row, capacity * this.#row];
    const sized = (at: number): number => (before === 0 ? this.#on.take(bytes) : this.#on.resized(at, before, bytes));
    if (bytes === 0) this.dispose();
    else [this.#k, this.#v] = [sized(this.#k), sized(this.#v)];
    this.capacity = capacity;
  }

  /** Frees the memory. */
  dispose(): void {
    if (this.capacity === 0 || this.#d === 0) return;
    this.#on.free(this.#k);
    this.#on.free(this.#v);
    this.capacity = 0;
    this.count = 0;
  }

  /** Appends `n` keys and values from addresses k and v, in the engine's precision, after reserve(). */
  push(k: number, v: number, n: number, position: number): void {
    this.#store(k, this.#k + this.count * this.#row, n);
    this.#store(v, this.#v + this.count * this.#row, n);
    for (let t = 0; t < n; t++) this.describe(position + t, TokenType.GLOBAL, FOREVER);
  }

  /** Adds what the host knows about the next entry. */
  describe(position: number, type: number, last: number): void {
    this.position[this.count] = position;
    this.type[this.count] = type;
    this.last[this.count] = last;
    this.count++;
  }

  /** Copies n rows from `from`, rounded to the dtype of the cache. */
  #store(from: number, to: number, n: number): void {
    const on = this.#on;
    const length = n * this.#d;
    if (this.dtype === on.dtype) on.bytes(to, n * this.#row).set(on.bytes(from, n * this.#row));
    else if (this.dtype === 'f16' && on.size === 4) on.call('narrow', from, to, length);
    else this.#write(to, on.floats(from, length));
  }

  #write(to: number, numbers: FloatArray): void {
    if (this.dtype !== 'f16') {
      this.#on.floats(to, numbers.length, this.dtype).set(numbers);
      return;
    }
    const halves = new Uint16Array(this.#on.bytes(0, 0).buffer, to, numbers.length);
    for (let n = 0; n < numbers.length; n++) halves[n] = toFloat16(numbers[n]);
  }

  /** Appends an entry with plain numbers, of a snapshot. */
  restore(k: FloatArray, v: FloatArray, position: number, type: number, last: number): void {
    this.#write(this.#k + this.count * this.#row, k);
    this.#write(this.#v + this.count * this.#row, v);
    this.describe(position, type, last);
  }

  /** Keys and values as plain numbers, of a snapshot. */
  numbers(): [keys: FloatArray, values: FloatArray] {
    const read = (at: number): FloatArray => {
      const length = this.count * this.#d;
      if (this.dtype !== 'f16') return this.#on.floats(at, length, this.dtype).slice();
      return Float32Array.from(new Uint16Array(this.#on.bytes(0, 0).buffer, at, length), fromFloat16);
    };
    return [read(this.#k), read(this.#v)];
  }

  /** Where keys and values are, in the dtype of the cache. */
  get k(): number {
    return this.#k;
  }
  get v(): number {
    return this.#v;
  }

  /** Whether query i sees all entries. */
  allSeen(i: number, reach: number | undefined): boolean {
    for (let n = 0; n < this.count; n++) if (endWithin(this.last[n], this.position[n], reach) < i) return false;
    return true;
  }

  /** Ends the lifetime of every open LOCAL entry at `last`. */
  closeLocals(last: number): void {
    for (let n = 0; n < this.count; n++) {
      if (this.type[n] === TokenType.LOCAL && this.last[n] === FOREVER) this.last[n] = last;
    }
  }

  /** Sets the type and lifetime of the entries from position `from` on. */
  setLifetime(from: number, type: number, last: number): void {
    for (let n = this.count - 1; n >= 0 && this.position[n] >= from; n--) [this.type[n], this.last[n]] = [type, last];
  }

  /** Frees the entries that query `next` cannot see, and blocks that become empty. */
  evict(next: number, reach: number | undefined): void {
    const gone = (n: number): boolean => isEvictable(endWithin(this.last[n], this.position[n], reach), next);
    let kept = 0;
    const row = this.#row;
    for (let n = 0; n < this.count;) {
      if (gone(n)) {
        n++;
        continue;
      }
      let end = n + 1; // a run of entries that stay moves at once
      while (end < this.count && !gone(end)) end++;
      if (kept !== n) {
        for (const at of [this.#k, this.#v]) this.#on.bytes(at, end * row).copyWithin(kept * row, n * row, end * row);
        for (const x of [this.position, this.last, this.type]) x.copyWithin(kept, n, end);
      }
      kept += end - n;
      n = end;
    }
    this.count = kept;
    this.#setCapacity(Math.ceil(kept / this.#blockSize) * this.#blockSize);
  }
}
