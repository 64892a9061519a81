/**
 * Matrix products by the matrix units of a GPU: factors rounded to float16, sums in float32.
 * @module
 */
import type { ProductSizes } from './matmul.ts';
import { four, type Stored } from './stored.ts';
import { each, type Element, fastKernel, type FastKernel, wgsl } from './template.ts';

export interface MatrixFactor {
  /** float32 and bfloat16 are rounded to float16 on the way: beyond 65,504 they become infinite. */
  readonly stored: Stored;
  /** As for matmul(). The last dimension is a multiple of 8. */
  readonly layout: 'rows' | 'columns';
}

export interface MatrixMatmulOptions {
  readonly x: MatrixFactor;
  readonly w: MatrixFactor;
  readonly bias: boolean;
  readonly accumulate: boolean;
  /** Rows and columns of y per workgroup; multiples of 64 and 32. */
  readonly tile: readonly [rows: number, columns: number];
  /** What is summed over at a time, a multiple of 16. Default 64. */
  readonly depth?: number;
  /** K is a multiple of the depth. */
  readonly whole: boolean;
}

const THREADS = 256;
/** Elements of a 16x16 part: WebGPU refuses to bind fewer to what stores such parts. */
export const LEAST_OUTPUTS = 256;
/** The tile for a product, measured on an H100: large ones if there are enough of them to fill it. */
export function matrixTile({ R, M }: Pick<ProductSizes, 'R' | 'M'>): readonly [rows: number, columns: number] {
  return Math.ceil(R / 128) * Math.ceil(M / 128) >= 128 ? [128, 128] : [64, 64];
}

/** Subgroups of 32, by rows and by columns of the tile. */
const [DOWN, ACROSS] = [4, 2];

/** How a factor comes to workgroup memory, in units of 8 halves. */
interface Staging {
  readonly type: Element;
  /** Units of the part of the tile that one row (or column) of subgroups multiplies, and of one of its lines. */
  readonly length: number;
  readonly stride: number;
  readonly declare: readonly string[];
  readonly load: readonly string[];
  readonly store: readonly string[];
  /** Where the 16x16 part begins that has this row of the part of the tile and this k. */
  readonly corner: (row: number, k: number) => number;
  readonly order: 'row_major' | 'col_major';
}

/**
 * The tile lies in `parts` arrays, one for each row (or column) of subgroups, so that the places of 16x16 parts are
 * constants: then bounds need no checks. Lines are padded by a unit, so that those of a 16x16 part lie in different
 * banks.
 */
function staging(
  name: 'x' | 'w', { stored, layout }: MatrixFactor, tile: number, parts: number, depth: number, whole: boolean,
): Staging {
  const [extent, first] = name === 'x' ? ['P.R', 'row0'] : ['P.M', 'col0'];
  const rows = layout === 'rows';
  const part = tile / parts;
  const across = (rows ? depth : tile) / 8;
  const stride = (rows ? depth : part) / 8 + 1;
  const units = (tile * depth) / 8 / THREADS;
  const wide = stored === 'f32';
  const line = (n: number): string => `(t + ${n * THREADS}) / ${across}`;
  const unit = (n: number): string => `(t + ${n * THREADS}) % ${across}`;
  const at = (n: number): string => rows
    ? `min(${first} + ${line(n)}, ${extent} - 1) * (P.K / 8) + ${unit(n)}`
    : `${line(n)} * (${extent} / 8) + min(${first} / 8 + ${unit(n)}, ${extent} / 8 - 1)`;
  const k = (n: number): string => (rows ? `k0 + ${unit(n)} * 8` : `k0 + ${line(n)}`);
  const read = (n: number): string => {
    const index = `at_${name}${n} + ${rows ? 'k0 / 8' : `k0 * (${extent} / 8)`}`;
    const safe = whole ? index : `select(0, ${index}, ${k(n)} < P.K)`;
    return wide
      ? `a_${name}${n} = ${name}[2 * (${safe})]; b_${name}${n} = ${name}[2 * (${safe}) + 1];` : `a_${name}${n} = ${name}[${safe}];`;
  };
  const packed = (n: number): string => {
    if (stored === 'f16') return `a_${name}${n}`;
    const [low, high] = wide ? [`a_${name}${n}`, `b_${name}${n}`]
      : [four(stored, `a_${name}${n}.xy`), four(stored, `a_${name}${n}.zw`)];
    return `halves(${low}, ${high})`;
  };
  const place = (n: number): string => rows
    ? `tile_${name}[${line(n)} / ${part}][${line(n)} % ${part} * ${stride} + ${unit(n)}]`
    : `tile_${name}[${unit(n)} / ${part / 8}][${line(n)} * ${stride} + ${unit(n)} % ${part / 8}]`;
  const type: Element = wide ? 'vec4f' : 'vec4u';
  return {
    type, stride,
    length: (rows ? part : depth) * stride,
    declare: each(units, (n) =>
      `let at_${name}${n} = ${at(n)}; var a_${name}${n}: ${type};${wide ? ` var b_${name}${n}: ${type};` : ''}`),
    load: each(units, read),
    // What lies past K may be NaN: a select keeps it out.
    store: each(units, (n) => `${place(n)} = ${whole ? packed(n) : `select(vec4u(), ${packed(n)}, ${k(n)} < P.K)`};`),
    corner: (row, kk) => (rows ? row * stride + kk / 8 : kk * stride + row / 8),
    order: rows === (name === 'x') ? 'row_major' : 'col_major',
  };
}

