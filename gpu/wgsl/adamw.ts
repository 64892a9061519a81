/**
 * AdamW (Loshchilov & Hutter, 2019) with clipping by the global norm, in place.
 * @module
 */
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel, template } from './template.ts';

const SQUARES = template('sum of squares', `
// sums[at + part] = the sum of squares of a part of x: a workgroup for each part of size numbers.
struct Params { length: u32, size: u32, at: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> lanes: array<f32, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var n = group.x * p.size + lane; n < min((group.x + 1u) * p.size, p.length); n += $LANESu) { sum += x[n] * x[n]; }
  lanes[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { lanes[lane] += lanes[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { sums[p.at + group.x] = lanes[0]; }
}`, 'LANES');

const TOTAL = template('sum', `
// total[0] = the sum of x, by one workgroup.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;

var<workgroup> lanes: array<f32, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var n = lane; n < p.length; n += $LANESu) { sum += x[n]; }
  lanes[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { lanes[lane] += lanes[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) { total[0] = lanes[0]; }
}`, 'LANES');

/** Numbers that a workgroup sums, at least, and the most workgroups for a vector. */
const [LEAST, MOST] = [2048, 1024];
/** Threads that sum: a GPU has so many numbers under way at a time. */
const lanesOf = ({ width }: WgslDevice): number => (width === 64 ? 256 : width);

/** Sum of squares over vectors of the given lengths: [1]. */
export function sumOfSquares(device: WgslDevice, vectors: readonly Memory[], lengths: readonly number[]): Memory {
  const sizes = lengths.map((length) => Math.max(LEAST, Math.ceil(length / MOST)));
  const parts = lengths.map((length, n) => Math.ceil(length / sizes[n]));
  const count = parts.reduce((sum, n) => sum + n, 0);
  const [sums, total] = [device.allocate(count), device.allocate(1)];
  let at = 0;
  vectors.forEach((x, n) => {
    device.run(SQUARES({ LANES: lanesOf(device) }), {
      params: { length: lengths[n], size: sizes[n], at }, inputs: [x], outputs: [sums], groups: [parts[n]],
      work: lengths[n] * 2,
    });
    at += parts[n];
  });
  device.run(TOTAL({ LANES: lanesOf(device) }), {
    params: { length: count }, inputs: [sums], outputs: [total], groups: [1],
  });
  device.free(sums);
  return total;
}

const STEP = kernel('adamw', `
// With the clipped gradient g = gradient min(most, maxNorm / sqrt(squaredNorm)), a thread for each parameter:
// m = beta1 m + (1 - beta1) g     v = beta2 v + (1 - beta2) g²
// theta -= rate (m / correct1 / (sqrt(v / correct2) + epsilon) + decay theta)
// A maxNorm below 0 stands for no clipping. If \`guarded\` and the guard is NaN or infinite, nothing is changed.
struct Params {
  length: u32, beta1: f32, rest1: f32, beta2: f32, rest2: f32,
  rate: f32, correct1: f32, correct2: f32, epsilon: f32, decay: f32, maxNorm: f32, most: f32,
  guarded: u32
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> squaredNorm: array<f32>;
@group(0) @binding(3) var<storage, read> guard: array<u32>; // the bits of a number
@group(0) @binding(4) var<storage, read_write> theta: array<f32>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;
@group(0) @binding(6) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  if (p.guarded == 1u && (guard[0] & 0x7f800000u) == 0x7f800000u) { return; }
  var factor = p.most;
  if (p.maxNorm >= 0.0) {
    let norm = sqrt(squaredNorm[0]);
    if (norm * p.most > p.maxNorm) { factor = p.maxNorm / norm; }
  }
  let g = factor * gradient[n];
  let mean = p.beta1 * m[n] + p.rest1 * g;
  let square = p.beta2 * v[n] + p.rest2 * g * g;
  m[n] = mean;
  v[n] = square;
  theta[n] -= p.rate * (mean / p.correct1 / (sqrt(square / p.correct2) + p.epsilon) + p.decay * theta[n]);
}`);

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

/** Updates parameter, m and v, which are memories of their own. */
export function adamW(
  device: WgslDevice, parameter: Memory, gradient: Memory, m: Memory, v: Memory, length: number,
  { learningRate, beta1, beta2, epsilon, weightDecay, step, clip, guard }: AdamWStep,
): void {
  device.run(STEP, {
    params: {
      length, beta1, rest1: 1 - beta1, beta2, rest2: 1 - beta2, rate: learningRate,
      correct1: 1 - beta1 ** step, correct2: 1 - beta2 ** step, epsilon, decay: weightDecay,
      maxNorm: clip?.maxNorm ?? -1, most: 1 / (clip?.scale ?? 1), guarded: guard ? 1 : 0,
    },
    inputs: [gradient, clip?.squaredNorm ?? gradient, guard ?? gradient], outputs: [parameter, m, v],
    groups: flat(length), work: length * 24,
  });
}
