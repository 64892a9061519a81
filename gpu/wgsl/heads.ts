/**
 * Between [B,N,heads*d] and [B,heads,N,d], which are the same memory where there is one token or one head.
 * @module
 */
import type { HeadSizes } from '../../src/core/sizes.ts';
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const SWAP = kernel('swap axes', `
// y[b, j, i, c] = x[b, i, j, c] for i < outer and j < inner, a thread for each element.
struct Params { length: u32, outer: u32, inner: u32, d: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  let c = n % p.d;
  let i = n / p.d % p.outer;
  let j = n / (p.d * p.outer) % p.inner;
  let b = n / (p.d * p.outer * p.inner);
  y[n] = x[((b * p.outer + i) * p.inner + j) * p.d + c];
}`);

function swapped(device: WgslDevice, x: Memory, B: number, outer: number, inner: number, d: number): Memory {
  if (outer === 1 || inner === 1) return device.share(x);
  const length = B * outer * inner * d;
  const y = device.allocate(length);
  device.run(SWAP, { params: { length, outer, inner, d }, inputs: [x], outputs: [y], groups: flat(length) });
  return y;
}

/** [B,N,heads*d] -> [B,heads,N,d]. */
export const splitHeads = (device: WgslDevice, x: Memory, { B, heads, N, d }: HeadSizes): Memory =>
  swapped(device, x, B, N, heads, d);

/** [B,heads,N,d] -> [B,N,heads*d]. */
export const mergeHeads = (device: WgslDevice, x: Memory, { B, heads, N, d }: HeadSizes): Memory =>
  swapped(device, x, B, heads, N, d);
