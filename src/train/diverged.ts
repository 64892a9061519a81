/**
 * Detects and reports a step that gave NaN or infinity, before weights or moments are touched.
 * @module
 */
import type { Engine, Tensor } from '../core/engine.ts';
import { NumericError } from '../core/errors.ts';
import { firstNotFinite } from '../core/finite.ts';
import { learningRateAt, type TrainOptions } from './options.ts';

/** Rethrows what a step threw. A NumericError gets the step and the learning rate that led to it. */
export function inStep(step: number, options: TrainOptions): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof NumericError)) throw error;
    const rate = step > 1 ? `; the step before had a learning rate of ${learningRateAt(step - 1, options)}, which is probably too high: resume from the last saved state with a lower one` : '';
    throw new NumericError(`step ${step}: ${error.message}${rate}`);
  };
}

/**
 * The norm of the gradient. With a scale above 1, gradients may overflow because of it: then the norm is Infinity.
 *
 * @param gradients By the name of the weight, in the order of the forward pass.
 * @throws {NumericError} If the norm or the loss is NaN or infinite. It names the first gradient of the backward pass
 *   that is not finite.
 */
export async function checkedNorm(
  engine: Engine, squaredNorm: Tensor, gradients: ReadonlyMap<string, Tensor>, loss: number, scale = 1,
): Promise<number> {
  if (!Number.isFinite(loss)) throw new NumericError(`the loss is ${loss}`);
  const norm = Math.sqrt((await engine.read(squaredNorm))[0]);
  if (Number.isFinite(norm)) return norm;
  if (scale > 1) return Infinity;
  for (const [name, gradient] of [...gradients].reverse()) {
    const data = await engine.read(gradient);
    const at = firstNotFinite(data);
    if (at >= 0) throw new NumericError(`the loss is ${loss} but the gradient's norm is ${norm}: in the backward pass, the gradient of '${name}' is the first to hold ${data[at]}`);
  }
  throw new NumericError(`the gradient's norm is ${norm}: every gradient is finite, but their squares overflow ${engine.precision}`);
}
