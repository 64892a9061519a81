/**
 * AdamW with clipping by global norm (kernels/training.ts).
 * @module
 */
import { sizeOf } from '../src/core/tensor.ts';
import type { AdamWOptions } from '../src/core/training-engine.ts';
import type { Machine, WasmArray } from './machine.ts';

/** The sum of squares over all tensors, [1]. Sums are float64 until the end. */
export function sumOfSquares(on: Machine, tensors: readonly WasmArray[]): WasmArray {
  let sum = 0;
  const parts = tensors.map((x) => [on.real(x), sizeOf(x.shape)]);
  on.together(on.own('squares'), parts, {
    work: parts.reduce((sum, [, length]) => sum + length, 0), note: (_, squares) => (sum += squares),
  });
  return on.upload([sum], [1]);
}

/** One step, in place. */
export function adamW(
  on: Machine, parameter: WasmArray, gradient: WasmArray, m: WasmArray, v: WasmArray,
  { learningRate, beta1, beta2, epsilon, weightDecay, step, clip, guard }: AdamWOptions<WasmArray>,
): void {
  if (guard && !Number.isFinite(on.view(guard)[0])) return;
  const factor = clip ? Math.min(1 / (clip.scale ?? 1), clip.maxNorm / Math.sqrt(on.view(clip.squaredNorm)[0])) : 1;
  on.flat(
    'adamW', [parameter, gradient, m, v].map((x) => on.real(x)), sizeOf(parameter.shape), 8, factor,
    learningRate, beta1, 1 - beta1, beta2, 1 - beta2, epsilon, weightDecay, 1 - beta1 ** step, 1 - beta2 ** step,
  );
}
