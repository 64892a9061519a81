/**
 * Storage buffers that are used again: nothing is allocated in a steady state.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { DeviceHealth } from './health.ts';

/** GPUBufferUsage by its numbers: Dawn's globals are not installed. */
const STORAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC
/** Bytes of freed buffers that are kept for the next allocation, besides as many as are in use. */
const POOL_BYTES = 2 ** 28;
/** No buffer is smaller. */
const LEAST_BYTES = 256;

/** Storage buffers of one device. */
export class BufferPool {
  /** The most bytes that a buffer may have, and what the limit is called. */
  readonly maxBytes: number;
  readonly limitName: 'maxStorageBufferBindingSize' | 'maxBufferSize';
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #poison: boolean;
  readonly #free = new Map<number, GPUBuffer[]>();
  #freeBytes = 0;
  readonly #buffers = new Set<GPUBuffer>();
  #usedBytes = 0;
  #destroyed = false;

  /** `poison`: for tests, fills buffers with NaN before they are used. */
  constructor(device: GPUDevice, health: DeviceHealth, poison: boolean) {
    this.#device = device;
    this.#health = health;
    this.#poison = poison;
    const { maxStorageBufferBindingSize: binding, maxBufferSize: size } = device.limits;
    // In float32 elements, which shaders count by 32-bit integers.
    this.maxBytes = Math.min(Math.floor(Math.min(binding, size) / 4), 2 ** 31 - 1) * 4;
    this.limitName = binding <= size ? 'maxStorageBufferBindingSize' : 'maxBufferSize';
  }

  /**
   * A buffer of `bytes` or more, a multiple of four. Sizes are rounded up to parts of a power of two, so that the pool
   * finds them again.
   *
   * @param parts 8 wastes less, 2 lets ever new sizes find each other's memory.
   */
  take(bytes: number, parts: 2 | 8): GPUBuffer {
    this.#health.check();
    const most = Math.max(this.maxBytes, LEAST_BYTES);
    if (bytes > most) {
      throw new DeviceError(`${bytes} bytes were asked for but this device's ${this.limitName} is ${this.maxBytes}: use a shorter context or a smaller batch`);
    }
    const size = Math.min(sizeClass(bytes, parts), most);
    const pooled = this.#free.get(size)?.pop();
    if (pooled) this.#freeBytes -= size;
    const buffer = pooled ?? this.#device.createBuffer({ size, usage: STORAGE });
    if (!pooled) this.#buffers.add(buffer);
    this.#usedBytes += size;
    if (this.#poison) this.#device.queue.writeBuffer(buffer, 0, new Float32Array(size / 4).fill(NaN));
    return buffer;
  }

  /** Takes a buffer back. */
  give(buffer: GPUBuffer): void {
    if (this.#destroyed) return;
    this.#usedBytes -= buffer.size;
    if (this.#freeBytes + buffer.size > POOL_BYTES + this.#usedBytes) {
      this.#buffers.delete(buffer);
      buffer.destroy();
      return;
    }
    const list = this.#free.get(buffer.size);
    if (list) list.push(buffer);
    else this.#free.set(buffer.size, [buffer]);
    this.#freeBytes += buffer.size;
  }

  /** Destroys all buffers, those in use included. */
  destroy(): void {
    this.#destroyed = true;
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.clear();
    this.#free.clear();
  }
}

function sizeClass(bytes: number, parts: 2 | 8): number {
  if (bytes <= LEAST_BYTES) return LEAST_BYTES;
  const step = Math.max(LEAST_BYTES, 2 ** Math.floor(Math.log2(bytes)) / parts);
  return Math.ceil(bytes / step) * step;
}
