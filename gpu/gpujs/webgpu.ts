/**
 * gpu.js on WebGPU: in the browser and in Deno as built in, in Node by Dawn (the optional package `webgpu`).
 *
 * Memory is a storage buffer of the device's pool: results stay on the device, rows are updated in place, and nothing
 * is allocated in a steady state. gpu.js translates the kernels; they are recorded with the copies between them and
 * submitted together.
 * @module
 */
import { adapterName } from '../device/adapter.ts';
import { BufferPool } from '../device/buffer-pool.ts';
import { DeviceHealth } from '../device/health.ts';
import { compile, type Program } from '../device/program.ts';
import { type LateRead, Reads } from '../device/reads.ts';
import { Recorder } from '../device/recorder.ts';
import type { CopyRange, Device, Memory, Size, Tuning } from './device.ts';
import type { Kernel } from './kernel.ts';
import type { Library, ParamsLayout } from './library.ts';
import { groupsOf, packed, type Translated, translator } from './translate.ts';

/** One of the memories that hold a buffer. */
interface BufferMemory extends Memory {
  readonly buffer: GPUBuffer;
  /** How many memories hold the buffer. */
  readonly holds: { count: number };
}

interface Compiled {
  readonly program: Program;
  readonly layout: ParamsLayout;
}

export class WebGPUDevice implements Device {
  readonly mode = 'webgpu' as const;
  readonly description: string;
  readonly maxLength: number;
  readonly limitName: string;
  readonly vectors: boolean = true;
  readonly parallel: boolean = true;
  readonly tuning: Tuning;
  readonly gpuDevice: GPUDevice;
  readonly #owned: boolean;
  readonly #health: DeviceHealth;
  readonly #pool: BufferPool;
  readonly #recorder: Recorder;
  readonly #reads: Reads;
  readonly #translate: (kernel: Kernel) => Translated;
  readonly #kernels = new Map<string, Compiled>();
  #disposed = false;

  /** `owned` says whether dispose() destroys the device. */
  constructor(
    library: Library, device: GPUDevice, adapter: GPUAdapter | null,
    options: { owned: boolean; poison: boolean; tuning: Tuning },
  ) {
    this.tuning = options.tuning;
    this.gpuDevice = device;
    this.#owned = options.owned;
    this.description = `gpu.js webgpu (${adapterName(adapter?.info ?? device.adapterInfo)})`;
    this.#health = new DeviceHealth(device, options.owned);
    this.#pool = new BufferPool(device, this.#health, options.poison);
    this.#recorder = new Recorder(device, this.#health, this.#pool);
    this.#reads = new Reads(device, this.#health, this.#recorder);
    this.maxLength = this.#pool.maxBytes / 4;
    this.limitName = this.#pool.limitName;
    this.#translate = translator(library);
  }

  upload(values: Float32Array, length: number = values.length): Memory {
    const buffer = this.#pool.takeForWriting(length * 4, 8);
    if (values.length > 0) this.gpuDevice.queue.writeBuffer(buffer, 0, values.slice());
    return memoryOf(buffer, length);
  }

  allocate(length: number): Memory {
    // What lives long is uploaded. Results (tiles of attention) have ever new sizes, which should share their memory.
    return memoryOf(this.#pool.take(length * 4, length > 2 ** 18 ? 2 : 8), length);
  }

  share(memory: Memory): Memory {
    (memory as BufferMemory).holds.count++;
    return { ...memory };
  }

  async run(
    kernel: Kernel, [x, y = 1, z = 1]: Size, arrays: readonly Memory[], integers: readonly number[],
    floats: readonly number[],
  ): Promise<Memory> {
    const [size, threads] = [[x, y, z] as const, x * y * z];
    const { groups, rowThreads } = groupsOf(kernel, size);
    const { program, layout } = this.#kernels.get(kernel.name) ?? await this.#compile(kernel);
    const result = this.allocate(threads * kernel.parts) as BufferMemory;
    if (threads === 0) return result;
    const lengths = arrays.map(({ length }) => Math.max(length, 1));
    const buffers = [...arrays, result].map((memory) => (memory as BufferMemory).buffer);
    const params = packed(layout, size, rowThreads, lengths, [...integers, ...floats]);
    this.#recorder.dispatch({ program, params, buffers, groups, work: threads });
    return result;
  }

  async #compile(kernel: Kernel): Promise<Compiled> {
    const { source, layout } = this.#translate(kernel);
    const compiled = { program: await compile(this.gpuDevice, this.#health, source), layout };
    this.#kernels.set(kernel.name, compiled);
    return compiled;
  }

  copy(from: Memory, to: Memory, ranges: readonly CopyRange[]): void {
    const [source, target] = [(from as BufferMemory).buffer, (to as BufferMemory).buffer];
    for (const range of ranges) {
      this.#recorder.copy(source, range.from * 4, target, range.to * 4, range.length * 4);
    }
  }

  flush(): void {
    this.#recorder.flush();
  }

  async read(memory: Memory, length: number): Promise<Float32Array> {
    return new Float32Array(await this.#reads.read((memory as BufferMemory).buffer, length * 4));
  }

  readLater(memory: Memory, length: number): LateRead<Float32Array> {
    const late = this.#reads.readLater((memory as BufferMemory).buffer, length * 4);
    return { now: async () => new Float32Array(await late.now()) };
  }

  free(memory: Memory): void {
    const { buffer, holds } = memory as BufferMemory;
    if (--holds.count === 0) this.#pool.give(buffer, this.#recorder.pending);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#recorder.flush();
    this.#health.close();
    // Reads under way are answered first: destroying the device would drop them.
    void this.#reads.settled().then(() => this.#destroy());
  }

  #destroy(): void {
    this.#kernels.clear();
    this.#recorder.destroy();
    this.#pool.destroy();
    if (this.#owned) this.gpuDevice.destroy();
  }
}

const memoryOf = (buffer: GPUBuffer, length: number): BufferMemory => ({ length, buffer, holds: { count: 1 } });
