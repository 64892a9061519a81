/**
 * Parts of a layer for a few rows, as in decoding, where reading the weights once is nearly all the work: a product and
 * what surrounds it in one kernel.
 *
 * | kind | computes |
 * |---|---|
 * | `rotate` | q, k and v of normed rows; q and k rotated |
 * | `gate` | silu(W x) * (V x) of normed rows |
 * | `add` | W x + y |
 * | `merge` | W x + y, where x is attention whose parts are put together here |
 * | `plain` | W x of normed rows |
 * @module
 */
import {
  factorFunction, merge, type MergedParts, mergeFunctions, norm, normArrays, stage,
} from './few-rows-inputs.ts';
import { ELEMENT, type StoredDtype } from './stored.ts';
import { type Kernel, kernel } from './template.ts';

export interface FewRows {
  readonly kind: 'rotate' | 'gate' | 'add' | 'merge' | 'plain';
  /** For `merge`. */
  readonly parts?: MergedParts;
  /** The dtype of all weights. */
  readonly stored: StoredDtype;
  /** Rows are read in pieces of 16 bytes of a weight, not number by number; see `widthOf`. */
  readonly wide: boolean;
  /** Pieces of a row that a lane has in flight. */
  readonly unroll: number;
  /** The pieces of a row are a multiple of what all lanes have in flight. */
  readonly whole: boolean;
  /** How many pieces of the first turn every lane has, at least. */
  readonly full: number;
  /** Subgroups that share an output, or a pair of them; 1 without subgroups. */
  readonly split: number;
  /** Rows of x. */
  readonly rows: number;
  /** For `rotate`: adds biases to q, k and v. */
  readonly bias: boolean;
  /** Sums over the lanes of subgroups, whose size must always be 32; otherwise through workgroup memory. */
  readonly subgroups: boolean;
}

/** Threads of a workgroup that puts parts together, with subgroups: few such workgroups read the parts less often. */
export const MERGE_THREADS = 512;
/** Threads of a workgroup. Some drivers take seconds to compile more without subgroups. */
const threadsOf = ({ subgroups, kind }: Pick<FewRows, 'subgroups' | 'kind'>): number =>
  (!subgroups ? 64 : kind === 'merge' ? MERGE_THREADS : 256);
/** Threads of a subgroup, or in its place. */
export const LANES = 32;
/** Outputs, or pairs of them, that a workgroup makes. */
export const unitsOf = (options: Pick<FewRows, 'subgroups' | 'kind' | 'split'>): number =>
  threadsOf(options) / LANES / options.split;
/** Bytes of workgroup memory that normed rows may take. */
export const ROW_BYTES: number = 12 * 1024;

const each = (count: number, piece: (n: number) => string, between = ' '): string =>
  Array.from({ length: count }, (_, n) => piece(n)).join(between);

/** Numbers of a piece. */
export const widthOf = (stored: StoredDtype, K: number): number =>
  stored === 'f32' ? (K % 4 === 0 ? 4 : 1) : K % 8 === 0 ? 8 : 1;

/** How weights and rows are read: types, functions, and the product of a piece. */
function readers({ stored, wide }: FewRows) {
  const width = !wide ? 1 : stored === 'f32' ? 4 : 8;
  if (width === 1) {
    // The one function reads element n of any array of weights.
    return {
      width, x: 'f32', table: 'u32',
      piece: (w: string, n: string) => `element_of_${w}(${n})`,
      define: (w: string) => ELEMENT[stored].replaceAll('table', w).replace('fn element', `fn element_of_${w}`),
      product: (raw: string, at: (n: string) => string, i: string) => `${raw} * ${at(i)}`,
    };
  }
  const halves = stored === 'f16'
    ? ['vec4f(unpack2x16float(W.x), unpack2x16float(W.y))', 'vec4f(unpack2x16float(W.z), unpack2x16float(W.w))']
    : ['bitcast<vec4f>(vec4u(W.x << 16u, W.x & 0xffff0000u, W.y << 16u, W.y & 0xffff0000u))',
      'bitcast<vec4f>(vec4u(W.z << 16u, W.z & 0xffff0000u, W.w << 16u, W.w & 0xffff0000u))'];
  return {
    width, x: 'vec4f', table: width === 4 ? 'vec4f' : 'vec4u',
    piece: (w: string, n: string) => `${w}[${n}]`,
    define: () => '',
    product: (raw: string, at: (n: string) => string, i: string) => width === 4 ? `dot(${raw}, ${at(i)})`
      : halves.map((half, n) => `dot(${half.replaceAll('W', raw)}, ${at(`2u * (${i}) + ${n}u`)})`).join(' + '),
  };
}

