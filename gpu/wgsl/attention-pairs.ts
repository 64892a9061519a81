/**
 * What the kernels of attention's gradients share. All of them go through pairs of a query and a key, and need
 * S = q . k, most also P' = do . v: two products of tiles, from which weights of pairs follow.
 *
 * A workgroup owns a tile of rows (queries or keys), and the rows of the other kind come in tiles, one after the
 * other. Both lie in workgroup memory. Of its own rows, each thread takes four, `own` apart, which are the components
 * of a vec4f; of the others it takes `each`, `others` apart. So threads that are neighbours read rows that are.
 * @module
 */
import { DeviceError } from '../../src/core/errors.ts';
import type { WgslDevice } from './device.ts';
import { each, type Local, wgsl } from './fast/template.ts';

/** How work is split. */
export interface PairTile {
  /** Threads along the workgroup's own rows, a fourth of these rows. */
  readonly own: number;
  /** Threads along the other rows, and how many of these a thread takes. */
  readonly others: number;
  readonly each: number;
  /** The size of a head. */
  readonly d: number;
}

/** Tiles for GPUs, the fastest first, and the two for software. */
const SHAPES: readonly (readonly [own: number, others: number, each: number])[] = [
  [16, 16, 2], [8, 16, 2], [8, 8, 2], [8, 8, 1], [4, 8, 1], [4, 4, 1], [2, 2, 1], [1, 1, 1],
];
const SOFTWARE = { 4: [2, 2, 2], 16: [4, 4, 1] } as const;

/** Bytes that lists and spans take besides the tiles. */
const LISTS = 3072;

/** The tile for heads of size d that the device has workgroup memory for. */
export function pairTile(device: WgslDevice, d: number): PairTile {
  const shapes = device.width === 64 ? SHAPES : [SOFTWARE[device.width], ...SHAPES.slice(-2)];
  const found = shapes.find(([own, others, each]) =>
    bytes({ own, others, each, d }) + LISTS <= device.workgroupBytes && own * others <= 256);
  if (!found) throw new DeviceError(`heads of size ${d} are too long for the gradients of attention: workgroups have ${device.workgroupBytes} bytes on ${device.description}`);
  const [own, others, each] = found;
  return { own, others, each, d };
}

const bytes = (tile: PairTile): number =>
  16 * (2 * (ownRows(tile) + otherRows(tile)) * stride(tile) + 2 * otherRows(tile) * tile.own);

/** Makes a kernel once for each tile: to write it takes longer than to run it. */
export function oncePerTile<K>(make: (tile: PairTile) => K): (tile: PairTile) => K {
  const made = new Map<string, K>();
  return (tile) => {
    const key = `${tile.own} ${tile.others} ${tile.each} ${tile.d}`;
    let kernel = made.get(key);
    if (kernel === undefined) made.set(key, kernel = make(tile));
    return kernel;
  };
}

/** Rows of the two tiles, and threads. */
export const ownRows = ({ own }: PairTile): number => 4 * own;
export const otherRows = ({ others, each }: PairTile): number => others * each;
export const threads = ({ own, others }: PairTile): number => own * others;

/** Vectors of a row, and how far apart rows lie: oddly, so that equal columns of them are in different banks. */
const vectors = ({ d }: PairTile): number => Math.ceil(d / 4);
const stride = (tile: PairTile): number => vectors(tile) | 1;

/** The arrays of workgroup memory; `weights` counts those of weights. */
export function pairLocals(tile: PairTile, products: 1 | 2, weights: 0 | 1 | 2): Record<string, Local> {
  const [mine, theirs] = [ownRows(tile) * stride(tile), otherRows(tile) * stride(tile)];
  return {
    a: ['vec4f', mine], x: ['vec4f', theirs],
    ...(products === 2 && { b: ['vec4f', mine], y: ['vec4f', theirs] } as Record<string, Local>),
    ...(weights > 0 && { w: ['vec4f', otherRows(tile) * tile.own] } as Record<string, Local>),
    ...(weights > 1 && { u: ['vec4f', otherRows(tile) * tile.own] } as Record<string, Local>),
  };
}

/** How an array of rows of d numbers is declared. */
export const elementOf = (d: number): 'vec4f' | 'f32' => (d % 4 === 0 ? 'vec4f' : 'f32');

/** `four_of_NAME(row, c)`: columns 4 c to 4 c + 3, zeros beyond the last one. */
export function reader(name: string, { d }: PairTile): string {
  return d % 4 === 0 ? `fn four_of_${name}(row: u32, c: u32) -> vec4f { return ${name}[row * ${d / 4} + c]; }` : wgsl`
fn four_of_${name}(row: u32, c: u32) -> vec4f {
  var four = vec4f();
  for (var i = 0u; i < 4; i++) { if (4 * c + i < ${d}) { four[i] = ${name}[row * ${d} + 4 * c + i]; } }
  return four;
}`.trim();
}

/** Stores columns 4 c to 4 c + 3 of a row. */
export const writer = (name: string, { d }: PairTile): string => d % 4 === 0
  ? `fn put_${name}(row: u32, c: u32, four: vec4f) { ${name}[row * ${d / 4} + c] = four; }`
  : `fn put_${name}(row: u32, c: u32, four: vec4f) { for (var i = 0u; i < 4; i++) { if (4 * c + i < ${d}) { ${name}[row * ${d} + 4 * c + i] = four[i]; } } }`;

