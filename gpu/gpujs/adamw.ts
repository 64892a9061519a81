/**
 * AdamW (Loshchilov & Hutter, 2019) with clipping by the global norm.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/** Threads that share a sum of squares. */
const LANES = 1024;

const SQUARES = kernel('sum of squares', 'x before | length steps lanes', `
  let sum = before[this.thread.x];
  for (let t = 0; t < steps; t++) {
    if (t * lanes + this.thread.x < length) {
      sum += x[t * lanes + this.thread.x] * x[t * lanes + this.thread.x];
    }
  }
  return sum;`, { flat: true });

const TOTAL = kernel('sum of lanes', 'x | lanes', `
  let sum = 0;
  for (let lane = 0; lane < lanes; lane++) {
    sum += x[lane];
  }
  return sum + 0 * this.thread.x;`, { flat: true });

/** Sum of squares over vectors of the given lengths: [1]. */
export async function sumOfSquares(
  scope: Scope, vectors: readonly Memory[], lengths: readonly number[],
): Promise<Memory> {
  let lanes = scope.upload(new Float32Array(LANES));
  for (const [n, x] of vectors.entries()) {
    const length = lengths[n];
    if (length === 0) continue;
    const sum = await scope.run(SQUARES, [LANES], [x, lanes], [length, Math.ceil(length / LANES), LANES]);
    scope.free(lanes);
    lanes = sum;
  }
  return scope.run(TOTAL, [1], [lanes], [LANES]);
}

/** The clipped gradient's factor min(most, maxNorm / sqrt(squaredNorm)). */
const FACTOR = kernel('clip factor', 'squaredNorm || maxNorm most', `
  const norm = Math.sqrt(squaredNorm[0]);
  let factor = most;
  if (norm * most > maxNorm) {
    factor = maxNorm / norm;
  }
  return factor + 0 * this.thread.x;`, { flat: true });

/** 1 if the guard is finite, else 0. NaN is neither below nor above the largest number. */
const GO = kernel('adamw guard', 'guard', `
  let go = 0;
  if (guard[0] >= -3.4028234663852886e38 && guard[0] <= 3.4028234663852886e38) {
    go = 1;
  }
  return go + 0 * this.thread.x;`, { flat: true });

const MEAN = kernel('adamw mean', 'm gradient factor go || beta rest', `
  if (go[0] < 1) {
    return m[this.thread.x];
  }
  return beta * m[this.thread.x] + rest * (factor[0] * gradient[this.thread.x]);`, { flat: true });

const SQUARE = kernel('adamw square', 'v gradient factor go || beta rest', `
  if (go[0] < 1) {
    return v[this.thread.x];
  }
  const g = factor[0] * gradient[this.thread.x];
  return beta * v[this.thread.x] + rest * g * g;`, { flat: true });

const STEP = kernel('adamw step', 'parameter m v go || rate correct1 correct2 epsilon decay', `
  const theta = parameter[this.thread.x];
  if (go[0] < 1) {
    return theta;
  }
  const update = m[this.thread.x] / correct1 / (Math.sqrt(v[this.thread.x] / correct2) + epsilon) + decay * theta;
  return theta - rate * update;`, { flat: true });

/** Numbers of one step. */
export interface AdamWStep {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
  readonly clip?: { readonly squaredNorm: Memory; readonly maxNorm: number; readonly scale?: number };
  readonly guard?: Memory;
}

/** The next parameter, m and v. */
export async function adamW(
  scope: Scope, parameter: Memory, gradient: Memory, m: Memory, v: Memory, length: number, options: AdamWStep,
): Promise<[parameter: Memory, m: Memory, v: Memory]> {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step, clip, guard } = options;
  const factor = clip
    ? await scope.run(FACTOR, [1], [clip.squaredNorm], [], [clip.maxNorm, 1 / (clip.scale ?? 1)])
    : scope.upload([1]);
  const go = guard ? await scope.run(GO, [1], [guard]) : scope.upload([1]);
  const mean = await scope.run(MEAN, [length], [m, gradient, factor, go], [], [beta1, 1 - beta1]);
  const square = await scope.run(SQUARE, [length], [v, gradient, factor, go], [], [beta2, 1 - beta2]);
  const next = await scope.run(STEP, [length], [parameter, mean, square, go], [], [
    learningRate, 1 - beta1 ** step, 1 - beta2 ** step, epsilon, weightDecay,
  ]);
  return [next, mean, square];
}