/**
 * How the pieces of a row are shared out. Who has no norm to wait for gains by more subgroups for an output: each lane
 * then has two or three pieces, all of which are in flight at once.
 */
export function sharing(
  kind: FewRows['kind'], pieces: number, subgroups: boolean,
): Pick<FewRows, 'split' | 'unroll' | 'full' | 'whole'> {
  const two = kind === 'rotate' || kind === 'gate';
  const split = subgroups && kind === 'add' ? [8, 4, 2].find((n) => pieces >= 2 * LANES * n) ?? 1 : 1;
  const own = pieces / (LANES * split);
  // Without subgroups the kernel is for any device, and short, since some drivers compile slowly.
  const unroll = !subgroups ? (two ? 1 : 2) : split > 1 && own <= 8 ? Math.ceil(own) : two ? 4
    : [8, 12, 11, 10, 9].find((n) => own % n === 0) ?? 8;
  return { split, unroll, full: Math.min(unroll, Math.floor(own)), whole: own % unroll === 0 };
}

/**
 * The sums of a unit over one or two rows of the weights. The pieces of the first turn are read `early`, before the
 * rows are normed: reading weights is what takes time, and does not wait for that.
 */
function loop(
  options: FewRows, names: readonly [string, string?], rows: readonly string[],
): { readonly early: string; readonly late: string; readonly pieces: string } {
  const { piece, product, table } = readers(options);
  const { whole, full, unroll, subgroups, split } = options;
  const across = LANES * split;
  const at = (r: number) => (n: string): string => `row_of(${r}u, ${n})`;
  const isWhole = (u: number, first: boolean): boolean => whole || (first && u < full);
  const place = (i: string, u: number, first: boolean): string => {
    const exact = `${i} + ${u * across}u`;
    return isWhole(u, first) ? exact : `min(${exact}, p.pieces - 1u)`;
  };
  const load = (i: string, first: boolean): string => names.map((w, n) => each(unroll, (u) =>
    `${'ab'[n]}${u} = ${piece(w!, `(${rows[n]}) * p.pieces + ${place(i, u, first)}`)};`)).join('\n    ');
  const add = (i: string, first: boolean): string => each(unroll, (u) => each(options.rows, (r) => names.map((_, n) => {
    // Beyond the last piece its product is left out by a select: a branch would keep the reads of x apart.
    const term = product(`${'ab'[n]}${u}`, at(r), place(i, u, first));
    return `${'st'[n]}${r} += ${isWhole(u, first) ? term : `select(0.0, ${term}, ${i} + ${u * across}u < p.pieces)`};`;
  }).join(' ')), '\n    ');
  const stride = `${across * unroll}u`;
  const kind = options.wide ? table : 'f32';
  const pieces = names.map((_, n) => each(unroll, (u) => `var ${'ab'[n]}${u}: ${kind};`)).join(' ');
  if (!subgroups) {
    return { early: '', pieces, late: `for (var i = lane; i < p.pieces; i += ${stride}) {
    ${load('i', false)}
    ${add('i', false)}
  }` };
  }
  return { early: load('own_piece', true), pieces, late: `${add('own_piece', true)}
  for (var i = own_piece + ${stride}; i < p.pieces; i += ${stride}) {
    ${load('i', false)}
    ${add('i', false)}
  }` };
}

