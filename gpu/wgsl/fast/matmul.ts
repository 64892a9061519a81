/**
 * Matrix products in core WGSL: float32 arithmetic, tiles in workgroup memory, tiles of registers.
 * @module
 */
import { FOUR, four, ONE, one, type Stored } from './stored.ts';
import { each, type Element, fastKernel, type FastKernel, wgsl } from './template.ts';

/** One factor of a product. */
export interface Factor {
  readonly stored: Stored;
  /**
   * `rows`: x is [R,K], w is [M,K], so what is summed over lies together. `columns`: x is [K,R], w is [K,M].
   */
  readonly layout: 'rows' | 'columns';
  /** The last dimension is a multiple of 4, so that four elements are read at once. */
  readonly aligned: boolean;
}

/** Sizes of y [R,M], summed over K. */
export interface ProductSizes {
  readonly R: number;
  readonly M: number;
  readonly K: number;
}

export interface MatmulOptions {
  readonly x: Factor;
  readonly w: Factor;
  /** Adds bias [M]. */
  readonly bias: boolean;
  /** Adds to what y holds instead of overwriting it. */
  readonly accumulate: boolean;
  /** Rows and columns of y per workgroup. 64 serves small products, and devices with 16 KiB of workgroup memory. */
  readonly tile: 64 | 128;
}

/** What is summed over at a time. */
const DEPTH = 16;
const THREADS = 256;

/** How half of the invocations bring [tile, DEPTH] of a factor to workgroup memory, where it lies [DEPTH, tile]. */
interface Staging {
  /** A function that reads four elements. */
  readonly fetch: string;
  /** Reads the part from k0 on into u0..u3. `s` counts the invocations of this half. */
  readonly load: readonly string[];
  /** Writes u0..u3 to workgroup memory. */
  readonly store: readonly string[];
}

function staging(name: 'x' | 'w', { stored, layout, aligned }: Factor, tile: number): Staging {
  const [extent, first] = name === 'x' ? ['P.R', 'row0'] : ['P.M', 'col0'];
  const [across, stride] = [tile / 4, tile / 4 + 1];
  const rows = layout === 'rows';
  // Rows past the end repeat the last one, and their sums are not stored. Past K there must be zeros: by a select,
  // since what lies there may be NaN.
  const elements = rows
    ? each(4, (i) => `select(0, ${one(stored, name, `r * P.K + min(k + ${i}, P.K - 1)`)}, k + ${i} < P.K)`)
    : each(4, (i) => one(stored, name, `min(k, P.K - 1) * ${extent} + min(r + ${i}, ${extent} - 1)`));
  const fetch = aligned
    ? wgsl`
fn fetch_${name}(r: u32, k: u32) -> vec4f {
  let raw = ${name}[select(0, (${rows ? 'r * P.K + k' : `k * ${extent} + r`}) / 4, k < P.K)];
  return select(vec4f(), ${four(stored, 'raw')}, k < P.K);
}`
    : wgsl`
fn fetch_${name}(r: u32, k: u32) -> vec4f {
  return select(vec4f(), vec4f(${elements.join(', ')}), k < P.K);
}`;
  if (rows) {
    return {
      fetch,
      load: each(4, (i) => `u${i} = fetch_${name}(min(${first} + s / 4 * 4 + ${i}, ${extent} - 1), k0 + s % 4 * 4);`),
      store: each(4, (i) => `tile_${name}[(s % 4 * 4 + ${i}) * ${stride} + s / 4] = vec4f(u0[${i}], u1[${i}], u2[${i}], u3[${i}]);`),
    };
  }
  const unit = (n: number): readonly [row: string, depth: string] =>
    [`(s + ${n * tile}) % ${across}`, `(s + ${n * tile}) / ${across}`];
  const row = (n: number): string => aligned ? `min(${first} + ${unit(n)[0]} * 4, ${extent} - 4)` : `${first} + ${unit(n)[0]} * 4`;
  return {
    fetch,
    load: each(4, (n) => `u${n} = fetch_${name}(${row(n)}, k0 + ${unit(n)[1]});`),
    store: each(4, (n) => `tile_${name}[${unit(n)[1]} * ${stride} + ${unit(n)[0]}] = u${n};`),
  };
}

