/**
 * §8 on the host, one KV head: which entries it holds, in which block of the pool each lies, and which are dead.
 * It holds whole numbers only: keys and values are on the device.
 * @module
 */
import { endWithin, FOREVER, TokenType } from '../../src/core/lifetime.ts';
import type { BlockPool } from './block-pool.ts';

/** An entry that moves from one place of the pool to another. */
export interface Move {
  readonly from: number;
  readonly to: number;
}

/** The entries of one KV head, in slots 0..count-1 of its blocks, in no particular order. */
export class HeadBook {
  count = 0;
  blocks: number[] = [];
  position: Int32Array = new Int32Array(16);
  last: Int32Array = new Int32Array(16);
  /** 1 for a LOCAL entry that no GLOBAL has closed. */
  #local: Uint8Array = new Uint8Array(16);
  /** Slots whose chunks had no type yet, by position; those before #typed have one by now. */
  #untyped: number[] = [];
  #typed = 0;
  /** LOCAL entries since the last GLOBAL. */
  #open = 0;
  /** No entry dies before this query. */
  #safe: number = FOREVER;
  readonly #pool: BlockPool;
  readonly #blockSize: number;
  readonly #reach: number | undefined;

  constructor(pool: BlockPool, blockSize: number, reach?: number) {
    this.#pool = pool;
    this.#blockSize = blockSize;
    this.#reach = reach;
  }

