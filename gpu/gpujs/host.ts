/**
 * gpu.js on the CPU: 'cpu' runs kernels as plain JavaScript, 'webasm' as WebAssembly with SIMD. Memory is an
 * array of this process.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { oneLine } from '../device/error-text.ts';
import type { LateRead } from '../device/reads.ts';
import type { CopyRange, Device, Memory, Size, Tuning } from './device.ts';
import type { Kernel } from './kernel.ts';
import { createKernel, type Library, type Shortcut } from './library.ts';

interface HostMemory extends Memory {
  readonly values: Float32Array;
}

/** Compiled WebAssembly modules that are kept per kernel, one for each combination of sizes. */
const MODULES_KEPT = 32;

export class HostDevice implements Device {
  readonly mode: 'cpu' | 'webasm';
  readonly description: string;
  readonly maxLength: number = 2 ** 28;
  readonly limitName: string = 'the memory of a WebAssembly module';
  readonly vectors: boolean = false;
  readonly parallel: boolean = false;
  readonly tuning: Tuning;
  readonly #library: Library;
  readonly #gpu: InstanceType<Library['GPU']>;
  readonly #kernels = new Map<string, Shortcut>();
  readonly #poison: boolean;

  constructor(library: Library, mode: 'cpu' | 'webasm', { poison, tuning }: { poison: boolean; tuning: Tuning }) {
    this.tuning = tuning;
    this.mode = mode;
    this.description = mode === 'cpu' ? 'gpu.js cpu (plain JavaScript)' : 'gpu.js webasm (WebAssembly with SIMD)';
    this.#library = library;
    this.#gpu = new library.GPU({ mode });
    this.#poison = poison;
  }

  upload(values: Float32Array, length: number = values.length): Memory {
    const memory = this.allocate(length);
    (memory as HostMemory).values.set(values);
    return memory;
  }

  allocate(length: number): Memory {
    if (length > this.maxLength) {
      throw new DeviceError(`${length * 4} bytes were asked for but ${this.limitName} is ${this.maxLength * 4}: use a shorter context or a smaller batch`);
    }
    const values = room(length);
    if (this.#poison) values.fill(NaN);
    return { length, values } as HostMemory;
  }

  async run(
    kernel: Kernel, [x, y = 1, z = 1]: Size, arrays: readonly Memory[], integers: readonly number[],
    floats: readonly number[],
  ): Promise<Memory> {
    const length = x * y * z * kernel.parts;
    if (length === 0) return this.allocate(0);
    const args = [
      ...arrays.map((memory) => this.#library.input((memory as HostMemory).values, [Math.max(memory.length, 1)])),
      ...integers, ...floats,
    ];
    const output = kernel.flat ? [x] : [x, y, z];
    let [result, built]: unknown[] = [];
    try {
      [result, built] = this.#compute(kernel, output, args);
    } catch (error) {
      this.#kernels.clear(); // with the modules that they hold, and their memory
      throw new DeviceError(`kernel '${kernel.name}' failed on ${this.description} (${oneLine(error)}): use a shorter context or a smaller batch, or leave gpu out`);
    }
    if (built !== this.mode) {
      throw new DeviceError(`kernel '${kernel.name}' was built for '${String(built)}' though '${this.mode}' was asked for: report this size, ${output}`);
    }
    const values = room(length);
    flatten(result, values, 0);
    return { length, values } as HostMemory;
  }

  /** What gpu.js makes of a kernel, and the mode that it made it in. It throws what the runtime does. */
  #compute(kernel: Kernel, output: number[], args: readonly unknown[]): [result: unknown, mode: string] {
    let shortcut = this.#kernels.get(kernel.name);
    if (!shortcut) {
      shortcut = createKernel(this.#gpu, kernel, this.mode, { immutable: true }); // else 'cpu' keeps its first size
      this.#kernels.set(kernel.name, shortcut);
    }
    shortcut.kernel.setOutput(output);
    if (this.mode === 'webasm') {
      shortcut.kernel.moduleCacheLimit = MODULES_KEPT;
      shortcut.kernel._shapeOutput = (data) => data;
    }
    const result = shortcut(...args);
    return [result, shortcut.kernel.constructor.mode];
  }

  share(memory: Memory): Memory {
    return { ...memory };
  }

  flush(): void {
    // Kernels have run already.
  }

  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    const [source, target] = [(from as HostMemory).values, (to as HostMemory).values];
    for (const range of ranges) target.set(source.subarray(range.from, range.from + range.length), range.to);
  }

  async read(memory: Memory, length: number): Promise<Float32Array> {
    return (memory as HostMemory).values.slice(0, length);
  }

  readLater(memory: Memory, length: number): LateRead<Float32Array> {
    const values = (memory as HostMemory).values.slice(0, length);
    return { now: async () => values };
  }

  free(_memory: Memory): void {
    // Left to the garbage collector.
  }

  dispose(): void {
    this.#kernels.clear();
    void this.#gpu.destroy();
  }
}

function room(length: number): Float32Array {
  try {
    return new Float32Array(length);
  } catch (error) {
    throw new DeviceError(`there is no memory for ${length * 4} bytes (${oneLine(error)}): use a shorter context or a smaller batch`);
  }
}

/** Copies nested arrays of numbers into `values` from `at` on; returns where it ended. */
function flatten(x: unknown, values: Float32Array, at: number): number {
  if (x instanceof Float32Array) {
    values.set(x, at);
    return at + x.length;
  }
  for (const part of x as readonly unknown[]) {
    if (typeof part === 'number') values[at++] = part;
    else at = flatten(part, values, at);
  }
  return at;
}
