/**
 * What the operations of this folder need from a device: memory, kernels, copies, reading. Calls take effect in the
 * order in which they are made, and only reading waits.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { adapterName } from '../device/adapter.ts';
import { BufferPool } from '../device/buffer-pool.ts';
import { DeviceHealth } from '../device/health.ts';
import { type PatientRead, Reads } from '../device/reads.ts';
import { type ParamWords, Recorder, type Repeated } from '../device/recorder.ts';
import { Capture, type Kept } from './capture.ts';
import type { AdapterInfo } from './fast/index.ts';
import type { Memory } from './memory.ts';
import { Pipelines } from './pipeline.ts';
import { type Kernel, writeParams } from './template.ts';

export type { Memory } from './memory.ts';

/** A call of a kernel. */
export interface Call {
  /** The fields of its Params. */
  readonly params: Readonly<Record<string, number>>;
  /** The memories that it reads, and those that it writes. None of the former may be among the latter. */
  readonly inputs: readonly Memory[];
  readonly outputs: readonly Memory[];
  /** Workgroups. */
  readonly groups: readonly [x: number, y?: number, z?: number];
  /** About how many operations on numbers it takes. Default: as many as the threads of a light kernel. */
  readonly work?: number;
}

/** The most workgroups along an axis, on every device. */
export const MOST_GROUPS: number = 65535;
/** Threads of a workgroup of an element-wise kernel. */
const FLAT = 64;

/** A submit: many dispatches, the first ones after a read fewer, or some tenths of a slow second. */
const SUBMIT = { dispatches: 512, early: 48, work: 2 ** 34 };

/** The workgroups for n threads that number themselves (group.y * groups.x + group.x) * 64 + lane. */
export function flat(n: number): readonly [x: number, y: number] {
  const all = Math.ceil(n / FLAT);
  const rows = Math.max(1, Math.ceil(all / MOST_GROUPS));
  return [Math.ceil(all / rows), rows];
}

/** What an engine is opened with. */
export interface DeviceOptions {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapter | null;
  /** Whether dispose() destroys the device. */
  readonly owned: boolean;
  /** For tests: fills memory with NaN before it is used, and makes tiles small, so that short sequences have some. */
  readonly testing: boolean;
  /** For tests: the kernels for GPUs, on a device that is none. */
  readonly width?: 64;
  /** Default: 'f32'. 'f16' takes the matrix units, which multiply float16. */
  readonly compute?: 'f32' | 'f16';
}

export class WgslDevice {
  /** For people: 'wgsl (NVIDIA H100)'. */
  readonly description: string;
  /** The most bytes that one memory may have, and the name of that limit. */
  readonly maxBytes: number;
  readonly limitName: string;
  readonly gpuDevice: GPUDevice;
  readonly pipelines: Pipelines;
  /**
   * Threads of a workgroup whose threads wait for one another. On CPU cores, that is fast only if a workgroup is as
   * wide as a vector register. Tests take more there, so that there is something to wait for.
   */
  readonly width: 4 | 16 | 64;
  /** Bytes of workgroup memory. */
  readonly workgroupBytes: number;
  /** The most arrays that a kernel can have. */
  readonly storageBuffers: number;
  /** Whether kernels may sum over subgroups, all of which have 32 lanes. */
  readonly subgroups: boolean;
  /** What products of many rows, and attention of many queries, are computed in. */
  readonly compute: 'f32' | 'f16';
  /** What the adapter says of itself. */
  readonly info: AdapterInfo;
  /** Whether memory starts as NaN, and tiles are small. */
  readonly testing: boolean;
  /** The most elements of a result that is made and used in tiles. */
  readonly tileElements: number;
  /** The most work of a dispatch that can be cut, since browsers end what takes seconds. */
  readonly dispatchWork: number;
  readonly #owned: boolean;
  readonly #health: DeviceHealth;
  readonly #pool: BufferPool;
  readonly #recorder: Recorder;
  readonly #reads: Reads;
  #capture: Capture | undefined;
  #disposed = false;

