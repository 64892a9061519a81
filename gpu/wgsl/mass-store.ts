/**
 * The memory of a cache under a budget: as many slots for every KV head, laid out anew when more are needed, or far
 * fewer.
 * @module
 */
import type { CacheSnapshot, MassCacheOptions } from '../../src/core/cache.ts';
import { DeviceError } from '../../src/core/errors.ts';
import { scoreWidth } from '../../src/core/mass.ts';
import type { FloatArray } from '../../src/core/tensor.ts';
import { type SlotDtype, wordsOf } from './cache-kernels.ts';
import { pickedRows, Rows } from './cache-rows.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { BOOK, bookWords, PACK } from './mass-kernels.ts';

/** Slots of a head beyond those needed, besides an eighth. */
const MORE = 32;

/** Memories of the slots; see mass-kernels.ts. */
export interface MassSlots {
  readonly keys: Memory;
  readonly values: Memory;
  readonly book: Memory;
  readonly scores: Memory;
  /** Slots of a head. */
  readonly room: number;
}

/** What a cache holds, and what it has served, by head. */
interface Book {
  readonly live: Int32Array;
  readonly peakLive: Int32Array;
  readonly visiblePairs: Float64Array;
  /** The slots of the entries held, head by head, in the order of their positions. */
  readonly slots: readonly number[];
  readonly positions: Int32Array;
}

/** The same on the host, before it is uploaded. */
interface Contents {
  readonly keys: Rows;
  readonly values: Rows;
  readonly book: Uint32Array;
  readonly scores: Float32Array;
}

const memoriesOf = ({ keys, values, book, scores }: MassSlots): Memory[] => [keys, values, book, scores];

export class MassStore {
  readonly stored: SlotDtype;
  /** Numbers that make an entry's score. */
  readonly width: number;
  /** Numbers that a step has for an entry besides: two, and one for each query head of a KV head. */
  scratch = 0;
  readonly #device: WgslDevice;
  readonly #options: MassCacheOptions;
  readonly #heads: number;
  readonly #words: number; // of a row of keys or values
  #slots: MassSlots | undefined;

  constructor(device: WgslDevice, options: MassCacheOptions) {
    this.#device = device;
    this.#options = options;
    this.#heads = options.batch * options.kvHeads;
    this.stored = options.storage === 'f16' ? 'f16' : 'f32';
    this.width = scoreWidth(options.mass);
    this.#words = wordsOf(this.stored, options.headDim);
  }

