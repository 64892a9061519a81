/**
 * Fine-tuning: an existing model learns token types. Its weights stay unchanged, and only the scorers are trained, and
 * changes of q and k of low rank if there are to be any.
 * @module
 */
import { expectObject, of, oneOf, optional, record } from '../core/arguments.ts';
import type { Engine } from '../core/engine.ts';
import { expectKnown } from '../core/known-options.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { fail } from '../core/described.ts';
import { expectGoing, NumericError, ValueError } from '../core/errors.ts';
import type { ModelConfig } from '../model/config/config.ts';
import type { Weights } from '../model/decoder.ts';
import { expectPositive, expectWhole } from '../core/shape.ts';
import { initialLowRank } from '../model/low-rank.ts';
import { type NDArray, ndarray, sizeOf } from '../core/tensor.ts';
import { checkLongEnough, expectCallbacks, expectRun, trainingWindow } from './data.ts';
import { inStep } from './diverged.ts';
import { type FinetuneSource, measureKept, oneByOne } from './finetune-gradients.ts';
import {
  checkFinetuneOptions, checkPrice, checkRank, type FinetuneOptions, lowRankOf, type Price, rateOf, steer,
  trainedShapes,
} from './finetune-options.ts';
import { learningRateAt } from './options.ts';
import { Optimiser } from './optimiser.ts';
import { checkState } from './state.ts';
import type { TokenSource } from './token-store.ts';
import type { TrainingState } from './trainer.ts';
import { validateFinetuning, type Validation, validationWindows } from './validation.ts';

/** Everything needed to resume: what is trained (`weights`) and its moments, and the price of memory. */
export interface FinetuneState extends TrainingState {
  readonly price: Price;
}

/** What to log about one step. */
export interface FinetuneReport {
  readonly step: number;
  /** The mean squared error of the final hidden states. */
  readonly loss: number;
  /** The loss over the mean square of the teacher's hidden states: 0 is perfect, 1 is as bad as hidden states of 0. */
  readonly relativeLoss: number;
  /** The mean kept share of the cache (§7) without noise, as at inference, 0..1. */
  readonly kept: number;
  /** The same with this step's noise. */
  readonly keptNoisy: number;
  /** The shares of GLOBAL, LOCAL and WINDOW with this step's noise. */
  readonly typeShares: readonly number[];
  readonly lambda: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
}

/** How many sequences a measurement of the kept share takes. */
const MEASURED = 4;

/**
 * A fine-tuning run (§9).
 *
 * @example
 * ```ts
 * import { DEFAULT_FINETUNE_OPTIONS, Finetuner, loadModel, tokenizeDocuments } from 'neural-attention-search';
 * const model = await loadModel('models/full');
 * const tokens = tokenizeDocuments(model.tokenizer, ['to be, or not to be']);
 * const options = { ...DEFAULT_FINETUNE_OPTIONS, keep: 0.5, batch: 1, context: 16, steps: 2 };
 * const finetuner = new Finetuner(model, { window: 4 }, options, tokens);
 * await finetuner.run();
 * console.log(finetuner.step); // 2
 * finetuner.dispose();
 * model.dispose();
 * ```
 */
export class Finetuner {
  readonly engine: TrainingEngine;
  /** The config of the base with the policy 'nats'. */
  readonly config: ModelConfig;
  readonly options: FinetuneOptions;
  readonly #tokens: TokenSource;
  readonly #on: Optimiser;
  readonly #weights: Weights;
  readonly #source: FinetuneSource;
  #step: number;
  #price: Price;

  /**
   * @param base The model. Its weights are read but never written. Dispose of it after this.
   * @param nats W, and whatever else differs from the defaults: no second window, C = 1, mean pooling, tau = 1, and a
   *   lambda chosen by the loss of the first step.
   * @param tokens The training stream of at least context + 1 tokens: an Int32Array, or what tokenizeStream() returns.
   * @param more.from The state to resume from. Default: scorers of 0, which prefer no type.
   * @param more.source What computes a batch. Default: this thread, one sequence after another.
   * @throws {UnsupportedError} If the engine cannot train.
   */
  constructor(
    base: { readonly engine: Engine; readonly config: ModelConfig; readonly weights: Weights },
    nats: Partial<ModelConfig['nats']> & { readonly window: number },
    options: FinetuneOptions,
    tokens: TokenSource,
    more: { from?: FinetuneState; source?: FinetuneSource } = {},
  ) {
    record({ weights: record() })('base', base);
    this.engine = expectRun(base.engine, base.config);
    record()('nats', nats);
    expectKnown('nats', nats, ['policy', 'window', 'localWindow', 'chunk', 'pooling', 'lambda', 'temperature'], 'field');
    checkFinetuneOptions(options);
    checkLongEnough(tokens, options.context);
    expectKnown('more', more, ['from', 'source']);
    record({ from: optional(expectObject) })('more', more);
    const { from, source = oneByOne } = more;
    of('function')('source', source);
    this.config = searchedConfig(base.config, nats);
    this.options = options;
    this.#tokens = tokens;
    this.#source = source;
    checkRank(options, this.config);
    const shapes = trainedShapes(this.config, options);
    if (from) {
      checkState(from, shapes);
      checkPrice(from.price);
    }
    this.#step = from?.step ?? 0;
    this.#price = from?.price ?? { lambda: this.config.nats.lambda };
    this.#on = new Optimiser(this.engine, from ?? { weights: fresh(this.config, options, shapes) });
    this.#weights = new Map([...base.weights, ...this.#on.weights]);
  }

  /** How many steps are done. */
  get step(): number {
    return this.#step;
  }

