/**
 * Arrays on a device, whose memory arrives later.
 * @module
 */
import type { Shaped } from '../../src/core/tensor.ts';
import { type Device, type Memory, Scope } from './device.ts';

/** Work that is left until its result is wanted, and the memories that it holds for it. */
export class Pending {
  readonly #device: Device;
  readonly #inputs: readonly Memory[];
  readonly #body: (scope: Scope, memories: readonly Memory[]) => Promise<Memory>;

  constructor(
    device: Device, inputs: readonly Memory[], body: (scope: Scope, memories: readonly Memory[]) => Promise<Memory>,
  ) {
    this.#device = device;
    this.#inputs = inputs.map((memory) => device.share(memory));
    this.#body = body;
  }

  /** Does the work. It can be done once. */
  async compute(): Promise<Memory> {
    const scope = new Scope(this.#device);
    const kept: Memory[] = [];
    try {
      kept.push(await this.#body(scope, this.#inputs));
      return kept[0];
    } finally {
      scope.end(kept);
      this.drop();
    }
  }

  /** Nobody wants it any more. */
  drop(): void {
    for (const memory of this.#inputs) this.#device.free(memory);
  }
}

/** An array on a device. Its memory arrives when the job that computes it has run. */
export class DeviceArray implements Shaped {
  readonly shape: readonly number[];
  /** Of whole numbers that came from the host: what they are. */
  readonly host: Int32Array | undefined;
  memory: Memory | undefined;
  /** Token types chosen on the device: 3 stands for a NaN score. */
  chosen: boolean = false;
  /** Set instead of memory: what computes it once someone wants it. */
  pending: Pending | undefined;
  /** Why there is no memory. */
  failure: Error | undefined;

  constructor(shape: readonly number[], host?: Int32Array) {
    this.shape = shape;
    this.host = host;
  }
}

/** The memory of an array that is computed or can be now, or why there is none. */
export async function memoryOf(array: DeviceArray): Promise<Memory> {
  const { pending } = array;
  if (pending) {
    array.pending = undefined;
    try {
      array.memory = await pending.compute();
    } catch (error) {
      array.failure = error as Error;
    }
  }
  if (array.failure) throw array.failure;
  return array.memory!;
}

/** The memories of several arrays. */
export async function memoriesOf(arrays: readonly DeviceArray[]): Promise<Memory[]> {
  const memories: Memory[] = [];
  for (const array of arrays) memories.push(await memoryOf(array));
  return memories;
}
