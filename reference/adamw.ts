/**
 * AdamW (Loshchilov & Hutter, 2019) with clipping by global norm.
 * @module
 */
import type { AdamWOptions } from '../src/core/training-engine.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { dot } from './matmul.ts';

/** The sum of squares over all tensors, [1]. */
export function sumOfSquares(tensors: readonly NDArray[]): NDArray<Float64Array> {
  let sum = 0;
  for (const { data } of tensors) sum += dot(data, 0, data, 0, data.length);
  return { data: Float64Array.of(sum), shape: [1] };
}

/**
 * One step, in place. With g the clipped gradient and t = step:
 * m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g²
 * theta -= learningRate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + weightDecay theta)
 */
export function adamW(
  parameter: NDArray,
  gradient: NDArray,
  m: NDArray,
  v: NDArray,
  options: AdamWOptions<NDArray>,
): void {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, clip, guard } = options;
  if (guard && !Number.isFinite(guard.data[0])) return;
  const factor = clip ? Math.min(1 / (clip.scale ?? 1), clip.maxNorm / Math.sqrt(clip.squaredNorm.data[0])) : 1;
  const correct1 = 1 - beta1 ** step;
  const correct2 = 1 - beta2 ** step;
  const theta = parameter.data;
  for (let n = 0; n < theta.length; n++) {
    const g = factor * gradient.data[n];
    const mean = (m.data[n] = beta1 * m.data[n] + (1 - beta1) * g);
    const square = (v.data[n] = beta2 * v.data[n] + (1 - beta2) * g * g);
    const update = mean / correct1 / (Math.sqrt(square / correct2) + epsilon) + weightDecay * theta[n];
    theta[n] = theta[n] - learningRate * update;
  }
}
