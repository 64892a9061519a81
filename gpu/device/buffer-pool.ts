/**
 * Storage buffers that are reused, so that nothing is allocated in a steady state.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { DeviceHealth } from './health.ts';

/** GPUBufferUsage as numbers, since its global is missing in Node. */
const STORAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC
/** Bytes of free buffers that are kept, in addition to as many as are in use, or were in use a short while ago. */
const POOL_BYTES = 2 ** 28;
/** Submits for which a peak of memory is remembered at least, and at most twice: a step of training has fewer. */
const REMEMBERED = 512;
/** The size of the smallest buffers. */
const LEAST_BYTES = 256;

/** Free buffers by size, the oldest last. */
type Shelf = Map<number, GPUBuffer[]>;

/**
 * Storage buffers of one device. Of the free ones, the oldest is taken: which one that is depends on which are free and
 * not on the order in which they were freed, so equal steps use equal buffers, for which bind groups exist already.
 *
 * Commands are recorded first and submitted later, but the host writes to a buffer at once. So a freed buffer may serve
 * further commands right away, while the host must not write to it before the commands that may use it have been
 * submitted.
 */
export class BufferPool {
  /** The most bytes that a buffer may have, and the name of that limit. */
  readonly maxBytes: number;
  readonly limitName: 'maxStorageBufferBindingSize' | 'maxBufferSize';
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #poison: boolean;
  readonly #free: Shelf = new Map();
  /** Free buffers that recorded commands may use. */
  readonly #recorded: Shelf = new Map();
  #freeBytes = 0;
  /** Buffers to destroy once the recorded commands have been submitted. */
  #doomed: GPUBuffer[] = [];
  /** All buffers, their numbers in the order in which they were made, and their sizes, which take long to ask for. */
  readonly #buffers = new Map<GPUBuffer, { readonly number: number; readonly size: number }>();
  #made = 0;
  #doomedBytes = 0;
  #usedBytes = 0;
  /** The most bytes in use in the last REMEMBERED submits that are complete, and since then. */
  #peaks: [before: number, now: number] = [0, 0];
  #submits = 0;
  #destroyed = false;
  /** When a buffer of each size was last asked for, by the number of requests. */
  readonly #asked = new Map<number, number>();
  #requests = 0;

  /** `poison` fills buffers with NaN before they are used, for tests. */
  constructor(device: GPUDevice, health: DeviceHealth, poison: boolean) {
    this.#device = device;
    this.#health = health;
    this.#poison = poison;
    const { maxStorageBufferBindingSize: binding, maxBufferSize: size } = device.limits;
    // Shaders count float32 elements in 32-bit integers.
    this.maxBytes = Math.min(Math.floor(Math.min(binding, size) / 4), 2 ** 31 - 1) * 4;
    this.limitName = binding <= size ? 'maxStorageBufferBindingSize' : 'maxBufferSize';
  }

  /**
   * A buffer of at least `bytes`, a multiple of four, for commands to write to. Sizes are rounded up to fractions of a
   * power of two, so that the pool finds them again.
   *
   * @param parts With 8 less memory is wasted, with 2 sizes that keep changing reuse one another's buffers.
   */
  take(bytes: number, parts: 2 | 8): GPUBuffer {
    const size = this.#sizeOf(bytes, parts);
    if (!this.#poison) return this.#use(size, this.#oldest(size));
    const buffer = this.takeForWriting(bytes, parts);
    this.#device.queue.writeBuffer(buffer, 0, new Float32Array(buffer.size / 4).fill(NaN));
    return buffer;
  }

  #oldest(size: number): GPUBuffer | undefined {
    const [recorded, free] = [this.#recorded.get(size), this.#free.get(size)];
    if (!recorded || recorded.length === 0) return free?.pop();
    if (!free || free.length === 0) return recorded.pop();
    const earlier = this.#numberOf(recorded[recorded.length - 1]) < this.#numberOf(free[free.length - 1]);
    return (earlier ? recorded : free).pop();
  }

  #numberOf(buffer: GPUBuffer): number {
    return this.#buffers.get(buffer)!.number;
  }

  /** The same for the host to write to. */
  takeForWriting(bytes: number, parts: 2 | 8): GPUBuffer {
    const size = this.#sizeOf(bytes, parts);
    return this.#use(size, this.#free.get(size)?.pop());
  }