  /**
   * Does one step: batch, teacher and student, clipped AdamW of what is trained, and the next price.
   *
   * @throws {NumericError} If the loss, a gradient or the price is NaN or infinite. The state is then as before the
   *   step.
   */
  async next(): Promise<FinetuneReport> {
    const { engine, options } = this;
    const { batch, context } = options;
    const step = this.#step + 1;
    const { lambda } = this.#price;
    const { gradients, loss, signal, kept, keptByLayer, typeCounts } = await this.#source(
      engine, { ...this.config, nats: { ...this.config.nats, lambda } }, options, this.#weights,
      Array.from({ length: batch }, (_, n) => this.#window(step, n)), step,
    ).catch(inStep(step, options));
    try {
      if (!(signal > 0)) throw new NumericError(`step ${step}: the base's final hidden states are all 0, so errors cannot be measured relative to them: its weights are damaged`);
      const measured = { loss: loss / (batch * context), kept: mean(keptByLayer) / batch };
      let price = this.#price;
      const gradientNorm = await this.#on.update(step, gradients, loss, options, { rate: rateOf, before: () => {
        price = steer(this.#price, measured.kept, measured.loss, options.keep);
        checkPrice(price);
      } });
      [this.#step, this.#price] = [step, price];
      const total = typeCounts.reduce((a, b) => a + b, 0);
      return {
        step, lambda, learningRate: learningRateAt(step, options), gradientNorm, ...measured,
        relativeLoss: loss / signal,
        keptNoisy: kept / batch,
        typeShares: typeCounts.map((count) => count / total),
      };
    } finally {
      for (const tensor of gradients.values()) tensor.dispose();
    }
  }

  /**
   * Does steps until there are options.steps.
   *
   * @param callbacks.onStep Called after every step, and awaited before the next.
   * @param callbacks.signal Aborting it stops the run after the current step with a StoppedError. The state stays
   *   valid.
   */
  async run(
    callbacks: { onStep?: (report: FinetuneReport) => void | Promise<void>; signal?: AbortSignal } = {},
  ): Promise<void> {
    expectCallbacks(callbacks);
    while (this.#step < this.options.steps) {
      expectGoing(callbacks.signal, () => `fine-tuning was stopped after step ${this.#step} of ${this.options.steps}`);
      const report = await this.next();
      await callbacks.onStep?.(report);
    }
  }

  /** The kept share of each layer at inference, over some windows of the text that no step draws. */
  async keptByLayer(): Promise<number[]> {
    const sums = new Array<number>(this.config.layers).fill(0);
    for (let n = 0; n < MEASURED; n++) {
      const shares = await measureKept(this.engine, this.config, this.options, this.#weights, [this.#window(0, n)]);
      shares.forEach((share, layer) => (sums[layer] += share));
    }
    return sums.map((share) => share / MEASURED);
  }

  /**
   * Measures the distance from the teacher on held-out text, with types as at inference. It changes nothing.
   *
   * @param tokens At least 2. The first `most` are read, in windows of the context.
   * @throws {NumericError} If the loss is NaN or infinite.
   */
  async validate(tokens: TokenSource, most?: number): Promise<Validation> {
    const windows = validationWindows(tokens, this.options.context, most);
    return validateFinetuning(this.engine, this.config, this.options, this.#weights, windows);
  }

  /** Window `n` of `step`, without the target of its last token. */
  #window(step: number, n: number): Int32Array {
    const { context, seed } = this.options;
    return trainingWindow(this.#tokens, context, seed, step, n).subarray(0, context);
  }

  /**
   * Copies the state to the host.
   *
   * @throws {NumericError} If the last update overflowed.
   */
  async state(): Promise<FinetuneState> {
    return { step: this.#step, price: this.#price, ...await this.#on.read(this.#step) };
  }

  /** Frees what is trained and its moments, but not the base. Idempotent. */
  dispose(): void {
    this.#on.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The largest whole number that adapters hold, so that what a run learned can be read again. */
const LARGEST = 2 ** 31 - 1;

/**
 * The config of the base, with types to be searched.
 *
 * @throws {ValueError} If the base already has learned types, or a number is out of range.
 */
export function searchedConfig(
  config: ModelConfig, nats: Partial<ModelConfig['nats']> & { readonly window: number },
): ModelConfig {
  if (config.nats.policy === 'nats') {
    throw new ValueError('the model already has learned types: fine-tune one that was trained with full attention');
  }
  expectWhole('window', nats.window, 0, LARGEST);
  if (nats.localWindow !== undefined) expectWhole('localWindow', nats.localWindow, 0, LARGEST);
  const all = { chunk: 1, pooling: 'mean', lambda: 0, temperature: 1, ...nats, policy: 'nats' } as const;
  expectWhole('chunk', all.chunk, 1, LARGEST);
  expectPositive('temperature', all.temperature);
  if (!Number.isFinite(all.lambda) || !(all.lambda >= 0)) fail('lambda', all.lambda, 'a finite number, 0 or more');
  oneOf('mean', 'max')('pooling', all.pooling);
  return { ...config, nats: all };
}

/** Where a run begins: scorers of 0, and changes of q and k that have no effect yet. */
function fresh(
  config: ModelConfig, options: FinetuneOptions, shapes: ReadonlyMap<string, readonly number[]>,
): Map<string, NDArray> {
  const lowRank = lowRankOf(options);
  const changes = lowRank && initialLowRank(config, lowRank.rank, options.seed);
  return new Map([...shapes].map(([name, shape]) => {
    return [name, changes?.get(name) ?? ndarray(new Float64Array(sizeOf(shape)), shape)];
  }));
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
