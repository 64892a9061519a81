/**
 * The index of the largest number of a row.
 * @module
 */
import type { Memory, WgslDevice } from './device.ts';
import { kernel } from './template.ts';

const ARGMAX = kernel('argmax', `
// best[row] = argmax_v x[row, v], ties to the lowest v; -1 if a number of the row is NaN or infinite.
// A workgroup for each row, whose lanes take every 256th number and then compare what they found, half with half.
struct Params { rows: u32, V: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> best: array<i32>;

var<workgroup> values: array<f32, 256>;
var<workgroup> places: array<u32, 256>;
var<workgroup> strange: array<u32, 256>;

fn isFinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = min(group.y * groups.x + group.x, p.rows - 1u);
  let start = row * p.V;
  var place = min(lane, p.V - 1u);
  var value = x[start + place];
  var wrong = 0u;
  for (var v = lane; v < p.V; v += 256u) {
    let other = x[start + v];
    if (!isFinite(other)) { wrong = 1u; }
    if (other > value) { value = other; place = v; }
  }
  values[lane] = value;
  places[lane] = place;
  strange[lane] = wrong;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let other = values[lane + half];
      let lower = places[lane + half] < places[lane];
      if (other > values[lane] || (other == values[lane] && lower)) {
        values[lane] = other;
        places[lane] = places[lane + half];
      }
      strange[lane] = max(strange[lane], strange[lane + half]);
    }
  }
  if (lane == 0u) {
    best[row] = select(i32(places[0]), -1, strange[0] == 1u);
  }
}`);

/** The index of the largest number of each of `rows` rows of V, ties to the lowest; -1 if one is not finite. */
export function argmax(device: WgslDevice, x: Memory, rows: number, V: number): Memory {
  const best = device.allocate(rows);
  device.run(ARGMAX, {
    params: { rows, V }, inputs: [x], outputs: [best],
    // Rows are folded where there are more than workgroups along an axis.
    groups: [Math.min(rows, 32768), Math.ceil(rows / 32768)], work: rows * V * 4,
  });
  return best;
}