  constructor({ device, adapter, owned, testing, width, compute = 'f32' }: DeviceOptions) {
    this.gpuDevice = device;
    this.#owned = owned;
    this.testing = testing;
    this.compute = compute;
    this.info = adapter?.info ?? device.adapterInfo;
    this.width = width === 64 || !runsOnCores(adapter?.info ?? device.adapterInfo) ? 64 : testing ? 16 : 4;
    this.#health = new DeviceHealth(device, owned);
    this.#pool = new BufferPool(device, this.#health, testing);
    this.tileElements = testing ? 2 ** 9 : 2 ** 24;
    this.dispatchWork = testing ? 2 ** 10 : 2 ** 36;
    this.#recorder = new Recorder(device, this.#health, this.#pool, SUBMIT);
    this.#reads = new Reads(device, this.#health, this.#recorder);
    this.pipelines = new Pipelines(device, this.#health);
    this.workgroupBytes = device.limits.maxComputeWorkgroupStorageSize;
    this.storageBuffers = device.limits.maxStorageBuffersPerShaderStage;
    const { subgroupMinSize, subgroupMaxSize } = adapter?.info ?? device.adapterInfo ?? {};
    this.subgroups = device.features.has('subgroups') && subgroupMinSize === 32 && subgroupMaxSize === 32;
    this.description = `wgsl (${adapterName(this.info)}; ${this.#abilities()})`;
    this.maxBytes = this.#pool.maxBytes;
    this.limitName = this.#pool.limitName;
  }

  /** What the device allows, and which kernels are used for it. */
  #abilities(): string {
    const { features } = this.gpuDevice;
    const has = [
      ...(features.has('shader-f16') ? ['float16'] : []), ...(this.subgroups ? ['subgroups of 32'] : []),
      ...(features.has('chromium-experimental-subgroup-matrix' as GPUFeatureName) ? ['matrix units'] : []),
    ];
    const kernels = this.compute === 'f16' ? 'float16 products of many rows by matrix units, else float32'
      : this.width < 64 ? 'float32, kernels for processors' : `float32${this.subgroups ? ' with subgroups' : ''}`;
    return `${has.length > 0 ? `has ${has.join(', ')}; ` : ''}computes ${kernels}`;
  }

