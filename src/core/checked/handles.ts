/**
 * Tensors as handles to the arrays of an engine: their kind, their engine, and whether they were disposed of.
 * @module
 */
import { tensor, withMemory } from '../arguments.ts';
import { DisposedError, ValueError } from '../errors.ts';
import type { Kernels } from '../kernels.ts';
import type { Dtype, Shaped, Tensor } from '../tensor.ts';

/** A handle to an array. */
class CheckedTensor<A extends Shaped> implements Tensor {
  readonly shape: readonly number[];
  readonly kind: 'float' | 'integer';
  readonly dtype: Dtype;
  readonly handles: Handles<A>;
  #array: A | undefined;

  constructor(handles: Handles<A>, kind: 'float' | 'integer', array: A) {
    this.handles = handles;
    this.kind = kind;
    this.dtype = kind === 'integer' ? 'i32' : handles.kernels.dtypeOf(array);
    this.shape = array.shape;
    this.#array = array;
  }

  get array(): A {
    if (this.#array) return this.#array;
    throw new DisposedError(`a tensor [${this.shape}] was used after dispose(): keep it alive until its last use`);
  }

  dispose(): void {
    const array = this.#array;
    this.#array = undefined;
    if (array) this.handles.kernels.free(array);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What an engine, its caches and its pools share: the kernels, and the conversion between tensors and arrays. */
export class Handles<A extends Shaped> {
  readonly kernels: Kernels<A>;
  #disposed = false;

  constructor(kernels: Kernels<A>) {
    this.kernels = kernels;
  }

  /** Throws DisposedError once dispose() was called. */
  assertAlive(): void {
    if (this.#disposed) throw new DisposedError(`the engine '${this.kernels.name}' was used after dispose(): create a new one`);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.kernels.dispose();
  }

  /** The array of a float tensor. */
  float(name: string, x: unknown): A {
    return this.#arrayOf(name, x, 'float');
  }

  /** The array of an integer tensor. */
  integer(name: string, x: unknown): A {
    return this.#arrayOf(name, x, 'integer');
  }

  /** Calls `check` with the integers of an array, if the host knows them. */
  values(array: A, check: (values: Int32Array) => void): void {
    const values = this.kernels.known(array);
    if (values) check(values);
  }

  #arrayOf(name: string, x: unknown, kind: 'float' | 'integer'): A {
    this.assertAlive();
    if (x instanceof CheckedTensor && x.kind === kind && x.handles === this) return (x as CheckedTensor<A>).array;
    tensor(kind)(name, x);
    throw new ValueError(`a tensor of another engine reached the engine '${this.kernels.name}': read() it there and upload it here`);
  }

  /** Returns what `compute` returns. If memory runs out, the error names the operation. */
  run<T>(name: string, compute: () => T): T {
    this.assertAlive();
    return withMemory(`${name}()`, compute);
  }

  /** A float tensor of the array that `compute` returns. */
  real(name: string, compute: () => A): Tensor {
    return this.realOf(this.run(name, compute));
  }

  /** A float tensor of an array. */
  realOf(array: A): Tensor {
    return new CheckedTensor(this, 'float', array);
  }

  /** An integer tensor of an array. */
  wholeOf(array: A): Tensor {
    return new CheckedTensor(this, 'integer', array);
  }
}
