/**
 * §8: the evicting cache of one layer, whose book is on the device: no step waits for the host.
 *
 * Which entries a query sees follows from their (position, last), so entries that are dead may stay for a while. They
 * are dropped from time to time, and whenever someone asks what the cache holds. How many entries a head has is
 * known on the device; the host keeps an upper bound, which it corrects when a read for something else brings the
 * counts along.
 * @module
 */
import { type CacheOptions, type CacheSnapshot, type CacheStats, entryBytes } from '../../src/core/cache.ts';
import { DeviceError } from '../../src/core/errors.ts';
import type { CacheKernels } from '../../src/core/kernels.ts';
import { FOREVER } from '../../src/core/lifetime.ts';
import type { AppendSizes } from '../../src/core/sizes.ts';
import { real, WgslArray } from './array.ts';
import { attend } from './attention.ts';
import { APPEND, SETTLE, STEP, STORING, TALLY, wordsOf } from './cache-kernels.ts';
import { type Book, CacheStore, type Slots } from './cache-store.ts';
import { canAppend, decode, type Fresh } from './decode.ts';
import { flat, type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { type Limits, limitsOf } from './lifetime.ts';
import { hasPrefill, prefillCached } from './prefill.ts';

/** Tokens after which dead entries are dropped: at least so many, and so large a share of all that were seen. */
const [DROP_EVERY, DROP_SHARE] = [64, 1 / 64];
/** At least so many on a GPU, where passing over dead entries takes less than recording how they are dropped. */
const DROP_EVERY_ON_GPU = 256;

/** Where the next token of every sequence goes. */
export interface Place extends Limits {
  readonly slots: Slots;
  /** At least as many as a head has entries then. */
  readonly most: number;
  /** The position of the token. */
  readonly first: number;
}

export class WgslCache implements CacheKernels<WgslArray> {
  readonly #device: WgslDevice;
  readonly #options: CacheOptions;
  readonly #limits: Limits;
  readonly #store: CacheStore;
  /** Tokens seen by each sequence. */
  #seen: Int32Array;
  /** For each sequence, the query before which entries count as evicted. */
  #evicted: Int32Array;
  /** Tokens since dead entries were dropped. */
  #since = 0;
  /** Whether sequences take fewer tokens than the newest step has, or are at different positions. */
  #differ = false;
  /** The newest token of every sequence, which attend() will append. */
  #fresh: Fresh | undefined;
  readonly #canAppend: boolean;
  /** A token of every sequence. */
  readonly #one: readonly number[];
  /** What is freed with the cache. */
  #belongings: (() => void)[] = [];

  constructor(device: WgslDevice, options: CacheOptions) {
    this.#device = device;
    this.#options = options;
    this.#limits = limitsOf(options);
    this.#store = new CacheStore(device, options);
    this.#seen = new Int32Array(options.batch);
    this.#evicted = new Int32Array(options.batch);
    this.#canAppend = canAppend(device, options);
    this.#one = new Array<number>(options.batch).fill(1);
  }

  append(k: WgslArray, v: WgslArray, types: WgslArray, { T, rows, counts }: AppendSizes): void {
    this.#expectPositions(counts);
    if (T === 0) return;
    this.#makeRoom(counts);
    const first = this.#seen[0];
    this.#differ = counts.some((count, b) => count !== T || this.#seen[b] !== first);
    const device = this.#device;
    const from = [real(device, k), real(device, v)];
    if (T === 1 && !this.#differ && this.#canAppend) {
      const [keys, values, kinds] = [...from, types.memory].map((memory) => device.share(memory));
      this.#fresh = { k: keys, v: values, types: kinds, first, ...this.#limits };
    } else {
      this.#write(from, types.memory, { T, rows, counts, first });
      this.#store.took(counts);
    }
    counts.forEach((count, b) => (this.#seen[b] = this.#seen[b] + count));
  }

  #expectPositions(counts: readonly number[]): void {
    counts.forEach((count, b) => {
      if (this.#seen[b] + count >= FOREVER) throw new DeviceError(`sequence ${b} would reach ${this.#seen[b] + count} tokens, but positions are counted to ${FOREVER - 1} only: clear() the cache`);
    });
  }

  /** Drops what is dead from time to time, and sees that so many tokens have room. */
  #makeRoom(counts: readonly number[]): void {
    this.#settle();
    const least = this.#device.width === 64 && !this.#device.testing ? DROP_EVERY_ON_GPU : DROP_EVERY;
    if (this.#since >= Math.max(least, DROP_SHARE * Math.max(...this.#seen))) this.#drop();
    this.#since += Math.max(...counts);
    this.#store.reserve(counts);
  }

  /**
   * Whether attention can append the next token of every sequence, all of which are at the same position: for commands
   * that are recorded again and again, of which the cache knows by beginOne() and endOne().
   */
  get canAppendOne(): boolean {
    return this.#canAppend && this.#seen.every((seen) => seen === this.#seen[0]);
  }

  /** Makes room for the next token of every sequence: where it goes. Nothing happens if it has no position any more. */
  beginOne(): Place {
    this.#expectPositions(this.#one);
    this.#makeRoom(this.#one);
    this.#store.check();
    this.#differ = false;
    return { slots: this.#store.slots, most: this.#store.most + 1, first: this.#seen[0], ...this.#limits };
  }

  /** Notes that the commands were recorded. */
  endOne(): void {
    this.#store.took(this.#one);
    for (let b = 0; b < this.#seen.length; b++) this.#seen[b]++;
    this.evict();
  }

  /** Records that the slots take the new tokens, k and v [B,G,T,d]. */
  #write(
    from: readonly Memory[], types: Memory, { T, rows, counts, first }: AppendSizes & { first: number },
  ): void {
    const { batch: B, kvHeads: G, headDim: d, chunk: C } = this.#options;
    const device = this.#device;
    const { stored, keys, values, entries, states, heads, parity } = this.#store.slots;
    const rule = { rows, C, parity, ...this.#limits };
    const [words, most] = [wordsOf(stored, d), this.#store.most + T];
    const across = Math.ceil(Math.max(most, T * words) / 64);
    if (!this.#differ && across <= MOST_GROUPS) {
      device.run(STEP(STORING[stored]), {
        params: { T, d, first, ...rule }, inputs: [...from, types],
        outputs: [keys, values, entries, states, heads], groups: [across, B * G],
      });
      return;
    }
    const length = B * G * T * words;
    const steps = device.upload(Int32Array.from(counts.flatMap((count, b) => [this.#seen[b], count])));
    device.run(APPEND(STORING[stored]), {
      params: { length, T, d, G, parity }, inputs: [...from, steps], outputs: [keys, values, heads],
      groups: flat(length),
    });
    device.free(steps);
    device.run(SETTLE, {
      params: rule, inputs: [types], outputs: [entries, states, heads], groups: [Math.ceil(most / 64), B * G],
    });
  }

  /** Appends what still waits for attend(). */
  #settle(): void {
    const fresh = this.#taken();
    if (!fresh) return;
    this.#write([fresh.k, fresh.v], fresh.types, { T: 1, rows: 1, counts: this.#one, ...fresh });
    this.#appended(fresh);
  }

  /** What waits for attend(), which waits no longer. */
  #taken(): Fresh | undefined {
    const fresh = this.#fresh;
    this.#fresh = undefined;
    return fresh;
  }

  /** Notes that it is in the slots. */
  #appended({ k, v, types }: Fresh): void {
    this.#store.took(this.#one);
    for (const memory of [k, v, types]) this.#device.free(memory);
  }

  attend(q: WgslArray, scale: number, { H, T }: { H: number; T: number }): WgslArray {
    const { batch: B, kvHeads: G, headDim: d } = this.#options;
    const device = this.#device;
    this.#store.check();
    if (!this.#store.filled) return new WgslArray(q.shape, device.upload(new Float32Array(B * H * T * d)));
    const sizes = { B, H, G, N: T, d };
    const fresh = this.#taken();
    if (fresh) {
      const out = decode(device, real(device, q), this.#store.slots, this.#store.most + 1, sizes, scale, fresh);
      this.#appended(fresh);
      return new WgslArray(q.shape, out);
    }
    this.#settle();
    if (T === 1) {
      const out = decode(device, real(device, q), this.#store.slots, this.#store.most, sizes, scale);
      return new WgslArray(q.shape, out);
    }
    if (!this.#differ && hasPrefill(device, sizes, this.#store.most, this.#store.slots.stored)) {
      const out = prefillCached(device, real(device, q), this.#store.slots, this.#store.most, sizes, scale);
      return new WgslArray(q.shape, out);
    }
    const { stored, keys: k, values: v, entries, heads, parity } = this.#store.slots;
    const cache = { stored, heads, parity, most: this.#store.most };
    const [out, seen] = attend(device, real(device, q), { k, v, entries, cache }, sizes, scale);
    device.run(TALLY, {
      params: { heads: B * G, T }, inputs: [seen], outputs: [heads], groups: [Math.ceil(B * G / 64)],
    });
    device.free(seen);
    return new WgslArray(q.shape, out);
  }

  evict(): void {
    this.#evicted.set(this.#seen);
  }

  clear(): void {
    this.#forget();
    this.#store.clear();
    this.#seen.fill(0);
    this.#evicted.fill(0);
    this.#since = 0;
  }

  async stats(): Promise<CacheStats> {
    const seen = this.#seen.slice();
    const { live, peakLive, visiblePairs } = await this.#book();
    const { headDim, blockSize } = this.#options;
    const bytes = entryBytes(headDim, this.#options.storage ?? 'f32');
    return {
      seen, live, peakLive, visiblePairs,
      bytes: Float64Array.from(live, (count) => Math.ceil(count / blockSize) * blockSize * bytes), entryBytes: bytes,
    };
  }

  async positions(head: number): Promise<Int32Array> {
    this.#drop();
    const { positions, live } = await this.#store.entries();
    const start = live.subarray(0, head).reduce((sum, n) => sum + n, 0);
    return positions.slice(start, start + live[head]).sort();
  }

  fork(): WgslCache {
    this.#settle();
    const copy = new WgslCache(this.#device, this.#options);
    copy.#store.copyOf(this.#store);
    copy.#seen = this.#seen.slice();
    copy.#evicted = this.#evicted.slice();
    copy.#since = this.#since;
    copy.#differ = this.#differ;
    return copy;
  }

  async snapshot(): Promise<CacheSnapshot> {
    this.#drop();
    const seen = this.#seen.slice();
    return { seen, ...await this.#store.entries() };
  }

  restore(snapshot: CacheSnapshot): void {
    this.clear();
    this.#seen.set(snapshot.seen);
    this.#store.fill(snapshot, Array.from(snapshot.seen, (n) => n - n % this.#options.chunk));
  }

  /** Calls `free` when the cache is disposed of. */
  keep(free: () => void): void {
    this.#belongings.push(free);
  }

  dispose(): void {
    this.#forget();
    this.#store.clear();
    for (const free of this.#belongings.splice(0)) free();
  }

  #forget(): void {
    const fresh = this.#taken();
    if (fresh) for (const memory of [fresh.k, fresh.v, fresh.types]) this.#device.free(memory);
  }

  /** Drops the entries that evict() has declared dead. */
  #drop(): void {
    this.#settle();
    this.#since = 0;
    this.#store.drop(this.#evicted);
  }

  #book(): Promise<Book> {
    this.#drop();
    return this.#store.book();
  }
}

