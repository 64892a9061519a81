/**
 * What the kernels of attention's gradients by matrix units share, as attention-pairs.ts does for those without.
 *
 * A workgroup owns strips of 16 rows (queries or keys), and the rows of the other kind come 32 at a time. Two subgroups
 * share a strip: subgroup sg takes strip sg / 2, with the 16 others of half sg % 2 in the products S = q . k and
 * P' = do . v, and with half sg % 2 of the columns in what is summed. Own rows stay in registers as left factors; the
 * other rows and the weights of pairs lie in workgroup memory as float16, in parts whose places are constants, so that
 * bounds need no checks. Lines are padded by 8 halves, so that those of a part lie in different banks.
 * @module
 */
import { each, type Local, wgsl } from './fast/template.ts';
import { HALVES, type Units } from './fast/units.ts';

/** How work is split. */
export interface UnitTile {
  readonly on: Units;
  /** The size of a head. */
  readonly d: number;
  /** Strips of own rows. */
  readonly strips: 2 | 4;
}

export const OTHERS = 32;
export const ownOf = ({ strips }: UnitTile): number => 16 * strips;
export const threadsOf = ({ strips }: UnitTile): number => 64 * strips;

/** Sizes of heads that fit: halves of rows are whole parts, and workgroup memory has room. */
export const fitsUnits = (d: number): boolean => d % 32 === 0 && d <= 128;

/** Elements of eight halves: of a row, of half a row with padding, and of a line of weights with padding. */
const width = (d: number): number => d / 8;
const stride = (d: number): number => d / 16 + 1;
const WEIGHTS = OTHERS / 8 + 1;
/** How far apart lines of S and P' lie. */
const spread = (d: number): number => (d > 64 ? 16 : 20);

/** The arrays of workgroup memory; `weights` counts those of weights. */
export function unitLocals({ d, strips }: UnitTile, weights: 1 | 2): Record<string, Local> {
  const rows: Local = ['vec4u', 16 * stride(d), 4]; // [2 (row / 16) + half of the columns]
  const weight: Local = ['vec4u', 16 * WEIGHTS, strips];
  return {
    x: rows, y: rows, s: ['f32', 16 * spread(d), 2 * strips], p: ['f32', 16 * spread(d), 2 * strips],
    w: weight, ...(weights === 2 && { u: weight } as Record<string, Local>), bad: ['atomic<u32>', 1],
  };
}

export const functions: string = HALVES;

/** The places of an invocation: its subgroup, and the own row and the first of 8 other rows whose weights it makes. */
export const unitPlaces = ({ on }: UnitTile): string => wgsl`
${on.begin}
let sm = sg / 2;
let sn = sg % 2;
let mine = t / 64 * 16 + t % 32 / 2;
let theirs = t / 32 % 2 * 16 + t % 2 * 8;`.trim();

/** Where unit n of the rows of x, or of y, lies; for own rows those of x come first and then those of y. */
const place = (array: string, d: number, row: string, c: string): string =>
  `${array}[2 * (${row} / 16) + ${c} / ${d / 16}][${row} % 16 * ${stride(d)} + ${c} % ${d / 16}]`;

/** Steps in which all invocations together go through units of `rows` rows. */
function units(tile: UnitTile, rows: number, body: (r: string, c: string) => string): string[] {
  const [across, threads] = [width(tile.d), threadsOf(tile)];
  const count = rows * across;
  return each(Math.ceil(count / threads), (n) => {
    const at = `(t + ${n * threads})`;
    const step = `{ let r = ${at} / ${across}; let c = ${at} % ${across}; ${body('r', 'c')} }`;
    return count % threads === 0 ? step : `if (t + ${n * threads} < ${count}) ${step}`;
  });
}

/** Declares left factors `NAME0`.. and brings own rows to them: `row` is WGSL of the row of `source` for own row r. */
export function bringOwn(tile: UnitTile, name: string, source: string, row: string): string {
  const { on, d, strips } = tile;
  const parts = d / 16;
  const load = (array: string, first: number): string[] => each(parts, (n) => on.loadLeft(
    `${name}${n}`, `${array}[2 * (sm - ${first}) + ${Math.floor(n / (parts / 2))}]`, 2 * (n % (parts / 2)), stride(d),
  ));
  const put = (r: string, c: string): string => strips === 2 ? `${place('x', d, r, c)} = eight;`
    : `if (${r} < 32) { ${place('x', d, r, c)} = eight; } else { ${place('y', d, `(${r} - 32)`, c)} = eight; }`;
  return wgsl`
${each(parts, (n) => on.left(`${name}${n}`))}
${units(tile, ownOf(tile), (r, c) => `let at = 2 * ((${row}) * ${width(d)} + ${c}); ` +
    `let eight = halves(${source}[at], ${source}[at + 1]); ${put(r, c)}`)}
workgroupBarrier();
${strips === 2 ? load('x', 0) : wgsl`
if (sm < 2) {
  ${load('x', 0)}
} else {
  ${load('y', 2)}
}`.trim()}
workgroupBarrier();`.trim();
}

