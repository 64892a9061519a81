/**
 * gpu.js on WebGPU: in the browser and in Deno as built in, in Node by Dawn (the optional package `webgpu`).
 *
 * Memory is a storage buffer of this file's own, taken from a pool and handed to gpu.js's kernels as their
 * argument or output: so results stay on the device, rows are updated in place, and nothing is allocated in a
 * steady state. A kernel's call is one submit; its order in the queue is the order of the calls.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { CopyRange, Device, LateRead, Memory, Size, Tuning } from './device.ts';
import type { Kernel } from './kernel.ts';
import { createKernel, type Library, type Shortcut, type WebGPUContextValue } from './library.ts';

interface BufferMemory extends Memory {
  readonly buffer: GPUBuffer;
  /** gpu.js's view of the buffer as an argument. */
  readonly handle: object;
}

/** GPUBufferUsage and GPUMapMode by their numbers: Dawn's globals are not installed. */
const STORAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC
const STAGING = 0x01 | 0x08; // MAP_READ | COPY_DST
/** Bytes of freed buffers that are kept for the next allocation, besides as many as are in use. */
const POOL_BYTES = 2 ** 28;

export class WebGPUDevice implements Device {
  readonly mode = 'webgpu' as const;
  readonly description: string;
  readonly maxLength: number;
  readonly limitName: string;
  readonly vectors: boolean = true;
  readonly tuning: Tuning;
  readonly gpuDevice: GPUDevice;
  readonly #library: Library;
  readonly #gpu: InstanceType<Library['GPU']>;
  readonly #context: WebGPUContextValue;
  readonly #owned: boolean;
  readonly #poison: boolean;
  readonly #kernels = new Map<string, Shortcut>();
  readonly #pool = new Map<number, GPUBuffer[]>();
  #poolBytes = 0;
  readonly #buffers = new Set<GPUBuffer>();
  #usedBytes = 0;
  /** Reads that wait for the next one. */
  #waiting: { memory: BufferMemory; length: number; settle: (data: Promise<Float32Array>) => void }[] = [];
  /** Those on their way. */
  readonly #reads = new Set<Promise<unknown>>();
  #failure: Error | undefined;
  #disposed = false;

  /** `owned`: whether dispose() destroys the device. */
  constructor(
    library: Library, device: GPUDevice, adapter: GPUAdapter | null,
    options: { owned: boolean; poison: boolean; tuning: Tuning },
  ) {
    this.tuning = options.tuning;
    this.#library = library;
    this.gpuDevice = device;
    this.#context = { adapter, device, isLost: false };
    this.#owned = options.owned;
    this.#poison = options.poison;
    this.description = `gpu.js webgpu (${adapterName(adapter?.info ?? device.adapterInfo)})`;
    const { maxStorageBufferBindingSize: binding, maxBufferSize: size } = device.limits;
    this.maxLength = Math.min(Math.floor(Math.min(binding, size) / 4), 2 ** 31 - 1);
    this.limitName = binding <= size ? 'maxStorageBufferBindingSize' : 'maxBufferSize';
    Object.defineProperty(library.WebGPUContext, 'isSupported', { get: () => true, configurable: true });
    this.#gpu = new library.GPU({ mode: 'webgpu' });
    void device.lost.then(({ message, reason }) => {
      this.#context.isLost = true;
      if (!this.#disposed) {
        this.#failure = new DeviceError(`the GPU device was lost (${reason}: ${oneLine(message)}): create a new engine and upload again`);
      }
    });
    if (options.owned) {
      device.onuncapturederror = ({ error }) => {
        this.#failure ??= new DeviceError(`the GPU refused a command: ${oneLine(error.message)}`);
      };
    }
  }

  upload(values: Float32Array, length: number = values.length): Memory {
    const memory = this.#allocate(length, sizeClass(length * 4, 8));
    if (values.length > 0) this.gpuDevice.queue.writeBuffer(memory.buffer, 0, values.slice());
    return memory;
  }

  allocate(length: number): Memory {
    // What lives long is uploaded; of results, ever new sizes (the tiles of attention) should find each other's memory.
    return this.#allocate(length, sizeClass(length * 4, length > 2 ** 18 ? 2 : 8));
  }

