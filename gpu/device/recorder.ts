/**
 * Commands for the GPU, recorded one after the other and submitted many at a time: a submit costs more than the work
 * of a small kernel.
 * @module
 */
import type { BufferPool } from './buffer-pool.ts';
import type { DeviceHealth } from './health.ts';
import type { FixedProgram, Program } from './program.ts';
import { areSame, bindGroup, type Bound, type Dispatch, fixedOf, type ParamWords, type Repeated } from './repeated.ts';

export type { Dispatch, ParamWords, Repeated } from './repeated.ts';

/** GPUBufferUsage as numbers, since its global is missing in Node. */
const UNIFORM = 0x40 | 0x08; // UNIFORM | COPY_DST
/** Bytes that the parameters of a dispatch take: every device accepts dynamic offsets in multiples of it. */
const SLOT = 256;
/** What is submitted at a time. */
export interface SubmitLimits {
  /** The most dispatches, so that the GPU starts while later ones are being recorded. */
  readonly dispatches: number;
  /** The same for the first submits after a read, unless the GPU is busy for another one. Default: dispatches. */
  readonly early?: number;
  /** Work after which a submit is sent, since some drivers abort one that takes seconds. */
  readonly work: number;
}

/** For engines whose unit of work is a thread that runs a loop. */
const THREADS: SubmitLimits = { dispatches: 64, work: 2 ** 20 };
/** Bind groups that a program keeps, and submits after a read that are sent early. */
const [MOST_GROUPS, EARLY_SUBMITS] = [256, 4];
/** Places in the order of dispatches at which bind groups are remembered, and how many at each. */
const [PLACES, AT_A_PLACE] = [1024, 4];
/**
 * The commands of one device. They run in the order in which they are recorded. Those that need a program which is
 * still being compiled are kept back, with all that follow, until they are waited for.
 */
export class Recorder {
  readonly #device: GPUDevice;
  readonly #health: DeviceHealth;
  readonly #pool: BufferPool;
  readonly #params: GPUBuffer;
  /** What will be written to #params. */
  readonly #slots: Uint8Array<ArrayBuffer>;
  readonly #words: { readonly whole: Uint32Array; readonly real: Float32Array; at: number };
  /** The offset of each slot, as WebGPU wants it. */
  readonly #offsets: readonly (readonly [number])[];
  /** What was bound at the n-th dispatch since the last read: equal steps bind the same again. */
  readonly #places: Bound[][] = [];
  #place = 0;
  #set: Program | FixedProgram | undefined;
  readonly #limits: SubmitLimits;
  readonly #numbers = new WeakMap<GPUBuffer, number>();
  #nextNumber = 0;
  /** Reads under way: what they wait for keeps the GPU busy. */
  reads = 0;
  /** Commands that are kept back, and the programs that these wait for. */
  #backlog: (() => void)[] = [];
  #awaited: Promise<void>[] = [];
  #releasing = false;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  /** Dispatches since the last submit, and how many besides have parameters of their own. */
  #dispatches = 0;
  #fixed = 0;
  #work = 0;
  /** Buffers to destroy after the next submit. */
  #retired: GPUBuffer[] = [];

  constructor(device: GPUDevice, health: DeviceHealth, pool: BufferPool, limits: SubmitLimits = THREADS) {
    this.#device = device;
    this.#health = health;
    this.#pool = pool;
    this.#limits = limits;
    this.#slots = new Uint8Array(SLOT * limits.dispatches);
    this.#words = { whole: new Uint32Array(this.#slots.buffer), real: new Float32Array(this.#slots.buffer), at: 0 };
    this.#offsets = Array.from({ length: limits.dispatches }, (_, n) => [n * SLOT]);
    this.#params = device.createBuffer({ size: this.#slots.length, usage: UNIFORM });
  }

  /** How often commands were submitted. */
  submits = 0;

  /** Whether there are commands that have not been submitted. */
  get pending(): boolean {
    return this.#encoder !== undefined || this.#backlog.length > 0;
  }

