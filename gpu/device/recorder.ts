/**
 * Commands for the GPU, recorded one after the other and submitted many at a time: a submit costs more than the work
 * of a small kernel.
 * @module
 */
import type { BufferPool } from './buffer-pool.ts';
import type { DeviceHealth } from './health.ts';
import type { Program } from './program.ts';

/** GPUBufferUsage as numbers, since its global is missing in Node. */
const UNIFORM = 0x40 | 0x08; // UNIFORM | COPY_DST
/** Bytes that the parameters of a dispatch take: every device accepts dynamic offsets in multiples of it. */
const SLOT = 256;
/** What is submitted at a time. */
export interface SubmitLimits {
  /** The most dispatches, so that the GPU starts while later ones are being recorded. */
  readonly dispatches: number;
  /** Work after which a submit is sent, since some drivers abort one that takes seconds. */
  readonly work: number;
}

/** For engines whose unit of work is a thread that runs a loop. */
const THREADS: SubmitLimits = { dispatches: 64, work: 2 ** 20 };
/** Bind groups that a program keeps. */
const MOST_GROUPS = 256;

/** A dispatch: its parameters, the buffers that it reads, and then those that it writes. */
export interface Dispatch {
  readonly program: Program;
  readonly params: ArrayBuffer;
  readonly buffers: readonly GPUBuffer[];
  readonly groups: readonly [x: number, y: number, z: number];
  /** How much it computes, in the unit of the recorder's limits. */
  readonly work: number;
}

/** The commands of one device. They run in the order in which they are recorded. */
export class Recorder {
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #pool: BufferPool;
  readonly #params: GPUBuffer;
  /** What will be written to #params. */
  readonly #slots: Uint8Array<ArrayBuffer>;
  readonly #limits: SubmitLimits;
  readonly #numbers = new WeakMap<GPUBuffer, number>();
  #nextNumber = 0;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #dispatches = 0;
  #work = 0;

  constructor(device: GPUDevice, health: DeviceHealth, pool: BufferPool, limits: SubmitLimits = THREADS) {
    this.#device = device;
    this.#health = health;
    this.#pool = pool;
    this.#limits = limits;
    this.#slots = new Uint8Array(SLOT * limits.dispatches);
    this.#params = device.createBuffer({ size: this.#slots.length, usage: UNIFORM });
  }

  /** Whether there are commands that have not been submitted. */
  get pending(): boolean {
    return this.#encoder !== undefined;
  }

  dispatch({ program, params, buffers, groups, work }: Dispatch): void {
    const encoder = this.#record();
    const slot = this.#dispatches * SLOT;
    this.#slots.set(new Uint8Array(params), slot);
    const pass = this.#pass ??= encoder.beginComputePass();
    pass.setPipeline(program.pipeline);
    pass.setBindGroup(0, this.#groupOf(program, buffers), [slot]);
    pass.dispatchWorkgroups(...groups);
    this.#dispatches++;
    this.#work += work;
    if (this.#dispatches === this.#limits.dispatches || this.#work >= this.#limits.work) this.flush();
  }

  #groupOf({ groups, layout, paramBytes }: Program, buffers: readonly GPUBuffer[]): GPUBindGroup {
    const key = buffers.map((buffer) => this.#numberOf(buffer)).join();
    const known = groups.get(key);
    if (known) return known;
    if (groups.size === MOST_GROUPS) groups.clear();
    const group = this.#device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: this.#params, size: paramBytes } },
        ...buffers.map((buffer, n) => ({ binding: n + 1, resource: { buffer } })),
      ],
    });
    groups.set(key, group);
    return group;
  }

  /** A number that no other buffer gets, even once this one is destroyed. */
  #numberOf(buffer: GPUBuffer): number {
    let number = this.#numbers.get(buffer);
    if (number === undefined) this.#numbers.set(buffer, number = this.#nextNumber++);
    return number;
  }

  /** Copies bytes between two buffers. */
  copy(from: GPUBuffer, fromByte: number, to: GPUBuffer, toByte: number, bytes: number): void {
    const encoder = this.#record();
    this.#pass?.end();
    this.#pass = undefined;
    encoder.copyBufferToBuffer(from, fromByte, to, toByte, bytes);
  }

  /** Submits what has been recorded. */
  flush(): void {
    if (!this.#encoder) return;
    this.#pass?.end();
    const { queue } = this.#device;
    // The queue writes this after all that was submitted before, which may read the same slots.
    if (this.#dispatches > 0) queue.writeBuffer(this.#params, 0, this.#slots, 0, this.#dispatches * SLOT);
    queue.submit([this.#encoder.finish()]);
    this.#encoder = this.#pass = undefined;
    this.#dispatches = this.#work = 0;
    this.#pool.settle();
  }

  destroy(): void {
    this.#params.destroy();
  }

  #record(): GPUCommandEncoder {
    this.#health.check();
    return this.#encoder ??= this.#device.createCommandEncoder();
  }
}
