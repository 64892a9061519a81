/**
 * The storage of one KV head of a cache under a budget: entries (key, value, position, last, scores) in whole blocks.
 * @module
 */
import type { CacheDtype, MassCacheOptions } from '../src/core/cache.ts';
import { scoreWidth } from '../src/core/mass.ts';
import { type FloatArray, zeros, zerosLike } from '../src/core/tensor.ts';
import { type Numbers, STORAGE, store, stored } from './cache-entries.ts';
import type { HeadUnderBudget } from '../src/core/mass-step.ts';

/** The entries of a head, in the first `count` slots of a whole number of blocks. */
export class MassEntries implements HeadUnderBudget {
  held: number[] = [];
  /** The number of slots in use. Entries that are no longer held stay until compact(). */
  count = 0;
  position: Int32Array = zeros(Int32Array, 0);
  last: Int32Array = zeros(Int32Array, 0);
  scores: FloatArray;
  #k: Numbers;
  #v: Numbers;
  readonly start = 0;
  readonly #options: MassCacheOptions;

  /** @param like An array of the kind that is used for scores. */
  constructor(options: MassCacheOptions, dtype: CacheDtype, like: FloatArray) {
    this.#options = options;
    this.scores = zerosLike(like, 0);
    [this.#k, this.#v] = [new STORAGE[dtype](0), new STORAGE[dtype](0)];
  }

  get k(): FloatArray {
    return stored(this.#k);
  }

  get v(): FloatArray {
    return stored(this.#v);
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
      const made = zeros(x.constructor as new (n: number) => T, capacity * width);
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
