/**
 * The checked layer: engines provide the mathematics, and this adds the contract's checks, sizes and handles.
 * @module
 */
import type { Engine } from '../engine.ts';
import type { Kernels, TrainingKernels } from '../kernels.ts';
import type { Shaped } from '../tensor.ts';
import type { TrainingEngine } from '../training-engine.ts';
import { CheckedEngine } from './inference.ts';
import { CheckedTrainingEngine } from './training.ts';

/** Makes an engine of the contract from kernels for running and training models. */
export function checked<A extends Shaped>(kernels: TrainingKernels<A>): TrainingEngine {
  return new CheckedTrainingEngine(kernels);
}

/** Makes an engine of the contract from kernels that only run models. */
export function checkedInference<A extends Shaped>(kernels: Kernels<A>): Engine {
  return new CheckedEngine(kernels);
}
