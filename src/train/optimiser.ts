/**
 * AdamW over named weights: training and fine-tuning differ only in whose gradients it gets.
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { expectFinite } from '../core/finite.ts';
import type { NDArray } from '../core/tensor.ts';
import { uploadWeights } from '../model/decoder.ts';
import { checkedNorm, inStep } from './diverged.ts';
import { learningRateAt, type TrainOptions } from './options.ts';
import { type Moments, tensorsOf } from './state.ts';

/** What is trained, with AdamW's moments, on an engine. */
export class Optimiser {
  readonly weights: Map<string, Tensor>;
  readonly m: Map<string, Tensor>;
  readonly v: Map<string, Tensor>;
  readonly #engine: TrainingEngine;

  constructor(engine: TrainingEngine, state: Moments | { readonly weights: Map<string, Tensor | NDArray> }) {
    this.#engine = engine;
    this.weights = uploadWeights(engine, state.weights);
    const zeros = () => new Map([...this.weights].map(([name, { shape }]) => [name, engine.zeros(shape)]));
    this.m = 'm' in state ? uploadWeights(engine, state.m) : zeros();
    this.v = 'm' in state ? uploadWeights(engine, state.v) : zeros();
  }

  /**
   * Step `step` of AdamW, with the gradients clipped by their common norm. Only matrices decay.
   *
   * @param gradients By weight; they stay the caller's.
   * @param loss Of the same step, to be named where it is no number.
   * @param before Called once the norm is known to be a number, before anything is written. What it throws ends the
   *   step.
   * @returns The norm before clipping.
   * @throws {NumericError} If the loss or a gradient is no number. Weights and moments are then as before the step.
   */
  async update(
    step: number, gradients: ReadonlyMap<string, Tensor>, loss: number, options: TrainOptions, before?: () => void,
  ): Promise<number> {
    const { beta1, beta2, weightDecay, clip: maxNorm } = options;
    const squaredNorm = this.#engine.sumOfSquares([...this.weights.keys()].map((name) => gradients.get(name)!));
    try {
      const norm = await checkedNorm(this.#engine, squaredNorm, gradients, loss).catch(inStep(step, options));
      before?.();
      const learningRate = learningRateAt(step, options);
      for (const [name, weight] of this.weights) {
        this.#engine.adamW(weight, gradients.get(name)!, this.m.get(name)!, this.v.get(name)!, {
          step, learningRate, beta1, beta2, epsilon: 1e-8,
          weightDecay: weight.shape.length > 1 ? weightDecay : 0,
          clip: { squaredNorm, maxNorm },
        });
      }
      return norm;
    } finally {
      squaredNorm.dispose();
    }
  }

  /**
   * A copy on the host.
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
    expectFinite(tensorsOf(state), 'F64', `the state after step ${step}`, 'the last update left the range of numbers; go back to the state before, with a lower learning rate');
    return state;
  }

  dispose(): void {
    for (const tensors of [this.weights, this.m, this.v]) for (const tensor of tensors.values()) tensor.dispose();
  }
}
