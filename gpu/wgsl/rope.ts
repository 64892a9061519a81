/**
 * Rotary position embedding.
 * @module
 */
import type { HeadSizes } from '../../src/core/sizes.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const ROPE = kernel('rope', `
// With the halves (a, c) of a row of x [B,heads,N,d]: (a cos - c sin, c cos + a sin), cos and sin [B,N,d/2].
// A thread for each pair (a, c); sign is -1 to rotate back.
struct Params { pairs: u32, heads: u32, N: u32, half: u32, sign: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosine: array<f32>;
@group(0) @binding(3) var<storage, read> sine: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.pairs) { return; }
  let column = n % p.half;
  let row = n / p.half;
  let angle = (row / (p.heads * p.N) * p.N + row % p.N) * p.half + column;
  let c = cosine[angle];
  let s = p.sign * sine[angle];
  let at = row * p.half * 2u + column;
  let first = x[at];
  let second = x[at + p.half];
  y[at] = first * c - second * s;
  y[at + p.half] = second * c + first * s;
}`);

/** (a, b) halves of x [B,heads,N,d] -> (a cos - b sin, b cos + a sin); cos and sin are [B,N,d/2]. */
export function rope(
  device: WgslDevice, x: Memory, cos: Memory, sin: Memory, inverse: boolean, { B, heads, N, d }: HeadSizes,
): Memory {
  const half = d / 2;
  const pairs = B * heads * N * half;
  const y = device.allocate(pairs * 2);
  device.run(ROPE, {
    params: { pairs, heads, N, half, sign: inverse ? -1 : 1 }, inputs: [x, cos, sin], outputs: [y], groups: flat(pairs),
  });
  return y;
}