const made = new Map<number, Kernel>();
const [KINDS, STORED] = [['rotate', 'gate', 'add', 'plain'], ['f32', 'f16', 'bf16']];
const merging = new Map<string, Kernel>();

/** The kernel of `options`. The same options give the same object. */
export function fewRows(options: FewRows): Kernel {
  const { kind, stored, rows, wide, whole, full, unroll, split, bias, subgroups } = options;
  if (options.parts) return known(merging, JSON.stringify(options), options);
  // A number, since this is asked for every product of every token.
  const flags = +wide * 8 + +whole * 4 + +bias * 2 + +subgroups;
  const counts = ((rows * 16 + full) * 16 + split) * 16 + unroll;
  const key = ((counts * 4 + KINDS.indexOf(kind)) * 4 + STORED.indexOf(stored)) * 16 + flags;
  return known(made, key, options);
}

function known<K>(all: Map<K, Kernel>, key: K, options: FewRows): Kernel {
  let found = all.get(key);
  if (!found) all.set(key, found = build(options));
  return found;
}

function build(options: FewRows): Kernel {
  const { kind, rows: R, stored, wide, whole, unroll, bias, subgroups, split } = options;
  const { parts } = options;
  const normed = kind !== 'add' && kind !== 'merge';
  const [THREADS, UNITS] = [threadsOf(options), unitsOf(options)];
  const two = kind === 'rotate' || kind === 'gate';
  const { x, table, define } = readers(options);
  const weights = kind === 'rotate' ? ['wq', 'wk', 'wv'] : kind === 'gate' ? ['wg', 'wu'] : ['w'];
  const inputs: (readonly [string, string])[] = [
    ...(parts ? [['sums', 'vec4f'], ['stats', 'vec2f'], ['types', 'i32']] as const : [['x', x] as const]), ...(normed ? [['gain', x] as const] : []), ...weights.map((name) => [name, table] as const),
    ...(kind === 'rotate' ? [['cosine', 'f32'], ['sine', 'f32']] as const : []),
    ...(bias ? [['bq', 'f32'], ['bk', 'f32'], ['bv', 'f32']] as const : []),
    ...(kind === 'add' || parts ? [['y', 'f32'] as const] : []),
  ];
  const outputs = kind === 'rotate' ? [['hidden', x], ['q', 'f32'], ['k', 'f32'], ['v', 'f32']]
    : [['out', 'f32'], ...(parts ? [['attended', 'vec4f'], ['heads', 'u32']] : [])];
  const bindings = [...inputs.map(([name, type]) => [name, type, 'read'] as const),
    ...outputs.map(([name, type]) => [name, type, 'read_write'] as const)];
  const body = BODIES[kind](options);
  const sums = two ? 2 : 1;
  const all = R * sums;
  const letters = two ? ['s', 't'] : ['s'];
  const reduced = subgroups
    ? `${each(R, (r) => letters.map((s) => `${s}${r} = subgroupAdd(${s}${r});`).join(' '))}${split === 1 ? '' : `
  if (lane == 0u) { ${each(R, (r) => letters.map((s, n) => `shares[team * ${all}u + ${r * sums + n}u] = ${s}${r};`).join(' '))} }
  workgroupBarrier();
  ${each(R, (r) => letters.map((s, n) => `${s}${r} = ${each(split, (i) => `shares[(team / ${split}u * ${split}u + ${i}u) * ${all}u + ${r * sums + n}u]`, ' + ')};`).join(' '))}`}
  ${normed ? each(R, (r) => `{ let factor = factor_of(${r}u); ${letters.map((s) => `${s}${r} *= factor;`).join(' ')}${kind === 'rotate' ? `
    for (var n = thread; n < select(0u, p.vectors, block == 0u); n += ${THREADS}u) { hidden[${r}u * p.vectors + n] = normed[${r}u * p.vectors + n] * factor; }` : ''} }`, '\n  ') : ''}`
    : `${each(R, (r) => letters.map((s, n) => `partial[(team * ${all}u + ${r * sums + n}u) * ${LANES + 1}u + lane] = ${s}${r};`).join(' '))}
  workgroupBarrier();
  if (lane < ${all}u) {
    var total = 0.0;
    for (var n = 0u; n < ${LANES}u; n++) { total += partial[(team * ${all}u + lane) * ${LANES + 1}u + n]; }
    totals[team * ${all}u + lane] = total;
  }
  workgroupBarrier();
  ${each(R, (r) => letters.map((s, n) => `${s}${r} = totals[team * ${all}u + ${r * sums + n}u];`).join(' '))}`;
  return kernel(`few rows, ${kind}, ${stored} rows=${R}${wide ? ' wide' : ''}${whole ? ' whole' : ''}${split > 1 ? ` split ${split}` : ''}${unroll > 8 ? ` ${unroll} in flight` : ''}${bias ? ' bias' : ''}${subgroups ? ' subgroups' : ''}`, `
${HEADERS[kind]}
// ${LANES * split} lanes share ${two ? 'a pair of outputs' : 'an output'}, for all ${R} rows of x [${R},K]; a workgroup has ${UNITS} of these units. Weights are ${stored}.
${subgroups ? 'enable subgroups;\ndiagnostic(off, subgroup_uniformity);' : ''}
struct Params { units: u32, M: u32, pieces: u32, vectors: u32, heads: u32, groups: u32, half: u32, N: u32, epsilon: f32, small: f32${parts ? ', parts: u32, parity: u32, first: u32' : ''} }
@group(0) @binding(0) var<uniform> p: Params;
${bindings.map(([name, type, access], n) => `@group(0) @binding(${n + 1}) var<storage, ${access}> ${name}: array<${type}>;`).join('\n')}
${weights.map(define).join('\n')}
${normed || parts ? (parts || subgroups ? `var<workgroup> normed: array<${x}, ${ROW_BYTES / (x === 'f32' ? 4 : 16)}>;` : `var<workgroup> factors: array<vec2f, ${R}>;`) : ''}
${normed ? `${normArrays(R, subgroups, THREADS)}
const LARGE = 1e15;                  // as in the kernel 'rms norm'${subgroups ? `\n${factorFunction(x, THREADS)}` : ''}` : ''}
${parts ? mergeFunctions(parts) : ''}
fn row_of(r: u32, n: u32) -> ${x} {
  return ${parts || (normed && subgroups) ? 'normed[r * p.vectors + n]' : normed ? 'x[r * p.vectors + n] * factors[r].x * factors[r].y * gain[n]' : 'x[r * p.vectors + n]'};
}
${split > 1 ? `var<workgroup> shares: array<f32, ${all * THREADS / LANES}>;` : ''}
${subgroups ? '' : `var<workgroup> partial: array<f32, ${UNITS * all * (LANES + 1)}>;\nvar<workgroup> totals: array<f32, ${UNITS * all}>;`}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) thread: u32${subgroups ? ', @builtin(subgroup_id) team: u32, @builtin(subgroup_invocation_id) lane: u32' : ''}) {
  ${subgroups ? '' : `let team = thread / ${LANES}u;\n  let lane = thread % ${LANES}u;`}
  let block = group.y * groups.x + group.x;
  let unit = block * ${UNITS}u + team${split > 1 ? ` / ${split}u` : ''};
  let own_piece = lane${split > 1 ? ` + team % ${split}u * ${LANES}u` : ''};
  ${body.pieces}
  ${body.early}
  ${parts ? merge(parts, R, THREADS) : !normed ? '' : subgroups ? stage(R, x, THREADS) : norm(R, x, kind === 'rotate', THREADS)}
  ${each(R, (r) => letters.map((s) => `var ${s}${r} = 0.0;`).join(' '))}
  ${body.late}
  ${reduced}
  if (unit < p.units${split > 1 ? ` && team % ${split}u == 0u` : ''}) {
    ${each(R, (r) => `if (lane == ${r}u) { ${STORES[kind](r, bias)} }`, '\n    ')}
  }
}`);
}

const HEADERS = {
  rotate: `// q, k, v = n Wqᵀ, n Wkᵀ, n Wvᵀ for n = rms norm of x, which is hidden. The halves (a, c) of a head of q and k become
