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

/** out[n] = weight[ids[n]]: weight [V,D] as stored, ids of `count` -> [count,D]. */
export function embedding(
  device: WgslDevice, weight: Memory, dtype: StoredDtype, ids: Memory, count: number, width: number,
): Memory {
  const out = device.allocate(count * width);
  device.run(EMBEDDING({ DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
    params: { count, width }, inputs: [weight, ids], outputs: [out], groups: flat(count * width),
  });
  return out;
}

const BACKWARD = kernel('embedding backward', `
// dWeight[v, c] = sum of dOut[n, c] over the n with ids[n] = v, a thread for each (v, c).
// The rows of id v are order[starts[v]] to order[starts[v + 1] - 1].
struct Params { vocabulary: u32, width: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> dWeight: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.vocabulary * p.width) { return; }
  let v = n / p.width;
  let c = n % p.width;
  var sum = 0.0;
  for (var t = starts[v]; t < starts[v + 1u]; t++) { sum += dOut[order[t] * p.width + c]; }
  dWeight[n] = sum;
}`);

/** dWeight [V,D] of dOut [count,D], for ids that the host knows and sorts. */
export function embeddingBackward(
  device: WgslDevice, dOut: Memory, ids: Int32Array, vocabulary: number, width: number,
): Memory {
  const starts = new Uint32Array(vocabulary + 1);
  for (const id of ids) starts[id + 1] = starts[id + 1] + 1;
  for (let id = 0; id < vocabulary; id++) starts[id + 1] = starts[id + 1] + starts[id];
  const next = starts.slice();
  const order = new Uint32Array(Math.max(ids.length, 1));
  ids.forEach((id, n) => {
    order[next[id]] = n;
    next[id] = next[id] + 1;
  });
  const lists = [device.upload(starts), device.upload(order)];
  const dWeight = device.allocate(vocabulary * width);
  device.run(BACKWARD, {
    params: { vocabulary, width }, inputs: [dOut, ...lists], outputs: [dWeight], groups: flat(vocabulary * width),
  });
  for (const list of lists) device.free(list);
  return dWeight;
}

const BACKWARD_UNKNOWN = kernel('embedding backward, unknown ids', `
// The same where only the device knows the ids: every thread looks through all of them.
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
