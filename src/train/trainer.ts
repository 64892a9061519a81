/**
 * The training loop: batches, gradients, AdamW. Files and progress bars are left to callbacks.
 * @module
 */
import { expectObject, of, optional, record } from '../core/arguments.ts';
import type { Engine } from '../core/engine.ts';
import { expectKnown } from '../core/known-options.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { expectGoing } from '../core/errors.ts';
import { expectedWeights, type ModelConfig } from '../model/config/config.ts';
import { initialWeights } from '../model/init.ts';
import type { NDArray } from '../core/tensor.ts';
import { checkLongEnough, expectCallbacks, expectRun, trainingWindow } from './data.ts';
import { inStep } from './diverged.ts';
import { type GradientSource, localGradients } from './gradient-source.ts';
import type { Begun, Gradients } from './gradients.ts';
import { FIRST_SCALE, type LossScale, nextScale } from './loss-scale.ts';
import { checkTrainOptions, learningRateAt, type TrainOptions } from './options.ts';
import { Optimiser } from './optimiser.ts';
import { checkState } from './state.ts';
import type { TokenSource } from './token-store.ts';
import { validateTraining, type Validation, validationWindows } from './validation.ts';

export { batchGradients, type GradientSource, localGradients } from './gradient-source.ts';

/** Everything needed to resume: weights and AdamW's moments after `step` steps, on the host in float64. */
export interface TrainingState {
  readonly step: number;
  readonly weights: Map<string, NDArray>;
  readonly m: Map<string, NDArray>;
  readonly v: Map<string, NDArray>;
  /** The scale of the loss, with `precision: 'mixed'`. */
  readonly lossScale?: LossScale;
}

/** What to log about one step. */
export interface StepReport {
  readonly step: number;
  /** The mean cross-entropy in nats per token. */
  readonly loss: number;
  /** The mean kept share of the cache (§7), 0..1. */
  readonly kept: number;
  /** The shares of GLOBAL, LOCAL and WINDOW. */
  readonly typeShares: readonly number[];
  readonly learningRate: number;
  readonly gradientNorm: number;
  /** The scale of the loss, with `precision: 'mixed'`. */
  readonly lossScale?: number;
  /** Whether gradients overflowed under this scale: then weights and moments are as before the step. */
  readonly skipped?: true;
}

/**
 * A training run, which searches weights and token types jointly (§6, §7).
 *
 * @example
 * ```ts
 * import {
 *   ByteTokenizer, createEngine, DEFAULT_TRAIN_OPTIONS, parseConfig, tokenizeDocuments, Trainer,
 * } from 'neural-attention-search';
 * const config = parseConfig({
 *   vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
 *   max_position_embeddings: 8, tie_word_embeddings: true, nats: { policy: 'nats', window: 2, lambda: 0.1 },
 * });
 * const tokens = tokenizeDocuments(new ByteTokenizer(), ['to be, or not to be']);
 * const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 1, context: 8, steps: 2 };
 * const trainer = new Trainer(createEngine(), config, options, tokens);
 * await trainer.run();
 * console.log(trainer.step); // 2
 * ```
 */
export class Trainer {
  readonly engine: TrainingEngine;
  readonly config: ModelConfig;
  readonly options: TrainOptions;
  #step: number;
  readonly #tokens: TokenSource;
  readonly #on: Optimiser;
  readonly #source: GradientSource;
  /** Undefined without `precision: 'mixed'`. */
  #lossScale: LossScale | undefined;
  /** The gradients of the next step, if they have been begun. */
  #begun: Begun | undefined;

  /**
   * @param tokens The training stream of at least context + 1 tokens: an Int32Array, or what tokenizeStream() returns.
   * @param more.from The state to resume from. Default: new weights made from the seed.
   * @param more.source What computes the gradients of a step. Default: this thread.
   * @throws {UnsupportedError} If the engine cannot train.
   */
  constructor(
    engine: Engine,
    config: ModelConfig,
    options: TrainOptions,
    tokens: TokenSource,
    more: { from?: TrainingState; source?: GradientSource } = {},
  ) {
    this.engine = expectRun(engine, config);
    checkTrainOptions(options);
    checkLongEnough(tokens, options.context);
    expectKnown('more', more, ['from', 'source']);
    record({ from: optional(expectObject) })('more', more);
    const { from, source = localGradients(config, options) } = more;
    of('function')('source', source?.compute);
    this.config = config;
    this.options = options;
    this.#tokens = tokens;
    this.#source = source;
    if (from) checkState(from, expectedWeights(config));
    this.#step = from?.step ?? 0;
    this.#lossScale = options.precision === 'mixed' ? from?.lossScale ?? FIRST_SCALE : undefined;
    this.#on = new Optimiser(this.engine, from ?? { weights: initialWeights(config, options.seed) });
  }

  /** How many steps are done. */
  get step(): number {
    return this.#step;
  }