  #allocate(length: number, wanted: number): BufferMemory {
    this.#check();
    const bytes = Math.min(wanted, Math.max(this.maxLength, 64) * 4);
    if (length > Math.max(this.maxLength, 64)) {
      throw new DeviceError(`${length * 4} bytes were asked for but this device's ${this.limitName} is ${this.maxLength * 4}: use a shorter context or a smaller batch`);
    }
    const pooled = this.#pool.get(bytes)?.pop();
    if (pooled) this.#poolBytes -= bytes;
    const buffer = pooled ?? this.gpuDevice.createBuffer({ size: bytes, usage: STORAGE });
    if (!pooled) this.#buffers.add(buffer);
    this.#usedBytes += bytes;
    if (this.#poison) this.gpuDevice.queue.writeBuffer(buffer, 0, new Float32Array(bytes / 4).fill(NaN));
    return this.#memory(buffer, length);
  }

  #memory(buffer: GPUBuffer, length: number): BufferMemory {
    const handle = new this.#library.WebGPUBufferResult({
      buffer, output: [Math.max(length, 1)], componentCount: 1, context: this.#context, kernel: null,
    });
    return { length, buffer, handle };
  }

  async run(
    kernel: Kernel, [x, y = 1, z = 1]: Size, arrays: readonly Memory[], integers: readonly number[],
    floats: readonly number[],
  ): Promise<Memory> {
    const length = x * y * z * kernel.parts;
    const result = this.allocate(length) as BufferMemory;
    if (length === 0) return result;
    if (!kernel.flat && (y > LIMIT_Y || z > LIMIT_Z || x > LIMIT_Y)) {
      throw new DeviceError(`kernel '${kernel.name}' needs ${x} x ${y} x ${z} threads, but WebGPU dispatches at most ${LIMIT_Y} x ${LIMIT_Y} x ${LIMIT_Z}: use a smaller batch or a shorter context`);
    }
    let shortcut = this.#kernels.get(kernel.name);
    if (!shortcut) {
      shortcut = createKernel(this.#gpu, kernel, 'webgpu');
      this.#kernels.set(kernel.name, shortcut);
    }
    const raw = shortcut.kernel;
    raw.setOutput(kernel.flat ? [x] : [x, y, z]);
    raw.outputBuffer = result.buffer;
    raw.bindGroupDirty = true;
    const args = [...arrays.map((memory) => (memory as BufferMemory).handle), ...integers, ...floats];
    if (!raw.built) await this.#build(shortcut, args);
    this.#check();
    // One submit. What run() resolves to is one more handle on the same buffer.
    void Promise.resolve(raw.run(...args)).catch((error: unknown) => {
      this.#failure ??= new DeviceError(`kernel '${kernel.name}' failed: ${oneLine(error)}`);
    });
    return result;
  }

  /** gpu.js takes its device from one place for the whole process; for the time of a build that is this one. */
  async #build(shortcut: Shortcut, args: readonly unknown[]): Promise<void> {
    const { WebGPUContext } = this.#library;
    const acquire = WebGPUContext.acquire;
    let built: Promise<void> | void;
    WebGPUContext.acquire = () => Promise.resolve(this.#context);
    try {
      // Scalars of the first call decide nothing: their types are declared.
      built = shortcut.kernel.build(...args);
    } finally {
      WebGPUContext.acquire = acquire;
    }
    try {
      await built;
    } catch (error) {
      this.#check(); // a lost device builds nothing
      throw new DeviceError(`a kernel was refused by WebGPU (${oneLine(error)}): update the graphics driver, or leave --gpu out to run on the CPU`);
    }
    const { mode } = shortcut.kernel.constructor;
    if (mode !== 'webgpu') throw new DeviceError(`a kernel was built for '${mode}' though 'webgpu' was asked for`);
  }

  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    this.#check();
    if (ranges.length === 0) return;
    const encoder = this.gpuDevice.createCommandEncoder();
    const [source, target] = [(from as BufferMemory).buffer, (to as BufferMemory).buffer];
    for (const range of ranges) {
      encoder.copyBufferToBuffer(source, range.from * 4, target, range.to * 4, range.length * 4);
    }
    this.gpuDevice.queue.submit([encoder.finish()]);
  }

  read(memory: Memory, length: number): Promise<Float32Array> {
    return this.#readAll(memory as BufferMemory, length);
  }

  readLater(memory: Memory, length: number): LateRead {
    const { buffer } = memory as BufferMemory;
    let settle!: (data: Promise<Float32Array>) => void;
    const data = new Promise<Float32Array>((resolve) => {
      settle = resolve;
    });
    data.catch(() => {}); // a loss may come before anyone asks, who then hears of it
    const entry = { memory: this.#memory(buffer, length), length, settle };
    this.#waiting.push(entry);
    return {
      now: async () => {
        if (this.#waiting.includes(entry)) void this.#readAll(undefined, 0).catch(() => {});
        return data;
      },
    };
  }

  /** One staging buffer and one map for what is asked for and for all that waited. */
  async #readAll(memory: BufferMemory | undefined, length: number): Promise<Float32Array> {
    const waiting = this.#waiting;
    this.#waiting = [];
    const parts = [...(memory ? [{ memory, length }] : []), ...waiting];
    const bytes = parts.reduce((sum, part) => sum + part.length * 4, 0);
    const work = this.#fetch(parts, bytes);
    this.#reads.add(work);
    const done = (): void => void this.#reads.delete(work);
    work.then(done, done);
    let at = memory ? length : 0;
    for (const part of waiting) {
      const start = at;
      const data = work.then((all) => all.slice(start, start + part.length));
      data.catch(() => {});
      part.settle(data);
      at += part.length;
    }
    return (await work).slice(0, memory ? length : 0);
  }

  async #fetch(parts: readonly { memory: BufferMemory; length: number }[], bytes: number): Promise<Float32Array> {
    this.#check(); // here, so that what waited hears of it, too
    if (bytes === 0) return new Float32Array(0);
    const staging = this.gpuDevice.createBuffer({ size: bytes, usage: STAGING });
    const encoder = this.gpuDevice.createCommandEncoder();
    let at = 0;
    for (const { memory, length } of parts) {
      if (length > 0) encoder.copyBufferToBuffer(memory.buffer, 0, staging, at, length * 4);
      at += length * 4;
    }
    this.gpuDevice.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(1);
      this.#check();
      return new Float32Array(staging.getMappedRange().slice(0));
    } catch (error) {
      // A device that is being lost drops its maps first.
      await new Promise((resolve) => setTimeout(resolve));
      this.#check();
      throw new DeviceError(`reading back ${bytes} bytes failed: ${oneLine(error)}`);
    } finally {
      staging.destroy();
    }
  }

  free(memory: Memory): void {
    if (this.#disposed) return;
    const { buffer } = memory as BufferMemory;
    this.#usedBytes -= buffer.size;
    if (this.#poolBytes + buffer.size > POOL_BYTES + this.#usedBytes) {
      this.#buffers.delete(buffer);
      buffer.destroy();
      return;
    }
    const list = this.#pool.get(buffer.size);
    if (list) list.push(buffer);
    else this.#pool.set(buffer.size, [buffer]);
    this.#poolBytes += buffer.size;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // What was asked for is answered: destroying a device would drop its maps.
    void Promise.allSettled(this.#reads).then(() => this.#destroy());
  }

  #destroy(): void {
    for (const { kernel } of this.#kernels.values()) {
      kernel.outputBuffer = null;
      kernel.destroy();
    }
    this.#kernels.clear();
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.clear();
    this.#pool.clear();
    if (this.#owned) this.gpuDevice.destroy();
  }

  #check(): void {
    if (this.#failure) throw this.#failure;
  }
}

/** Workgroups are 8 x 8 x 1, and at most 65535 of them lie along an axis. */
const LIMIT_Y = 65535 * 8;
const LIMIT_Z = 65535;

/** Sizes are rounded up to parts (2 or 8) of a power of two, so that the pool finds them again. */
function sizeClass(bytes: number, parts: 2 | 8): number {
  if (bytes <= 256) return 256;
  const step = Math.max(256, 2 ** Math.floor(Math.log2(bytes)) / parts);
  return Math.ceil(bytes / step) * step;
}

/** What an adapter says about itself. Browsers leave most of it empty, drivers repeat themselves. */
export function adapterName(info: Partial<GPUAdapterInfo> | undefined): string {
  const words = [info?.vendor, info?.architecture, info?.device, info?.description]
    .map((word) => (word ?? '').replace(/[\s-]+$/, '')).filter((word) => !/^\d*$/.test(word)); // Mesa's number of itself
  const said = (word: string, by: string) => by.toLowerCase().includes(word.toLowerCase());
  const distinct = words.filter((word, n) =>
    !words.some((other, m) => m !== n && said(word, other) && (m < n || !said(other, word))));
  return distinct.join(', ') || 'unnamed adapter';
}

/** Dawn explains itself over several lines. */
function oneLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, ' ');
}
