/**
 * Handles to memory on a device.
 * @module
 */
import type { Tensor } from '../../src/core/engine.ts';
import { DisposedError, ValueError } from '../../src/core/errors.ts';
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

/** What a tensor needs of its engine. */
export interface TensorOwner {
  readonly name: string;
  assertAlive(): void;
  release(tensor: DeviceTensor): void;
}

/** A tensor on a device. Its memory arrives when the job that computes it has run. */
export class DeviceTensor implements Tensor {
  readonly shape: readonly number[];
  readonly kind: 'float' | 'integer';
  readonly owner: TensorOwner;
  /** Of whole numbers that came from the host: what they are. */
  readonly host: Int32Array | undefined;
  memory: Memory | undefined;
  /** Token types chosen on the device: 3 stands for a NaN score. */
  chosen: boolean = false;
  /** Set instead of memory: what computes it once someone wants it. */
  pending: Pending | undefined;
  /** Why there is no memory. */
  failure: Error | undefined;
  #disposed = false;

  constructor(owner: TensorOwner, shape: readonly number[], kind: 'float' | 'integer', host?: Int32Array) {
    this.owner = owner;
    this.shape = shape;
    this.kind = kind;
    this.host = host;
  }

  /** Throws once dispose() was called. */
  assertAlive(): void {
    this.owner.assertAlive();
    if (this.#disposed) throw new DisposedError(`a tensor [${this.shape}] was used after dispose(): keep it alive until its last use`);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.owner.release(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The memory of a tensor that is computed or can be now, or why there is none. */
export async function memoryOf(tensor: DeviceTensor): Promise<Memory> {
  const { pending } = tensor;
  if (pending) {
    tensor.pending = undefined;
    try {
      tensor.memory = await pending.compute();
    } catch (error) {
      tensor.failure = error as Error;
    }
  }
  if (tensor.failure) throw tensor.failure;
  return tensor.memory!;
}

/** The memories of several tensors. */
export async function memoriesOf(tensors: readonly DeviceTensor[]): Promise<Memory[]> {
  const memories: Memory[] = [];
  for (const tensor of tensors) memories.push(await memoryOf(tensor));
  return memories;
}

function handleOf(tensor: Tensor): DeviceTensor {
  if (!(tensor instanceof DeviceTensor)) {
    throw new ValueError('a tensor of another engine reached the gpu.js engine: read() it there and upload it here');
  }
  tensor.assertAlive();
  return tensor;
}

/** A handle to real numbers. */
export function float(tensor: Tensor): DeviceTensor {
  const handle = handleOf(tensor);
  if (handle.kind !== 'float') throw new ValueError(`an integer tensor [${tensor.shape}] stands where real numbers must`);
  return handle;
}

/** A handle to whole numbers. */
export function integer(tensor: Tensor): DeviceTensor {
  const handle = handleOf(tensor);
  if (handle.kind !== 'integer') throw new ValueError(`a float tensor [${tensor.shape}] stands where whole numbers must`);
  return handle;
}
