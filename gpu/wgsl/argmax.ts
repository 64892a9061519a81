/**
 * The index of the largest number of a row.
 * @module
 */
import type { Memory, WgslDevice } from './device.ts';
import { kernel } from './template.ts';

/** Numbers that a workgroup looks through: a long row is cut into parts. */
const PART = 2048;

const SEARCH = `
var<workgroup> values: array<f32, 256>;
var<workgroup> places: array<i32, 256>;

// The best of all lanes, in lane 0. A place of -1 says that a number was NaN or infinite, and wins.
fn best(lane: u32, value: f32, place: i32) {
  values[lane] = value;
  places[lane] = place;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let rival = values[lane + half];
      let other = places[lane + half];
      let own = places[lane];
      if (own >= 0 && (other < 0 || rival > values[lane] || (rival == values[lane] && other < own))) {
        values[lane] = rival;
        places[lane] = other;
      }
    }
  }
}`;

const PARTS = kernel('argmax parts', `
// Of each part of ${PART} numbers of a row of x [rows,V]: the largest number, and its place, ties to the lowest; or the place -1 if
// a number is NaN or infinite. A workgroup for each part of each row, whose lanes take every 256th number.
struct Params { rows: u32, V: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> largest: array<f32>;
@group(0) @binding(3) var<storage, read_write> where_: array<i32>;
${SEARCH}
fn isFinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group.z * groups.y + group.y, p.rows - 1u);
  let start = row * p.V;
  let first = group.x * ${PART}u;
  var place = min(first + lane, p.V - 1u);
  var value = x[start + place];
  var wrong = false;
  for (var n = 0u; n < ${PART / 256}u; n++) {
    let v = min(first + n * 256u + lane, p.V - 1u);
    let other = x[start + v];
    wrong = wrong || !isFinite(other);
    if (other > value) { value = other; place = v; }
  }
  best(lane, value, select(i32(place), -1, wrong));
  if (lane == 0u) {
    largest[row * p.parts + group.x] = values[0];
    where_[row * p.parts + group.x] = places[0];
  }
}`);

const JOIN = kernel('argmax', `
// best_of[row] = argmax_v x[row, v], from the largest numbers of its parts and their places; -1 if one of these is. A workgroup for
// each row, whose lanes take every 256th part and then compare what they found, half with half.
struct Params { rows: u32, parts: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> largest: array<f32>;
@group(0) @binding(2) var<storage, read> where_: array<i32>;
@group(0) @binding(3) var<storage, read_write> best_of: array<i32>;
${SEARCH}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group.y * groups.x + group.x, p.rows - 1u);
  let start = row * p.parts;
  var value = largest[start + min(lane, p.parts - 1u)];
  var place = where_[start + min(lane, p.parts - 1u)];
  for (var part = lane; part < p.parts; part += 256u) {
    let other = where_[start + part];
    if (place >= 0 && (other < 0 || largest[start + part] > value)) {
      value = largest[start + part];
      place = other;
    }
  }
  best(lane, value, place);
  if (lane == 0u) { best_of[row] = places[0]; }
}`);

/** The index of the largest number of each of `rows` rows of V, ties to the lowest; -1 if one is not finite. */
export function argmax(device: WgslDevice, x: Memory, rows: number, V: number): Memory {
  const parts = Math.ceil(V / PART);
  const [largest, where, best] = [device.allocate(rows * parts), device.allocate(rows * parts), device.allocate(rows)];
  // Rows are folded where there are more than workgroups along an axis.
  const folded: readonly [number, number] = [Math.min(rows, 32768), Math.ceil(rows / 32768)];
  device.run(PARTS, {
    params: { rows, V, parts }, inputs: [x], outputs: [largest, where], groups: [parts, ...folded], work: rows * V * 4,
  });
  device.run(JOIN, {
    params: { rows, parts }, inputs: [largest, where], outputs: [best], groups: folded, work: rows * parts * 4,
  });
  device.free(largest);
  device.free(where);
  return best;
}
