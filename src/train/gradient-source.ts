/**
 * Where the gradients of a batch come from: one sequence after another, the whole batch at once, or threads.
 * @module
 */
import type { TrainingEngine } from '../core/training-engine.ts';
import type { ModelConfig } from '../model/config/config.ts';
import type { Weights } from '../model/decoder.ts';
import { sumParts } from './gradient-sum.ts';
import { beginGradients, type Begun, computeGradients, type Gradients } from './gradients.ts';
import { Noise } from './noise.ts';
import type { TrainOptions } from './options.ts';

/**
 * Computes the gradients of a batch, on one thread or several. Parts are summed in the order of the sequences. With a
 * scale, gradients are larger by this factor.
 */
export interface GradientSource {
  compute(
    engine: TrainingEngine, weights: Weights, windows: readonly Int32Array[], step: number, scale?: number,
  ): Promise<Gradients>;
  /** The same without waiting. With it, the next step is begun while the engine computes a step. */
  begin?(
    engine: TrainingEngine, weights: Weights, windows: readonly Int32Array[], step: number, scale?: number,
  ): Begun;
  /** Ends what it keeps running. It may be used again. */
  dispose?(): void;
}

/** Computes one sequence after another on the trainer's own engine. */
export function localGradients(config: ModelConfig, options: TrainOptions): GradientSource {
  return {
    compute: (engine, weights, windows, step, scale = 1) => sumParts(engine, windows.map((window, n) => {
      return () => computeGradients(engine, config, options, weights, [window], { step, scale, sequences: [n] });
    })),
  };
}

/** Computes the whole batch at once, which suits a GPU. The engine sums over the sequences. */
export function batchGradients(config: ModelConfig, options: TrainOptions): GradientSource {
  const noise = new Noise(options.seed);
  return {
    compute: (engine, weights, windows, step, scale = 1) =>
      computeGradients(engine, config, options, weights, windows, { step, scale, sequences: [...windows.keys()] }),
    begin: (engine, weights, windows, step, scale = 1) =>
      beginGradients(
        engine, config, options, weights, windows, { step, scale, sequences: [...windows.keys()], noise },
      ),
    dispose: () => noise.dispose(),
  };
}
