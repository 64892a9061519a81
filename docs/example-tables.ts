/**
 * The running example as tables in Markdown, by the name that a chapter's placeholder {{example:NAME}} gives.
 * @module
 */
import { example, GIVEN, heldBy } from './example.ts';

const E = example();
const N = GIVEN.types.length;
const tokens: readonly number[] = GIVEN.types.map((_, t) => t);
const LETTERS = ['G', 'L', 'W'];

/** A number for reading: three decimals at most, and never minus zero. */
export function shown(x: number): string {
  if (x === Infinity) return '∞';
  const text = x.toFixed(3).replace(/\.?0+$/, '');
  return text === '-0' ? '0' : text.replace('-', '−');
}

type Cell = string | number;
const cell = (x: Cell): string => (typeof x === 'number' ? shown(x) : x);
const line = (cells: readonly Cell[]): string => `| ${cells.map(cell).join(' | ')} |`;
/** A table with a head. All but the first column are numbers. */
function table(head: readonly Cell[], rows: readonly (readonly Cell[])[]): string {
  return [line(head), `|---|${'--:|'.repeat(head.length - 1)}`, ...rows.map(line)].join('\n');
}
/** One row per quantity, one column per token. */
const byToken = (rows: readonly (readonly [string, readonly Cell[]])[]): string =>
  table(['token', ...tokens.map(String)], rows.map(([name, cells]) => [name, ...cells]));
/** A table [query][key] over causal pairs; what is hidden is in brackets. */
const pairs = (of: readonly (readonly number[])[], hidden: (x: number) => string): string =>
  table(['query \\ key', ...tokens.map((t) => `${t} ${LETTERS[GIVEN.types[t]]}`)], tokens.map((i) => [
    `**${i}**`, ...tokens.map((j) => (j > i ? '' : E.M[i][j] === 1 ? shown(of[i][j]) : hidden(of[i][j]))),
  ]));

const letters = GIVEN.types.map((type) => LETTERS[type]);
const column = (rows: readonly (readonly number[])[], c: number): number[] => rows.map((row) => row[c]);
const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
/** The sum of dM over all queries that come no sooner than the token: dg before it pays for what it ends. */
const seenBy = tokens.map((j) => sum(tokens.map((i) => (i >= j ? E.dM[i][j] : 0))));

/** The running sum of row i: for each token its dM, the open LOCAL sum before it, and what dg of it gets. */
function runningSum(i: number): string {
  let open = 0;
  const closing = tokens.map((j) => GIVEN.types.findIndex((type, n) => n > j && type === 0));
  const rows = tokens.slice(0, i + 1).map((j) => {
    const pays = j < i && (closing[j] < 0 || i <= closing[j]);
    const before = open;
    if (GIVEN.types[j] === 0) open = 0;
    else if (GIVEN.types[j] === 1) open += E.dM[i][j];
    return [`${j} ${letters[j]}`, E.dM[i][j], before, pays ? -before : '', open] as Cell[];
  });
  return table(['token', `dM of row ${i}`, 'open before it', 'added to dg', 'open after it'], rows);
}

const heldText = (positions: readonly number[]): string => positions.map((j) => `${j}${letters[j]}`).join(' ');
/** The policies that are compared, each with room for four entries, or what it holds without a budget. */
const COMPARED = [
  'full', 'window:3', 'streaming:1+2', 'h2o:4', 'tova:4', 'snapkv:4', 'keynorm:4', 'nats-rank:4', 'nats',
];

/** The tables. */
export const TABLES: Readonly<Record<string, () => string>> = {
  given: () => byToken([['type', letters], ['q', GIVEN.q], ['k', GIVEN.k], ['v', GIVEN.v], ['do', GIVEN.dOut]]),
  lifetime: () => byToken([['type', letters], ['last', E.last]]),
  mask: () => pairs(E.M, () => '·'),
  scores: () => pairs(E.S, (s) => `(${shown(s)})`),
  weights: () => pairs(E.A, () => '·'),
  output: () => byToken([['m', E.m], ['Z', E.Z], ['o', E.out], ['lse', E.lse]]),
  backward: () => byToken([['do', GIVEN.dOut], ['o', E.out], ['D', E.D], ['dq', E.dq], ['dk', E.dk], ['dv', E.dv]]),
  'mask-gradient': () => pairs(E.dM, (x) => `(${shown(x)})`),
  bounded: () => pairs(E.bounded, (x) => `(${shown(x)})`),
  'type-gradient': () => byToken([
    ['type', letters], ['all later queries', seenBy],
    ['minus what it ends', column(E.dTypes, 0).map((dg, j) => dg - seenBy[j])],
    ['**dg**', column(E.dTypes, 0)], ['**dl**', column(E.dTypes, 1)], ['**dw**', column(E.dTypes, 2)],
  ]),
  'running-sum': () => runningSum(6),
  price: () => byToken([
    ['type', letters],
    ...['GLOBAL', 'LOCAL', 'WINDOW'].map((name, c) => [`of ${name}`, column(E.price, c)] as const),
  ]),
  search: () => byToken([
    ...['GLOBAL', 'LOCAL', 'WINDOW'].map((name, c) => [`score of ${name}`, column(GIVEN.scores, c)] as const),
    ...['GLOBAL', 'LOCAL', 'WINDOW'].map((name, c) => [`noise of ${name}`, column(GIVEN.noise, c)] as const),
    ...['GLOBAL', 'LOCAL', 'WINDOW'].map((name, c) => [`y of ${name}`, column(E.y, c)] as const),
    ['chosen', E.chosen.map((type) => LETTERS[type])],
  ]),
  'score-gradient': () => byToken([
    ['chosen', letters],
    ...['dg', 'dl', 'dw'].map((name, c) => [`${name} + price`, column(E.dt, c)] as const),
    ...['GLOBAL', 'LOCAL', 'WINDOW'].map((name, c) => [`ds of ${name}`, column(E.dScores, c)] as const),
  ]),
  cache: () => table(['after token', 'arrives', 'the query attends to', 'held afterwards', 'freed'], tokens.map((i) => {
    const seen = tokens.filter((j) => E.M[i][j] === 1);
    const gone = seen.filter((j) => !E.held[i].includes(j));
    return [`${i}`, `${i}${letters[i]}`, heldText(seen), heldText(E.held[i]), heldText(gone) || '·'];
  })),
  policies: () => table(['policy', ...tokens.map((i) => `after ${i}`), 'entries, mean'], COMPARED.map((name) => {
    const held = heldBy(name);
    return [`\`${name}\``, ...held.map((each) => each.join(' ')), sum(held.map((each) => each.length)) / N];
  })),
};

/** A number of the example: a field and indices, such as `A 6 5`, or `- dTypes 2 0` without its sign. */
export function numberAt(path: string): string {
  const [name, ...indices] = path.trim().split(/\s+/);
  const all: Readonly<Record<string, unknown>> = { ...GIVEN, ...E };
  const at = indices.reduce((x, n) => (x as readonly unknown[] | undefined)?.[Number(n)], all[name]);
  if (typeof at !== 'number') throw new RangeError(`the running example has no number ${path}`);
  return shown(at);
}
