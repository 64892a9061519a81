/**
 * The storage of one KV head of a cache under a budget: entries (key, value, position, last, scores) in whole blocks,
 * all in plain TypeScript.
 * @module
 */
import type { CacheDtype, MassCacheOptions } from '../src/core/cache.ts';
import { fromFloat16, toFloat16 } from '../src/core/float16.ts';
import { scoreWidth } from '../src/core/mass.ts';
import type { HeadUnderBudget } from '../src/core/mass-step.ts';
import type { FloatArray } from '../src/core/tensor.ts';

type Numbers = FloatArray | Uint16Array;

const STORAGE: Readonly<Record<CacheDtype, new (length: number) => Numbers>> =
  { f64: Float64Array, f32: Float32Array, f16: Uint16Array };

const floatsOf = (x: Numbers): FloatArray => (x instanceof Uint16Array ? Float32Array.from(x, fromFloat16) : x);

function store(into: Numbers, x: FloatArray, start: number, at: number, d: number): void {
  if (into instanceof Uint16Array) for (let n = 0; n < d; n++) into[at + n] = toFloat16(x[start + n]);
  else into.set(x.subarray(start, start + d), at);
}

export class MassEntries implements HeadUnderBudget {
  readonly start = 0;
  /** The slots of the entries held, in the order of their positions. */
  held: number[] = [];
  /** The number of slots in use. Entries that are no longer held stay until compact(). */
  count = 0;
  position: Int32Array = new Int32Array(0);
  last: Int32Array = new Int32Array(0);
  scores: FloatArray;
  #k: Numbers;
  #v: Numbers;
  readonly #options: MassCacheOptions;

  constructor(options: MassCacheOptions, dtype: CacheDtype, Scores: new (length: number) => FloatArray) {
    this.#options = options;
    this.scores = new Scores(0);
    [this.#k, this.#v] = [new STORAGE[dtype](0), new STORAGE[dtype](0)];
  }

  get k(): FloatArray {
    return floatsOf(this.#k);
  }

  get v(): FloatArray {
    return floatsOf(this.#v);
  }

  get capacity(): number {
    return this.position.length;
  }

  /** Resizes the storage to the whole number of blocks that holds `count` slots, and keeps the content. */
  resize(count: number): void {
    const { headDim: d, blockSize, mass } = this.#options;
    const capacity = Math.ceil(count / blockSize) * blockSize;
    if (capacity === this.capacity) return;
    const fit = <T extends Numbers | Int32Array>(x: T, width: number): T => {
      const made = new (x.constructor as new (n: number) => T)(capacity * width);
      made.set(x.subarray(0, made.length));
      return made;
    };
    [this.#k, this.#v, this.scores] = [fit(this.#k, d), fit(this.#v, d), fit(this.scores, scoreWidth(mass))];
    [this.position, this.last] = [fit(this.position, 1), fit(this.last, 1)];
  }

  /** Writes an entry without scores into the next slot. */
  push(k: FloatArray, v: FloatArray, at: number, position: number, last: number): number {
    const { headDim: d, mass } = this.#options;
    const slot = this.count++;
    store(this.#k, k, at, slot * d, d);
    store(this.#v, v, at, slot * d, d);
    this.position[slot] = position;
    this.last[slot] = last;
    this.scores.fill(0, slot * scoreWidth(mass), (slot + 1) * scoreWidth(mass));
    return slot;
  }

  /** Moves the entries held to the front, and frees the blocks after them. */
  compact(): void {
    const { headDim: d, mass } = this.#options;
    this.held.forEach((from, to) => {
      for (const [x, width] of [[this.#k, d], [this.#v, d], [this.scores, scoreWidth(mass)]] as const) {
        x.copyWithin(to * width, from * width, (from + 1) * width);
      }
      this.position[to] = this.position[from];
      this.last[to] = this.last[from];
    });
    this.count = this.held.length;
    this.held = this.held.map((_, n) => n);
    this.resize(this.count);
  }
}
