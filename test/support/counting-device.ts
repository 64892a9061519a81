/**
 * A device that wraps another one, and counts what the engine allocates and frees.
 * @module
 */
import type { CopyRange, Device, DeviceMode, Memory, Size, Tuning } from '../../gpu/gpujs/device.ts';
import type { LateRead } from '../../gpu/device/reads.ts';
import type { Kernel } from '../../gpu/gpujs/kernel.ts';

export class CountingDevice implements Device {
  readonly mode: DeviceMode;
  readonly description: string;
  readonly maxLength: number;
  readonly limitName: string;
  readonly tuning: Tuning;
  readonly vectors: boolean;
  readonly parallel: boolean;
  readonly #inner: Device;
  readonly #live = new Set<Memory>();
  #elements = 0;
  /** Calls of free() for memory that was freed before or never allocated. */
  strays = 0;
  /** Calls of run(), copy(), upload() and read(). */
  runs = 0;
  copies = 0;
  uploads = 0;
  reads = 0;
  /** If set to n, n more calls of run() succeed and the next one fails. */
  failAfter: number | undefined;

  constructor(inner: Device) {
    this.#inner = inner;
    this.mode = inner.mode;
    this.description = inner.description;
    this.maxLength = inner.maxLength;
    this.limitName = inner.limitName;
    this.tuning = inner.tuning;
    this.vectors = inner.vectors;
    this.parallel = inner.parallel;
  }

  /** How many memories are allocated and not freed, and their elements in total. */
  get live(): { readonly memories: number; readonly elements: number } {
    return { memories: this.#live.size, elements: this.#elements };
  }

  upload(values: Float32Array, length?: number): Memory {
    this.uploads++;
    return this.#count(this.#inner.upload(values, length));
  }
  allocate(length: number): Memory {
    return this.#count(this.#inner.allocate(length));
  }
  share(memory: Memory): Memory {
    return this.#count(this.#inner.share(memory));
  }
  flush(): void {
    this.#inner.flush();
  }
  async run(
    kernel: Kernel, size: Size, arrays: readonly Memory[], integers: readonly number[], floats: readonly number[],
  ): Promise<Memory> {
    if (this.failAfter !== undefined && this.failAfter-- === 0) {
      this.failAfter = undefined;
      throw new Error(`kernel '${kernel.name}' was told to fail`);
    }
    this.runs++;
    return this.#count(await this.#inner.run(kernel, size, arrays, integers, floats));
  }
  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    this.copies++;
    this.#inner.copy(from, to, ranges);
  }
  read(memory: Memory, length: number): Promise<Float32Array> {
    this.reads++;
    return this.#inner.read(memory, length);
  }
  readLater(memory: Memory, length: number): LateRead<Float32Array> {
    return this.#inner.readLater(memory, length);
  }
  free(memory: Memory): void {
    if (this.#live.delete(memory)) this.#elements -= memory.length;
    else this.strays++;
    this.#inner.free(memory);
  }
  dispose(): void {
    this.#inner.dispose();
  }

  #count(memory: Memory): Memory {
    this.#live.add(memory);
    this.#elements += memory.length;
    return memory;
  }
}
