/**
 * gpu.js on WebGPU: in the browser and in Deno as built in, in Node by Dawn (the optional package `webgpu`).
 *
 * Memory is a storage buffer of the device's pool, handed to gpu.js's kernels as their argument or output: so results
 * stay on the device, rows are updated in place, and nothing is allocated in a steady state. A kernel's call is one
 * submit; its order in the queue is the order of the calls.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { adapterName } from '../device/adapter.ts';
import { BufferPool } from '../device/buffer-pool.ts';
import { oneLine } from '../device/error-text.ts';
import { DeviceHealth } from '../device/health.ts';
import { type LateRead, Reads } from '../device/reads.ts';
import type { CopyRange, Device, Memory, Size, Tuning } from './device.ts';
import type { Kernel } from './kernel.ts';
import { createKernel, type Library, type Shortcut, type WebGPUContextValue } from './library.ts';

interface BufferMemory extends Memory {
  readonly buffer: GPUBuffer;
  /** gpu.js's view of the buffer as an argument. */
  readonly handle: object;
}

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
  readonly #health: DeviceHealth;
  readonly #pool: BufferPool;
  readonly #reads: Reads;
  readonly #kernels = new Map<string, Shortcut>();
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
    this.description = `gpu.js webgpu (${adapterName(adapter?.info ?? device.adapterInfo)})`;
    void device.lost.then(() => (this.#context.isLost = true));
    this.#health = new DeviceHealth(device, options.owned);
    this.#pool = new BufferPool(device, this.#health, options.poison);
    this.#reads = new Reads(device, this.#health);
    this.maxLength = this.#pool.maxBytes / 4;
    this.limitName = this.#pool.limitName;
    Object.defineProperty(library.WebGPUContext, 'isSupported', { get: () => true, configurable: true });
    this.#gpu = new library.GPU({ mode: 'webgpu' });
  }

  upload(values: Float32Array, length: number = values.length): Memory {
    const memory = this.#memory(this.#pool.take(length * 4, 8), length);
    if (values.length > 0) this.gpuDevice.queue.writeBuffer(memory.buffer, 0, values.slice());
    return memory;
  }

  allocate(length: number): Memory {
    // What lives long is uploaded; of results, ever new sizes (the tiles of attention) should find each other's memory.
    return this.#memory(this.#pool.take(length * 4, length > 2 ** 18 ? 2 : 8), length);
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
    this.#health.check();
    // One submit. What run() resolves to is one more handle on the same buffer.
    void Promise.resolve(raw.run(...args)).catch((error: unknown) => {
      this.#health.fail(`kernel '${kernel.name}' failed: ${oneLine(error)}`);
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
      this.#health.check(); // a lost device builds nothing
      throw new DeviceError(`a kernel was refused by WebGPU (${oneLine(error)}): update the graphics driver, or leave --gpu out to run on the CPU`);
    }
    const { mode } = shortcut.kernel.constructor;
    if (mode !== 'webgpu') throw new DeviceError(`a kernel was built for '${mode}' though 'webgpu' was asked for`);
  }

  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    this.#health.check();
    if (ranges.length === 0) return;
    const encoder = this.gpuDevice.createCommandEncoder();
    const [source, target] = [(from as BufferMemory).buffer, (to as BufferMemory).buffer];
    for (const range of ranges) {
      encoder.copyBufferToBuffer(source, range.from * 4, target, range.to * 4, range.length * 4);
    }
    this.gpuDevice.queue.submit([encoder.finish()]);
  }

  async read(memory: Memory, length: number): Promise<Float32Array> {
    return new Float32Array(await this.#reads.read((memory as BufferMemory).buffer, length * 4));
  }

  readLater(memory: Memory, length: number): LateRead<Float32Array> {
    const late = this.#reads.readLater((memory as BufferMemory).buffer, length * 4);
    return { now: async () => new Float32Array(await late.now()) };
  }

  free(memory: Memory): void {
    this.#pool.give((memory as BufferMemory).buffer);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#health.close();
    // What was asked for is answered: destroying a device would drop its maps.
    void this.#reads.settled().then(() => this.#destroy());
  }

  #destroy(): void {
    for (const { kernel } of this.#kernels.values()) {
      kernel.outputBuffer = null;
      kernel.destroy();
    }
    this.#kernels.clear();
    this.#pool.destroy();
    if (this.#owned) this.gpuDevice.destroy();
  }
}

/** Workgroups are 8 x 8 x 1, and at most 65535 of them lie along an axis. */
const LIMIT_Y = 65535 * 8;
const LIMIT_Z = 65535;