  /** Memory that holds a copy of the bytes, of which there may be any number. */
  upload(data: Float32Array | Int32Array | Uint32Array | Uint8Array): Memory {
    this.#capture?.fail();
    const bytes = Math.ceil(data.byteLength / 4) * 4;
    const memory = memoryOf(this.#pool.takeForWriting(bytes, 8), bytes);
    if (bytes === 0) return memory;
    const { queue } = this.gpuDevice;
    if (data.byteLength === bytes && data.buffer instanceof ArrayBuffer) {
      queue.writeBuffer(memory.buffer, 0, data.buffer, data.byteOffset, bytes);
      return memory;
    }
    const own = new Uint8Array(bytes); // whole words and no shared memory, which the queue demands
    own.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    queue.writeBuffer(memory.buffer, 0, own);
    return memory;
  }

  /** Memory of `elements` numbers of four bytes, with undefined content. */
  allocate(elements: number): Memory {
    const again = this.#capture?.take(elements * 4);
    if (again) return again;
    // Large results have ever new sizes, which should share their memory.
    const made = memoryOf(this.#pool.take(elements * 4, elements > 2 ** 18 ? 2 : 8), elements * 4);
    this.#capture?.own(made);
    return made;
  }

  /** A second holder of the same memory. Each frees it once. */
  share(memory: Memory): Memory {
    memory.holds.count++;
    return memory;
  }

  free(memory: Memory): void {
    if (--memory.holds.count > 0 || this.#capture?.give(memory)) return;
    this.#pool.give(memory.buffer, this.#recorder.pending);
    if (this.#pool.overfull) this.#recorder.flush();
  }

  run(kernel: Kernel, { params, inputs, outputs, groups: [x, y = 1, z = 1], work }: Call): void {
    if (Math.min(x, y, z) === 0) return;
    if (Math.max(x, y, z) > MOST_GROUPS) {
      throw new DeviceError(`kernel '${kernel.name}' needs ${x} x ${y} x ${z} workgroups, but WebGPU dispatches at most ${MOST_GROUPS} along an axis: use a smaller batch or a shorter context`);
    }
    const buffers: GPUBuffer[] = [];
    for (let n = 0; n < inputs.length; n++) buffers.push(inputs[n].buffer);
    for (let n = 0; n < outputs.length; n++) buffers.push(outputs[n].buffer);
    const dispatch = {
      program: this.pipelines.of(kernel),
      params: (to: ParamWords) => writeParams(kernel, params, to),
      buffers,
      groups: [x, y, z] as const,
      work: work ?? x * y * z * FLAT * 16,
    };
    this.#capture?.note(kernel, this.#recorder.prepare(dispatch));
    this.#recorder.dispatch(dispatch);
  }

  /** Calls `work`, which only allocates, frees and runs kernels, and keeps its commands and its memory. */
  capture(work: (capture: Capture) => void): Capture {
    const capture = new Capture();
    this.#capture = capture;
    try {
      work(capture);
    } finally {
      this.#capture = undefined;
      capture.end();
    }
    if (capture.whole) capture.fix(...this.#recorder.fix(capture.commands));
    return capture;
  }

  /** Lets go of what was captured. */
  release({ memories, params }: Capture): void {
    for (const memory of memories) this.free(memory);
    if (params) this.#recorder.retire(params);
  }

  /** A command that reads and writes other memories in the place of some. */
  rebound(kept: Kept, from: readonly Memory[], to: readonly Memory[]): Kept {
    const other = (buffer: GPUBuffer): number => from.findIndex((each) => each.buffer === buffer);
    return this.#recorder.rebound(kept, kept.dispatch.buffers.map((buffer) => to[other(buffer)]?.buffer ?? buffer));
  }

  /** Records commands once more, which read and write the same memory. */
  repeat(commands: readonly Repeated[]): void {
    this.#recorder.repeat(commands);
  }

  /** How often commands were submitted: those of now will have been when it is more. */
  get submits(): number {
    return this.#recorder.submits;
  }

  /** Writes to memory that no command reads which has not been submitted. */
  write({ buffer }: Memory, data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>): void {
    this.gpuDevice.queue.writeBuffer(buffer, 0, data);
  }

  /** Copies elements of four bytes. */
  copy(from: Memory, fromElement: number, to: Memory, toElement: number, elements: number): void {
    this.#capture?.fail();
    if (elements > 0) this.#recorder.copy(from.buffer, fromElement * 4, to.buffer, toElement * 4, elements * 4);
  }

  /** A copy in memory of its own. */
  copied(from: Memory): Memory {
    const to = this.allocate(from.bytes / 4);
    this.copy(from, 0, to, 0, from.bytes / 4);
    return to;
  }

  /** The bytes of a memory after all calls before. */
  read({ buffer, bytes }: Memory): Promise<ArrayBuffer> {
    return this.#reads.read(buffer, bytes);
  }

  /** Reads them together with the next read(), or when `now()` is called. The memory must live until then. */
  readLater({ buffer, bytes }: Memory): PatientRead<ArrayBuffer> {
    return this.#reads.readLater(buffer, bytes);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      this.#recorder.flush();
    } catch {
      // A lost device takes no more commands.
    }
    this.#health.close();
    // Reads under way are answered first: destroying the device would drop them.
    void this.#reads.settled().then(() => this.#destroy());
  }

  #destroy(): void {
    this.pipelines.clear();
    this.#recorder.destroy();
    this.#pool.destroy();
    if (this.#owned) this.gpuDevice.destroy();
  }
}

/** Whether an adapter is software. */
function runsOnCores(info: Partial<GPUAdapterInfo> | undefined): boolean {
  const said = [info?.vendor, info?.architecture, info?.device, info?.description].join(' ');
  return info?.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|basic render/i.test(said);
}

const memoryOf = (buffer: GPUBuffer, bytes: number): Memory => ({ buffer, bytes, holds: { count: 1 } });