/** y = x w, or y = x w^T: see Factor. Sums are float32, in the order of K. */
export function matmul(options: MatmulOptions): FastKernel<ProductSizes> {
  const { x, w, bias, accumulate, tile } = options;
  const blocks = tile / 64;
  const stride = tile / 4 + 1;
  const [ofX, ofW] = [staging('x', x, tile), staging('w', w, tile)];
  const both = (part: 'load' | 'store'): string[] => [
    `if (t < ${tile}) {`, ...ofX[part].map((line) => `  ${line}`),
    `} else if (t >= 128 && t < ${128 + tile}) {`, ...ofW[part].map((line) => `  ${line}`), '}',
  ];
  const kind = (factor: Factor): Element => (factor.aligned ? FOUR : ONE)[factor.stored];
  return fastKernel({
    name: `matmul ${x.layout} ${x.stored} by ${w.layout} ${w.stored}, ${tile}x${tile}`,
    header: `
      y[r,m] = sum_k x[r,k] w[m,k]${bias ? ' + bias[m]' : ''}${accumulate ? ' + y[r,m]' : ''}
      x is ${x.layout === 'rows' ? '[R,K]' : '[K,R]'} ${x.stored}, w is ${w.layout === 'rows' ? '[M,K]' : '[K,M]'} ${w.stored}, y is [R,M] f32.
      A workgroup of 16x16 invocations computes ${tile}x${tile} of y, an invocation ${4 * blocks}x${4 * blocks} of them in registers.
      ${DEPTH} of K at a time pass through workgroup memory, transposed, half of the
      invocations fetching x and half w; the next ones are fetched while these are multiplied.`,
    params: { R: 'u32', M: 'u32', K: 'u32' },
    inputs: { x: kind(x), w: kind(w), ...(bias ? { bias: 'f32' } : {}) },
    outputs: { y: 'f32' },
    locals: { tile_x: ['vec4f', DEPTH * stride], tile_w: ['vec4f', DEPTH * stride] },
    threads: THREADS,
    body: wgsl`
${ofX.fetch}
${ofW.fetch}
fn put(row: u32, col: u32, sum: vec4f) {
  if (row >= P.R) { return; }
  for (var i = 0u; i < 4; i++) {
    if (col + i < P.M) {
      y[row * P.M + col + i] = sum[i]${bias ? ' + bias[col + i]' : ''}${accumulate ? ' + y[row * P.M + col + i]' : ''};
    }
  }
}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let row0 = group.y * ${tile};
  let col0 = group.x * ${tile};
  let tx = t % 16;
  let ty = t / 16;
  let s = t % 128;
  var u0: vec4f; var u1: vec4f; var u2: vec4f; var u3: vec4f;
  ${each(4 * blocks, (i) => each(blocks, (c) => `var s${i}_${c} = vec4f();`).join(' '))}
  var k0 = 0u;
  ${both('load')}
  while (k0 < P.K) {
    workgroupBarrier();
    ${both('store')}
    workgroupBarrier();
    k0 += ${DEPTH};
    if (k0 < P.K) {
      ${both('load')}
    }
    for (var k = 0u; k < ${DEPTH}; k++) {
      ${each(blocks, (b) => `let a${b} = tile_x[k * ${stride} + ${16 * b} + ty]; let b${b} = tile_w[k * ${stride} + ${16 * b} + tx];`)}
      ${each(4 * blocks, (i) => each(blocks, (c) => `s${i}_${c} += a${Math.floor(i / 4)}[${i % 4}] * b${c};`).join(' '))}
    }
  }
  ${each(4 * blocks, (i) => each(blocks, (c) =>
    `put(row0 + ${64 * Math.floor(i / 4)} + ty * 4 + ${i % 4}, col0 + ${64 * c} + tx * 4, s${i}_${c});`).join(' '))}
}`,
    workgroups: ({ R, M }) => [Math.ceil(M / tile), Math.ceil(R / tile), 1],
  });
}
