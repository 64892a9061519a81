/**
 * Rows of a table picked by number, and the table's gradient.
 * @module
 */
import { flat, type Memory, type WgslDevice } from './device.ts';
import { ELEMENT, type StoredDtype } from './stored.ts';
import { kernel, template } from './template.ts';

const EMBEDDING = template('embedding', `
// out[r, c] = table[ids[r], c], a thread for each element. The table is stored in $DTYPE.
struct Params { count: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

$ELEMENT

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.count * p.width) { return; }
  out[n] = element(ids[n / p.width] * p.width + n % p.width);
}`, 'DTYPE', 'ELEMENT');

/** out[n] = weight[ids[n]]: weight [V,D] as stored, ids of `count` -> [count,D], in `out` or new memory. */
export function embedding(
  device: WgslDevice, weight: Memory, dtype: StoredDtype, ids: Memory, count: number, width: number,
  out: Memory = device.allocate(count * width),
): Memory {
  device.run(EMBEDDING({ DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
    params: { count, width }, inputs: [weight, ids], outputs: [out], groups: flat(count * width),
  });
  return out;
}

/** Rows of one id that a thread sums: the blank of a text is one of six of its bytes, and would keep a GPU waiting. */
const RUN = 32;

const RUNS = kernel('embedding backward, runs', `
// partial[run, c] = sum of dOut[order[t], c] over the t of a run, bounds[run] <= t < bounds[run + 1], a thread for each (run, c).
struct Params { runs: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> bounds: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.runs * p.width) { return; }
  let run = n / p.width;
  var sum = 0.0;
  for (var t = bounds[run]; t < bounds[run + 1u]; t++) { sum += dOut[order[t] * p.width + n % p.width]; }
  partial[n] = sum;
}`);

const BACKWARD = kernel('embedding backward', `
// dWeight[v, c] = sum of partial[run, c] over the runs of id v, which are starts[v] to starts[v + 1] - 1. A thread for each (v, c).
struct Params { vocabulary: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> dWeight: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.vocabulary * p.width) { return; }
  var sum = 0.0;
  for (var run = starts[n / p.width]; run < starts[n / p.width + 1u]; run++) { sum += partial[run * p.width + n % p.width]; }
  dWeight[n] = sum;
}`);

/** dWeight [V,D] of dOut [count,D], for ids that the host knows and sorts. */
export function embeddingBackward(
  device: WgslDevice, dOut: Memory, ids: Int32Array, vocabulary: number, width: number,
): Memory {
  const ends = new Uint32Array(vocabulary + 1); // of the rows of each id, in the end
  for (const id of ids) ends[id + 1]++;
  for (let id = 0; id < vocabulary; id++) ends[id + 1] += ends[id];
  const order = new Uint32Array(Math.max(ids.length, 1));
  ids.forEach((id, n) => {
    order[ends[id]++] = n;
  });
  const starts = new Uint32Array(vocabulary + 1);
  const bounds: number[] = [0];
  for (let id = 0, first = 0; id < vocabulary; first = ends[id], id++) {
    for (let at = first; at < ends[id]; at += RUN) bounds.push(Math.min(at + RUN, ends[id]));
    starts[id + 1] = bounds.length - 1;
  }
  const runs = bounds.length - 1;
  const lists = [Uint32Array.from(bounds), order, starts].map((list) => device.upload(list));
  const [partial, dWeight] = [device.allocate(Math.max(1, runs) * width), device.allocate(vocabulary * width)];
  device.run(RUNS, {
    params: { runs, width }, inputs: [dOut, lists[0], lists[1]], outputs: [partial], groups: flat(runs * width),
  });
  device.run(BACKWARD, {
    params: { vocabulary, width }, inputs: [partial, lists[2]], outputs: [dWeight], groups: flat(vocabulary * width),
  });
  for (const memory of [...lists, partial]) device.free(memory);
  return dWeight;
}

const BACKWARD_UNKNOWN = kernel('embedding backward, unknown ids', `
// dWeight[v, c] = sum of dOut[n, c] over the n with ids[n] = v, where only the device knows the ids: every thread looks through all of them.
struct Params { vocabulary: u32, width: u32, count: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> dWeight: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.vocabulary * p.width) { return; }
  var sum = 0.0;
  for (var t = 0u; t < p.count; t++) {
    if (ids[t] == n / p.width) { sum += dOut[t * p.width + n % p.width]; }
  }
  dWeight[n] = sum;
}`);

/** The same for ids that only the device knows. */
export function embeddingBackwardUnknown(
  device: WgslDevice, dOut: Memory, ids: Memory, count: number, vocabulary: number, width: number,
): Memory {
  const dWeight = device.allocate(vocabulary * width);
  device.run(BACKWARD_UNKNOWN, {
    params: { vocabulary, width, count }, inputs: [dOut, ids], outputs: [dWeight], groups: flat(vocabulary * width),
  });
  return dWeight;
}
