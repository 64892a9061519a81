/**
 * Sums of vectors, element by element and along them.
 * @module
 */
import { flat, type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
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

const SUM_MANY = kernel('sum many parts', `
// The same for many parts of a short vector: a workgroup takes 32 n, and 8 threads share the parts of each.
struct Params { length: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

var<workgroup> sums: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let n = group.x * 32u + thread % 32u;
  var total = 0.0;
  if (n < p.length) {
    for (var part = thread / 32u; part < p.parts; part += 8u) { total += x[part * p.length + n]; }
  }
  sums[thread] = total;
  workgroupBarrier();
  if (thread >= 32u || n >= p.length) { return; }
  for (var share = 1u; share < 8u; share++) { total += sums[share * 32u + thread]; }
  sum[n] = total;
}`);

/** Parts from which threads share them. */
const MANY = 16;

/** Sums `parts` vectors of `length` that lie one after the other, and frees them. */
export function sumParts(device: WgslDevice, x: Memory, length: number, parts: number): Memory {
  if (parts === 1) return x;
  const sum = device.allocate(length);
  const many = device.width === 64 && parts >= MANY && length <= 32 * MOST_GROUPS;
  device.run(many ? SUM_MANY : SUM_PARTS, {
    params: { length, parts }, inputs: [x], outputs: [sum], groups: many ? [Math.ceil(length / 32)] : flat(length),
    work: length * parts * 2,
  });
  device.free(x);
  return sum;
}
