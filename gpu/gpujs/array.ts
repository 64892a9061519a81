/**
 * Arrays on a device, whose memory arrives later.
 * @module
 */
import type { Shaped } from '../../src/core/tensor.ts';
import { type Device, type Memory, Scope } from './device.ts';

/** Work that is postponed until someone wants its result, and holds the memories that it needs until then. */
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

  /** Does the work, which can be done once. */
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

  /** Releases the memories. */
  drop(): void {
    for (const memory of this.#inputs) this.#device.free(memory);
  }
}

/** An array on a device. Its memory arrives when the job that computes it has run. */
export class DeviceArray implements Shaped {
  readonly shape: readonly number[];
  /** The values of whole numbers that came from the host. */
  readonly host: Int32Array | undefined;
  memory: Memory | undefined;
  /** The least and the largest whole number that is one. Others stand for token types that NaN scores did not give. */
  least = 0;
  most: number = Infinity;
  /** Set instead of memory where the work is postponed. */
  pending: Pending | undefined;
  /** Why the memory could not be computed. */
  failure: Error | undefined;

  constructor(shape: readonly number[], host?: Int32Array) {
    this.shape = shape;
    this.host = host;
  }
}

/** The memory of an array, computed now if that was postponed; throws what kept it from being computed. */
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
