/**
 * Arrays that are reused from one pick to the next, because allocating them costs more than a loop over them.
 * @module
 */
import type { TypedArray } from '../../../core/tensor.ts';

/** An array that is allocated anew only for a greater length or another type. */
export class Reused<T extends TypedArray | Uint16Array> {
  #array: T;

  /** @param array The first array, which may be empty. */
  constructor(array: T) {
    this.#array = array;
  }

  /** The first `length` elements, with arbitrary contents, of the type of `kind`. The next call reuses them. */
  take(length: number, kind: T = this.#array): T {
    if (this.#array.length < length || this.#array.constructor !== kind.constructor) {
      this.#array = new (kind.constructor as new (n: number) => T)(length);
    }
    return this.#array.subarray(0, length) as T;
  }
}