  dispatch(dispatch: Dispatch): void {
    const { program, params, buffers, groups, work } = dispatch;
    if (!program.pipeline || this.#backlog.length > 0) {
      this.#health.check();
      if (!program.pipeline) this.#awaited.push(program.ready!);
      this.#backlog.push(() => this.dispatch(dispatch));
      return;
    }
    const slot = this.#dispatches;
    if (typeof params === 'function') {
      this.#words.at = (slot * SLOT) / 4;
      params(this.#words);
    } else {
      this.#slots.set(new Uint8Array(params), slot * SLOT);
    }
    this.#encode(program, this.#bound(program, buffers), groups, work);
  }

  /** Encodes a dispatch, whose parameters are in the next slot. */
  #encode(program: Program, group: GPUBindGroup, groups: Dispatch['groups'], work: number): void {
    const pass = this.#passWith(program);
    pass.setBindGroup(0, group, this.#offsets[this.#dispatches]);
    this.#dispatches++;
    this.#launch(pass, groups, work);
  }

  #passWith(program: Program | FixedProgram): GPUComputePassEncoder {
    const pass = this.#pass ??= this.#record().beginComputePass();
    if (this.#set !== program) pass.setPipeline(program.pipeline!);
    this.#set = program;
    return pass;
  }

  #launch(pass: GPUComputePassEncoder, groups: Dispatch['groups'], work: number): void {
    // Every argument costs the host something.
    if (groups[1] === 1 && groups[2] === 1) pass.dispatchWorkgroups(groups[0]);
    else pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    this.#work += work;
    const { dispatches, early = dispatches } = this.#limits;
    const most = this.reads === 0 && this.#place <= EARLY_SUBMITS * early ? early : dispatches;
    if (this.#dispatches + this.#fixed >= most || this.#work >= this.#limits.work) this.#submit();
  }

  /** A dispatch, prepared to be repeated. */
  prepare(dispatch: Dispatch): Repeated {
    const { program, params } = dispatch;
    const words = new Uint32Array(program.paramBytes / 4);
    if (typeof params === 'function') params({ whole: words, real: new Float32Array(words.buffer), at: 0 });
    else words.set(new Uint32Array(params));
    return this.#repeated(dispatch, words);
  }

  #repeated(dispatch: Dispatch, words: Uint32Array): Repeated {
    const own = (to: ParamWords): void => to.whole.set(words, to.at);
    return { dispatch: { ...dispatch, params: own }, group: this.#groupOf(dispatch.program, dispatch.buffers), words };
  }

  /**
   * Gives prepared dispatches, which are always repeated together, parameters at places of their own: the dispatches,
   * and the buffer of the parameters.
   */
  fix<R extends Repeated>(all: readonly R[]): [all: R[], buffer: GPUBuffer] {
    const words = new Uint32Array(all.length * SLOT / 4);
    const buffer = this.#device.createBuffer({ size: Math.max(words.byteLength, SLOT), usage: UNIFORM });
    return [all.map((each, n) => {
      const own = words.subarray(n * SLOT / 4, n * SLOT / 4 + each.words.length);
      own.set(each.words);
      const fixed = fixedOf(this.#device, each.dispatch, { buffer, words }, n * SLOT);
      return { ...each, ...this.#repeated(each.dispatch, own), ...fixed };
    }), buffer];
  }

  /** The same with other buffers, and the same parameters. */
  rebound<R extends Repeated>(repeated: R, buffers: readonly GPUBuffer[]): R {
    const { dispatch, words, fixed } = repeated;
    const other = { ...dispatch, buffers };
    const again = fixed && fixedOf(this.#device, other, fixed.params, words.byteOffset);
    return { ...repeated, ...this.#repeated(other, words), ...again };
  }

  /** Destroys a buffer once nothing that was recorded needs it. */
  retire(buffer: GPUBuffer): void {
    if (this.pending) this.#retired.push(buffer);
    else buffer.destroy();
  }

  /** Records dispatches once more. */
  repeat(all: readonly Repeated[]): void {
    this.#health.check();
    const params = all[0]?.fixed?.params;
    if (params && this.#backlog.length === 0 && all.every(({ fixed }) => fixed?.program.pipeline)) {
      // The queue writes this after all that was submitted before: what repeats them has been submitted since.
      this.#device.queue.writeBuffer(params.buffer, 0, params.words);
      for (let n = 0; n < all.length; n++) {
        const { dispatch: { groups, work }, fixed } = all[n];
        const pass = this.#passWith(fixed!.program);
        pass.setBindGroup(0, fixed!.group);
        this.#fixed++;
        this.#place++;
        this.#launch(pass, groups, work);
      }
      return;
    }
    for (let n = 0; n < all.length; n++) {
      const { dispatch, group, words } = all[n];
      if (!dispatch.program.pipeline || this.#backlog.length > 0) {
        this.dispatch({ ...dispatch, params: words.slice().buffer });
        continue;
      }
      this.#words.whole.set(words, (this.#dispatches * SLOT) / 4);
      this.#place++;
      this.#encode(dispatch.program, group, dispatch.groups, dispatch.work);
    }
  }

  /** The bind group, which is most likely one of those that this place in the order of dispatches had before. */
  #bound(program: Program, buffers: readonly GPUBuffer[]): GPUBindGroup {
    const place = this.#place++ % PLACES;
    const known = this.#places[place] ??= [];
    for (let n = 0; n < known.length; n++) {
      const each = known[n];
      if (each.program === program && areSame(each.buffers, buffers)) return each.group;
    }
    const group = this.#groupOf(program, buffers);
    if (known.length === AT_A_PLACE) known.shift();
    known.push({ program, buffers, group });
    return group;
  }

  #groupOf({ groups, layout, paramBytes }: Program, buffers: readonly GPUBuffer[]): GPUBindGroup {
    const key = buffers.map((buffer) => this.#numberOf(buffer)).join();
    const known = groups.get(key);
    if (known) return known;
    if (groups.size === MOST_GROUPS) groups.clear();
    const group = bindGroup(this.#device, layout, { buffer: this.#params, size: paramBytes }, buffers);
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
    if (this.#backlog.length > 0) {
      this.#backlog.push(() => this.copy(from, fromByte, to, toByte, bytes));
      return;
    }
    const encoder = this.#record();
    this.#endPass();
    encoder.copyBufferToBuffer(from, fromByte, to, toByte, bytes);
  }

  /** Submits what has been recorded and is not kept back. */
  flush(): void {
    if (this.#backlog.length === 0) this.#submit();
  }

  /** Submits all that has been recorded so far, and begins anew to count the dispatches of a step. */
  async submitted(): Promise<void> {
    while (this.#backlog.length > 0) {
      await Promise.all(this.#awaited);
      this.#health.check();
      this.#release();
    }
    this.#submit();
    this.#place = 0;
  }

  /** Records what was kept back: the programs are compiled by now. */
  #release(): void {
    const backlog = this.#backlog;
    [this.#backlog, this.#awaited] = [[], []];
    this.#releasing = true;
    try {
      for (const command of backlog) command();
    } finally {
      this.#releasing = false;
    }
  }

  #submit(): void {
    if (!this.#encoder) return;
    this.#endPass();
    const { queue } = this.#device;
    // The queue writes this after all that was submitted before, which may read the same slots.
    if (this.#dispatches > 0) queue.writeBuffer(this.#params, 0, this.#slots, 0, this.#dispatches * SLOT);
    queue.submit([this.#encoder.finish()]);
    this.submits++;
    this.#encoder = undefined;
    this.#dispatches = this.#fixed = this.#work = 0;
    for (const buffer of this.#retired.splice(0)) buffer.destroy();
    if (!this.#releasing) this.#pool.settle(); // or else commands that are kept back may use the buffers
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = this.#set = undefined;
  }

  destroy(): void {
    this.#params.destroy();
  }

  #record(): GPUCommandEncoder {
    this.#health.check();
    return this.#encoder ??= this.#device.createCommandEncoder();
  }
}