/** Brings rows of arrays to tiles of workgroup memory: `row` is WGSL of the row of an array for row r of the tile. */
export function bring(
  tile: PairTile, rows: 'own' | 'others', row: string, from: Readonly<Record<string, string>>,
): string {
  const count = rows === 'own' ? ownRows(tile) : otherRows(tile);
  const V = vectors(tile);
  return wgsl`
for (var n = t; n < ${count * V}; n += ${threads(tile)}) {
  let r = n / ${V};
  let c = n % ${V};
  let at = ${row};
  ${Object.entries(from).map(([to, name]) => `${to}[r * ${stride(tile)} + c] = four_of_${name}(at, c);`)}
}`.trim();
}

/**
 * The places of a thread: of the products, own rows `mine + own j` and others `theirs + others i`; and of the sums,
 * own rows `row + own j` and columns.
 */
export function places(tile: PairTile): string {
  return wgsl`
let mine = t % ${tile.own};
let theirs = t / ${tile.own};
let row = t / ${tile.others};
let across = t % ${tile.others};`.trim();
}

/** Sets `s0`.., vectors of q . k for the own rows of the thread with each other row, and `p0`.. of do . v. */
export function products(tile: PairTile, count: 1 | 2): string {
  const S = stride(tile);
  const pairs = (sum: string, mine: string, theirs: string): string[] => [
    ...each(4, (j) => `let ${mine}${j} = ${mine}[(mine + ${tile.own * j}) * ${S} + c];`),
    ...each(tile.each, (i) => `let ${theirs}${i} = ${theirs}[(theirs + ${tile.others * i}) * ${S} + c];`),
    ...each(tile.each, (i) => `${sum}${i} += vec4f(${each(4, (j) => `dot(${mine}${j}, ${theirs}${i})`).join(', ')});`),
  ];
  const sums = count === 2 ? ['s', 'p'] : ['s'];
  return wgsl`
${sums.map((sum) => each(tile.each, (i) => `var ${sum}${i} = vec4f();`).join(' '))}
for (var c = 0u; c < ${vectors(tile)}; c++) {
  ${pairs('s', 'a', 'x')}
  ${count === 2 ? pairs('p', 'b', 'y') : ''}
}`.trim();
}

/** How the columns of sums over the other rows are shared by the threads of a row. */
interface Columns {
  /** Columns of a thread, in groups of four. */
  readonly count: number;
  /** Where there are more threads than columns, so many share each: they take every `parts`-th of the other rows. */
  readonly parts: number;
  readonly at: (n: number) => string;
}

function columns(tile: PairTile): Columns {
  const V = vectors(tile);
  if (V < tile.others) return { count: 1, parts: Math.floor(tile.others / V), at: () => `(across % ${V})` };
  return { count: Math.ceil(V / tile.others), parts: 1, at: (n) => `(across + ${tile.others * n})` };
}

/** Declares sums over the other rows: `NAME0_0`.. of own row j and column n. */
export function declareSums(tile: PairTile, names: readonly string[]): string[] {
  return names.map((name) =>
    each(columns(tile).count, (n) => each(4, (j) => `var ${name}${j}_${n} = vec4f();`).join(' ')).join('\n'));
}

/**
 * Adds to the sums, for (name, weights, rows): name[j] += sum over the others o of weights[o][j] rows[o]. Where
 * `mixed`, some pairs are hidden; what has weight 0 is then left out, since it may be NaN.
 */
export function addSums(
  tile: PairTile, of: readonly (readonly [name: string, weights: string, rows: string])[],
): string {
  const { count, parts, at } = columns(tile);
  const V = vectors(tile);
  const body = (hidden: boolean): string[] => of.flatMap(([name, weights, rows]) => [
    `let ${weights}_o = ${weights}[o * ${tile.own} + row];`,
    ...each(count, (n) => [
      `let ${rows}${n} = ${rows}[o * ${stride(tile)} + min(${at(n)}, ${V - 1})];`,
      ...each(4, (j) => hidden
        ? `${name}${j}_${n} += select(vec4f(), ${weights}_o[${j}] * ${rows}${n}, ${weights}_o[${j}] != 0);`
        : `${name}${j}_${n} += ${weights}_o[${j}] * ${rows}${n};`),
    ].join('\n')),
  ]);
  const loop = (hidden: boolean): string => wgsl`
for (var o = across / ${parts > 1 ? V : tile.others}; o < ${otherRows(tile)}; o += ${parts}) {
  ${body(hidden)}
}`.trim();
  // Threads that have no column of their own repeat one, and add nothing.
  return wgsl`
if (${parts > 1 ? `across < ${parts * V}` : 'true'}) {
  if (mixed) {
    ${loop(true)}
  } else {
    ${loop(false)}
  }
}`.trim();
}

/** Stores sums: own row j of the thread is row `at(j)` of the array, if `present(j)`. */
export function storeSums(
  tile: PairTile, of: readonly (readonly [name: string, array: string])[], present: (j: number) => string,
  at: (j: number) => string,
): string {
  const { count, parts, at: column } = columns(tile);
  const V = vectors(tile);
  const whole = parts === 1 ? [] : of.flatMap(([name]) => each(4, (j) => wgsl`
workgroupBarrier();
w[t] = ${name}${j}_0;
workgroupBarrier();
if (across < ${V}) { ${each(parts - 1, (n) => `${name}${j}_0 += w[t + ${(n + 1) * V}];`)} }`.trim()));
  return wgsl`
${whole}
${each(4, (j) => wgsl`
if (${present(j)}) {
  ${of.map(([name, array]) => each(count, (n) =>
    `if (${V < tile.others ? 'across' : column(n)} < ${V}) { put_${array}(${at(j)}, ${column(n)}, ${name}${j}_${n}); }`).join('\n'))}
}`.trim())}`.trim();
}
