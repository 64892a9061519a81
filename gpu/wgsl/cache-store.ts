/**
 * The memory of a cache: slots for the entries of all its heads, in ranges that are laid out anew as heads grow and
 * shrink.
 * @module
 */
import type { CacheOptions, CacheSnapshot } from '../../src/core/cache.ts';
import { DeviceError, ValueError } from '../../src/core/errors.ts';
import { HEAD_WORDS, KEEP, MOVE, type SlotDtype, wordsOf } from './cache-kernels.ts';
import { memoriesOf, pickedRows, Rows, type Slots } from './cache-rows.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';

export type { Slots } from './cache-rows.ts';

/** What a cache holds, and what it has served, by head. */
export interface Book {
  readonly live: Int32Array;
  readonly peakLive: Int32Array;
  readonly visiblePairs: Float64Array;
}

const sum = (counts: readonly number[]): number => counts.reduce((all, n) => all + n, 0);

/** Entries that a head may take before the slots are laid out anew, besides a fraction of those that it has. */
const ROOM = 64;

export class CacheStore {
  readonly #device: WgslDevice;
  readonly #options: CacheOptions;
  readonly #stored: SlotDtype;
  readonly #words: number; // of a row of keys or values
  #slots: Slots | undefined;
  /** The slots of each head. */
  #room: number[] = [];
  /** At least as many as a head has slots in use. */
  #bound: number[];
  /** All tokens that each head has taken in. */
  #taken: number[];
  /** Counts the contents: what is learned about earlier ones is of no use. */
  #contents = 0;
  #failure: Error | undefined;
  /** The argument of drop(), if nothing has been appended since. */
  #dropped = '';

  constructor(device: WgslDevice, options: CacheOptions) {
    this.#device = device;
    this.#options = options;
    this.#stored = options.storage === 'f16' ? 'f16' : 'f32';
    this.#words = wordsOf(this.#stored, options.headDim);
    this.#bound = new Array<number>(this.#heads).fill(0);
    this.#taken = [...this.#bound];
  }

