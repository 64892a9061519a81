/**
 * Root-mean-square normalisation and its gradients.
 *
 * Squares of numbers above 1.8e19 overflow float32. A row with a number above LARGE is therefore multiplied by small
 * first, and its r = 1 / sqrt(mean(x²) + epsilon) is kept as -r / small: neither overflows, and their product is x r.
 * @module
 */
import type { Memory, WgslDevice } from './device.ts';
import { sumParts } from './elementwise.ts';
import { kernel, template } from './template.ts';

/**
 * Multiplied by it, numbers above LARGE have squares far from float32's limits. It is a parameter, since drivers
 * multiply constants beforehand, and its own square is 0.
 */
export const SMALL: number = 2 ** -90;

/** Workgroups for rows, of which a long list is folded. */
const rowGroups = (rows: number): readonly [x: number, y: number] =>
  [Math.min(rows, 32768), Math.ceil(rows / 32768)];

const NORM = template('rms norm', `
// y[r, c] = x[r, c] w[c] / sqrt(mean(x[r]²) + epsilon): a workgroup for each row, whose lanes take every LANES-th column.
struct Params { rows: u32, D: u32, epsilon: f32, small: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

const LARGE = 1e15;                 // squares of numbers up to this do not overflow, however long the row
var<workgroup> sums: array<vec2f, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  let start = row * p.D;
  var sum = vec2f();                // of the squares, and of the squares of x small
  if (row < p.rows) {
    for (var c = lane; c < p.D; c += $LANESu) {
      let value = vec2f(x[start + c], x[start + c] * p.small);
      sum += value * value;
    }
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  if (row >= p.rows) { return; }
  let total = sums[0];
  let limit = LARGE * p.small;
  let scaled = total.y > limit * limit;
  let r = select(
    inverseSqrt(total.x / f32(p.D) + p.epsilon),
    inverseSqrt(total.y / f32(p.D) + p.epsilon * p.small * p.small),
    scaled,
  );
  for (var c = lane; c < p.D; c += $LANESu) {
    y[start + c] = x[start + c] * select(1.0, p.small, scaled) * r * weight[c];
  }
}`, 'LANES');

/** y = x r w with r = 1 / sqrt(mean(x²) + epsilon), for `rows` of width D. */
export function rmsNorm(
  device: WgslDevice, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): Memory {
  const y = device.allocate(rows * D);
  device.run(NORM({ LANES: device.width }), {
    params: { rows, D, epsilon, small: SMALL }, inputs: [x, weight], outputs: [y], groups: rowGroups(rows),
  });
  return y;
}

const BACKWARD = template('rms norm backward', `
// dx[r] = r (dy w - x r mean(dy w x r)), and inverse[r] = r: a workgroup for each row. A row with numbers above LARGE is
// kept as x small and r / small, and its inverse is negated to say so.
struct Params { rows: u32, D: u32, epsilon: f32, small: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<storage, read_write> inverse: array<f32>;

const LARGE = 1e15;
var<workgroup> sums: array<vec2f, $LANES>;

@compute @workgroup_size($LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.y * groups.x + group.x;
  let start = row * p.D;
  var sum = vec2f();
  if (row < p.rows) {
    for (var c = lane; c < p.D; c += $LANESu) {
      let value = vec2f(x[start + c], x[start + c] * p.small);
      sum += value * value;
    }
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  let total = sums[0];
  workgroupBarrier();
  let limit = LARGE * p.small;
  let scaled = total.y > limit * limit;
  let unit = select(1.0, p.small, scaled);
  let r = select(
    inverseSqrt(total.x / f32(p.D) + p.epsilon),
    inverseSqrt(total.y / f32(p.D) + p.epsilon * p.small * p.small),
    scaled,
  );
  var along = 0.0;
  if (row < p.rows) {
    for (var c = lane; c < p.D; c += $LANESu) { along += dOut[start + c] * weight[c] * (x[start + c] * unit * r); }
  }
  sums[lane] = vec2f(along, 0.0);
  workgroupBarrier();
  for (var half = $LANESu / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  if (row >= p.rows) { return; }
  let mean = sums[0].x / f32(p.D);
  for (var c = lane; c < p.D; c += $LANESu) {
    dx[start + c] = (dOut[start + c] * weight[c] - x[start + c] * unit * r * mean) * r * unit;
  }
  if (lane == 0u) { inverse[row] = select(r, -r, scaled); }
}`, 'LANES');

const DWEIGHT = kernel('rms norm backward dweight', `
// partial[part, c] = sum over the rows of a part of dy x r, a thread for each.
struct Params { rows: u32, D: u32, size: u32, small: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> dOut: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> inverse: array<f32>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;


@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * 64u + lane;
  if (c >= p.D) { return; }
  var sum = 0.0;
  for (var row = group.y * p.size; row < min((group.y + 1u) * p.size, p.rows); row++) {
    let r = inverse[row];
    sum += dOut[row * p.D + c] * (x[row * p.D + c] * select(1.0, p.small, r < 0.0) * abs(r));
  }
  partial[group.y * p.D + c] = sum;
}`);

/** dx = r (dy w - x r mean(dy w x r)), and dw = sum over rows of dy x r. */
export function rmsNormBackward(
  device: WgslDevice, dOut: Memory, x: Memory, weight: Memory, epsilon: number, rows: number, D: number,
): [dx: Memory, dWeight: Memory] {
  const [dx, inverse] = [device.allocate(rows * D), device.allocate(rows)];
  device.run(BACKWARD({ LANES: device.width }), {
    params: { rows, D, epsilon, small: SMALL }, inputs: [dOut, x, weight], outputs: [dx, inverse],
    groups: rowGroups(rows),
  });
  const size = Math.max(64, Math.ceil(rows / 256));
  const parts = Math.max(1, Math.ceil(rows / size));
  const partial = device.allocate(parts * D);
  device.run(DWEIGHT, {
    params: { rows, D, size, small: SMALL }, inputs: [dOut, x, inverse], outputs: [partial],
    groups: [Math.ceil(D / 64), parts],
    work: rows * D * 4,
  });
  device.free(inverse);
  return [dx, sumParts(device, partial, D, parts)];
}
