/**
 * §8: the evicting cache of one layer. Keys and values stay in a paged pool on the device; rows are written and
 * moved in place. Which entries live is decided on the host, where it is a matter of whole numbers.
 *
 * Decoding needs the types of a token only when it comes to evicting, before the next token. So they are read
 * back together with the logits of their step: one readback per token, whatever the number of layers.
 * @module
 */
import { type CacheOptions, type CacheSnapshot, type CacheStats, entryBytes } from '../../src/core/cache.ts';
import { DeviceError } from '../../src/core/errors.ts';
import { CacheBook, type FilledChunks } from '../device/cache-book.ts';
import type { HeadBook } from '../device/head-book.ts';
import type { LateRead } from '../device/reads.ts';
import { attendAll, attendSome, type CachedAttention, type ListedEntry, type Pages } from './cache-attention.ts';
import type { Device, Memory, Scope } from './device.ts';
import { EntryPool } from './entry-pool.ts';

/** The largest position that float32 counts exactly. */
const MOST_TOKENS = 2 ** 24;
/** The most elements that a tile of scores has. */
const TILE_ELEMENTS = 2 ** 22;

/** A step whose types are still on the device. */
interface Untyped {
  readonly memory: Memory;
  readonly read: LateRead<Float32Array>;
  readonly filled: FilledChunks;
}

/** The work of a cache, whose methods the engine's queue calls one after the other. */
export class DeviceCache {
  readonly options: CacheOptions;
  readonly #device: Device;
  readonly #pool: EntryPool;
  readonly #book: CacheBook;
  #untyped: Untyped | undefined;
  #table: { readonly pages: Pages; readonly text: string } | undefined;

  constructor(device: Device, options: CacheOptions) {
    this.#device = device;
    this.options = options;
    this.#pool = new EntryPool(device, options);
    this.#book = new CacheBook(options, this.#pool.blocks);
  }

  /** Appends k and v [B,G,T,d]. `known` holds the types [B,G,rows] where the host knows them. */
  async append(
    k: Memory, v: Memory, types: Memory, known: Int32Array | undefined, T: number, counts: readonly number[],
  ): Promise<void> {
    await this.settle();
    counts.forEach((count, b) => {
      const reached = this.#book.seen[b] + count;
      if (reached > MOST_TOKENS) {
        throw new DeviceError(`sequence ${b} would reach ${reached} tokens, but float32 counts positions to ${MOST_TOKENS} only: clear() the cache`);
      }
    });
    const { moves, rows, filled } = this.#book.take(T, counts);
    this.#pool.move(moves);
    this.#pool.write(k, v, rows.map((row) => ({ ...row, length: 1 })));
    this.#pool.shrink(this.#book.heads);
    if (!filled) return;
    if (known) {
      this.#book.settle(filled, known);
      return;
    }
    // The caller may free `types` before they are read.
    const memory = this.#device.share(types);
    const length = this.#book.heads.length * filled.rows;
    this.#untyped = { filled, memory, read: this.#device.readLater(memory, length) };
    // With one token per sequence, no query of this step depends on its type.
    if (T > 1) await this.settle();
  }

  /** Waits for types that are still on the device, and applies them. */
  async settle(): Promise<void> {
    const step = this.#untyped;
    if (!step) return;
    this.#untyped = undefined;
    try {
      this.#book.settle(step.filled, await step.read.now());
    } finally {
      this.#device.free(step.memory);
    }
  }

