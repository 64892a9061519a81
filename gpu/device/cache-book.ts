/**
 * §8 on the host, for all heads of a layer: what the cache holds, what it has served, and which entries are dead.
 *
 * The engine stores keys and values at the places that the book names, moves the entries that the book moves, and
 * reports the types of chunks once they are known.
 * @module
 */
import type { CacheOptions, CacheSnapshot, CacheStats } from '../../src/core/engine.ts';
import { ValueError } from '../../src/core/errors.ts';
import { chunkEnd, chunkOf, FOREVER, localEnd, touchedChunks, windowEnd } from '../../src/core/lifetime.ts';
import type { BlockPool } from './block-pool.ts';
import { HeadBook, type Move } from './head-book.ts';

/** The chunks that a step filled, whose types [B,G,rows] the engine has to report. */
export interface FilledChunks {
  readonly rows: number;
  /** Tokens seen before and taken by the step, per sequence. */
  readonly before: readonly number[];
  readonly counts: readonly number[];
}

/** What a step changes in the engine's memory. */
export interface Taken {
  /** Entries that move before new ones are written. */
  readonly moves: readonly Move[];
  /** New entries: row `from` of the step's keys and values [B,G,T] goes to place `to`. */
  readonly rows: readonly Move[];
  /** Undefined if no chunk became full. */
  readonly filled: FilledChunks | undefined;
}

/** Entries as snapshots list them, and the place of each. */
export type ListedEntries = Pick<CacheSnapshot, 'positions' | 'last' | 'open'> & { readonly places: readonly number[] };

/** The entries of a cache, by KV head [B*G]. */
export class CacheBook {
  readonly options: CacheOptions;
  readonly seen: Int32Array;
  #heads: readonly HeadBook[];
  readonly #peakLive: Int32Array;
  readonly #visiblePairs: Float64Array;
  /** Tokens that the newest step took, per sequence. */
  #counts: readonly number[] = [];
  #evicts = false;

  constructor(options: CacheOptions, blocks: BlockPool) {
    this.options = options;
    const { batch, kvHeads, blockSize, reach } = options;
    this.#heads = Array.from({ length: batch * kvHeads }, () => new HeadBook(blocks, blockSize, reach));
    this.seen = new Int32Array(batch);
    this.#peakLive = new Int32Array(batch * kvHeads);
    this.#visiblePairs = new Float64Array(batch * kvHeads);
  }

  get heads(): readonly HeadBook[] {
    return this.#heads;
  }

