/**
 * What fine-tuning is made of, and how the price of memory is steered towards a kept share.
 * @module
 */
import { finite } from '../core/arguments.ts';
import { NumericError, ValueError } from '../core/errors.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { checkTrainOptions, type TrainOptions } from './options.ts';

/** Everything that decides the result of fine-tuning, besides base, W, C, pooling, tau and the text. */
export interface FinetuneOptions extends TrainOptions {
  /** Share of the cache to keep at `context` tokens, in (0, 1): lambda is steered towards it. 0: lambda is fixed. */
  readonly keep: number;
}

/** §9's numbers: 7,000 sequences, AdamW at 2e-3. Scorers do not decay. */
export const DEFAULT_FINETUNE_OPTIONS: Omit<FinetuneOptions, 'context'> = {
  seed: 0, steps: 875, batch: 8, learningRate: 2e-3, minLearningRate: 2e-4, warmup: 20,
  weightDecay: 0, beta1: 0.9, beta2: 0.95, clip: 1, rule: 'bounded', keep: 0.25,
};

/** The model's own context, at most §9's 16,384 tokens. */
export function defaultContext({ maxPositions }: ModelConfig): number {
  return Math.min(maxPositions, 16_384);
}

/** §9's W = 256 where the context is 4,096 or more, a sixteenth of a shorter one. */
export function defaultWindow(context: number): number {
  return Math.min(256, Math.max(1, Math.floor(context / 16)));
}

/** Refuses numbers that no run can use. */
export function checkFinetuneOptions(options: FinetuneOptions): void {
  checkTrainOptions(options);
  finite('keep', options.keep);
  if (!(options.keep >= 0 && options.keep < 1)) {
    throw new ValueError(`keep is ${options.keep}: it must be a share of the cache between 0 and 1, or 0 for a fixed lambda`);
  }
}

/** Where steering is. */
export interface Price {
  readonly lambda: number;
  /** Kept share, smoothed over steps; undefined before the first. */
  readonly kept?: number;
}

/** Refuses a price that is no number, which the gradients of every scorer would inherit. */
export function checkPrice({ lambda, kept = 0 }: Price): void {
  if (!(lambda >= 0) || !Number.isFinite(lambda)) throw new NumericError(`lambda has become ${lambda}: it must be a finite number, 0 or more; steer towards another share, or fix lambda`);
  if (!Number.isFinite(kept)) throw new NumericError(`the kept share has become ${kept}: it must be a number`);
}

/** The first lambda as a share of the first step's loss, which is that of scorers without a preference. */
const START = 0.1;
const SMOOTHING = 0.5;
/**
 * Of a PI controller on log lambda, per step, for an error of a factor e in the odds of being kept. Types follow the
 * price with a delay of tens of steps: a larger integral, or more smoothing, makes both swing.
 */
const PROPORTIONAL = 1;
const INTEGRAL = 0.02;
/** Added to INTEGRAL for an error of a factor e: the first price may be far from the right one. */
const HASTE = 0.05;

/**
 * The price of the next step after one that kept `kept` of the cache: raised while too much is kept, lowered while
 * too little. A lambda of 0 has no logarithm to move: a tenth of the loss takes its place, as only their ratio counts.
 */
export function steer(price: Price, kept: number, loss: number, target: number): Price {
  if (target === 0) return price;
  const odds = (share: number) => Math.log(share / (1 - share)); // infinite at 0 and 1, which the bounds below take
  const error = (share: number) => Math.min(1, Math.max(-1, odds(share) - odds(target)));
  const smooth = price.kept === undefined ? kept : SMOOTHING * price.kept + (1 - SMOOTHING) * kept;
  const change = price.kept === undefined ? 0 : PROPORTIONAL * (error(smooth) - error(price.kept));
  const now = error(smooth);
  const drift = (INTEGRAL + HASTE * Math.abs(now)) * now;
  const lambda = (price.lambda > 0 ? price.lambda : START * loss) * Math.exp(change + drift);
  return { lambda, kept: smooth };
}
