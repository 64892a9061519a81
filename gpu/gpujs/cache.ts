/**
 * §8: the evicting cache of one layer. Keys and values stay in a paged pool on the device; rows are written and
 * moved in place. Which entries live is decided on the host, where it is a matter of whole numbers.
 *
 * Decoding needs the types of a token only when it comes to evicting, before the next token. So they are read
 * back together with the logits of their step: one readback per token, whatever the number of layers.
 * @module
 */
import type { CacheOptions, CacheSnapshot, CacheStats } from '../../src/core/engine.ts';
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import { chunkEnd, chunkOf, FOREVER, TokenType, windowEnd } from '../../src/core/lifetime.ts';
import { attendAll, attendSome, type CachedAttention, type ListedEntry } from './cache-attention.ts';
import { HeadBook, type Move } from '../device/cache-book.ts';
import type { CopyRange, Device, LateRead, Memory, Scope } from './device.ts';
import { EntryPool } from './entry-pool.ts';

/** The largest position that float32 counts exactly. */
const MOST_TOKENS = 2 ** 24;
/** Elements of a tile of scores. */
const TILE_ELEMENTS = 2 ** 22;

/** A step whose types are still on the device. */
interface Untyped {
  readonly memory: Memory;
  readonly read: LateRead;
  readonly rows: number;
  /** Tokens seen before and taken by the step, per sequence. */
  readonly before: readonly number[];
  readonly counts: readonly number[];
}

/** The cache's work; its calls come from the engine's queue, one after the other. */
export class DeviceCache {
  readonly options: CacheOptions;
  readonly #device: Device;
  readonly #pool: EntryPool;
  #heads: HeadBook[];
  readonly #seen: Int32Array;
  readonly #peakLive: Int32Array;
  readonly #visiblePairs: Float64Array;
  #counts: readonly number[] = [];
  #untyped: Untyped | undefined;
  #evicts = false;
  #table: { memory: Memory; width: number; text: string } | undefined;

