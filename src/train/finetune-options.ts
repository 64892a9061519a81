/**
 * The options of fine-tuning, and how the price of memory is steered towards a kept share.
 * @module
 */
import { expectObject, finite, of, optional, positive } from '../core/arguments.ts';
import { NumericError, ValueError } from '../core/errors.ts';
import { expectWhole } from '../core/shape.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { scorerNames } from '../model/config/names.ts';
import { largestRank, type LowRank, lowRankShapes } from '../model/low-rank.ts';
import { checkTrainOptions, type TrainOptions } from './options.ts';

/** Everything that determines the result of fine-tuning, apart from the base, W, C, pooling, tau and the text. */
export interface FinetuneOptions extends TrainOptions {
  /**
   * The share of the cache to keep at `context` tokens, in (0, 1), which lambda is steered to reach. 0: fixed lambda.
   */
  readonly keep: number;
  /**
   * r: the rank of the changes of q and k that are learned together with the scorers (LoRA). 0, the default: none, and
   * the model itself stays as it is.
   */
  readonly rank?: number;
  /** The changes are multiplied by alpha/r. Default: r. */
  readonly alpha?: number;
}

/** What `options` say about changes of q and k; undefined if there are none. */
export function lowRankOf(
  { rank = 0, alpha = rank }: Pick<FinetuneOptions, 'rank' | 'alpha'>,
): Pick<LowRank, 'rank' | 'alpha'> | undefined {
  return rank === 0 ? undefined : { rank, alpha };
}

/** The shapes of what is trained, by name: a scorer for each layer, then the changes of q and k, if any. */
export function trainedShapes(
  config: ModelConfig, options: Pick<FinetuneOptions, 'rank'>,
): Map<string, readonly number[]> {
  const scorer = [3 * config.kvHeads, config.hiddenSize];
  return new Map([
    ...scorerNames(config).map((name) => [name, scorer] as const), ...lowRankShapes(config, options.rank ?? 0),
  ]);
}

/** Changes of q and k learn at this share of the scorers' rate, as in the trials of docs/finetuning.md. */
const LOW_RANK_RATE = 0.25;

/** By what to multiply the learning rate for a weight that is trained. */
export function rateOf(name: string): number {
  return name.includes('.lora_') ? LOW_RANK_RATE : 1;
}

/** The numbers of §9: 7,000 sequences, AdamW at 2e-3. Scorers have no weight decay. */
export const DEFAULT_FINETUNE_OPTIONS: Omit<FinetuneOptions, 'context'> = {
  seed: 0, steps: 875, batch: 8, learningRate: 2e-3, minLearningRate: 2e-4, warmup: 20,
  weightDecay: 0, beta1: 0.9, beta2: 0.95, clip: 1, rule: 'bounded', keep: 0.25,
};

/** The model's own context, but at most the 16,384 tokens of §9. */
export function defaultContext({ maxPositions }: ModelConfig): number {
  return Math.min(maxPositions, 16_384);
}

/** W = 256 as in §9 for a context of 4,096 tokens or more; a sixteenth of a shorter context. */
export function defaultWindow(context: number): number {
  return Math.min(256, Math.max(1, Math.floor(context / 16)));
}

/** @throws {ValueError} If no run can use the options. */
export function checkFinetuneOptions(options: FinetuneOptions): void {
  checkTrainOptions(options, 'Finetuner', ['keep', 'rank', 'alpha']);
  finite('keep', options.keep);
  if (!(options.keep >= 0 && options.keep < 1)) {
    throw new ValueError(`keep is ${options.keep}: it must be a share of the cache between 0 and 1, or 0 for a fixed lambda`);
  }
  const { rank = 0, alpha } = options;
  expectWhole('rank', rank, 0);
  optional(positive)('alpha', alpha);
  if (rank === 0 && alpha !== undefined) {
    throw new ValueError(`alpha is ${alpha}, but without a rank there are no changes of q and k to multiply: give a rank, too`);
  }
}

/** @throws {ValueError} If the changes of q and k could be any for this model, so that their rank is not low. */
export function checkRank({ rank = 0 }: Pick<FinetuneOptions, 'rank'>, config: ModelConfig): void {
  const most = largestRank(config);
  if (rank > most) throw new ValueError(`rank is ${rank}, but the query projection of this model has only rank ${most}: choose a small rank, such as 8`);
}

/** The state of the steering. */
export interface Price {
  readonly lambda: number;
  /** The kept share, smoothed over steps; undefined before the first step. */
  readonly kept?: number;
}

/** Refuses a price that is NaN or infinite, as the gradients of every scorer would inherit it. */
export function checkPrice(price: Price): void {
  expectObject('the price of the state', price);
  const { lambda, kept = 0 } = price;
  of('number')('lambda', lambda);
  of('number')('the kept share', kept);
  if (!(lambda >= 0) || !Number.isFinite(lambda)) throw new NumericError(`lambda has become ${lambda}: it must be a finite number, 0 or more; steer towards another share, or fix lambda`);
  if (!Number.isFinite(kept)) throw new NumericError(`the kept share has become ${kept}: it must be a number`);
}

/** The first lambda as a share of the loss of the first step, in which the scorers prefer no type. */
const START = 0.1;
const SMOOTHING = 0.5;
/**
 * The gains of a PI controller on log lambda, per step, for an error of a factor e in the odds of being kept. Types
 * follow the price with a delay of tens of steps, so a larger integral gain or more smoothing makes both oscillate.
 */
const PROPORTIONAL = 1;
const INTEGRAL = 0.02;
/** Added to INTEGRAL for an error of a factor e, as the first price may be far from the right one. */
const HASTE = 0.05;

/**
 * The price for the next step, after one that kept `kept` of the cache: higher if that is too much, lower if too
 * little. A lambda of 0 has no logarithm to change, so it begins at a tenth of the loss: only the ratio of the two
 * matters.
 */
export function steer(price: Price, kept: number, loss: number, target: number): Price {
  if (target === 0) return price;
  const logOdds = (share: number) => Math.log(share / (1 - share)); // infinite at 0 and 1, but clamped below
  const error = (share: number) => Math.min(1, Math.max(-1, logOdds(share) - logOdds(target)));
  const smooth = price.kept === undefined ? kept : SMOOTHING * price.kept + (1 - SMOOTHING) * kept;
  const change = price.kept === undefined ? 0 : PROPORTIONAL * (error(smooth) - error(price.kept));
  const now = error(smooth);
  const drift = (INTEGRAL + HASTE * Math.abs(now)) * now;
  const lambda = (price.lambda > 0 ? price.lambda : START * loss) * Math.exp(change + drift);
  return { lambda, kept: smooth };
}