  /** Tokens that the newest step took of each sequence, and the position of its first one. */
  get step(): { readonly counts: readonly number[]; readonly first: readonly number[] } {
    const counts = Array.from(this.seen, (_, b) => this.#counts[b] ?? 0);
    return { counts, first: counts.map((count, b) => this.seen[b] - count) };
  }

  /** Step 1: takes in counts[b] of T tokens. Types of earlier steps must be settled. */
  take(T: number, counts: readonly number[]): Taken {
    const { kvHeads: G, chunk } = this.options;
    const before = Array.from(this.seen);
    const rows: Move[] = [];
    const moves: Move[] = [];
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / G);
      const made = head.replace(this.#evicts ? before[b] : -1, before[b], counts[b]);
      moves.push(...made.moves);
      made.places.forEach((place, t) => rows.push({ from: n * T + t, to: place }));
    });
    this.#evicts = false;
    this.#counts = counts;
    counts.forEach((count, b) => (this.seen[b] = before[b] + count));
    const none = counts.every((count, b) => chunkOf(before[b] + count, chunk) === chunkOf(before[b], chunk));
    const filled = { rows: touchedChunks(T, chunk), before, counts };
    return { moves, rows, filled: none ? undefined : filled };
  }

  /** Assigns types to the chunks that a step filled, in order. */
  settle({ rows, before, counts }: FilledChunks, types: ArrayLike<number>): void {
    const { kvHeads: G, chunk, window, localWindow } = this.options;
    // All tokens of the step are in the book already, so settling a chunk must leave younger ones alone.
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / G);
      const first = chunkOf(before[b], chunk);
      for (let c = first; chunkEnd(c, chunk) < before[b] + counts[b]; c++) {
        const type = types[n * rows + c - first];
        if (type !== 0 && type !== 1 && type !== 2) {
          throw new ValueError(`the type of chunk ${c} is ${type}: it must be 0, 1 or 2; a NaN score has none`);
        }
        const ends = [FOREVER, localEnd(c, chunk, FOREVER, localWindow), windowEnd(c, chunk, window)]; // by type
        head.settle(chunkEnd(c, chunk), type, ends[type], localWindow === undefined);
      }
    });
  }

  /** Counts the entries that the newest queries see. */
  countVisible(): void {
    const { first, counts } = this.step;
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / this.options.kvHeads);
      const visible = new Float64Array(counts[b]);
      head.countVisible(first[b], visible);
      for (const count of visible) {
        this.#visiblePairs[n] = this.#visiblePairs[n] + count;
        this.#peakLive[n] = Math.max(this.#peakLive[n], count);
      }
    });
  }

  /** Step 3: entries that the next query cannot see are dropped with the next step, or when someone asks. */
  evict(): void {
    this.#evicts = true;
  }

  /** Drops them now and returns what moves, or undefined if nothing was to be dropped. Types must be settled. */
  evictNow(): Move[] | undefined {
    if (!this.#evicts) return undefined;
    this.#evicts = false;
    return this.#heads.flatMap((head, n) => {
      const seen = this.seen[Math.floor(n / this.options.kvHeads)];
      return head.replace(seen, seen, 0).moves;
    });
  }

  clear(): void {
    this.#evicts = false;
    this.#counts = [];
    this.seen.fill(0);
    this.#peakLive.fill(0);
    this.#visiblePairs.fill(0);
    for (const head of this.#heads) head.clear();
  }

  /** `entryBytes` is what one entry takes on the device and on the host together. */
  stats(entryBytes: number): CacheStats {
    const { blockSize } = this.options;
    return {
      seen: this.seen.slice(),
      live: Int32Array.from(this.#heads, (head) => head.count),
      peakLive: this.#peakLive.slice(),
      visiblePairs: this.#visiblePairs.slice(),
      bytes: Float64Array.from(this.#heads, (head) => head.blocks.length * blockSize * entryBytes),
      entryBytes,
    };
  }

  /** Becomes a copy of another book, whose types must be settled, over a copy of its blocks. */
  copyOf(other: CacheBook, blocks: BlockPool): void {
    this.#heads = other.#heads.map((head) => head.copy(blocks));
    this.seen.set(other.seen);
    this.#peakLive.set(other.#peakLive);
    this.#visiblePairs.set(other.#visiblePairs);
    this.#counts = other.#counts;
    this.#evicts = other.#evicts;
  }

  /** The entries of all heads, in the order of their slots. */
  entries(): ListedEntries {
    const length = this.#heads.reduce((sum, head) => sum + head.count, 0);
    const [positions, last, open] = [new Int32Array(length), new Int32Array(length), new Uint8Array(length)];
    const places: number[] = [];
    for (const head of this.#heads) {
      for (let slot = 0; slot < head.count; slot++) {
        const n = places.length;
        positions[n] = head.position[slot];
        last[n] = head.last[slot];
        open[n] = head.isOpen(slot) ? 1 : 0;
        places.push(head.place(slot));
      }
    }
    return { positions, last, open, places };
  }

  /** Holds what the snapshot holds, and nothing else; returns the places of its entries. */
  restore(snapshot: CacheSnapshot): number[] {
    const { kvHeads: G, chunk } = this.options;
    this.clear();
    this.seen.set(snapshot.seen);
    this.#peakLive.set(snapshot.peakLive);
    this.#visiblePairs.set(snapshot.visiblePairs);
    let at = 0;
    return this.#heads.flatMap((head, n) => {
      const tokens = this.seen[Math.floor(n / G)];
      const [from, to] = [at, (at += snapshot.live[n])];
      const part = <T extends Int32Array | Uint8Array>(x: T): T => x.subarray(from, to) as T;
      const entries = [part(snapshot.positions), part(snapshot.last), part(snapshot.open)] as const;
      return head.restore(...entries, chunkOf(tokens, chunk) * chunk);
    });
  }
}