  /** The slots, with room for `wanted` entries of every head, of which none holds more than `bound` now. */
  reserve(wanted: number, bound: number): MassSlots {
    const old = this.#slots;
    if (old && wanted <= old.room) return old;
    const room = Math.max(wanted, Math.min(Math.ceil(wanted + wanted / 8) + MORE, this.#fits));
    return this.#slots = old ? this.#packed(old, room, bound) : this.#filled(this.#empty(room), room);
  }

  /** Gives back most of what a long step needed, if no head holds more than `bound` and little more will be needed. */
  shrink(bound: number): void {
    const old = this.#slots;
    const room = Math.ceil(bound + bound / 8) + MORE;
    if (old && old.room > 4 * room) this.#slots = this.#packed(old, room, bound);
  }

  #packed(old: MassSlots, room: number, bound: number): MassSlots {
    this.#expectRoom(room);
    const [device, heads, words, width] = [this.#device, this.#heads, this.#words, this.width];
    const row = heads * room;
    const [keys, values, book, scores] = [row * words, row * words, heads * bookWords(room), Math.max(1, row * width)]
      .map((length) => device.allocate(length));
    const [across, folds] = flat(Math.max(bound * Math.max(words, width), room));
    device.run(PACK, {
      params: { words, width, before: old.room, room }, inputs: memoriesOf(old),
      outputs: [keys, values, book, scores], groups: [across, heads, folds], work: row * words * 4,
    });
    this.#free(old);
    return { keys, values, book, scores, room };
  }

  #free(slots: MassSlots): void {
    for (const memory of memoriesOf(slots)) this.#device.free(memory);
  }

  /** Numbers of the widest row of an entry, during a step too. */
  get #widest(): number {
    return Math.max(this.#words, this.width, this.scratch);
  }

  /** The most slots of a head that a memory holds. */
  get #fits(): number {
    const each = this.#device.maxBytes / 4 / this.#heads;
    return Math.floor(Math.min(each / this.#widest, (each - bookWords(0)) / (bookWords(1) - bookWords(0))));
  }

  /** Refuses more slots than a memory holds. */
  #expectRoom(room: number): void {
    const [heads, { maxBytes, limitName }, fits] = [this.#heads, this.#device, this.#fits];
    if (room <= fits) return;
    const widest = 4 * this.#widest;
    throw new DeviceError(`${this.#widest > this.#words ? 'the scores' : 'the keys'} of a cache under a budget take ${heads * room * widest} bytes but ${limitName} is ${maxBytes}: at most ${fits} entries fit in each of ${heads} heads, a context of ${fits} tokens if all are kept; choose a smaller budget, shorter steps (prefillStep), or a smaller batch`);
  }

  /** The contents of empty slots. */
  #empty(room: number): Contents {
    this.#expectRoom(room);
    const { headDim: d } = this.#options;
    const total = this.#heads * room;
    const book = new Uint32Array(this.#heads * bookWords(room));
    for (let head = 0; head < this.#heads; head++) {
      for (let n = 0; n < room; n++) book[head * bookWords(room) + BOOK + n] = n;
    }
    const [keys, values] = [new Rows(this.stored, d, total), new Rows(this.stored, d, total)];
    return { keys, values, book, scores: new Float32Array(Math.max(1, total * this.width)) };
  }

  #filled({ keys, values, book, scores }: Contents, room: number): MassSlots {
    const [K, V, list, numbers] = [keys.bytes, values.bytes, book, scores].map((data) => this.#device.upload(data));
    return { keys: K, values: V, book: list, scores: numbers, room };
  }

  /** What the heads hold now. */
  async book(): Promise<Book> {
    const heads = this.#heads;
    const [live, peakLive, visiblePairs] = [new Int32Array(heads), new Int32Array(heads), new Float64Array(heads)];
    const slots: number[] = [];
    if (!this.#slots) return { live, peakLive, visiblePairs, slots, positions: new Int32Array(0) };
    const { book, room } = this.#slots;
    const words = new Uint32Array(await this.#device.read(book));
    const positions: number[] = [];
    for (let head = 0; head < heads; head++) {
      const own = words.subarray(head * bookWords(room), (head + 1) * bookWords(room));
      live[head] = own[0];
      peakLive[head] = own[1];
      visiblePairs[head] = own[3] * 2 ** 32 + own[2];
      for (let n = 0; n < own[0]; n++) {
        const slot = own[BOOK + n];
        slots.push(head * room + slot);
        positions.push(own[BOOK + room + slot]);
      }
    }
    return { live, peakLive, visiblePairs, slots, positions: Int32Array.from(positions) };
  }

  /** All entries, head by head, in the order of their positions. */
  async entries(): Promise<Pick<CacheSnapshot, 'keys' | 'values'> & { scores: FloatArray } & Book> {
    const { headDim: d } = this.#options;
    if (!this.#slots) {
      const none = new Float32Array(0);
      return { ...await this.book(), keys: none, values: none, scores: none };
    }
    const { keys, values, scores } = this.#slots;
    const reads = [keys, values, scores].map((memory) => this.#device.readLater(memory));
    const book = await this.book();
    const [k, v, s] = await Promise.all(reads.map((read) => read.now()));
    return {
      ...book, keys: pickedRows(k, this.stored, d, book.slots), values: pickedRows(v, this.stored, d, book.slots),
      scores: this.width === 0 ? new Float32Array(0) : pickedRows(s, 'f32', this.width, book.slots),
    };
  }

  /** Holds those entries of a snapshot that are held, in the order of their positions. */
  fill({ seen, live, keys, values, positions, last, peakLive, visiblePairs, scores }: CacheSnapshot): void {
    const { kvHeads } = this.#options;
    const [room, width] = [Math.max(0, ...live) + MORE, this.width];
    this.clear();
    const made = this.#empty(room);
    let at = 0;
    live.forEach((count, head) => {
      const start = head * bookWords(room);
      const held = Array.from({ length: count }, (_, n) => at + n)
        .filter((n) => last[n] >= seen[Math.floor(head / kvHeads)]).sort((x, y) => positions[x] - positions[y]);
      const [low, high] = [visiblePairs[head] % 2 ** 32, Math.floor(visiblePairs[head] / 2 ** 32)];
      made.book.set([held.length, peakLive[head], low, high], start);
      held.forEach((n, slot) => {
        made.keys.put(keys, n, head * room + slot);
        made.values.put(values, n, head * room + slot);
        made.book[start + BOOK + room + slot] = positions[n];
        if (scores) made.scores.set(scores.subarray(n * width, (n + 1) * width), (head * room + slot) * width);
      });
      at += count;
    });
    this.#slots = this.#filled(made, room);
  }

  /** Becomes a copy of another store of the same options. */
  copyOf(other: MassStore): void {
    this.clear();
    if (!other.#slots) return;
    const [keys, values, book, scores] = memoriesOf(other.#slots).map((memory) => this.#device.copied(memory));
    this.#slots = { keys, values, book, scores, room: other.#slots.room };
  }

  clear(): void {
    if (this.#slots) this.#free(this.#slots);
    this.#slots = undefined;
  }
}
