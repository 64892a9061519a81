/**
 * §6: choosing token types, and the straight-through gradient to their scores.
 * @module
 */
import type { TypeSizes } from '../../src/core/sizes.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const TYPES = kernel('token types', `
// types[t] = argmax_c (scores[t, c] + noise[t, c]), ties to the lowest c, 0 where it is forced; 3 if a number is NaN.
// y[t] = softmax((scores[t] + noise[t]) / temperature). A thread for each t of [B,G,Nc].
// Sums are compared exactly: each is kept as its rounded sum and the rounding error of that sum (Knuth's TwoSum).
struct Params { length: u32, G: u32, chunks: u32, noisy: u32, forced: u32, temperature: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> noise: array<f32>;
@group(0) @binding(3) var<storage, read> force: array<i32>;
@group(0) @binding(4) var<storage, read_write> types: array<i32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn isNaN(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let t = (group.y * groups.x + group.x) * 64u + lane;
  if (t >= p.length) { return; }
  var sum = vec3f(scores[3u * t], scores[3u * t + 1u], scores[3u * t + 2u]);
  var wrong = isNaN(sum.x) || isNaN(sum.y) || isNaN(sum.z);
  var error = vec3f();
  if (p.noisy == 1u) {
    let score = sum;
    let extra = vec3f(noise[3u * t], noise[3u * t + 1u], noise[3u * t + 2u]);
    wrong = wrong || isNaN(extra.x) || isNaN(extra.y) || isNaN(extra.z);
    sum = score + extra;
    let back = sum - score;
    error = (score - (sum - back)) + (extra - back);
  }
  var best = 0;
  for (var c = 1; c < 3; c++) {
    if (sum[c] > sum[best] || (sum[c] == sum[best] && error[c] > error[best])) { best = c; }
  }
  let top = max(sum.x, max(sum.y, sum.z));
  let weights = select(exp((sum - top) / p.temperature), vec3f(1.0), sum == vec3f(top));
  let total = weights.x + weights.y + weights.z;
  for (var c = 0u; c < 3u; c++) { y[3u * t + c] = weights[c] / total; }
  if (wrong) { best = 3; }
  if (p.forced == 1u) {
    if (force[t / (p.G * p.chunks) * p.chunks + t % p.chunks] == 1) { best = 0; }
  }
  types[t] = best;
}`);

/** Types [B,G,Nc] of scores [B,G,Nc,3], and their probabilities. */
export function tokenTypes(
  device: WgslDevice, scores: Memory, options: { noise?: Memory; forceGlobal?: Memory; temperature: number },
  { B, G, chunks }: TypeSizes,
): [types: Memory, probabilities: Memory] {
  const { noise, forceGlobal, temperature } = options;
  const length = B * G * chunks;
  const [types, y] = [device.allocate(length), device.allocate(length * 3)];
  device.run(TYPES, {
    params: { length, G, chunks, noisy: noise ? 1 : 0, forced: forceGlobal ? 1 : 0, temperature },
    // An absent array is not read, so that another one may stand in for it.
    inputs: [scores, noise ?? scores, forceGlobal ?? scores], outputs: [types, y], groups: flat(length),
  });
  return [types, y];
}

const BACKWARD = kernel('token types backward', `
// dScores[t, c] = y_c (dt_c - sum_n y_n dt_n) / temperature, 0 where the type was forced. A thread for each t of [B,G,Nc].
struct Params { length: u32, G: u32, chunks: u32, forced: u32, temperature: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dTypes: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> force: array<i32>;
@group(0) @binding(4) var<storage, read_write> dScores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let t = (group.y * groups.x + group.x) * 64u + lane;
  if (t >= p.length) { return; }
  var given = true;
  if (p.forced == 1u) { given = force[t / (p.G * p.chunks) * p.chunks + t % p.chunks] != 1; }
  var mean = 0.0;
  for (var c = 0u; c < 3u; c++) { mean += y[3u * t + c] * dTypes[3u * t + c]; }
  for (var c = 0u; c < 3u; c++) {
    dScores[3u * t + c] = select(0.0, y[3u * t + c] * (dTypes[3u * t + c] - mean) / p.temperature, given);
  }
}`);

/** dscores = y (dt - sum_c y_c dt_c) / temperature, 0 where forced. */
export function tokenTypesBackward(
  device: WgslDevice, dTypes: Memory, y: Memory, options: { temperature: number; forceGlobal?: Memory },
  { B, G, chunks }: TypeSizes,
): Memory {
  const { temperature, forceGlobal } = options;
  const length = B * G * chunks;
  const dScores = device.allocate(length * 3);
  device.run(BACKWARD, {
    params: { length, G, chunks, forced: forceGlobal ? 1 : 0, temperature },
    inputs: [dTypes, y, forceGlobal ?? y], outputs: [dScores], groups: flat(length),
  });
  return dScores;
}