  constructor(device: Device, options: CacheOptions) {
    this.#device = device;
    this.options = options;
    const { batch, kvHeads, blockSize, bound } = options;
    this.#pool = new EntryPool(device, options);
    const head = () => new HeadBook(this.#pool.blocks, blockSize, bound);
    this.#heads = Array.from({ length: batch * kvHeads }, head);
    this.#seen = new Int32Array(batch);
    this.#peakLive = new Int32Array(batch * kvHeads);
    this.#visiblePairs = new Float64Array(batch * kvHeads);
  }

  /** Takes in k and v [B,G,T,d]; `types` [B,G,rows] may also be known on the host. */
  async append(
    k: Memory, v: Memory, types: Memory, known: Int32Array | undefined, T: number, counts: readonly number[],
  ): Promise<void> {
    const { batch: B, kvHeads: G, chunk } = this.options;
    await this.settle();
    for (let b = 0; b < B; b++) {
      if (this.#seen[b] + counts[b] > MOST_TOKENS) {
        throw new DeviceError(`sequence ${b} would reach ${this.#seen[b] + counts[b]} tokens, but float32 counts positions to ${MOST_TOKENS} only: clear() the cache`);
      }
    }
    const before = Array.from(this.#seen);
    const ranges: CopyRange[] = [];
    const moves: Move[] = [];
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / G);
      const made = head.replace(this.#evicts ? before[b] : -1, before[b], counts[b]);
      moves.push(...made.moves);
      made.places.forEach((place, t) => ranges.push({ from: n * T + t, to: place, length: 1 }));
    });
    this.#evicts = false;
    this.#pool.move(moves);
    this.#pool.write(k, v, ranges);
    this.#pool.shrink(this.#heads);
    this.#counts = counts;
    counts.forEach((count, b) => (this.#seen[b] = before[b] + count));
    const width = Math.floor((T + chunk - 2) / chunk) + 1;
    if (counts.every((count, b) => chunkOf(before[b] + count, chunk) === chunkOf(before[b], chunk))) return;
    const step = { rows: width, before, counts };
    if (known) {
      this.#apply(step, known);
      return;
    }
    // The caller may free `types` before they are read.
    const memory = this.#device.allocate(types.length);
    this.#device.copy(types, memory, [{ from: 0, to: 0, length: B * G * width }]);
    this.#untyped = { ...step, memory, read: this.#device.readLater(memory, B * G * width) };
    // With one token per sequence, no query of this step depends on its type.
    if (T > 1) await this.settle();
  }

  /** Waits for types that are still on the device, and applies them. */
  async settle(): Promise<void> {
    const step = this.#untyped;
    if (!step) return;
    this.#untyped = undefined;
    try {
      this.#apply(step, await step.read.now());
    } finally {
      this.#device.free(step.memory);
    }
  }

  /** Gives the chunks that a step filled their types, in their order. */
  #apply({ rows, before, counts }: Omit<Untyped, 'memory' | 'read'>, types: ArrayLike<number>): void {
    const { kvHeads: G, chunk, window } = this.options;
    // Every token is in the book already: what is settled after it must leave younger chunks alone.
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / G);
      const first = chunkOf(before[b], chunk);
      for (let c = first; chunkEnd(c, chunk) < before[b] + counts[b]; c++) {
        const type = types[n * rows + c - first];
        if (type !== 0 && type !== 1 && type !== 2) {
          throw new ValueError(`the type of chunk ${c} is ${type}: it must be 0, 1 or 2; a NaN score has none`);
        }
        const last = type === TokenType.WINDOW ? windowEnd(c, chunk, window) : FOREVER;
        head.settle(chunkEnd(c, chunk), type, last);
      }
    });
  }

  /** The newest queries q [B,H,T,d] over all entries: out [B,H,T,d]. */
  async attend(scope: Scope, q: Memory, H: number, T: number, scale: number): Promise<Memory> {
    const { batch: B, kvHeads: G, headDim: d } = this.options;
    const counts = Array.from({ length: B }, (_, b) => this.#counts[b] ?? 0);
    const first = counts.map((count, b) => this.#seen[b] - count);
    this.#countVisible(first, counts);
    const [keys, values] = this.#pool.memories;
    if (!keys || !values) {
      const none = this.#device.upload(new Float32Array(B * H * T * d));
      return scope.adopt(none);
    }
    const call: CachedAttention = { q, k: keys, v: values, B, H, G, d, scale };
    const all = this.#heads.every((head, n) => head.allOutlive(first[Math.floor(n / G)]));
    if (T === 1 && all) {
      const entries = this.#heads.map((head) => head.count);
      return attendAll(scope, call, ...this.#pageTable(), this.options.blockSize, entries, counts);
    }
    const out = scope.adopt(this.#device.allocate(B * H * T * d));
    const most = Math.max(1, ...this.#heads.map((head) => head.count));
    const elements = Math.min(TILE_ELEMENTS, this.#device.maxLength);
    const step = Math.max(1, Math.min(T, this.#device.tuning.tileRows, Math.floor(elements / (B * H * most))));
    const meta = counts.flatMap((count, b) => [first[b], count]);
    for (let t = 0; t < T; t += step) {
      const rows = Math.min(step, T - t);
      const lists = this.#heads.map((head, n) => this.#listed(head, first[Math.floor(n / G)] + t, rows));
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
  #pageTable(): [table: Memory, width: number] {
    const width = Math.max(1, ...this.#heads.map((head) => head.blocks.length));
    const text = this.#heads.map((head) => head.blocks.join()).join(';');
    if (this.#table?.text !== text) {
      if (this.#table) this.#device.free(this.#table.memory);
      const blocks = new Float32Array(this.#heads.length * width);
      this.#heads.forEach((head, n) => blocks.set(head.blocks, n * width));
      this.#table = { memory: this.#device.upload(blocks), width, text };
    }
    return [this.#table.memory, this.#table.width];
  }

  #countVisible(first: readonly number[], counts: readonly number[]): void {
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

  /** Step 3: what the next query cannot see is dropped before the next token is taken in, or when asked about. */
  evict(): void {
    this.#evicts = true;
  }

  async #evictNow(): Promise<void> {
    await this.settle();
    if (!this.#evicts) return;
    this.#evicts = false;
    const moves = this.#heads.flatMap((head, n) => {
      const seen = this.#seen[Math.floor(n / this.options.kvHeads)];
      return head.replace(seen, seen, 0).moves;
    });
    this.#pool.move(moves);
    this.#pool.shrink(this.#heads);
  }

  async clear(): Promise<void> {
    await this.#forgetUntyped();
    this.#evicts = false;
    this.#counts = [];
    this.#seen.fill(0);
    this.#peakLive.fill(0);
    this.#visiblePairs.fill(0);
    for (const head of this.#heads) head.clear();
    this.#pool.shrink(this.#heads);
  }

  async stats(): Promise<CacheStats> {
    await this.#evictNow();
    const { headDim, blockSize } = this.options;
    // Key and value on the device; position, last and type on the host.
    const entryBytes = 2 * headDim * 4 + 4 + 4 + 1;
    return {
      seen: this.#seen.slice(),
      live: Int32Array.from(this.#heads, (head) => head.count),
      peakLive: this.#peakLive.slice(),
      visiblePairs: this.#visiblePairs.slice(),
      bytes: Float64Array.from(this.#heads, (head) => head.blocks.length * blockSize * entryBytes),
      entryBytes,
    };
  }

  async positions(b: number, g: number): Promise<Int32Array> {
    await this.#evictNow();
    return this.#heads[b * this.options.kvHeads + g].positions();
  }

  /** Becomes a copy of another cache, whose types are settled. */
  copyOf(other: DeviceCache): void {
    this.#pool.copyOf(other.#pool);
    this.#heads = other.#heads.map((head) => head.copy(this.#pool.blocks));
    this.#seen.set(other.#seen);
    this.#peakLive.set(other.#peakLive);
    this.#visiblePairs.set(other.#visiblePairs);
    this.#counts = other.#counts;
    this.#evicts = other.#evicts;
  }

  /** What is held, with the entries of a head in the order of their slots. */
  async snapshot(): Promise<CacheSnapshot> {
    await this.#evictNow();
    const { seen, live, peakLive, visiblePairs } = await this.stats();
    const E = live.reduce((sum, n) => sum + n, 0);
    const [positions, last, open] = [new Int32Array(E), new Int32Array(E), new Uint8Array(E)];
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
    const [keys, values] = await this.#pool.gather(places);
    return { seen, live, keys, values, positions, last, open, peakLive, visiblePairs };
  }

  /** Holds what the snapshot holds, and nothing else. */
  async restore(snapshot: CacheSnapshot): Promise<void> {
    const { kvHeads: G, chunk } = this.options;
    for (const [b, seen] of snapshot.seen.entries()) {
      if (seen > MOST_TOKENS) throw new DeviceError(`sequence ${b} of the snapshot has seen ${seen} tokens, but float32 counts positions to ${MOST_TOKENS} only: restore it on the reference engine`);
    }
    await this.clear();
    this.#seen.set(snapshot.seen);
    this.#peakLive.set(snapshot.peakLive);
    this.#visiblePairs.set(snapshot.visiblePairs);
    let at = 0;
    const places = this.#heads.flatMap((head, n) => {
      const tokens = this.#seen[Math.floor(n / G)];
      const [from, to] = [at, (at += snapshot.live[n])];
      const part = <T extends Int32Array | Uint8Array>(x: T): T => x.subarray(from, to) as T;
      const entries = [part(snapshot.positions), part(snapshot.last), part(snapshot.open)] as const;
      return head.restore(...entries, chunkOf(tokens, chunk) * chunk);
    });
    this.#pool.fill(places, snapshot.keys, snapshot.values);
  }

  /** Types that wait to be read are on their way with the next read, which needs their memory. */
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
    if (this.#table) this.#device.free(this.#table.memory);
    this.#table = undefined;
    this.#pool.free();
  }
}
