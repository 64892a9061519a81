/**
 * Products of matrices by tiles in workgroup memory.
 * @module
 */
import { type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { sumParts } from './elementwise.ts';
import { ELEMENT, type StoredDtype } from './stored.ts';
import { template } from './template.ts';

/**
 * Where element (i, k) of A and element (k, j) of B lie: A is [I,K] or, for T, [K,I]; B is [K,J] or, for T, [J,K].
 * `byK` says that the neighbours in memory are those along k.
 */
const FORMS = {
  NN: { A: 'i * p.K + k', B: 'k * p.J + j', aByK: 1, bByK: 0 },
  NT: { A: 'i * p.K + k', B: 'j * p.K + k', aByK: 1, bByK: 1 },
  TN: { A: 'k * p.I + i', B: 'k * p.J + j', aByK: 0, bByK: 0 },
} as const;

const MATMUL = template('matmul', `
// C[part, i, j] = sum over the k of a part of A[i, k] B[k, j], with B stored in $DTYPE.
// A workgroup makes a tile of 32 x 32 of C for one part. Slices of 16 k of A and B go through workgroup memory, and each of
// the 8 x 8 threads keeps 4 x 4 sums in registers: rows 4 y + 0..3, columns 4 x + 0..3.
struct Params { I: u32, J: u32, K: u32, size: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

$ELEMENT

var<workgroup> tileA: array<array<vec4f, 9>, 16>; // [k][i / 4], one column wider against conflicts of banks
var<workgroup> tileB: array<array<vec4f, 9>, 16>; // [k][j / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let x = thread % 8u;
  let y = thread / 8u;
  let firstI = group.y * 32u;
  let firstJ = group.x * 32u;
  let end = min((group.z + 1u) * p.size, p.K);
  var c0 = vec4f();
  var c1 = vec4f();
  var c2 = vec4f();
  var c3 = vec4f();
  for (var start = group.z * p.size; start < end; start += 16u) {
    for (var n = thread; n < 128u; n += 64u) {
      // Neighbouring threads read neighbours in memory, and every vector is written by one thread.
      let ak = select(n / 8u, n % 16u, $A_BY_K == 1);
      let ai = select(n % 8u, n / 16u, $A_BY_K == 1);
      let bk = select(n / 8u, n % 16u, $B_BY_K == 1);
      let bj = select(n % 8u, n / 16u, $B_BY_K == 1);
      tileA[ak][ai] = fourOfA(firstI + ai * 4u, start + ak, end);
      tileB[bk][bj] = fourOfB(start + bk, firstJ + bj * 4u, end);
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let rows = tileA[k][y];
      let columns = tileB[k][x];
      c0 += rows.x * columns;
      c1 += rows.y * columns;
      c2 += rows.z * columns;
      c3 += rows.w * columns;
    }
    workgroupBarrier();
  }
  store(group.z, firstI + y * 4u, firstJ + x * 4u, c0);
  store(group.z, firstI + y * 4u + 1u, firstJ + x * 4u, c1);
  store(group.z, firstI + y * 4u + 2u, firstJ + x * 4u, c2);
  store(group.z, firstI + y * 4u + 3u, firstJ + x * 4u, c3);
}

// Beyond the edges, zeros stand in.
fn fourOfA(i: u32, k: u32, end: u32) -> vec4f {
  return vec4f(atA(i, k, end), atA(i + 1u, k, end), atA(i + 2u, k, end), atA(i + 3u, k, end));
}
fn fourOfB(k: u32, j: u32, end: u32) -> vec4f {
  return vec4f(atB(k, j, end), atB(k, j + 1u, end), atB(k, j + 2u, end), atB(k, j + 3u, end));
}
fn atA(i: u32, k: u32, end: u32) -> f32 {
  if (i >= p.I || k >= end) { return 0.0; }
  return a[$A];
}
fn atB(k: u32, j: u32, end: u32) -> f32 {
  if (j >= p.J || k >= end) { return 0.0; }
  return element($B);
}
fn store(part: u32, i: u32, j: u32, sums: vec4f) {
  if (i >= p.I) { return; }
  for (var n = 0u; n < min(4u, max(p.J, j) - j); n++) { c[(part * p.I + i) * p.J + j + n] = sums[n]; }
}`, 'A', 'B', 'A_BY_K', 'B_BY_K', 'DTYPE', 'ELEMENT');

/** A product C [I,J] = A B over K, with A and B as `form` says and B as it is stored. */
export interface Product {
  readonly a: Memory;
  readonly b: Memory;
  readonly I: number;
  readonly J: number;
  readonly K: number;
  readonly dtype: StoredDtype;
  readonly form: keyof typeof FORMS;
}

/** Workgroups that keep a device busy: fewer tiles than these are split along k. */
const BUSY = 256;

export function matmul(device: WgslDevice, { a, b, I, J, K, dtype, form }: Product): Memory {
  const { A, B, aByK, bByK } = FORMS[form];
  const [x, y] = [Math.ceil(J / 32), Math.ceil(I / 32)];
  const wanted = Math.min(Math.floor(BUSY / (x * y)), Math.floor(K / 256), MOST_GROUPS);
  const size = Math.ceil(K / Math.max(1, wanted) / 16) * 16;
  const parts = Math.max(1, Math.ceil(K / Math.max(size, 1)));
  const c = device.allocate(parts * I * J);
  device.run(MATMUL({ A, B, A_BY_K: aByK, B_BY_K: bByK, DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
    params: { I, J, K, size }, inputs: [a, b], outputs: [c], groups: [x, y, parts], work: I * J * K * 2,
  });
  return sumParts(device, c, I * J, parts);
}
