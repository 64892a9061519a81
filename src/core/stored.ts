/**
 * Numbers in the dtypes in which files and engines store them.
 * @module
 */
import { fromFloat16 } from './float16.ts';
import type { FloatArray, WeightDtype } from './tensor.ts';

export type { WeightDtype } from './tensor.ts';

/** The bytes of an element. */
export const WEIGHT_BYTES: Readonly<Record<WeightDtype, number>> = { f64: 8, f32: 4, f16: 2, bf16: 2 };

let halves: Float32Array | undefined;

/** Decodes little-endian elements: f64 becomes float64, and the others float32, in which they are exact. */
export function widen(bytes: Uint8Array, dtype: WeightDtype): FloatArray {
  const count = bytes.byteLength / WEIGHT_BYTES[dtype];
  const out = dtype === 'f64' ? new Float64Array(count) : new Float32Array(count);
  widenInto(bytes, dtype, out);
  return out;
}

/** The same, into an existing array. */
export function widenInto(bytes: Uint8Array, dtype: WeightDtype, out: FloatArray): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === 'f64') {
    for (let n = 0; n < out.length; n++) out[n] = view.getFloat64(8 * n, true);
  } else if (dtype === 'f32') {
    for (let n = 0; n < out.length; n++) out[n] = view.getFloat32(4 * n, true);
  } else if (dtype === 'f16') {
    halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromFloat16(bits));
    for (let n = 0; n < out.length; n++) out[n] = halves[view.getUint16(2 * n, true)];
  } else {
    // A bfloat16 is the upper half of a float32.
    const narrow = out instanceof Float32Array ? out : new Float32Array(out.length);
    const bits = new Uint32Array(narrow.buffer, narrow.byteOffset, narrow.length);
    for (let n = 0; n < bits.length; n++) bits[n] = view.getUint16(2 * n, true) << 16;
    if (narrow !== out) out.set(narrow);
  }
}

/** The bytes of numbers in their own dtype, little-endian, as `Engine.weight` takes them. */
export function littleEndian(data: FloatArray): Uint8Array {
  const bytes = new Uint8Array(data.byteLength);
  const view = new DataView(bytes.buffer);
  if (data instanceof Float64Array) data.forEach((x, n) => view.setFloat64(8 * n, x, true));
  else data.forEach((x, n) => view.setFloat32(4 * n, x, true));
  return bytes;
}