  /**
   * Does one step: batch, gradients, clipped AdamW.
   *
   * @throws {NumericError} If the loss or a gradient is NaN or infinite. Weights and moments are then as before the
   *   step.
   */
  async next(): Promise<StepReport> {
    return await this.#overlapped() ?? this.#alone();
  }

  /** A step that waits for its loss and its norm before anything is changed. */
  async #alone(): Promise<StepReport> {
    const { engine, options } = this;
    const step = this.#step + 1;
    const scaling = this.#lossScale;
    const { gradients, ...sums } = await this.#source
      .compute(engine, this.#on.weights, this.#windows(step), step, scaling?.scale).catch(inStep(step, options));
    try {
      return this.#done(step, sums, await this.#on.update(step, gradients, sums.loss, options, { scaling }));
    } finally {
      for (const tensor of gradients.values()) tensor.dispose();
    }
  }

  /**
   * A step that does not wait: the engine has it before its results are known, and the gradients of the step after it,
   * too. If a loss or a gradient turns out not to be finite, the engine has changed nothing: then the result is
   * undefined, and #alone() finds out why.
   */
  async #overlapped(): Promise<StepReport | undefined> {
    const step = this.#step + 1;
    const scaling = this.#lossScale;
    const begun = this.#begun ?? this.#begin(step, scaling);
    this.#begun = undefined;
    if (!begun) return undefined;
    let norm: Promise<number>;
    try {
      norm = this.#on.updateGuarded(step, begun.gradients, begun.squaredLoss, this.options, scaling);
      norm.catch(() => {}); // heard of below
    } finally {
      forget(begun);
    }
    if (step < this.options.steps) this.#begun = this.#begin(step + 1, scaling && nextScale(scaling, false));
    try {
      const gradientNorm = await norm;
      if (Number.isFinite(gradientNorm)) return this.#done(step, await begun.sums, gradientNorm);
    } catch (error) {
      this.#forget();
      throw error;
    }
    this.#forget(); // the scale will be another one
    return undefined;
  }

  /** Begins a step, or leaves it to #alone() to say what is wrong. */
  #begin(step: number, scaling: LossScale | undefined): Begun | undefined {
    try {
      return this.#source.begin?.(this.engine, this.#on.weights, this.#windows(step), step, scaling?.scale);
    } catch {
      return undefined;
    }
  }

  #forget(): void {
    if (this.#begun) forget(this.#begun);
    this.#begun = undefined;
  }

  #windows(step: number): Int32Array[] {
    const { batch, context, seed } = this.options;
    return Array.from({ length: batch }, (_, n) => trainingWindow(this.#tokens, context, seed, step, n));
  }

  /** Counts a step, and reports it. */
  #done(step: number, { loss, kept, typeCounts }: Omit<Gradients, 'gradients'>, gradientNorm: number): StepReport {
    const { options } = this;
    const { batch, context } = options;
    const scaling = this.#lossScale;
    const skipped = gradientNorm === Infinity;
    this.#step = step;
    this.#lossScale = scaling && nextScale(scaling, skipped);
    const total = typeCounts.reduce((a, b) => a + b, 0);
    return {
      step, learningRate: learningRateAt(step, options), gradientNorm,
      ...(scaling && { lossScale: scaling.scale }), ...(skipped && { skipped }),
      loss: loss / (batch * context),
      kept: kept / batch,
      typeShares: typeCounts.map((count) => count / total),
    };
  }

  /**
   * Does steps until there are options.steps.
   *
   * @param callbacks.onStep Called after every step, and awaited before the next.
   * @param callbacks.signal Aborting it stops the run after the current step with a StoppedError. The state stays
   *   valid.
   */
  async run(
    callbacks: { onStep?: (report: StepReport) => void | Promise<void>; signal?: AbortSignal } = {},
  ): Promise<void> {
    expectCallbacks(callbacks);
    while (this.#step < this.options.steps) {
      expectGoing(callbacks.signal, () => `training was stopped after step ${this.#step} of ${this.options.steps}`);
      const report = await this.next();
      await callbacks.onStep?.(report);
    }
  }

  /**
   * Copies the state to the host.
   *
   * @throws {NumericError} If the last update overflowed.
   */
  async state(): Promise<TrainingState> {
    return {
      step: this.#step, ...await this.#on.read(this.#step), ...(this.#lossScale && { lossScale: this.#lossScale }),
    };
  }

  /**
   * Measures the loss on held-out text, with types as at inference. It changes nothing.
   *
   * @param tokens At least 2. The first `most` targets are scored, in windows of the context.
   * @throws {NumericError} If the loss is NaN or infinite.
   */
  async validate(tokens: TokenSource, most?: number): Promise<Validation> {
    const windows = validationWindows(tokens, this.options.context, most);
    return validateTraining(this.engine, this.config, this.options, this.#on.weights, windows);
  }

  /** Frees weights and moments. Idempotent. */
  dispose(): void {
    this.#forget();
    this.#source.dispose?.();
    this.#on.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function forget({ gradients, squaredLoss }: Begun): void {
  for (const tensor of gradients.values()) tensor.dispose();
  squaredLoss.dispose();
}
