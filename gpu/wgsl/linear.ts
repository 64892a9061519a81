/**
 * Matrix products: y = x Wᵀ + b and its gradients.
 *
 * A few rows take a kernel that reads the weight once, at the speed of memory; more take tiles in workgroup memory.
 * @module
 */
import type { LinearSizes } from '../../src/core/sizes.ts';
import { flat, type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { sumParts } from './elementwise.ts';
import { LEAST_OUTPUTS } from './fast/index.ts';
import { mixedProduct, roundedFactors } from './half.ts';
import { matmul, matrixProduct } from './matmul.ts';
import { ELEMENT, type StoredDtype } from './stored.ts';
import { kernel, template } from './template.ts';
import { weightGradient } from './weight-gradient.ts';

/** The WGSL of `four(n)`, which reads elements 4 n to 4 n + 3 of `table` as they are stored. */
const FOUR: Readonly<Record<StoredDtype, { readonly TABLE: string; readonly FOUR: string }>> = {
  f32: { TABLE: 'vec4u', FOUR: 'fn four(n: u32) -> vec4f { return bitcast<vec4f>(table[n]); }' },
  f16: {
    TABLE: 'vec2u',
    FOUR: 'fn four(n: u32) -> vec4f { let w = table[n]; return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }',
  },
  bf16: {
    TABLE: 'vec2u',
    FOUR: 'fn four(n: u32) -> vec4f { let w = table[n]; return bitcast<vec4f>(vec4u(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u)); }',
  },
};

/** The most rows that the kernel for few rows takes. */
const FEW = 4;
/** Columns that a workgroup of that kernel makes. */
const COLUMNS = 4;

const FEW_ROWS = template('vector x matrix', `
// y[r, m] = sum_k x[r, k] W[m, k] + b[m] for up to $ROWS rows; the weight is stored in $DTYPE, K a multiple of 4.
// A workgroup makes 4 columns m. LANES threads share a column: each takes every LANES-th group of four k, for all rows, and
// the first ones add up what the others have.
struct Params { rows: u32, M: u32, K4: u32, biased: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> table: array<$TABLE>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

$FOUR

const LANES = $LANESu;
var<workgroup> sums: array<f32, 4u * LANES * $ROWSu>;

@compute @workgroup_size(4u * LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32) {
  let column = thread / LANES;
  let lane = thread % LANES;
  let m = (group.y * groups.x + group.x) * 4u + column;
  var sum: array<f32, $ROWS>;
  if (m < p.M) {
    for (var k = lane; k < p.K4; k += LANES) {
      let w = four(m * p.K4 + k);
      for (var r = 0u; r < $ROWSu; r++) { sum[r] += dot(w, x[min(r, p.rows - 1u) * p.K4 + k]); }
    }
  }
  for (var r = 0u; r < $ROWSu; r++) { sums[(r * 4u + column) * LANES + lane] = sum[r]; }
  workgroupBarrier();
  if (m >= p.M) { return; }
  for (var r = lane; r < p.rows; r += LANES) {
    var total = 0.0;
    for (var n = 0u; n < LANES; n++) { total += sums[(r * 4u + column) * LANES + n]; }
    if (p.biased == 1u) { total += bias[m]; }
    y[r * p.M + m] = total;
  }
}`, 'LANES', 'ROWS', 'DTYPE', 'TABLE', 'FOUR');

const ANY_WIDTH = template('vector x matrix, any width', `
// The same for any K, a thread for each (r, m).
struct Params { rows: u32, M: u32, K: u32, biased: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

$ELEMENT

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n >= p.rows * p.M) { return; }
  let m = n % p.M;
  let r = n / p.M;
  var sum = 0.0;
  for (var k = 0u; k < p.K; k++) { sum += x[r * p.K + k] * element(m * p.K + k); }
  if (p.biased == 1u) { sum += bias[m]; }
  y[n] = sum;
}`, 'DTYPE', 'ELEMENT');

/** y[r,m] = sum_k x[r,k] W[m,k] + b[m]: [rows,M], for a weight as it is stored. */
export function linear(
  device: WgslDevice, x: Memory, weight: Memory, dtype: StoredDtype, bias: Memory | undefined,
  { rows, M, K }: LinearSizes,
): Memory {
  const work = rows * M * K * 2;
  if (rows > FEW) {
    const half = matrixProduct(device, x, weight, dtype, bias, { rows, M, K });
    if (half) return half;
    const rounds = dtype === 'f32' && K % 8 === 0 && rows * M >= LEAST_OUTPUTS;
    const rounded = rounds && roundedFactors(device, { a: x, b: weight }, [rows * K, M * K]);
    const [a, b] = rounded || [x, weight];
    const y = matmul(device, { a, b, I: rows, J: M, K, dtype, form: 'NT' });
    for (const factor of rounded || []) device.free(factor);
    return bias ? withBias(device, y, bias, rows, M) : y;
  }
  const y = device.allocate(rows * M);
  const inputs = [x, weight, bias ?? x];
  const biased = bias ? 1 : 0;
  if (K % 4 !== 0) {
    device.run(ANY_WIDTH({ DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
      params: { rows, M, K, biased }, inputs, outputs: [y], groups: flat(rows * M), work,
    });
    return y;
  }
  const ROWS = rows > 2 ? 4 : rows;
  const all = Math.ceil(M / COLUMNS);
  const folds = Math.max(1, Math.ceil(all / MOST_GROUPS));
  device.run(FEW_ROWS({ LANES: device.width / COLUMNS, ROWS, DTYPE: dtype, ...FOUR[dtype] }), {
    params: { rows, M, K4: K / 4, biased }, inputs, outputs: [y], groups: [Math.ceil(all / folds), folds], work,
  });
  return y;
}

const ADD_BIAS = kernel('add bias', `
// y[r, m] += bias[m], a thread for each element.
struct Params { length: u32, M: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = (group.y * groups.x + group.x) * 64u + lane;
  if (n < p.length) { y[n] += bias[n % p.M]; }
}`);

function withBias(device: WgslDevice, y: Memory, bias: Memory, rows: number, M: number): Memory {
  const length = rows * M;
  device.run(ADD_BIAS, { params: { length, M }, inputs: [bias], outputs: [y], groups: flat(length) });
  return y;
}

/** dx[r,k] = sum_m dy[r,m] W[m,k]: [rows,K]. */
export const linearBackwardInput = (
  device: WgslDevice, dOut: Memory, weight: Memory, { rows, M, K }: LinearSizes,
): Memory => mixedProduct(device, { a: dOut, b: weight, I: rows, J: K, K: M, form: 'NN' }, (a, b) =>
  matmul(device, { a, b, I: rows, J: K, K: M, dtype: 'f32', form: 'NN' }));

/** dW[m,k] = sum_r dy[r,m] x[r,k]: [M,K]. */
export const linearBackwardWeight = (
  device: WgslDevice, dOut: Memory, x: Memory, { rows, M, K }: LinearSizes,
): Memory => mixedProduct(device, { a: dOut, b: x, I: M, J: K, K: rows, form: 'TN' }, (a, b) =>
  device.width === 64 ? weightGradient(device, a, b, M, K, rows)
    : matmul(device, { a, b, I: M, J: K, K: rows, dtype: 'f32', form: 'TN' }));

const SUM_ROWS = kernel('sum of rows', `
// partial[part, m] = sum over the rows of a part of x[r, m], a thread for each.
struct Params { rows: u32, M: u32, size: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m = group.x * 64u + lane;
  if (m >= p.M) { return; }
  var sum = 0.0;
  for (var r = group.y * p.size; r < min((group.y + 1u) * p.size, p.rows); r++) { sum += x[r * p.M + m]; }
  partial[group.y * p.M + m] = sum;
}`);

/** db[m] = sum_r dy[r,m]: [M]. */
export function linearBackwardBias(device: WgslDevice, dOut: Memory, rows: number, M: number): Memory {
  const size = Math.max(64, Math.ceil(rows / 256));
  const parts = Math.max(1, Math.ceil(rows / size));
  const partial = device.allocate(parts * M);
  device.run(SUM_ROWS, {
    params: { rows, M, size }, inputs: [dOut], outputs: [partial], groups: [Math.ceil(M / 64), parts], work: rows * M,
  });
  return sumParts(device, partial, M, parts);
}
