/**
 * Arrays on the device.
 * @module
 */
import { type Shaped, sizeOf } from '../../src/core/tensor.ts';
import type { Memory, WgslDevice } from './device.ts';
import { type StoredDtype, widened } from './stored.ts';

/** An array on a device. */
export class WgslArray implements Shaped {
  readonly shape: readonly number[];
  /** The whole numbers that came from the host. */
  readonly host: Int32Array | undefined;
  memory: Memory;
  /** What an element is; whole numbers are i32. Weights of two bytes lie two to a word, the first in its low half. */
  dtype: StoredDtype | 'i32';
  /** The least and the largest whole number that is one. Others stand for token types that NaN scores did not give. */
  least = 0;
  most: number = Infinity;

  constructor(shape: readonly number[], memory: Memory, dtype: StoredDtype | 'i32' = 'f32', host?: Int32Array) {
    this.shape = shape;
    this.memory = memory;
    this.dtype = dtype;
    this.host = host;
  }
}

/** Token types that were chosen from scores. */
export function typesOf(memory: Memory, shape: readonly number[]): WgslArray {
  const types = new WgslArray(shape, memory, 'i32');
  types.most = 2;
  return types;
}

/** The memory of floats as float32, to which narrower ones are widened for good. */
export function real(device: WgslDevice, array: WgslArray): Memory {
  if (array.dtype === 'f16' || array.dtype === 'bf16') {
    const wide = widened(device, array.memory, array.dtype, sizeOf(array.shape));
    device.free(array.memory);
    array.memory = wide;
    array.dtype = 'f32';
  }
  return array.memory;
}
