/**
 * What the operations of this folder need from a device: flat float32 memory, kernels, row copies, reading.
 * @module
 */
import type { LateRead } from '../device/reads.ts';
import type { Kernel } from './kernel.ts';

/** The backends of gpu.js that an engine can be built on. */
export type DeviceMode = 'webgpu' | 'webgl2' | 'webasm' | 'cpu';

/** A vector of float32 on a device. */
export interface Memory {
  readonly length: number;
}

/** A range to copy, in elements. */
export interface CopyRange {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** Extents of a kernel's result, x fastest. */
export type Size = readonly [x: number, y?: number, z?: number];

/** Numbers of which results do not depend, but time does; and tests, which want tiles that short sequences cross. */
export interface Tuning {
  /** Rows of a tile of attention at most: more would list keys that few of them see. */
  readonly tileRows: number;
  /** Tokens from which on it pays to wait for a list's length instead of leaving room for every key. */
  readonly measuredFrom: number;
}

/** What is used outside of tests. */
export const TUNING: Tuning = { tileRows: 256, measuredFrom: 2048 };
/** What tests use. */
export const TEST_TUNING: Tuning = { tileRows: 24, measuredFrom: 33 };

/** One backend of gpu.js. Calls run in the order in which they are made. */
export interface Device {
  readonly mode: DeviceMode;
  /** For people: 'gpu.js webgpu (NVIDIA H100)'. */
  readonly description: string;
  /** Most elements that one memory may have. */
  readonly maxLength: number;
  /** What the limit is called. */
  readonly limitName: string;
  readonly tuning: Tuning;
  /** Whether kernels that return four elements pay off. */
  readonly vectors: boolean;
  /** Whether threads run side by side, so that work done in each of them may cost less than one more kernel. */
  readonly parallel: boolean;
  /** Memory holding `values`, with room for `length` of them (default: as many). */
  upload(values: Float32Array, length?: number): Memory;
  /** Memory whose content is not defined. */
  allocate(length: number): Memory;
  /** Another memory of the same elements, which must not change from now on: each of the two is freed for itself. */
  share(memory: Memory): Memory;
  /** Runs a kernel over x * y * z threads. The first run of a kernel builds it. */
  run(
    kernel: Kernel, size: Size, arrays: readonly Memory[], integers: readonly number[], floats: readonly number[],
  ): Promise<Memory>;
  /** Copies ranges in place, in order. */
  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void;
  /** Sends what was asked for so far, where a device collects it; read() does, too. */
  flush(): void;
  /** Reads the first `length` elements. */
  read(memory: Memory, length: number): Promise<Float32Array>;
  /** Reads them together with the next read(), or when `now()` asks for them. */
  readLater(memory: Memory, length: number): LateRead<Float32Array>;
  free(memory: Memory): void;
  dispose(): void;
}

/** Operations inside one job: a device that frees whatever the job does not keep. */
export class Scope {
  readonly device: Device;
  readonly #owned = new Set<Memory>();

  constructor(device: Device) {
    this.device = device;
  }

  async run(
    kernel: Kernel, size: Size, arrays: readonly Memory[], integers: readonly number[] = [],
    floats: readonly number[] = [],
  ): Promise<Memory> {
    return this.adopt(await this.device.run(kernel, size, arrays, integers, floats));
  }

  upload(values: ArrayLike<number>): Memory {
    return this.adopt(this.device.upload(Float32Array.from(values)));
  }

  /** Takes over memory, to free it at the end of the job. */
  adopt(memory: Memory): Memory {
    this.#owned.add(memory);
    return memory;
  }

  /** The same elements as a result of this job. */
  share(memory: Memory): Memory {
    return this.adopt(this.device.share(memory));
  }

  /** Frees now what a loop would pile up. */
  free(...memories: readonly Memory[]): void {
    for (const memory of memories) if (this.#owned.delete(memory)) this.device.free(memory);
  }

  /** Frees all but `kept`. */
  end(kept: readonly Memory[]): void {
    for (const memory of kept) this.#owned.delete(memory);
    for (const memory of this.#owned) this.device.free(memory);
    this.#owned.clear();
  }
}
