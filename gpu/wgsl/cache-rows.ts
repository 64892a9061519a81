/**
 * The slots of a cache, and rows of keys and values on the host as these hold them: float32, or float16 of which every
 * row begins with a word of its own.
 * @module
 */
import { fromFloat16, toFloat16 } from '../../src/core/float16.ts';
import type { FloatArray } from '../../src/core/tensor.ts';
import { type SlotDtype, wordsOf } from './cache-kernels.ts';
import type { Memory } from './device.ts';

/** Memories of the slots; see cache-kernels.ts. */
export interface Slots {
  /** The dtype of keys and values, [slots,d]. */
  readonly stored: SlotDtype;
  readonly keys: Memory;
  readonly values: Memory;
  /** (position, last) of each slot. */
  readonly entries: Memory;
  readonly states: Memory;
  readonly heads: Memory;
  /** Which of a head's two counts holds. */
  parity: 0 | 1;
}

export const memoriesOf = ({ keys, values, entries, states, heads }: Slots): Memory[] =>
  [keys, values, entries, states, heads];

/** The rows of some slots, [slots.length,d]. */
export function pickedRows(data: ArrayBuffer, stored: SlotDtype, d: number, slots: readonly number[]): Float32Array {
  const picked = new Float32Array(slots.length * d);
  if (stored === 'f32') {
    const all = new Float32Array(data);
    slots.forEach((slot, n) => picked.set(all.subarray(slot * d, (slot + 1) * d), n * d));
    return picked;
  }
  const [all, apart] = [new Uint16Array(data), 2 * wordsOf(stored, d)];
  slots.forEach((slot, n) => {
    for (let c = 0; c < d; c++) picked[n * d + c] = fromFloat16(all[slot * apart + c]);
  });
  return picked;
}

/** The rows of `total` slots, zeros at first. */
export class Rows {
  readonly #d: number;
  /** Numbers from row to row. */
  readonly #apart: number;
  readonly #data: Float32Array | Uint16Array;

  constructor(stored: SlotDtype, d: number, total: number) {
    this.#d = d;
    this.#apart = stored === 'f16' ? 2 * wordsOf(stored, d) : d;
    this.#data = stored === 'f16' ? new Uint16Array(total * this.#apart) : new Float32Array(total * d);
  }

  /** Copies row n of `rows` [...,d] to a slot. */
  put(rows: FloatArray, n: number, slot: number): void {
    const row = rows.subarray(n * this.#d, (n + 1) * this.#d);
    this.#data.set(this.#data instanceof Uint16Array ? Uint16Array.from(row, toFloat16) : row, slot * this.#apart);
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#data.buffer);
  }
}
