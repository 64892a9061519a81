/**
 * What an engine lets its caches and pools do: leave jobs in its queue and make tensors of its own.
 * @module
 */
import type { Device, Memory, Scope } from './device.ts';
import type { DeviceTensor } from './tensor.ts';

/** Computes results from the memories of a job's inputs. */
export type Body = (scope: Scope, memories: readonly Memory[]) => Promise<readonly (Memory | undefined)[]>;

/** An engine as its caches and pools see it. */
export interface EngineJobs {
  readonly device: Device;
  /** Throws DisposedError once the engine was disposed of. */
  assertAlive(): void;
  /** Adds a job; it must not throw. */
  add(job: () => Promise<void>): void;
  /** Leaves a job that computes tensors of the given shapes. */
  call(inputs: readonly DeviceTensor[], shapes: readonly (readonly number[])[], body: Body): DeviceTensor[];
  /** Leaves a job that computes a tensor of the given shape, and what takes the place of `target`. */
  replace(target: DeviceTensor, inputs: readonly DeviceTensor[], shape: readonly number[], body: Body): DeviceTensor;
  upload(data: Float32Array, shape: readonly number[]): DeviceTensor;
  read(tensor: DeviceTensor): Promise<Float32Array>;
}
