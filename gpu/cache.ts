/**
 * §8: the evicting cache of one layer. Keys and values stay in a paged pool on the device; rows are written and
 * moved in place. Which entries live is decided on the host, where it is a matter of whole numbers.
 *
 * Decoding needs the types of a token only when it comes to evicting, before the next token. So they are read
 * back together with the logits of their step: one readback per token, whatever the number of layers.
 * @module
 */
import type { CacheOptions, CacheStats } from '../src/engine.ts';
import { DeviceError, ValueError } from '../src/errors.ts';
import { chunkEnd, chunkOf, FOREVER, TokenType, windowEnd } from '../src/lifetime.ts';
import { attendAll, attendSome, type CachedAttention, type ListedEntry } from './cache-attention.ts';
import { BlockPool, HeadBook, type Move } from './cache-book.ts';
import type { CopyRange, Device, LateRead, Memory, Scope } from './device.ts';

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
  readonly #heads: HeadBook[];
  readonly #blocks: BlockPool;
  readonly #seen: Int32Array;
  readonly #peakLive: Int32Array;
  readonly #visiblePairs: Float64Array;
  #counts: readonly number[] = [];
  #k: Memory | undefined;
  #v: Memory | undefined;
  #untyped: Untyped | undefined;
  #evicts = false;
  #table: { memory: Memory; width: number; text: string } | undefined;

  constructor(device: Device, options: CacheOptions) {
    this.#device = device;
    this.options = options;
    const { batch, kvHeads, blockSize, headDim, bound } = options;
    this.#blocks = new BlockPool(Math.floor(device.maxLength / (blockSize * headDim)), () => this.#full());
    this.#heads = Array.from({ length: batch * kvHeads }, () => new HeadBook(this.#blocks, blockSize, bound));
    this.#seen = new Int32Array(batch);
    this.#peakLive = new Int32Array(batch * kvHeads);
    this.#visiblePairs = new Float64Array(batch * kvHeads);
  }

  /** Takes in k and v [B,G,T,d]; `types` [B,G,rows] may also be known on the host. */
  async append(
    k: Memory, v: Memory, types: Memory, known: Int32Array | undefined, T: number, counts: readonly number[],
  ): Promise<void> {
    const { batch: B, kvHeads: G, chunk } = this.options;
    await this.#settle();
    for (let b = 0; b < B; b++) {
      if (this.#seen[b]! + counts[b]! > MOST_TOKENS) {
        throw new DeviceError(`sequence ${b} would reach ${this.#seen[b]! + counts[b]!} tokens, but float32 counts positions to ${MOST_TOKENS} only: clear() the cache`);
      }
    }
    const before = Array.from(this.#seen);
    const ranges: CopyRange[] = [];
    const moves: Move[] = [];
    this.#heads.forEach((head, n) => {
      const b = Math.floor(n / G);
      const made = head.replace(this.#evicts ? before[b]! : -1, before[b]!, counts[b]!);
      moves.push(...made.moves);
      made.places.forEach((place, t) => ranges.push({ from: n * T + t, to: place, length: 1 }));
    });
    this.#evicts = false;
    this.#moveEntries(moves);
    this.#makeRoom();
    const rows = merged(ranges, this.options.headDim);
    if (this.#k && this.#v) {
      this.#device.copy(k, this.#k, rows);
      this.#device.copy(v, this.#v, rows);
    }
    this.#shrink();
    this.#counts = counts;
    counts.forEach((count, b) => (this.#seen[b] = before[b]! + count));
    const width = Math.floor((T + chunk - 2) / chunk) + 1;
    if (counts.every((count, b) => chunkOf(before[b]! + count, chunk) === chunkOf(before[b]!, chunk))) return;
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
    if (T > 1) await this.#settle();
  }

  /** Waits for types that are still on the device, and applies them. */
  async #settle(): Promise<void> {
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
      const first = chunkOf(before[b]!, chunk);
      for (let c = first; chunkEnd(c, chunk) < before[b]! + counts[b]!; c++) {
        const type = types[n * rows + c - first]!;
        if (type !== 0 && type !== 1 && type !== 2) {
          throw new ValueError(`the type of chunk ${c} is ${type}: it must be 0, 1 or 2; a NaN score has none`);
        }
        const last = type === TokenType.WINDOW ? windowEnd(c, chunk, window) : FOREVER;
        head.settle(chunkEnd(c, chunk), type, last);
      }
    });
  }

  /** Grows the memory to the pool's capacity. */
  #makeRoom(): void {
    if ((this.#k?.length ?? 0) < this.#capacity) this.#replacePool([{ from: 0, to: 0, length: this.#k?.length ?? 0 }]);
  }

  /** Leaves the free blocks out, when they are most of the pool. */
  #shrink(): void {
    const { blockSize, headDim } = this.options;
    const moves = this.#blocks.compacted();
    if (!moves) return;
    for (const head of this.#heads) head.rename(moves);
    this.#replacePool(merged([...moves].map(([from, to]) => ({ from, to, length: 1 })), blockSize * headDim));
  }

  #full(): Error {
    const { batch, kvHeads, blockSize, headDim } = this.options;
    const { maxLength, limitName } = this.#device;
    const fits = this.#blocks.capacity * blockSize;
    const wanted = (fits + blockSize) * headDim * 4;
    const tokens = Math.floor(this.#blocks.capacity / (batch * kvHeads)) * blockSize;
    return new DeviceError(`the keys of a cache take ${wanted} bytes but ${limitName} is ${maxLength * 4}: at most ${fits} entries fit over ${batch * kvHeads} heads, a context of ${tokens} tokens if all are kept; evict more, or use a shorter context or a smaller batch`);
  }

  get #capacity(): number {
    return this.#blocks.capacity * this.options.blockSize * this.options.headDim;
  }

  /** Moves to memory of the pool's capacity, with the ranges that count. */
  #replacePool(ranges: readonly CopyRange[]): void {
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

  /** Moves entries inside the pool, by way of a scratch: a buffer cannot be copied into itself. */
  #moveEntries(moves: readonly Move[]): void {
    if (moves.length === 0) return;
    const d = this.options.headDim;
    const scratch = this.#device.allocate(moves.length * d);
    const out = moves.map(({ from }, n) => ({ from: from * d, to: n * d, length: d }));
    const back = moves.map(({ to }, n) => ({ from: n * d, to: to * d, length: d }));
    for (const pool of [this.#k!, this.#v!]) {
      this.#device.copy(pool, scratch, out);
      this.#device.copy(scratch, pool, back);
    }
    this.#device.free(scratch);
  }

  /** The newest queries q [B,H,T,d] over all entries: out [B,H,T,d]. */
  async attend(scope: Scope, q: Memory, H: number, T: number, scale: number): Promise<Memory> {
    const { batch: B, kvHeads: G, headDim: d } = this.options;
    const counts = Array.from({ length: B }, (_, b) => this.#counts[b] ?? 0);
    const first = counts.map((count, b) => this.#seen[b]! - count);
    this.#countVisible(first, counts);
    if (!this.#k || !this.#v) {
      const none = this.#device.upload(new Float32Array(B * H * T * d));
      return scope.adopt(none);
    }
    const call: CachedAttention = { q, k: this.#k, v: this.#v, B, H, G, d, scale };
    const all = this.#heads.every((head, n) => head.allOutlive(first[Math.floor(n / G)]!));
    if (T === 1 && all) {
      const entries = this.#heads.map((head) => head.count);
      return attendAll(scope, call, ...this.#pageTable(), this.options.blockSize, entries, counts);
    }
    const out = scope.adopt(this.#device.allocate(B * H * T * d));
    const most = Math.max(1, ...this.#heads.map((head) => head.count));
    const elements = Math.min(TILE_ELEMENTS, this.#device.maxLength);
    const step = Math.max(1, Math.min(T, this.#device.tuning.tileRows, Math.floor(elements / (B * H * most))));
    const meta = counts.flatMap((count, b) => [first[b]!, count]);
    for (let t = 0; t < T; t += step) {
      const rows = Math.min(step, T - t);
      const lists = this.#heads.map((head, n) => this.#listed(head, first[Math.floor(n / G)]! + t, rows));
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
      const [from, until] = [head.position[slot]!, head.last[slot]!];
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
      const visible = new Float64Array(counts[b]!);
      head.countVisible(first[b]!, visible);
      for (const count of visible) {
        this.#visiblePairs[n] = this.#visiblePairs[n]! + count;
        this.#peakLive[n] = Math.max(this.#peakLive[n]!, count);
      }
    });
  }

  /** Step 3: what the next query cannot see is dropped before the next token is taken in, or when asked about. */
  evict(): void {
    this.#evicts = true;
  }

  async #evictNow(): Promise<void> {
    await this.#settle();
    if (!this.#evicts) return;
    this.#evicts = false;
    const moves = this.#heads.flatMap((head, n) => {
      const seen = this.#seen[Math.floor(n / this.options.kvHeads)]!;
      return head.replace(seen, seen, 0).moves;
    });
    this.#moveEntries(moves);
    this.#shrink();
  }

  async clear(): Promise<void> {
    this.#untyped = undefined;
    this.#evicts = false;
    this.#counts = [];
    this.#seen.fill(0);
    this.#peakLive.fill(0);
    this.#visiblePairs.fill(0);
    for (const head of this.#heads) head.clear();
    this.#shrink();
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
    return this.#heads[b * this.options.kvHeads + g]!.positions();
  }

  /** Frees the pool. */
  free(): void {
    for (const memory of [this.#k, this.#v, this.#table?.memory, this.#untyped?.memory]) {
      if (memory) this.#device.free(memory);
    }
    this.#k = this.#v = this.#table = this.#untyped = undefined;
  }
}

/** Rows as ranges of `width` elements, neighbours joined. */
function merged(rows: readonly CopyRange[], width: number): CopyRange[] {
  const ranges: { from: number; to: number; length: number }[] = [];
  for (const { from, to, length } of rows) {
    const open = ranges[ranges.length - 1];
    if (open && open.from + open.length === from && open.to + open.length === to) open.length += length;
    else ranges.push({ from, to, length });
  }
  return ranges.map((range) => ({ from: range.from * width, to: range.to * width, length: range.length * width }));
}