/** Brings other rows to x and y: `row` is WGSL of the row of an array for other row r. Notes NaN and infinities. */
export function bringOthers(tile: UnitTile, [x, y]: readonly [x: string, y: string], row: string): string[] {
  const { d } = tile;
  return units(tile, OTHERS, (r, c) => wgsl`
let at = 2 * ((${row}) * ${width(d)} + c);
let of_x = halves(${x}[at], ${x}[at + 1]);
let of_y = halves(${y}[at], ${y}[at + 1]);
if (any((strange(of_x) | strange(of_y)) != vec4u())) { atomicStore(&bad[0], 1); }
${place('x', d, r, c)} = of_x;
${place('y', d, r, c)} = of_y;`.trim());
}

/** S to s and P' to p, from the own rows a and b and the others x and y. */
export function unitProducts({ on, d }: UnitTile): string {
  const parts = d / 16;
  const product = (sum: string, own: string, array: string): string[] => each(parts, (n) => on.multiply(
    sum, `${own}${n}`, `${array}[2 * sn + ${Math.floor(n / (parts / 2))}]`, 2 * (n % (parts / 2)), stride(d), 'columns',
  ));
  return wgsl`
${on.sum('qk')}
${product('qk', 'a', 'x')}
${on.store('qk', 's[sg]', spread(d))}
${on.sum('ov')}
${product('ov', 'b', 'y')}
${on.store('ov', 'p[sg]', spread(d))}`.trim();
}

/**
 * What has been multiplied to scores once need not be a number: a pair that is hidden has weight 0, which must take it
 * out of the sums. For pairs that are not hidden, the weight is NaN already.
 */
export const dropStrange = (tile: UnitTile): string => wgsl`
if (atomicLoad(&bad[0]) > 0) {
  ${units(tile, OTHERS, (r, c) => ['x', 'y'].map((array) =>
    `${place(array, tile.d, r, c)} &= ~strange(${place(array, tile.d, r, c)});`).join(' '))}
}`.trim();

/** WGSL that makes weights of a pair: what comes before, and a value for each. */
export interface Weighing {
  readonly before: string;
  readonly values: readonly string[];
}

/** Makes the 8 weights of an invocation: `weigh(e)` of other row theirs + e, from S in `score` and P' in `slope`. */
export function weights({ d }: UnitTile, to: readonly string[], weigh: (e: number) => Weighing): string {
  const read = (array: string, e: number): string =>
    `${array}[t / 32][t % 32 / 2 * ${spread(d)} + t % 2 * 8 + ${e}]`;
  const four = (name: string, from: number): string => `vec4f(${each(4, (e) => `${name}${from + e}`).join(', ')})`;
  return wgsl`
${each(8, (e) => {
    const { before, values } = weigh(e);
    return wgsl`
let score${e} = ${read('s', e)};
let slope${e} = ${read('p', e)};
${before}
${values.map((value, n) => `let ${to[n]}${e} = ${value};`)}`.trim();
  })}
${to.map((name) => `${name}[mine / 16][mine % 16 * ${WEIGHTS} + theirs / 8] = halves(${four(name, 0)}, ${four(name, 4)});`)}`.trim();
}

/** Declares sums over the other rows: `NAME0`.. of 16 columns each. */
export const unitSums = ({ on, d }: UnitTile, names: readonly string[]): string[] =>
  names.flatMap((name) => each(d / 32, (n) => on.sum(`${name}${n}`)));

/** Adds to the sums, for (name, weights, rows): name += weights rows. */
export function addUnitSums(
  { on, d }: UnitTile, of: readonly (readonly [name: string, weights: string, rows: string])[],
): string[] {
  return each(OTHERS / 16, (part) => of.map(([name, weight, rows]) => [
    on.loadLeft('weight', `${weight}[sm]`, 2 * part, WEIGHTS),
    ...each(d / 32, (n) => on.multiply(`${name}${n}`, 'weight', `${rows}[${2 * part} + sn]`, 2 * n, stride(d), 'rows')),
  ].join('\n')).join('\n'));
}

/** Stores sums: own row `mine` is row `at` of the array of vec4f, if `present`. */
export function storeUnitSums(
  { on, d }: UnitTile, of: readonly (readonly [name: string, array: string])[], present: string, at: string,
): string[] {
  return of.flatMap(([name, array]) => each(d / 32, (n) => wgsl`
workgroupBarrier();
${on.store(`${name}${n}`, 's[sg]', spread(d))}
workgroupBarrier();
if (${present}) {
  let source = t % 32 / 2 * ${spread(d)} + t % 2 * 8;
  let sink = ((${at}) * ${d} + t / 32 % 2 * ${d / 2} + ${16 * n} + t % 2 * 8) / 4;
  ${array}[sink] = vec4f(${each(4, (e) => `s[t / 32][source + ${e}]`).join(', ')});
  ${array}[sink + 1] = vec4f(${each(4, (e) => `s[t / 32][source + ${e + 4}]`).join(', ')});
}`.trim()));
}