// (a cos - c sin, c cos + a sin), with cos and sin [rows,d/2]. A unit is a pair (a, c): heads of q, then of k, then of v.`,
  gate: '// out[r, m] = silu(n[r] . Wg[m]) * (n[r] . Wu[m]) for n = rms norm of x.',
  add: '// out[r, m] = y[r, m] + x[r] . W[m].',
  merge: '// out[r, m] = y[r, m] + x[r] . W[m] for rows x, also stored as `attended`, of the parts of attention; see `merge of parts`.',
  plain: '// out[r, m] = n[r] . W[m] for n = rms norm of x.',
} as const;

/** Which unit, the pieces in flight, what is read early, and the sums. */
const BODIES: Readonly<Record<FewRows['kind'], (options: FewRows) => ReturnType<typeof loop>>> = {
  rotate: (options) => {
    const parts = ['wq', 'wk', 'wv'].map((w) => loop(options, [w, w], ['first', 'first + p.half']));
    const branches = (name: 'early' | 'late'): string => {
      const [q, k, v] = parts.map((part) => part[name].replaceAll('\n', '\n  '));
      return q && `if (kind == 0u) {
    ${q}
  } else if (kind == 1u) {
    ${k}
  } else {
    ${v}
  }`;
    };
    const pieces = `let own = min(unit, p.units - 1u);
  let ofQ = p.heads * p.half;
  let ofK = p.groups * p.half;
  let kind = u32(own >= ofQ) + u32(own >= ofQ + ofK);
  let pair = own - select(select(0u, ofQ, kind == 1u), ofQ + ofK, kind == 2u);
  let column = pair % p.half;
  let head = pair / p.half;
  let first = head * 2u * p.half + column;
  ${parts[0].pieces}`;
    return { pieces, early: branches('early'), late: branches('late') };
  },
  gate: (options) => ofUnit(loop(options, ['wg', 'wu'], ['m', 'm'])),
  add: (options) => ofUnit(loop(options, ['w'], ['m'])),
  merge: (options) => ofUnit(loop(options, ['w'], ['m'])),
  plain: (options) => ofUnit(loop(options, ['w'], ['m'])),
};