/** y = x w, or y = x w^T, by 16x16x16 products of subgroups of 32. */
export function matrixMatmul(options: MatrixMatmulOptions): FastKernel<ProductSizes> {
  const { x, w, bias, accumulate, tile: [tileR, tileM], depth = 64, whole } = options;
  const ofX = staging('x', x, tileR, DOWN, depth, whole);
  const ofW = staging('w', w, tileM, ACROSS, depth, whole);
  const [down, across] = [tileR / DOWN, tileM / ACROSS];
  const [rows, columns] = [down / 16, across / 16];
  const parts = each(rows * columns, (n) => `c${Math.floor(n / columns)}_${n % columns}`);
  const corner = (n: number): readonly [string, string] =>
    [`sm * ${down} + ${16 * Math.floor(n / columns)}`, `sn * ${across} + ${16 * (n % columns)}`];
  const products = each(depth / 16, (kk) => [
    ...each(rows, (i) => `a${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, ${ofX.order}>(&tile_x[sm], ${
      ofX.corner(16 * i, 16 * kk)}, ${ofX.stride});`),
    ...each(columns, (j) => `b = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, ${ofW.order}>(&tile_w[sn], ${
      ofW.corner(16 * j, 16 * kk)}, ${ofW.stride}); ${
      each(rows, (i) => `c${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b, c${i}_${j});`).join(' ')}`),
  ].join('\n'));
  const pending = wgsl`
    ${ofX.load}
    ${ofW.load}`;
  const direct = !bias && !accumulate;
  return fastKernel({
    name: `matrix matmul ${x.layout} ${x.stored} by ${w.layout} ${w.stored}, ${tileR}x${tileM}x${depth}`,
    header: `
      y[r,m] = sum_k x[r,k] w[m,k]${bias ? ' + bias[m]' : ''}${accumulate ? ' + y[r,m]' : ''}, factors in float16 and sums in float32
      x is ${x.layout === 'rows' ? '[R,K]' : '[K,R]'} ${x.stored}, w is ${w.layout === 'rows' ? '[M,K]' : '[K,M]'} ${w.stored}, y is [R,M] f32.
      A workgroup computes ${tileR}x${tileM} of y, each of its 8 subgroups ${down}x${across} in 16x16 accumulators. ${depth} of K at a time pass
      through workgroup memory as float16; the next ones are fetched to registers while these are multiplied.
      Tiles that lie wholly inside y are stored at once, others through workgroup memory.`,
    features: ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'],
    params: { R: 'u32', M: 'u32', K: 'u32' },
    inputs: { x: ofX.type, w: ofW.type, ...(bias ? { bias: 'f32' } : {}) },
    outputs: { y: 'f32' },
    locals: {
      tile_x: ['vec4u', ofX.length, DOWN], tile_w: ['vec4u', ofW.length, ACROSS], edge: ['f32', 256, THREADS / 32],
    },
    threads: THREADS,
    body: wgsl`
fn halves(a: vec4f, b: vec4f) -> vec4u {
  return vec4u(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}
fn put(row: u32, col: u32, sum: f32) {
  if (row < P.R && col < P.M) {
    y[row * P.M + col] = sum${bias ? ' + bias[col]' : ''}${accumulate ? ' + y[row * P.M + col]' : ''};
  }
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32, @builtin(subgroup_id) sg: u32) {
  let sm = sg / ${ACROSS};
  let sn = sg % ${ACROSS};
  let row0 = group.y * ${tileR};
  let col0 = group.x * ${tileM};
  ${parts.map((c) => `var ${c} = subgroup_matrix_result<f32, 16, 16>();`)}
  ${ofX.declare}
  ${ofW.declare}
  ${each(rows, (i) => `var a${i}: subgroup_matrix_left<f16, 16, 16>;`)}
  var b: subgroup_matrix_right<f16, 16, 16>;
  var k0 = 0u;
  ${pending.trim()}
  while (k0 < P.K) {
    workgroupBarrier();
    ${ofX.store}
    ${ofW.store}
    workgroupBarrier();
    k0 += ${depth};
    if (k0 < P.K) {
      ${pending.trim()}
    }
    ${products}
  }
  ${direct ? wgsl`if (row0 + ${tileR} <= P.R && col0 + ${tileM} <= P.M && P.M % 4 == 0) {
    ${parts.map((c, n) => `subgroupMatrixStore<row_major>(&y, (row0 + ${corner(n)[0]}) * P.M + col0 + ${corner(n)[1]}, ${c}, P.M);`)}
    return;
  }` : '// Every tile has something to add.'}
  ${parts.map((c, n) => [
    'workgroupBarrier();',
    `subgroupMatrixStore<row_major>(&edge[sg], 0, ${c}, 16);`,
    'workgroupBarrier();',
    `for (var i = t; i < 2048; i += ${THREADS}) {`,
    `  let sm = i / 256 / ${ACROSS}; let sn = i / 256 % ${ACROSS};`,
    `  put(row0 + ${corner(n)[0]} + i % 256 / 16, col0 + ${corner(n)[1]} + i % 16, edge[i / 256][i % 256]);`,
    '}',
  ].join('\n'))}
}`,
    workgroups: ({ R, M }) => [Math.ceil(M / tileM), Math.ceil(R / tileR), 1],
  });
}
