/**
 * Handles to memory on a device.
 * @module
 */
import type { Tensor } from '../src/engine.ts';
import { DisposedError } from '../src/errors.ts';
import type { Memory } from './device.ts';

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
}
