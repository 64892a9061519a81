/**
 * Products of a few rows with a weight, as in decoding: bound by reading the weight once.
 * @module
 */
import type { ProductSizes } from './matmul.ts';
import { eight, ONE, one, type Stored } from './stored.ts';
import { each, type Element, fastKernel, type FastKernel, folded, wgsl } from './template.ts';

export interface VectorOptions {
  readonly stored: Stored;
  /** Rows of x, at most 8: the weight is read once for all of them. */
  readonly rows: number;
  /** K is a multiple of 8 (f32: of 4), so that 16 bytes of the weight are read at once. */
  readonly aligned: boolean;
  /** Sums over the lanes of subgroups, whose size must always be 32; otherwise through workgroup memory. */
  readonly subgroups: boolean;
  readonly bias: boolean;
  /** Adds to what y holds instead of overwriting it. */
  readonly accumulate: boolean;
}

const THREADS = 256;
/** Invocations that work on the same elements of M, a team. */
const LANES = 32;
const TEAMS = THREADS / LANES;
/** Reads of the weight that an invocation has in flight. */
const UNROLL = 8;

/** How a row is read, in pieces of `width` elements: types, piece `at`, and its product with that piece of x. */
interface Reads {
  readonly width: number;
  readonly w: Element;
  readonly x: Element;
  readonly raw: Element;
  readonly piece: string;
  readonly product: string;
}

function reads({ stored, aligned }: VectorOptions): Reads {
  if (!aligned) {
    return { width: 1, w: ONE[stored], x: 'f32', raw: 'f32', piece: one(stored, 'w', 'at'), product: 'raw * x[at]' };
  }
  if (stored === 'f32') {
    return { width: 4, w: 'vec4f', x: 'vec4f', raw: 'vec4f', piece: 'w[at]', product: 'dot(raw, x[at])' };
  }
  const [low, high] = eight(stored, 'raw');
  return {
    width: 8, w: 'vec4u', x: 'vec4f', raw: 'vec4u', piece: 'w[at]',
    product: `dot(${low}, x[2 * at]) + dot(${high}, x[2 * at + 1])`,
  };
}

/** y = x w^T for x [R,K] of 1 to 8 rows. */
export function vectorProduct(options: VectorOptions): FastKernel<ProductSizes> {
  const { stored, rows, subgroups, bias, accumulate } = options;
  const { width, w, x, raw, piece, product } = reads(options);
// With many rows the reads of x take longest: two m share them.
  const own = rows < 4 ? 1 : 2;
  const ahead = UNROLL / own;
  const outputs = TEAMS * own;
  const all = (item: (r: number, a: number) => string): string[] => each(rows, (r) => each(own, (a) => item(r, a)).join(' '));
  const added = (m: string, at: string): string => `${bias ? ` + bias[${m}]` : ''}${accumulate ? ` + y[${at}]` : ''}`;
  const put = (r: number, a: number): string => {
    const [m, at] = [`m + ${a}`, `${r} * P.M + m + ${a}`];
    return `if (lane == 0 && ${m} < P.M) { y[${at}] = s${r}_${a}${added(m, at)}; }`;
  };
  const sums = subgroups
    ? wgsl`
  ${all((r, a) => `s${r}_${a} = subgroupAdd(s${r}_${a});`)}
  ${all(put)}`
    : wgsl`
  ${all((r, a) => `part[(${r} * ${outputs} + team * ${own} + ${a}) * ${LANES + 1} + lane] = s${r}_${a};`)}
  workgroupBarrier();
  if (t < ${rows * outputs}) {
    var sum = 0f;
    for (var i = 0u; i < ${LANES}; i++) { sum += part[t * ${LANES + 1} + i]; }
    let m = first + t % ${outputs};
    let at = t / ${outputs} * P.M + m;
    if (m < P.M) { y[at] = sum${added('m', 'at')}; }
  }`;
  return fastKernel({
    name: `vector product ${stored}, ${rows} rows${subgroups ? ', subgroups' : ''}`,
    header: `
      y[r,m] = sum_k x[r,k] w[m,k]${bias ? ' + bias[m]' : ''}${accumulate ? ' + y[r,m]' : ''} for ${rows} rows r
      x is [${rows},K] f32, w is [M,K] ${stored}, y is [${rows},M] f32.
      ${LANES} invocations share ${own === 1 ? 'an m' : `${own} m`}: each takes one in ${LANES} of the pieces of ${width} k, with ${UNROLL} reads of w in flight. Their sums
      meet ${subgroups ? 'in a subgroup' : 'in workgroup memory'}. A workgroup has ${outputs} m.`,
    features: subgroups ? ['subgroups'] : [],
    params: { M: 'u32', K: 'u32' },
    inputs: { x, w, ...(bias ? { bias: 'f32' } : {}) },
    outputs: { y: 'f32' },
    locals: subgroups ? {} : { part: ['f32', rows * outputs * (LANES + 1)] },
    threads: THREADS,
    body: wgsl`
fn piece(at: u32) -> ${raw} { return ${piece}; }
fn product(raw: ${raw}, at: u32) -> f32 { return ${product}; }
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
  ${subgroups ? '@builtin(subgroup_id) team: u32, @builtin(subgroup_invocation_id) lane: u32' : '@builtin(local_invocation_index) t: u32'}
) {
  ${subgroups ? '// The size of subgroups is 32.' : `let team = t / ${LANES}; let lane = t % ${LANES};`}
  let first = (group.y * groups.x + group.x) * ${outputs};
  let m = first + team * ${own};
  let n = P.K / ${width};
  ${each(own, (a) => `let row${a} = min(m + ${a}, P.M - 1) * n;`)}
  ${all((r, a) => `var s${r}_${a} = 0f;`)}
  for (var i = lane; i < n; i += ${LANES * ahead}) {
    ${each(ahead, (u) => each(own, (a) => `let raw${u}_${a} = piece(row${a} + min(i + ${u * LANES}, n - 1));`).join(' '))}
    ${each(ahead, (u) => all((r, a) => `s${r}_${a} += select(0, product(raw${u}_${a}, ${r} * n + min(i + ${u * LANES}, n - 1)), i + ${u * LANES} < n);`).join('\n'))}
  }
  ${sums.trim().split('\n').map((line) => line.replace(/^ {2}/, ''))}
}`,
    workgroups: ({ M }) => folded(Math.ceil(M / outputs)),
  });
}