  get #heads(): number {
    return this.#options.batch * this.#options.kvHeads;
  }

  /** Whether something was ever reserved. */
  get filled(): boolean {
    return this.#slots !== undefined;
  }

  get slots(): Slots {
    return this.#slots!;
  }

  /** At least the slots in use of every head. */
  get most(): number {
    return Math.max(...this.#bound);
  }

  /** Throws what went wrong on the device, as far as it is known. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Makes room for counts[b] tokens in every head of sequence b. */
  reserve(counts: readonly number[]): void {
    this.check();
    const { kvHeads: G } = this.#options;
    const wanted = this.#bound.map((bound, head) => bound + counts[Math.floor(head / G)]);
    if (!this.#slots || wanted.some((count, head) => count > this.#room[head])) this.#layOut(wanted, undefined);
  }

  /** Notes that counts[b] tokens were appended to every head of sequence b. */
  took(counts: readonly number[]): void {
    const { kvHeads: G } = this.#options;
    for (let head = 0; head < this.#heads; head++) {
      const count = counts[Math.floor(head / G)];
      this.#bound[head] = this.#bound[head] + count;
      this.#taken[head] = this.#taken[head] + count;
    }
    this.#dropped = '';
    const slots = this.slots;
    slots.parity = slots.parity === 0 ? 1 : 0;
  }

  /** Drops the entries of sequence b that die before query next[b]. */
  drop(next: Int32Array): void {
    this.check();
    if (!this.#slots || this.#dropped === next.join()) return;
    this.#layOut(this.#bound, next);
    this.#dropped = next.join();
    this.#learn();
  }

  /** Moves all slots to new memory, with room for at least `wanted`, and without those that die before next[b]. */
  #layOut(wanted: readonly number[], next: Int32Array | undefined): void {
    const { kvHeads: G, blockSize } = this.#options;
    const device = this.#device;
    const more = device.width === 64 && !device.testing ? 4 * ROOM : ROOM;
    const least = wanted.map((count) => Math.ceil(count / blockSize) * blockSize);
    const spare = this.#expectRoom(sum(least));
    let room = wanted.map((count) => Math.ceil((count + more + count / 8) / blockSize) * blockSize);
    if (sum(room) > sum(least) + spare) {
      // What there is more than is needed is shared out, so that a context which fits does fit.
      const each = Math.floor(spare / room.length / blockSize) * blockSize;
      room = least.map((count) => count + each);
    }
    const total = sum(room);
    const plan = new Int32Array(3 * this.#heads);
    let at = 0;
    room.forEach((count, head) => {
      plan.set([at, count, next?.[Math.floor(head / G)] ?? 0], 3 * head);
      at += count;
    });
    const words = this.#words;
    const made = this.#allocate(total);
    const old = this.#slots;
    this.#room = room;
    this.#slots = made;
    if (!old) {
      const heads = new Uint32Array(this.#heads * HEAD_WORDS);
      room.forEach((count, head) => heads.set([plan[3 * head], count], head * HEAD_WORDS));
      device.free(made.heads);
      this.#slots = { ...made, heads: device.upload(heads) };
      return;
    }
    const [planned, origin] = [device.upload(plan), device.allocate(total)];
    device.run(KEEP, {
      params: { parity: old.parity }, inputs: [planned, old.heads, old.entries, old.states],
      outputs: [made.heads, made.entries, made.states, origin], groups: [this.#heads], work: total * 16,
    });
    const [across, folds] = flat(Math.max(...this.#bound) * words);
    device.run(MOVE, {
      params: { words, parity: 0 }, inputs: [made.heads, origin, old.keys, old.values],
      outputs: [made.keys, made.values],
      groups: [across, this.#heads, folds], work: total * words * 4,
    });
    device.free(planned);
    device.free(origin);
    this.#free(old);
  }

  #allocate(total: number): Slots {
    const row = total * this.#words;
    const lengths = [row, row, total * 2, total, this.#heads * HEAD_WORDS];
    return this.#made(lengths.map((length) => this.#device.allocate(length)), 0);
  }

  #made([keys, values, entries, states, heads]: readonly Memory[], parity: 0 | 1): Slots {
    return { stored: this.#stored, keys, values, entries, states, heads, parity };
  }

  #free(slots: Slots): void {
    for (const memory of memoriesOf(slots)) this.#device.free(memory);
  }

  /** Refuses more slots than a memory holds, and says how many more it would hold. */
  #expectRoom(total: number): number {
    const { batch, kvHeads } = this.#options;
    const { maxBytes, limitName } = this.#device;
    const { blockSize } = this.#options;
    const row = 4 * Math.max(this.#words, 2); // an entry has two words besides
    const fits = Math.floor(maxBytes / row);
    if (total <= fits) return fits - total;
    const context = Math.floor(fits / (batch * kvHeads) / blockSize) * blockSize;
    throw new DeviceError(`the keys of a cache take ${total * row} bytes but ${limitName} is ${maxBytes}: at most ${fits} entries fit over ${batch * kvHeads} heads, a context of ${context} tokens if all are kept; evict more, ${this.#stored === 'f32' ? 'store it as f16 (cache), ' : ''}or use a shorter context or a smaller batch`);
  }

  /** Reads the heads with the next read, to know how many slots they use. */
  #learn(): void {
    const [contents, taken] = [this.#contents, [...this.#taken]];
    const copy = this.#device.copied(this.slots.heads);
    const late = this.#device.readLater(copy);
    void late.arrived.then((data) => {
      this.#device.free(copy);
      if (contents === this.#contents) this.#note(new Uint32Array(data), taken, 0);
    }, () => {});
  }

  /** Takes in what the heads held when `taken` tokens had been appended. */
  #note(heads: Uint32Array, taken: readonly number[], parity: 0 | 1): Int32Array {
    const live = Int32Array.from(taken, (_, head) => heads[head * HEAD_WORDS + 2 + parity]);
    live.forEach((count, head) => {
      this.#bound[head] = Math.min(this.#bound[head], count + this.#taken[head] - taken[head]);
      const wrong = heads[head * HEAD_WORDS + 7];
      if (wrong > 0) this.#failure ??= new ValueError(`the type of chunk ${wrong - 1} is 3: it must be 0, 1 or 2; a NaN score has none`);
    });
    return live;
  }

  /** What the heads hold now. */
  async book(): Promise<Book> {
    this.check();
    const length = this.#heads;
    const [live, peakLive, visiblePairs] = [new Int32Array(length), new Int32Array(length), new Float64Array(length)];
    if (!this.#slots) return { live, peakLive, visiblePairs };
    const { heads, parity } = this.#slots;
    const [contents, taken] = [this.#contents, [...this.#taken]];
    return this.#booked(new Uint32Array(await this.#device.read(heads)), contents, taken, parity);
  }

  #booked(heads: Uint32Array, contents: number, taken: readonly number[], parity: 0 | 1): Book {
    const word = (head: number, n: number): number => heads[head * HEAD_WORDS + n];
    let live: Int32Array = Int32Array.from(taken, (_, head) => word(head, 2 + parity));
    if (contents === this.#contents) live = this.#note(heads, taken, parity);
    this.check();
    return {
      live,
      peakLive: Int32Array.from(live, (_, head) => word(head, 4)),
      visiblePairs: Float64Array.from(live, (_, head) => word(head, 6) * 2 ** 32 + word(head, 5)),
    };
  }

  /** All entries, head by head, in the order of their slots. */
  async entries(): Promise<Omit<CacheSnapshot, 'seen'>> {
    const { headDim: d } = this.#options;
    if (!this.#slots) {
      const [none, x, open] = [new Int32Array(0), new Float32Array(0), new Uint8Array(0)];
      return { ...await this.book(), keys: x, values: x, positions: none, last: none, open };
    }
    const { keys, values, entries, states } = this.#slots;
    const reads = [keys, values, entries, states].map((memory) => this.#device.readLater(memory));
    const first = this.#room.map((_, head) => this.#room.slice(0, head).reduce((sum, n) => sum + n, 0));
    const book = await this.book();
    const [k, v, both, state] = await Promise.all(reads.map((read) => read.now()));
    const slots = Array.from(book.live)
      .flatMap((count, head) => Array.from({ length: count }, (_, s) => first[head] + s));
    const [pairs, marks] = [new Int32Array(both), new Uint32Array(state)];
    return {
      ...book, keys: pickedRows(k, this.#stored, d, slots), values: pickedRows(v, this.#stored, d, slots),
      positions: Int32Array.from(slots, (slot) => pairs[2 * slot]),
      last: Int32Array.from(slots, (slot) => pairs[2 * slot + 1]),
      open: Uint8Array.from(slots, (slot) => (marks[slot] === 1 ? 1 : 0)),
    };
  }

  /** Holds the snapshot's entries; those of sequence b from position untyped[b] on wait for the type of their chunk. */
  fill(snapshot: Omit<CacheSnapshot, 'seen'>, untyped: readonly number[]): void {
    const { kvHeads: G, headDim: d } = this.#options;
    const { live, positions, last, open, peakLive, visiblePairs } = snapshot;
    const device = this.#device;
    this.clear();
    this.#bound = Array.from(live);
    this.#layOut(this.#bound, undefined);
    const total = this.#room.reduce((sum, n) => sum + n, 0);
    const [keys, values] = [new Rows(this.#stored, d, total), new Rows(this.#stored, d, total)];
    const [entries, states] = [new Int32Array(total * 2), new Uint32Array(total)];
    const heads = new Uint32Array(this.#heads * HEAD_WORDS);
    let [slot, n] = [0, 0];
    live.forEach((count, head) => {
      const [low, high] = [visiblePairs[head] % 2 ** 32, Math.floor(visiblePairs[head] / 2 ** 32)];
      heads.set([slot, this.#room[head], count, count, peakLive[head], low, high], head * HEAD_WORDS);
      for (let s = 0; s < count; s++, n++) {
        keys.put(snapshot.keys, n, slot + s);
        values.put(snapshot.values, n, slot + s);
        entries.set([positions[n], last[n]], 2 * (slot + s));
        states[slot + s] = positions[n] >= untyped[Math.floor(head / G)] ? 2 : open[n];
      }
      slot += this.#room[head];
    });
    this.#free(this.slots);
    this.#slots = this.#made([keys.bytes, values.bytes, entries, states, heads].map((data) => device.upload(data)), 0);
  }

  /** Becomes a copy of another store of the same options. */
  copyOf(other: CacheStore): void {
    this.clear();
    this.#room = [...other.#room];
    this.#bound = [...other.#bound];
    this.#taken = [...other.#taken];
    this.#failure = other.#failure;
    this.#dropped = other.#dropped;
    if (!other.#slots) return;
    const copies = memoriesOf(other.#slots).map((memory) => this.#device.copied(memory));
    this.#slots = this.#made(copies, other.#slots.parity);
  }

  /** Forgets everything. */
  clear(): void {
    if (this.#slots) this.#free(this.#slots);
    this.#slots = undefined;
    this.#contents++;
    this.#dropped = '';
    this.#failure = undefined;
    this.#bound.fill(0);
    this.#taken.fill(0);
  }
}
