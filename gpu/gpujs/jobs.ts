/**
 * What an engine's calls leave behind: jobs in a queue, and arrays that get their memory when these have run.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import { sizeOf } from '../../src/core/tensor.ts';
import { JobQueue } from '../device/queue.ts';
import { DeviceArray, memoriesOf, memoryOf, Pending } from './array.ts';
import { type Device, type Memory, Scope } from './device.ts';

/** Computes results from the memories of a job's inputs. */
export type Body = (scope: Scope, memories: readonly Memory[]) => Promise<readonly (Memory | undefined)[]>;

/** The queue of an engine, and its arrays. */
export class Jobs {
  readonly device: Device;
  readonly #queue = new JobQueue(() => this.device.flush());

  constructor(device: Device) {
    this.device = device;
  }

  /** Adds a job; it must not throw. */
  add(job: () => Promise<void>): void {
    this.#queue.add(job);
  }

  /** Resolves when everything added so far is done. */
  idle(): Promise<void> {
    return this.#queue.idle();
  }

  /** `host` has the whole numbers that the array holds. */
  upload(data: Float32Array, shape: readonly number[], host?: Int32Array): DeviceArray {
    this.expectRoom(shape);
    const array = new DeviceArray(shape, host);
    array.memory = this.device.upload(data);
    return array;
  }

  read(array: DeviceArray): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.#queue.add(async () => {
        try {
          // Not awaited, so that later jobs may be sent to the device meanwhile.
          resolve(this.device.read(await memoryOf(array), sizeOf(array.shape)));
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  /** Frees the array's memory after the jobs before. */
  free(array: DeviceArray): void {
    this.#queue.add(async () => {
      if (array.memory) this.device.free(array.memory);
      array.pending?.drop();
      array.memory = array.pending = undefined;
    });
  }

  /** Leaves a job that computes arrays of the given shapes from `inputs`. */
  call(inputs: readonly DeviceArray[], shapes: readonly (readonly number[])[], body: Body): DeviceArray[] {
    for (const shape of shapes) this.expectRoom(shape);
    const outputs = shapes.map((shape) => new DeviceArray(shape));
    this.#queue.add(() => this.#compute(inputs, outputs, body));
    return outputs;
  }

  /** The same for one array. */
  one(
    inputs: readonly DeviceArray[], shape: readonly number[],
    body: (scope: Scope, memories: readonly Memory[]) => Promise<Memory>,
  ): DeviceArray {
    return this.call(inputs, [shape], async (scope, memories) => [await body(scope, memories)])[0];
  }

  /** Leaves a job that computes an array only if someone wants it. */
  later(
    inputs: readonly DeviceArray[], shape: readonly number[],
    body: (scope: Scope, memories: readonly Memory[]) => Promise<Memory>,
  ): DeviceArray {
    this.expectRoom(shape);
    const output = new DeviceArray(shape);
    this.#queue.add(async () => {
      try {
        output.pending = new Pending(this.device, await memoriesOf(inputs), body);
      } catch (error) {
        output.failure = error as Error;
      }
    });
    return output;
  }

  /** Leaves a job whose results take the place of `targets`. */
  update(targets: readonly DeviceArray[], inputs: readonly DeviceArray[], body: Body): void {
    this.#queue.add(async () => {
      const results = targets.map(({ shape }) => new DeviceArray(shape));
      await this.#compute(inputs, results, body);
      targets.forEach((target, n) => {
        if (target.memory) this.device.free(target.memory);
        target.memory = results[n].memory;
        target.failure = results[n].failure;
      });
    });
  }

  /** Leaves a job that computes an array of the given shape, and what takes the place of `target`. */
  replace(
    target: DeviceArray, inputs: readonly DeviceArray[], shape: readonly number[], body: Body,
  ): DeviceArray {
    this.expectRoom(shape);
    const made = new DeviceArray(shape);
    this.update([made, target], inputs, body);
    return made;
  }

  async #compute(inputs: readonly DeviceArray[], outputs: readonly DeviceArray[], body: Body): Promise<void> {
    const scope = new Scope(this.device);
    try {
      const made = await body(scope, await memoriesOf(inputs));
      outputs.forEach((output, n) => (output.memory = made[n]));
      scope.end(made.filter((memory) => memory !== undefined));
    } catch (error) {
      for (const output of outputs) output.failure = error as Error;
      scope.end([]);
    }
  }

  /** Refuses what the device cannot hold, before anything of that size is made. */
  expectRoom(shape: readonly number[]): void {
    const length = sizeOf(shape);
    const { maxLength, limitName, description } = this.device;
    if (length <= maxLength) return;
    // Activations are [B,N,D] or [B,H,N,d]; what has fewer axes is a weight or a list.
    const axis = Math.max(0, shape.length - 2);
    const fits = Math.floor(maxLength / (length / shape[axis]));
    const what = shape.length > 2 ? 'tokens' : 'rows';
    const remedy = fits > 0 ? `at most ${fits} instead of ${shape[axis]} ${what} fit` :
      `not one of its ${shape[axis]} ${what} fits, use a smaller ${shape.length > 2 ? 'batch' : 'model'}`;
    throw new DeviceError(`a tensor [${shape}] takes ${length * 4} bytes but ${limitName} is ${maxLength * 4} on ${description}: ${remedy}`);
  }
}