  /** The place of a slot in the pool, counted in entries. */
  place(slot: number): number {
    return this.blocks[Math.floor(slot / this.#blockSize)] * this.#blockSize + (slot % this.#blockSize);
  }

  /** Takes a slot for the token at `position`, GLOBAL until settle() says otherwise; returns its place. */
  push(position: number): number {
    if (this.count === this.blocks.length * this.#blockSize) this.blocks.push(this.#pool.take());
    const slot = this.count++;
    if (slot >= this.position.length) this.#grow();
    this.#put(slot, position);
    return this.place(slot);
  }

  #put(slot: number, position: number): void {
    this.position[slot] = position;
    this.#local[slot] = 0;
    this.#endAt(slot, FOREVER);
    this.#untyped.push(slot);
  }

  /** The entry lives until `last`, or as long as the reach lets it. */
  #endAt(slot: number, last: number): void {
    this.last[slot] = endWithin(last, this.position[slot], this.#reach);
    this.#safe = Math.min(this.#safe, this.last[slot]);
  }

  /**
   * The chunk that ends at `end` is full and gets its type. If GLOBAL `closes`, LOCAL entries are open until such a
   * chunk comes, which closes all of those before it; if not, they live until `last`, as others do.
   */
  settle(end: number, type: number, last: number, closes: boolean): void {
    const opens = closes && type === TokenType.LOCAL;
    if (closes && type === TokenType.GLOBAL && this.#open > 0) {
      this.#open = 0;
      for (let slot = 0; slot < this.count; slot++) {
        if (this.#local[slot] === 0) continue;
        this.#local[slot] = 0;
        this.#endAt(slot, end);
      }
    }
    for (; this.#typed < this.#untyped.length; this.#typed++) {
      const slot = this.#untyped[this.#typed];
      if (this.position[slot] > end) break;
      this.#local[slot] = opens ? 1 : 0;
      this.#endAt(slot, last);
      if (opens) this.#open++;
    }
    if (this.#typed === this.#untyped.length) this.#untyped.length = this.#typed = 0;
  }

  /** Adds to counts[n] the number of entries that query first + n can see. */
  countVisible(first: number, counts: Float64Array): void {
    const end = first + counts.length;
    const change = new Float64Array(counts.length + 1);
    for (let slot = 0; slot < this.count; slot++) {
      const [from, until] = [Math.max(this.position[slot], first), Math.min(this.last[slot] + 1, end)];
      if (until <= from) continue;
      change[from - first] = change[from - first] + 1;
      change[until - first] = change[until - first] - 1;
    }
    let visible = 0;
    for (let n = 0; n < counts.length; n++) {
      visible += change[n];
      counts[n] = counts[n] + visible;
    }
  }

  /** Whether every entry outlives query i, so that a query there sees all that is not younger. */
  allOutlive(i: number): boolean {
    return this.#safe >= i;
  }

  /**
   * Drops the entries that query `next` cannot see, and takes in `tokens` tokens from position `first` on. New tokens
   * fill holes first; holes that remain are filled from the end, so that blocks stay full, and empty blocks return to
   * the pool. Returns the places of the new tokens, and the moves to make before they are written.
   */
  replace(next: number, first: number, tokens: number): { places: number[]; moves: Move[] } {
    const places: number[] = [];
    const moves: Move[] = [];
    if (this.#safe < next) {
      this.#safe = FOREVER;
      this.#forgetUntyped(next);
      for (let slot = 0; slot < this.count; slot++) {
        if (this.last[slot] >= next) {
          this.#safe = Math.min(this.#safe, this.last[slot]);
        } else if (places.length < tokens) {
          this.#put(slot, first + places.length);
          places.push(this.place(slot));
        } else {
          while (this.count - 1 > slot && this.last[this.count - 1] < next) this.count--;
          this.count--;
          if (this.count > slot) this.#move(this.count, slot, moves);
        }
      }
      const needed = Math.ceil((this.count + tokens - places.length) / this.#blockSize);
      while (this.blocks.length > needed) this.#pool.give(this.blocks.pop()!);
    }
    while (places.length < tokens) places.push(this.push(first + places.length));
    return { places, moves };
  }

  /** Tokens may come to the end of their reach before their chunk is full. */
  #forgetUntyped(next: number): void {
    const alive = this.#untyped.slice(this.#typed).filter((slot) => this.last[slot] >= next);
    this.#untyped.length = this.#typed = 0;
    this.#untyped.push(...alive);
  }

  #move(from: number, to: number, moves: Move[]): void {
    moves.push({ from: this.place(from), to: this.place(to) });
    this.position[to] = this.position[from];
    this.last[to] = this.last[from];
    this.#local[to] = this.#local[from];
    this.#safe = Math.min(this.#safe, this.last[to]);
    const untyped = this.#untyped.indexOf(from, this.#typed);
    if (untyped >= 0) this.#untyped[untyped] = to;
  }

  /** Renumbers blocks after the pool was compacted: block n is now moves.get(n). */
  rename(moves: ReadonlyMap<number, number>): void {
    this.blocks.forEach((block, n) => (this.blocks[n] = moves.get(block)!));
  }

  clear(): void {
    this.count = 0;
    this.#safe = FOREVER;
    this.#untyped.length = this.#typed = this.#open = 0;
    while (this.blocks.length > 0) this.#pool.give(this.blocks.pop()!);
  }

  /** The positions held, in ascending order. */
  positions(): Int32Array {
    return this.position.slice(0, this.count).sort();
  }

  /** Whether the entry is LOCAL and no GLOBAL has closed it. */
  isOpen(slot: number): boolean {
    return this.#local[slot] === 1;
  }

  /** The same entries in the same slots, in the blocks of a copy of the pool. */
  copy(pool: BlockPool): HeadBook {
    const copy = new HeadBook(pool, this.#blockSize, this.#reach);
    copy.count = this.count;
    copy.blocks = [...this.blocks];
    copy.position = this.position.slice();
    copy.last = this.last.slice();
    copy.#local = this.#local.slice();
    copy.#untyped = [...this.#untyped];
    copy.#typed = this.#typed;
    copy.#open = this.#open;
    copy.#safe = this.#safe;
    return copy;
  }

  /**
   * Fills an empty book with entries, in the order of slots; those from position `untyped` on wait for the type of
   * their chunk. Returns their places.
   */
  restore(positions: ArrayLike<number>, last: ArrayLike<number>, open: ArrayLike<number>, untyped: number): number[] {
    const places = Array.from(positions, (position) => this.push(position));
    const waiting: number[] = [];
    for (let slot = 0; slot < places.length; slot++) {
      if (positions[slot] >= untyped) waiting.push(slot);
      else this.#endAt(slot, last[slot]);
      this.#local[slot] = open[slot];
      this.#open += open[slot];
    }
    this.#typed = 0;
    this.#untyped = waiting.sort((x, y) => positions[x] - positions[y]);
    return places;
  }

  #grow(): void {
    const wider = <T extends Int32Array | Uint8Array>(old: T, made: T): T => {
      made.set(old);
      return made;
    };
    const length = this.position.length * 2;
    this.position = wider(this.position, new Int32Array(length));
    this.last = wider(this.last, new Int32Array(length));
    this.#local = wider(this.#local, new Uint8Array(length));
  }
}