  /** The newest queries q [B,H,T,d] over all entries: out [B,H,T,d]. */
  async attend(scope: Scope, q: Memory, H: number, T: number, scale: number): Promise<Memory> {
    const { batch: B, kvHeads: G, headDim: d } = this.options;
    const { heads } = this.#book;
    const { counts, first } = this.#book.step;
    this.#book.countVisible();
    const [keys, values] = this.#pool.memories;
    if (!keys || !values) {
      const none = this.#device.upload(new Float32Array(B * H * T * d));
      return scope.adopt(none);
    }
    const call: CachedAttention = { q, k: keys, v: values, B, H, G, d, scale };
    const all = heads.every((head, n) => head.allOutlive(first[Math.floor(n / G)]));
    if (T === 1 && all) {
      const seen = heads.map((head, n) => (counts[Math.floor(n / G)] > 0 ? head.count : 0));
      return attendAll(scope, call, this.#pageTable(), seen);
    }
    const out = scope.adopt(this.#device.allocate(B * H * T * d));
    const most = Math.max(1, ...heads.map((head) => head.count));
    const elements = Math.min(TILE_ELEMENTS, this.#device.maxLength);
    const step = Math.max(1, Math.min(T, this.#device.tuning.tileRows, Math.floor(elements / (B * H * most))));
    const meta = counts.flatMap((count, b) => [first[b], count]);
    for (let t = 0; t < T; t += step) {
      const rows = Math.min(step, T - t);
      const lists = heads.map((head, n) => this.#listed(head, first[Math.floor(n / G)] + t, rows));
      const tile = await attendSome(scope, call, lists, meta, T, t, rows);
      this.#device.copy(tile, out, Array.from({ length: B * H }, (_, head) =>
        ({ from: head * rows * d, to: (head * T + t) * d, length: rows * d })));
      scope.free(tile);
    }
    return out;
  }

  /** The entries that any of queries i..i+rows-1 sees. */
  #listed(head: HeadBook, i: number, rows: number): ListedEntry[] {
    const list: ListedEntry[] = [];
    for (let slot = 0; slot < head.count; slot++) {
      const [from, until] = [head.position[slot], head.last[slot]];
      if (from < i + rows && until >= i) list.push({ place: head.place(slot), from, until });
    }
    return list;
  }

  /** The blocks of every head [B G, width], uploaded when they have changed. */
  #pageTable(): Pages {
    const { heads } = this.#book;
    const width = Math.max(1, ...heads.map((head) => head.blocks.length));
    const text = heads.map((head) => head.blocks.join()).join(';');
    if (this.#table?.text !== text) {
      if (this.#table) this.#device.free(this.#table.pages.table);
      const blocks = new Float32Array(heads.length * width);
      heads.forEach((head, n) => blocks.set(head.blocks, n * width));
      this.#table = { pages: { table: this.#device.upload(blocks), width, size: this.options.blockSize }, text };
    }
    return this.#table.pages;
  }

  /** Step 3, which takes place with the next step or when someone asks. */
  evict(): void {
    this.#book.evict();
  }

  async #evictNow(): Promise<void> {
    await this.settle();
    const moves = this.#book.evictNow();
    if (!moves) return;
    this.#pool.move(moves);
    this.#pool.shrink(this.#book.heads);
  }

  async clear(): Promise<void> {
    await this.#forgetUntyped();
    this.#book.clear();
    this.#pool.shrink(this.#book.heads);
  }

  async stats(): Promise<CacheStats> {
    await this.#evictNow();
    // Key and value are on the device; position, last and type on the host.
    return this.#book.stats(entryBytes(this.options.headDim, 'f32'));
  }

  async positions(b: number, g: number): Promise<Int32Array> {
    await this.#evictNow();
    return this.#book.heads[b * this.options.kvHeads + g].positions();
  }

  /** Becomes a copy of another cache, whose types must be settled. */
  copyOf(other: DeviceCache): void {
    this.#pool.copyOf(other.#pool);
    this.#book.copyOf(other.#book, this.#pool.blocks);
  }

  /** What is held, with the entries of a head in the order of their slots. */
  async snapshot(): Promise<CacheSnapshot> {
    const { seen, live, peakLive, visiblePairs } = await this.stats();
    const { places, ...listed } = this.#book.entries();
    const [keys, values] = await this.#pool.gather(places);
    return { seen, live, keys, values, ...listed, peakLive, visiblePairs };
  }

  /** Holds what the snapshot holds, and nothing else. */
  async restore(snapshot: CacheSnapshot): Promise<void> {
    for (const [b, seen] of snapshot.seen.entries()) {
      if (seen > MOST_TOKENS) throw new DeviceError(`sequence ${b} of the snapshot has seen ${seen} tokens, but float32 counts positions to ${MOST_TOKENS} only: restore it on the reference engine`);
    }
    await this.clear();
    this.#pool.fill(this.#book.restore(snapshot), snapshot.keys, snapshot.values);
  }

  /** Reads types that wait to be read, since the next read needs their memory, and forgets them. */
  async #forgetUntyped(): Promise<void> {
    const step = this.#untyped;
    if (!step) return;
    this.#untyped = undefined;
    await step.read.now().catch(() => {});
    this.#device.free(step.memory);
  }

  /** Frees the pool. */
  async free(): Promise<void> {
    await this.#forgetUntyped();
    if (this.#table) this.#device.free(this.#table.pages.table);
    this.#table = undefined;
    this.#pool.free();
  }
}
