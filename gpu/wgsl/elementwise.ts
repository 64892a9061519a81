/**
 * Sums of vectors, element by element and along them.
 * @module
 */
import { flat, type Memory, type WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const ADD = kernel('add', `
// sum[n] = a[n] + b[n], a thread for each n.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { sum[n] = a[n] + b[n]; }
}`);

/** a + b, both of `length`. */
export function add(device: WgslDevice, a: Memory, b: Memory, length: number): Memory {
  const sum = device.allocate(length);
  device.run(ADD, { params: { length }, inputs: [a, b], outputs: [sum], groups: flat(length) });
  return sum;
}

const ACCUMULATE = kernel('accumulate', `
// sum[n] += x[n], a thread for each n.
struct Params { length: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { sum[n] += x[n]; }
}`);

/** sum += x in place. The two are different memories. */
export function accumulate(device: WgslDevice, sum: Memory, x: Memory, length: number): void {
  device.run(ACCUMULATE, { params: { length }, inputs: [x], outputs: [sum], groups: flat(length) });
}

const SUM_PARTS = kernel('sum parts', `
// sum[n] = sum over the parts of x[part, n], a thread for each n.
struct Params { length: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.length) { return; }
  var total = 0.0;
  for (var part = 0u; part < p.parts; part++) { total += x[part * p.length + n]; }
  sum[n] = total;
}`);

/** Sums `parts` vectors of `length` that lie one after the other, and frees them. */
export function sumParts(device: WgslDevice, x: Memory, length: number, parts: number): Memory {
  if (parts === 1) return x;
  const sum = device.allocate(length);
  device.run(SUM_PARTS, { params: { length, parts }, inputs: [x], outputs: [sum], groups: flat(length) });
  device.free(x);
  return sum;
}
