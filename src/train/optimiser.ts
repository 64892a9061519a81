/**
 * AdamW over named weights, for both training and fine-tuning.
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { expectFinite } from '../core/finite.ts';
import type { NDArray } from '../core/tensor.ts';
import { uploadWeights } from '../model/decoder.ts';
import { checkedNorm, inStep } from './diverged.ts';
import type { LossScale } from './loss-scale.ts';
import { learningRateAt, type TrainOptions } from './options.ts';
import { type Moments, tensorsOf } from './state.ts';

/** The weights being trained and AdamW's moments, on an engine. */
export class Optimiser {
  readonly weights: Map<string, Tensor>;
  readonly m: Map<string, Tensor>;
  readonly v: Map<string, Tensor>;
  readonly #engine: TrainingEngine;

  constructor(engine: TrainingEngine, state: Moments | { readonly weights: Map<string, Tensor | NDArray> }) {
    this.#engine = engine;
    this.weights = uploadWeights(engine, vectors(state.weights));
    const zeros = () => new Map([...this.weights].map(([name, { shape }]) => [name, engine.zeros(shape)]));
    this.m = 'm' in state ? uploadWeights(engine, vectors(state.m)) : zeros();
    this.v = 'm' in state ? uploadWeights(engine, vectors(state.v)) : zeros();
  }

  /**
   * Does step `step` of AdamW, with the gradients clipped by their common norm. Only matrices have weight decay.
   *
   * @param gradients By the name of the weight. The caller still owns them.
   * @param loss The loss of the same step, for the error message.
   * @param more.before Called once the norm is known to be finite, before anything is written. If it throws, the step
   *   ends.
   * @param more.rate By what to multiply the learning rate for a weight. Default: 1 for all.
   * @param more.scaling The factor by which gradients are larger than those of the loss. If they overflow, nothing is
   *   changed.
   * @returns The norm before clipping, without the scale; Infinity if they overflowed.
   * @throws {NumericError} If the loss or a gradient is NaN or infinite. Weights and moments are then as before the
   *   step.
   */
  async update(
    step: number, gradients: ReadonlyMap<string, Tensor>, loss: number, options: TrainOptions,
    { before, scaling, rate }: {
      before?: () => void; scaling?: LossScale | undefined; rate?: (name: string) => number;
    } = {},
  ): Promise<number> {
    const { scale = 1 } = scaling ?? {};
    const squaredNorm = this.#engine.sumOfSquares([...this.weights.keys()].map((name) => gradients.get(name)!));
    try {
      const scaled = await checkedNorm(this.#engine, squaredNorm, gradients, loss, scale).catch(inStep(step, options));
      if (scaled === Infinity) return Infinity;
      before?.();
      this.#step(step, gradients, options, scaling, { squaredNorm }, rate);
      return scaled / scale;
    } finally {
      squaredNorm.dispose();
    }
  }

  /**
   * The same at once, without waiting for what the step depends on: the engine itself changes nothing if a loss or a
   * gradient is NaN or infinite.
   *
   * @param squaredLoss [1]: it is finite only if every loss is. The caller still owns it.
   * @returns The norm before clipping, without the scale; NaN or Infinity if nothing was changed.
   */
  updateGuarded(
    step: number, gradients: ReadonlyMap<string, Tensor>, squaredLoss: Tensor, options: TrainOptions,
    scaling?: LossScale,
  ): Promise<number> {
    const engine = this.#engine;
    const squaredNorm = engine.sumOfSquares([...this.weights.keys()].map((name) => gradients.get(name)!));
    const guard = engine.add(squaredNorm, squaredLoss);
    this.#step(step, gradients, options, scaling, { squaredNorm, guard });
    const read = Promise.all([engine.read(squaredNorm), engine.read(guard)]);
    squaredNorm.dispose();
    guard.dispose();
    return read.then(([square, bar]) => (Number.isFinite(bar[0]) ? Math.sqrt(square[0]) / (scaling?.scale ?? 1) : NaN));
  }

  #step(
    step: number, gradients: ReadonlyMap<string, Tensor>, options: TrainOptions,
    { scale, skipped }: Pick<LossScale, 'scale' | 'skipped'> = { scale: 1, skipped: 0 },
    { squaredNorm, guard }: { readonly squaredNorm: Tensor; readonly guard?: Tensor },
    rate: (name: string) => number = () => 1,
  ): void {
    const { beta1, beta2, weightDecay, clip } = options;
    const learningRate = learningRateAt(step, options);
    for (const [name, weight] of this.weights) {
      this.#engine.adamW(weight, gradients.get(name)!, this.m.get(name)!, this.v.get(name)!, {
        step: step - skipped, learningRate: learningRate * rate(name), beta1, beta2, epsilon: 1e-8,
        weightDecay: weight.shape.length > 1 ? weightDecay : 0,
        clip: { squaredNorm, maxNorm: clip, scale }, ...(guard && { guard }),
      });
    }
  }

  /**
   * Copies weights and moments to the host.
   *
   * @throws {NumericError} If a number is NaN or infinite after `step`.
   */
  async read(step: number): Promise<Record<'weights' | 'm' | 'v', Map<string, NDArray>>> {
    const read = async (tensors: Map<string, Tensor>) => {
      const out = new Map<string, NDArray>();
      for (const [name, tensor] of tensors) {
        out.set(name, { data: await this.#engine.read(tensor), shape: tensor.shape });
      }
      return out;
    };
    const state = { weights: await read(this.weights), m: await read(this.m), v: await read(this.v) };
    expectFinite(tensorsOf(state), 'F64', `the state after step ${step}`, 'the last update overflowed; go back to the state before it and use a lower learning rate');
    return state;
  }

  dispose(): void {
    for (const tensors of [this.weights, this.m, this.v]) for (const tensor of tensors.values()) tensor.dispose();
  }
}

/** States of older versions hold biases [M] as tables [1,M]. */
function vectors<T extends Tensor | NDArray>(weights: ReadonlyMap<string, T>): [string, T][] {
  return [...weights].map(([name, each]) => {
    const isTable = name.endsWith('.bias') && each.shape.length === 2;
    return [name, isTable ? { ...each, shape: [each.shape[1]] } : each];
  });
}