  /** Takes a buffer back. `recorded` says whether some commands have not been submitted yet. */
  give(buffer: GPUBuffer, recorded: boolean): void {
    if (this.#destroyed) return;
    const { size } = this.#buffers.get(buffer)!;
    this.#usedBytes -= size;
    this.#put(recorded ? this.#recorded : this.#free, buffer, size);
    this.#freeBytes += size;
    if (this.#freeBytes > this.#most) this.#shrink(this.#most);
  }

  /**
   * Lets go of free buffers until they have at most so many bytes: those first whose size has not been asked for the
   * longest, such as the outgrown ones of a cache. What every step asks for stays, or each one would make it anew.
   */
  #shrink(most: number): void {
    const sizes = [...new Set([...this.#free.keys(), ...this.#recorded.keys()])]
      .sort((a, b) => (this.#asked.get(a) ?? 0) - (this.#asked.get(b) ?? 0));
    for (const size of sizes) {
      for (const [shelf, doomed] of [[this.#free, false], [this.#recorded, true]] as const) {
        const list = shelf.get(size) ?? [];
        while (this.#freeBytes > most && list.length > 0) this.#drop(list.shift()!, doomed);
      }
      if (this.#freeBytes <= most) return;
    }
  }

  /** Destroys a free buffer, or lets it wait for the commands that may use it. */
  #drop(buffer: GPUBuffer, doomed: boolean): void {
    const { size } = this.#buffers.get(buffer)!;
    this.#buffers.delete(buffer);
    this.#freeBytes -= size;
    if (!doomed) {
      buffer.destroy();
      return;
    }
    this.#doomed.push(buffer);
    this.#doomedBytes += size;
  }

  /** The most bytes of free buffers. */
  get #most(): number {
    return POOL_BYTES + Math.max(this.#usedBytes, Math.max(...this.#peaks) - this.#usedBytes);
  }

  /** Whether buffers that wait for recorded commands to be submitted hold much memory. */
  get overfull(): boolean {
    return this.#doomedBytes > POOL_BYTES;
  }

  /** To be called when all recorded commands have been submitted. */
  settle(): void {
    if (++this.#submits % REMEMBERED === 0) this.#peaks = [this.#peaks[1], this.#usedBytes];
    for (const [size, buffers] of this.#recorded) {
      if (buffers.length === 0) continue;
      for (const buffer of buffers) this.#put(this.#free, buffer, size);
      buffers.length = 0;
    }
    for (const buffer of this.#doomed) buffer.destroy();
    this.#doomed = [];
    this.#doomedBytes = 0;
    if (this.#freeBytes > this.#most) this.#shrink(this.#most);
  }

  /** Destroys all buffers, those in use included. */
  destroy(): void {
    this.#destroyed = true;
    for (const buffer of [...this.#buffers.keys(), ...this.#doomed]) buffer.destroy();
    this.#buffers.clear();
    this.#doomed = [];
    this.#free.clear();
    this.#recorded.clear();
  }

  #sizeOf(bytes: number, parts: 2 | 8): number {
    this.#health.check();
    const most = Math.max(this.maxBytes, LEAST_BYTES);
    if (bytes > most) {
      throw new DeviceError(`${bytes} bytes were asked for but this device's ${this.limitName} is ${this.maxBytes}: use a shorter context or a smaller batch`);
    }
    return Math.min(sizeClass(bytes, parts), most);
  }

  #use(size: number, free: GPUBuffer | undefined): GPUBuffer {
    this.#usedBytes += size;
    this.#peaks[1] = Math.max(this.#peaks[1], this.#usedBytes);
    this.#asked.set(size, this.#requests++);
    if (free) {
      this.#freeBytes -= size;
      return free;
    }
    const made = this.#device.createBuffer({ size, usage: STORAGE });
    this.#buffers.set(made, { number: this.#made++, size });
    return made;
  }

  /** Puts a buffer in its place among those of its size. */
  #put(shelf: Shelf, buffer: GPUBuffer, size: number): void {
    const list = shelf.get(size);
    if (!list) {
      shelf.set(size, [buffer]);
      return;
    }
    const number = this.#numberOf(buffer);
    let at = list.length;
    while (at > 0 && this.#numberOf(list[at - 1]) < number) at--;
    if (at === list.length) list.push(buffer);
    else list.splice(at, 0, buffer);
  }
}

function sizeClass(bytes: number, parts: 2 | 8): number {
  if (bytes <= LEAST_BYTES) return LEAST_BYTES;
  const power = bytes < 2 ** 31 ? 2 ** (31 - Math.clz32(bytes)) : 2 ** Math.floor(Math.log2(bytes));
  const step = Math.max(LEAST_BYTES, power / parts);
  return Math.ceil(bytes / step) * step;
}
