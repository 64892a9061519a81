/**
 * Products of matrices by tiles in workgroup memory.
 * @module
 */
import { type Memory, MOST_GROUPS, type WgslDevice } from './device.ts';
import { sumParts } from './elementwise.ts';
import {
  type FastKernel, LEAST_OUTPUTS, matmul as tiledMatmul, matrixMatmul, matrixTile, type ProductSizes, runsOn,
} from './fast/index.ts';
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
// A workgroup of SIDE x SIDE threads makes a tile of 4 SIDE x 4 SIDE of C for one part. Slices of 16 k of A and B go through
// workgroup memory, and a thread keeps 4 x 4 sums in registers: rows 4 y + 0..3, columns 4 x + 0..3.
struct Params { I: u32, J: u32, K: u32, size: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

$ELEMENT

const SIDE = $SIDEu;
var<workgroup> tileA: array<array<vec4f, SIDE + 1u>, 16>; // [k][i / 4], one wider against conflicts of banks
var<workgroup> tileB: array<array<vec4f, SIDE + 1u>, 16>; // [k][j / 4]

@compute @workgroup_size(SIDE * SIDE)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let x = thread % SIDE;
  let y = thread / SIDE;
  let firstI = group.y * 4u * SIDE;
  let firstJ = group.x * 4u * SIDE;
  let rowsOfA = min(SIDE, (p.I - firstI + 3u) / 4u);    // in vectors
  let columnsOfB = min(SIDE, (p.J - firstJ + 3u) / 4u);
  let end = min((group.z + 1u) * p.size, p.K);
  var c0 = vec4f();
  var c1 = vec4f();
  var c2 = vec4f();
  var c3 = vec4f();
  for (var start = group.z * p.size; start < end; start += 16u) {
    // Neighbouring threads read neighbours in memory, and every vector is written by one thread.
    for (var n = thread; n < 16u * rowsOfA; n += SIDE * SIDE) {
      let k = select(n / rowsOfA, n % 16u, $A_BY_K == 1);
      let i = select(n % rowsOfA, n / 16u, $A_BY_K == 1);
      tileA[k][i] = fourOfA(firstI + i * 4u, start + k);
    }
    for (var n = thread; n < 16u * columnsOfB; n += SIDE * SIDE) {
      let k = select(n / columnsOfB, n % 16u, $B_BY_K == 1);
      let j = select(n % columnsOfB, n / 16u, $B_BY_K == 1);
      tileB[k][j] = fourOfB(start + k, firstJ + j * 4u);
    }
    workgroupBarrier();
    for (var k = 0u; k < min(16u, end - start); k++) {
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

// Beyond the edges, other elements stand in: nothing of them is stored.
fn fourOfA(i: u32, k: u32) -> vec4f { return vec4f(atA(i, k), atA(i + 1u, k), atA(i + 2u, k), atA(i + 3u, k)); }
fn fourOfB(k: u32, j: u32) -> vec4f { return vec4f(atB(k, j), atB(k, j + 1u), atB(k, j + 2u), atB(k, j + 3u)); }
fn atA(row: u32, column: u32) -> f32 {
  let i = min(row, p.I - 1u);
  let k = min(column, p.K - 1u);
  return a[$A];
}
fn atB(row: u32, column: u32) -> f32 {
  let k = min(row, p.K - 1u);
  let j = min(column, p.J - 1u);
  return element($B);
}
fn store(part: u32, i: u32, j: u32, sums: vec4f) {
  if (i >= p.I) { return; }
  for (var n = 0u; n < min(4u, max(p.J, j) - j); n++) { c[(part * p.I + i) * p.J + j + n] = sums[n]; }
}`, 'SIDE', 'A', 'B', 'A_BY_K', 'B_BY_K', 'DTYPE', 'ELEMENT');

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

/** Large tiles from which a product keeps a GPU busy without being split along k. */
const MANY_TILES = 64;
/** Bytes of workgroup memory that tiles of 128 x 128 take. */
const LARGE_BYTES = 17 * 1024;

/** Whether the kernel for large products serves better. Processors without a GPU compile it for minutes. */
const isLarge = ({ width }: WgslDevice, { I, J }: Product): boolean =>
  width === 64 && Math.ceil(I / 64) * Math.ceil(J / 64) >= MANY_TILES;

/** Kernels by what their text depends on: to write it takes longer than to run it. */
const written = new Map<string, FastKernel<ProductSizes>>();

function largeMatmul(device: WgslDevice, { a, b, I, J, K, dtype, form }: Product): Memory {
  const [byRows, bByRows] = [FORMS[form].aByK === 1, FORMS[form].bByK === 1];
  const large = Math.ceil(I / 128) * Math.ceil(J / 128) >= 2 * MANY_TILES && device.workgroupBytes >= LARGE_BYTES;
  const [aligned, bAligned] = [(byRows ? K : I) % 4 === 0, (bByRows ? K : J) % 4 === 0];
  const key = `${form} ${dtype} ${aligned} ${bAligned} ${large}`;
  let tiles = written.get(key);
  if (!tiles) {
    tiles = tiledMatmul({
      x: { stored: 'f32', layout: byRows ? 'rows' : 'columns', aligned },
      w: { stored: dtype, layout: bByRows ? 'rows' : 'columns', aligned: bAligned },
      bias: false, accumulate: false, tile: large ? 128 : 64,
    });
    written.set(key, tiles);
  }
  const c = device.allocate(I * J);
  device.run(tiles, {
    params: { R: I, M: J, K }, inputs: [a, b], outputs: [c], groups: tiles.workgroups({ R: I, M: J, K }),
    work: I * J * K * 2,
  });
  return c;
}

/** Workgroups that keep a device busy: fewer tiles than these are split along k. */
const BUSY = 256;

export function matmul(device: WgslDevice, product: Product): Memory {
  const { a, b, I, J, K, dtype, form } = product;
  if (isLarge(device, product)) return largeMatmul(device, product);
  const { A, B, aByK, bByK } = FORMS[form];
  const SIDE = Math.sqrt(device.width);
  const [x, y] = [Math.ceil(J / (4 * SIDE)), Math.ceil(I / (4 * SIDE))];
  const wanted = Math.min(Math.floor(BUSY / (x * y)), Math.floor(K / 256), MOST_GROUPS);
  const size = Math.ceil(K / Math.max(1, wanted) / 16) * 16;
  const parts = Math.max(1, Math.ceil(K / Math.max(size, 1)));
  const c = device.allocate(parts * I * J);
  device.run(MATMUL({ SIDE, A, B, A_BY_K: aByK, B_BY_K: bByK, DTYPE: dtype, ELEMENT: ELEMENT[dtype] }), {
    params: { I, J, K, size }, inputs: [a, b], outputs: [c], groups: [x, y, parts], work: I * J * K * 2,
  });
  return sumParts(device, c, I * J, parts);
}

/** The depth of tiles of matrix units. */
const DEPTH = 64;

/** By matrix units: x as float32 and the weight as stored, rounded to float16 on the way. */
function halfMatmul(
  dtype: StoredDtype, tile: readonly [number, number], whole: boolean, bias: boolean,
): FastKernel<ProductSizes> {
  const key = `half ${dtype} ${tile} ${whole} ${bias}`;
  let kernel = written.get(key);
  if (!kernel) {
    kernel = matrixMatmul({
      x: { stored: 'f32', layout: 'rows' }, w: { stored: dtype, layout: 'rows' }, bias, accumulate: false, tile,
      depth: DEPTH, whole,
    });
    written.set(key, kernel);
  }
  return kernel;
}

/** Whether the device has the matrix units that these kernels use. */
export const hasMatrixUnits = ({ gpuDevice, info }: WgslDevice): boolean =>
  runsOn(gpuDevice, info, halfMatmul('f16', [128, 128], true, false));

/** y[r,m] = sum_k x[r,k] W[m,k] + b[m] on a device that computes in float16; undefined if K does not fit. */
export function matrixProduct(
  device: WgslDevice, x: Memory, weight: Memory, dtype: StoredDtype, bias: Memory | undefined,
  { rows: R, M, K }: { readonly rows: number; readonly M: number; readonly K: number },
): Memory | undefined {
  if (device.compute !== 'f16' || K % 8 !== 0 || R * M < LEAST_OUTPUTS) return undefined;
  if (device.testing && !hasMatrixUnits(device)) return undefined;
  const tiles = halfMatmul(dtype, matrixTile({ R, M }), K % DEPTH === 0, bias !== undefined);
  const y = device.allocate(R * M);
  device.run(tiles, {
    params: { R, M, K }, inputs: bias ? [x, weight, bias] : [x, weight], outputs: [y],
    groups: tiles.workgroups({ R, M, K }), work: R * M * K * 2,
  });
  return y;
}