const ofUnit = ({ pieces, ...rest }: ReturnType<typeof loop>): ReturnType<typeof loop> =>
  ({ pieces: `let m = min(unit, p.units - 1u);\n  ${pieces}`, ...rest });

const STORES: Readonly<Record<FewRows['kind'], (r: number, bias: boolean) => string>> = {
  rotate: (r, bias) => {
    const store = (name: string, heads: string, rotates: boolean): string => {
      const at = `(((${r}u / p.N) * ${heads} + head) * p.N + ${r}u % p.N) * 2u * p.half + column`;
      const added = bias ? `let a = s${r} + b${name}[first]; let c = t${r} + b${name}[first + p.half];` : `let a = s${r}; let c = t${r};`;
      return `{ ${added} let at = ${at}; ${rotates
        ? `${name}[at] = a * cosine[${r}u * p.half + column] - c * sine[${r}u * p.half + column]; ${name}[at + p.half] = c * cosine[${r}u * p.half + column] + a * sine[${r}u * p.half + column];`
        : `${name}[at] = a; ${name}[at + p.half] = c;`} }`;
    };
    return `if (kind == 0u) ${store('q', 'p.heads', true)} else if (kind == 1u) ${store('k', 'p.groups', true)} else ${store('v', 'p.groups', false)}`;
  },
  gate: (r) => `out[${r}u * p.M + m] = s${r} / (1.0 + exp(-s${r})) * t${r};`,
  add: (r) => `out[${r}u * p.M + m] = y[${r}u * p.M + m] + s${r};`,
  merge: (r) => `out[${r}u * p.M + m] = y[${r}u * p.M + m] + s${r};`,
  plain: (r) => `out[${r}u * p.M + m] = s${r};`,
};
