/**
 * What to say where a step gave no numbers: before weights or moments are touched.
 * @module
 */
import type { Engine, Tensor } from '../core/engine.ts';
import { NumericError } from '../core/errors.ts';
import { firstNotFinite } from '../core/finite.ts';
import { learningRateAt, type TrainOptions } from './options.ts';

/** Rethrows what a step threw; of numbers, with the step and the learning rate that led there. */
export function inStep(step: number, options: TrainOptions): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof NumericError)) throw error;
    const rate = step > 1 ? `; the step before had a learning rate of ${learningRateAt(step - 1, options)}, which is likely too high: go on from the last state that was saved, with a lower one` : '';
    throw new NumericError(`step ${step}: ${error.message}${rate}`);
  };
}

/**
 * The gradient's norm.
 *
 * @param gradients By weight, in the order of the forward pass.
 * @throws {NumericError} If it or the loss is no number, naming the gradient where that first appears on the way back.
 */
export async function checkedNorm(
  engine: Engine, squaredNorm: Tensor, gradients: ReadonlyMap<string, Tensor>, loss: number,
): Promise<number> {
  if (!Number.isFinite(loss)) throw new NumericError(`the loss is ${loss}`);
  const norm = Math.sqrt((await engine.read(squaredNorm))[0]);
  if (Number.isFinite(norm)) return norm;
  for (const [name, gradient] of [...gradients].reverse()) {
    const data = await engine.read(gradient);
    const at = firstNotFinite(data);
    if (at >= 0) throw new NumericError(`the loss is ${loss} but the gradient's norm is ${norm}: on the way back the gradient of '${name}' is the first to hold ${data[at]}`);
  }
  throw new NumericError(`the gradient's norm is ${norm}: every gradient is finite, but their squares overflow ${engine.precision}`);
}
