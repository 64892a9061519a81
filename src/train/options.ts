/**
 * The options of a training run, and the checks on them.
 * @module
 */
import { finite, oneOf, optional, record } from '../core/arguments.ts';
import type { MaskGradientRule } from '../core/training-engine.ts';
import { ValueError } from '../core/errors.ts';
import { expectKnown } from '../core/known-options.ts';
import { expectPositive, expectWhole } from '../core/shape.ts';

/** Everything that determines the result of a run, apart from the model's config and the text. */
export interface TrainOptions {
  readonly seed: number;
  readonly steps: number;
  /** Sequences per step. */
  readonly batch: number;
  /** Tokens per sequence. */
  readonly context: number;
  /** The peak learning rate, reached after `warmup` steps. From there a cosine lowers it to minLearningRate. */
  readonly learningRate: number;
  readonly minLearningRate: number;
  readonly warmup: number;
  /** Applies to matrices only, not to the weights of norms. */
  readonly weightDecay: number;
  readonly beta1: number;
  readonly beta2: number;
  /** The largest global norm of the gradient; longer ones are clipped to it. */
  readonly clip: number;
  /** How hidden keys weigh in the mask's gradient (§4). */
  readonly rule: MaskGradientRule;
  /**
   * 'mixed' scales the loss, for engines whose products round factors to float16 (createEngine's `compute: 'f16'`). A
   * step whose gradients overflow changes nothing but the scale. Weights, moments and sums stay as they are. Default:
   * no scale.
   */
  readonly precision?: 'mixed';
}

/** The numbers of the paper (§9), with sizes for a small CPU. */
export const DEFAULT_TRAIN_OPTIONS: TrainOptions = {
  seed: 0, steps: 500, batch: 8, context: 512, learningRate: 2e-3, minLearningRate: 2e-4, warmup: 50,
  weightDecay: 0.1, beta1: 0.9, beta2: 0.95, clip: 1, rule: 'bounded',
};

/**
 * @param what What takes the options.
 * @param more The options that it has besides those of DEFAULT_TRAIN_OPTIONS.
 * @throws {ValueError} If no run can use the options, or if one of them is unknown.
 */
export function checkTrainOptions(
  options: TrainOptions, what: string = 'Trainer', more: readonly string[] = ['precision'],
): void {
  record({ minLearningRate: finite, weightDecay: finite, beta1: finite, beta2: finite })('options', options);
  expectKnown(what, options, [...Object.keys(DEFAULT_TRAIN_OPTIONS), ...more]);
  expectWhole('seed', options.seed, 0);
  expectWhole('steps', options.steps, 1);
  expectWhole('batch', options.batch, 1);
  expectWhole('context', options.context, 1);
  expectWhole('warmup', options.warmup, 0);
  expectPositive('learningRate', options.learningRate);
  expectPositive('clip', options.clip);
  for (const name of ['minLearningRate', 'weightDecay'] as const) {
    if (!(options[name] >= 0)) throw new ValueError(`${name} is ${options[name]}: it must be 0 or more`);
  }
  for (const name of ['beta1', 'beta2'] as const) {
    if (!(options[name] >= 0 && options[name] < 1)) throw new ValueError(`${name} is ${options[name]}: it must be in [0, 1)`);
  }
  oneOf('bounded', 'exact')('rule', options.rule);
  optional(oneOf('mixed'))('precision', options.precision);
}

/** The learning rate of `step`, counted from 1: linear warm-up, then a cosine down to the minimum. */
export function learningRateAt(step: number, options: TrainOptions): number {
  const { steps, warmup, learningRate, minLearningRate } = options;
  if (step <= warmup) return (learningRate * step) / warmup;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  return minLearningRate + (learningRate - minLearningRate) * 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
}
