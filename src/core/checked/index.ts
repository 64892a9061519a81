/**
 * The checked layer: engines bring mathematics, and get the contract's checks, sizes and handles here.
 * @module
 */
import type { Engine } from '../engine.ts';
import type { Kernels, TrainingKernels } from '../kernels.ts';
import type { Shaped } from '../tensor.ts';
import type { TrainingEngine } from '../training-engine.ts';
import { CheckedEngine } from './inference.ts';
import { CheckedTrainingEngine } from './training.ts';

/** The engine of the contract over kernels that run models and train them. */
export function checked<A extends Shaped>(kernels: TrainingKernels<A>): TrainingEngine {
  return new CheckedTrainingEngine(kernels);
}

/** The engine of the contract over kernels that only run models. */
export function checkedInference<A extends Shaped>(kernels: Kernels<A>): Engine {
  return new CheckedEngine(kernels);
}
