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

/** Affects speed, never results. Tests take small numbers, so that short sequences span several tiles. */
export interface Tuning {
  /** The most rows of a tile of attention: with more of them, it would list keys that few see. */
  readonly tileRows: number;
  /** From this many tokens on, waiting for a list's length is faster than leaving room for every key. */
  readonly measuredFrom: number;
}

/** For use outside of tests. */
export const TUNING: Tuning = { tileRows: 256, measuredFrom: 2048 };
/** For tests. */
export const TEST_TUNING: Tuning = { tileRows: 24, measuredFrom: 33 };

/** One backend of gpu.js. Calls run in the order in which they are made. */
export interface Device {
  readonly mode: DeviceMode;
  /** For people: 'gpu.js webgpu (NVIDIA H100)'. */
  readonly description: string;
  /** The most elements that one memory may have. */
  readonly maxLength: number;
  /** The name of that limit. */
  readonly limitName: string;
  readonly tuning: Tuning;
  /** Whether kernels that return four elements at a time are faster. */
  readonly vectors: boolean;
  /** Whether threads run side by side, so that repeating work in each may cost less than one more kernel. */
  readonly parallel: boolean;
  /** Memory holding `values`, with room for `length` of them (default: as many). */
  upload(values: Float32Array, length?: number): Memory;
  /** Memory with undefined content. */
  allocate(length: number): Memory;
  /** A second memory of the same elements, which must not change from now on. Each of the two is freed on its own. */
  share(memory: Memory): Memory;
  /** Runs a kernel over x * y * z threads. The first run of a kernel builds it. */
  run(
    kernel: Kernel, size: Size, arrays: readonly Memory[], integers: readonly number[], floats: readonly number[],
  ): Promise<Memory>;
  /** Copies ranges in place, in order. */
  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void;
  /** Submits the work so far, on devices that collect it. read() does so too. */
  flush(): void;
  /** Reads the first `length` elements. */
  read(memory: Memory, length: number): Promise<Float32Array>;
  /** Reads them together with the next read(), or when `now()` is called. */
  readLater(memory: Memory, length: number): LateRead<Float32Array>;
  free(memory: Memory): void;
  dispose(): void;
}

/** What a job works with: a device, and the memories that are freed when the job ends, unless it keeps them. */
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

  /** Takes ownership of memory, which is freed when the job ends. */
  adopt(memory: Memory): Memory {
    this.#owned.add(memory);
    return memory;
  }

  /** A second memory of the same elements, which this job owns. */
  share(memory: Memory): Memory {
    return this.adopt(this.device.share(memory));
  }

  /** Frees memory early, which a loop would pile up. */
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
