/**
 * Which KV head each query head reads, found by trying all of them; keys that do not belong to a head; and which query
 * heads are summed for a KV head, found by least squares.
 * @module
 */
import { slope, weightOf } from './backward-hypotheses.ts';
import { attend } from './forward-hypotheses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type RowOptions, type Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** The share of the deviation of a head that the right source may leave, as squares. */
const SAME = 1e-3;

const FORWARD: readonly OutputName[] = ['out', 'lse', 'cache_out'];

/** What of another KV head a query head may use. */
const USES = [
  ['kv-other', 'reads', (_: Scene, from: number): RowOptions => ({ from })],
  ['kv-other', 'reads, with its lifetimes,', (scene: Scene, from: number): RowOptions => ({ from, sees: (_, i, j) => scene.sees(from, i, j) })],
  ['types-moved', 'has the lifetimes of', (scene: Scene, from: number): RowOptions => ({ sees: (_, i, j) => scene.sees(from, i, j) })],
] as const;

/** The KV head that query head h of batch b reads by some mistakes, of R in a group. */
const FORMULAS: readonly (readonly [words: string, of: (h: number, R: number, G: number, b: number) => number])[] = [
  ['h mod G', (h, _, G) => h % G],
  ['G - 1 - floor(h / R)', (h, R, G) => G - 1 - Math.floor(h / R)],
  ['0', () => 0],
  ['G - 1', (_h, _R, G) => G - 1],
  ['round(h / R), at most G - 1', (h, R, G) => Math.min(Math.round(h / R), G - 1)],
  ['ceil(h / R), at most G - 1', (h, R, G) => Math.min(Math.ceil(h / R), G - 1)],
  ['floor((h + 1) / R), at most G - 1', (h, R, G) => Math.min(Math.floor((h + 1) / R), G - 1)],
  ['floor((h - 1) / R), at least 0', (h, R) => Math.floor(Math.max(h - 1, 0) / R)],
  ['floor(h / R) + 1, mod G', (h, R, G) => (Math.floor(h / R) + 1) % G],
  ['floor(h / R) - 1, mod G', (h, R, G) => (Math.floor(h / R) + G - 1) % G],
  ['floor(h / R) + b, mod G', (h, R, G, b) => (Math.floor(h / R) + b) % G],
  ['floor(h / (R + 1))', (h, R) => Math.floor(h / (R + 1))],
  ['floor(h / (R - 1)), at most G - 1', (h, R, G) => Math.min(Math.floor(h / Math.max(R - 1, 1)), G - 1)],
  ['floor(h / 2), at most G - 1', (h, _, G) => Math.min(h >> 1, G - 1)],
];

/** "query heads 0 to 5 read KV heads 0, 1, 1, 1, 2, 2", of each batch in which they are others. */
function mapWords(read: readonly number[], H: number, G: number, verb: string): string {
  const batches = Array.from({ length: read.length / H }, (_, b) => read.slice(b * H, (b + 1) * H));
  const plural = verb.replace('reads', 'read').replace('has', 'have');
  const lines = batches.map((own, b) => (own.every((from) => Math.floor(from / G) === b)
    ? `KV heads ${own.map((from) => from % G).join(', ')}`
    : own.map((from) => `KV head ${from % G} of batch ${Math.floor(from / G)}`).join(', ')));
  const who = H > 1 ? `query heads 0 to ${H - 1} ${plural}` : `query head 0 ${verb}`;
  if (lines.every((line) => line === lines[0])) return `${who} ${lines[0]}`;
  return lines.map((line, b) => `of batch ${b}, ${who} ${line}`).slice(0, 2).join('; ');
}

function byHead(rows: readonly number[], N: number): ReadonlyMap<number, readonly number[]> {
  const heads = new Map<number, number[]>();
  for (const row of rows) {
    const head = Math.floor(row / N);
    heads.set(head, [...heads.get(head) ?? [], row]);
  }
  return heads;
}

export const headReads: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, heads, d, parameters: { kvHeads: G, queryHeads: H } } = scene;
  if (!FORWARD.includes(output) || heads < 2 || heads > 16 || N > MOST_KEPT) return;
  const width = output === 'lse' ? 1 : d;
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const failing = byHead(failingRows(scene, width), N);
  const made = (query: number, options: RowOptions): ArrayLike<number> => {
    const { out, lse } = attend(scene, scene.row(query, options));
    return output === 'lse' ? [lse] : out;
  };
  const squares = (query: number, other: (c: number) => number): number =>
    Array.from({ length: width }, (_, c) => (actual[query * width + c] - other(c)) ** 2).reduce((a, b) => a + b, 0);
  for (const [name, verb, use] of USES) {
    const sources = new Map<number, number>();
    for (const [head, all] of failing) {
      const rows = all.filter((_, n) => n % Math.ceil(all.length / 4) === 0);
      const from = rows.length * width < 4 ? undefined : Array.from({ length: heads }, (_, n) => n).find((source) =>
        source !== Math.floor(head / scene.R) && rows.every((query) => {
          const other = made(query, use(scene, source));
          return squares(query, (c) => other[c]) < SAME * squares(query, (c) => truth[query * width + c]);
        }));
      if (from === undefined) break;
      sources.set(head, from);
    }
    if (sources.size < failing.size) continue;
    const read = Array.from({ length: heads * scene.R }, (_, head) => sources.get(head) ?? Math.floor(head / scene.R));
    const also = FORMULAS.filter(([, of]) => read.every((from, head) => {
      const [b, h] = [Math.floor(head / H), head % H];
      return from === b * G + of(h, scene.R, G, b);
    })).map(([words]) => `query head h ${verb} KV head ${words}`);
    yield { name, detail: mapWords(read, H, G, verb), also, predict: (query) => {
      const from = sources.get(Math.floor(query / N));
      return made(query, from === undefined ? {} : use(scene, from));
    } };
  }
};

/** Rows that see one key more, of the head or sequence before or after. */
export const foreignKeys: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d, heads, parameters: { kvHeads: G, scale } } = scene;
  if (!FORWARD.includes(output) || heads < 2) return;
  const places = [
    ['the last key of the sequence before', (head: number) => (head - G) * N + N - 1],
    ['the first key of the next sequence', (head: number) => (head + G) * N],
    ['the last key of the head before', (head: number) => head * N - 1],
    ['the first key of the next head', (head: number) => (head + 1) * N],
  ] as const;
  for (const [detail, place] of places) {
    yield { name: 'key-foreign', detail, predict: (query) => {
      const row = scene.row(query);
      const { out, lse } = attend(scene, row);
      const key = place(row.head);
      if (key < 0 || key >= heads * N) return output === 'lse' ? [lse] : out;
      const S = scale * scene.product(query, key);
      const all = Math.max(lse, S) + Math.log1p(Math.exp(-Math.abs(lse - S)));
      const [own, other] = [Math.exp(lse - all), Math.exp(S - all)];
      return output === 'lse' ? [all] : Array.from(out, (x, c) => own * x + other * scene.v[key * d + c]);
    } };
  }
};

/** Which query heads h of a sequence KV head g sums by some mistakes, of R in a group. */
const SUMS: readonly (readonly [words: string, is: (h: number, R: number, g: number, G: number) => boolean])[] = [
  ['the first of each group', (h, R, g) => h === g * R],
  ['the last of each group', (h, R, g) => h === g * R + R - 1],
  ['even query heads of each group', (h, R, g) => Math.floor(h / R) === g && h % R % 2 === 0],
  ['odd query heads of each group', (h, R, g) => Math.floor(h / R) === g && h % R % 2 === 1],
  ['all but the first of each group', (h, R, g) => Math.floor(h / R) === g && h % R > 0],
  ['all but the last of each group', (h, R, g) => Math.floor(h / R) === g && h % R < R - 1],
  ['the query heads h mod G', (h, _, g, G) => h % G === g],
  ['this KV head and all before it', (h, R, g) => h < (g + 1) * R],
  ['one query head further', (h, R, g) => h > g * R && h <= (g + 1) * R],
  ['one query head back', (h, R, g) => h >= g * R - 1 && h < (g + 1) * R - 1],
  ['those of KV head 0', (h, R) => h < R],
];

/** How often query head r of R of the group counts by some mistakes. */
const MORE: readonly (readonly [words: string, times: (r: number, R: number) => number])[] = [
  ['the first half of each group, twice', (r, R) => (2 * r < R ? 2 : 0)],
  ['the second half of each group, twice', (r, R) => (2 * r >= R ? 2 : 0)],
  ['the first half of each group', (r, R) => Number(2 * r < R)], ['the second half of each group', (r, R) => Number(2 * r >= R)],
  ['the first of each group as often as there are query heads', (r, R) => (r === 0 ? R : 0)],
  ['the last of each group as often as there are query heads', (r, R) => (r === R - 1 ? R : 0)],
  ['the first of each group twice', (r) => (r === 0 ? 2 : 1)], ['the last of each group twice', (r, R) => (r === R - 1 ? 2 : 1)],
  ['the query heads of each group with alternating signs', (r) => (r % 2 === 0 ? 1 : -1)],
];

/** What is true of how often the query heads of each group count, and how often they do. */
export function headCounts(times: readonly number[]): readonly string[] {
  const R = times.length;
  return [
    ...SUMS.filter(([, is]) => times.every((x, r) => x === Number(is(r, R, 0, 1)))).map(([words]) => words),
    ...MORE.filter(([, count]) => times.every((x, r) => x === count(r, R))).map(([words]) => words),
    `query heads of each group count ${times.join(', ')} times`,
  ];
}

/** dk and dv that sum other query heads of the sequence than those of the group. */
export const headSums: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, d, R, parameters: { kvHeads: G, queryHeads: H, scale } } = scene;
  if ((output !== 'dk' && output !== 'dv') || H < 2 || H > 16 || N > MOST_KEPT) return;
  const [actual, truth] = [scene.outputs[output].data, scene.truth(output)];
  const right = { name: 'unknown' } as const;
  /** What query head h of the sequence adds at token j of its own KV head. */
  const added = (b: number, h: number, j: number): Float64Array => {
    const head = b * G + Math.floor(h / R);
    const [key, x] = [head * N + j, output === 'dv' ? scene.dout : scene.q];
    const total = new Float64Array(d);
    for (let i = j; i < N; i++) {
      if (!scene.sees(head, i, j)) continue;
      const query = (b * H + h) * N + i;
      const a = output === 'dv' ? weightOf(scene, right, query, key) : scale * slope(scene, right, query, key);
      for (let c = 0; c < d; c++) total[c] = total[c] + a * x[query * d + c];
    }
    return total;
  };
  const counts = new Map<number, readonly number[]>();
  for (const [head, all] of byHead(failingRows(scene, d), N)) {
    const rows = all.filter((_, n) => n % Math.ceil(all.length / Math.ceil(4 * H / d + 2)) === 0);
    if (rows.length * d < 2 * H) return;
    const parts = rows.map((row) => Array.from({ length: H }, (_, h) => added(Math.floor(head / G), h, row % N)));
    const dot = (f: (n: number, c: number) => number): number =>
      rows.reduce((sum, _, n) => sum + Array.from({ length: d }, (_x, c) => f(n, c)).reduce((a, b) => a + b, 0), 0);
    const matrix = Array.from({ length: H }, (_, a) => [
      ...Array.from({ length: H }, (_x, b) => dot((n, c) => parts[n][a][c] * parts[n][b][c])),
      dot((n, c) => parts[n][a][c] * actual[rows[n] * d + c]),
    ]);
    const times = solved(matrix);
    if (!times) return;
    const near = times.map((x) => (Math.abs(x - Math.round(x)) < 0.02 ? Math.round(x) + 0 : Number(x.toPrecision(3))));
    // More numbers than two are those of chance.
    if (new Set(near).size > 3 || near.some((x) => Math.abs(x) > 16)) return;
    counts.set(head, near);
  }
  const told = [...counts].slice(0, 2).map(([head, times]) => `KV head ${head % G} sums query heads ${
    times.flatMap((x, h) => (x === 0 ? [] : [x === 1 ? h : `${h} times ${x}`])).join(', ')}`);
  const also = SUMS.filter(([, is]) => [...counts].every(([head, times]) =>
    times.every((x, h) => x === Number(is(h, R, head % G, G))))).map(([words]) => words);
  also.push(...MORE.filter(([, count]) => [...counts].every(([head, times]) =>
    times.every((x, h) => x === (Math.floor(h / R) === head % G ? count(h % R, R) : 0)))).map(([words]) => words));
  yield { name: 'group-other', detail: told.join('; '), also, predict: (row) => {
    const times = counts.get(Math.floor(row / N));
    if (!times) return truth.slice(row * d, (row + 1) * d);
    const total = new Float64Array(d);
    times.forEach((x, h) => {
      if (x !== 0) added(Math.floor(row / N / G), h, row % N).forEach((y, c) => (total[c] = total[c] + x * y));
    });
    return total;
  } };
};

/** The solution of a small system of linear equations, the right side last in each row; undefined if there is none. */
export function solved(rows: readonly (readonly number[])[]): number[] | undefined {
  const m = rows.map((row) => [...row]);
  const n = m.length;
  for (let at = 0; at < n; at++) {
    let pivot = at;
    for (let row = at + 1; row < n; row++) if (Math.abs(m[row][at]) > Math.abs(m[pivot][at])) pivot = row;
    [m[at], m[pivot]] = [m[pivot], m[at]];
    const top = m[at][at];
    if (!Number.isFinite(top) || Math.abs(top) < 1e-12 * Math.max(...rows[at].map(Math.abs))) return undefined;
    for (let row = 0; row < n; row++) {
      if (row === at) continue;
      const factor = m[row][at] / top;
      for (let c = at; c <= n; c++) m[row][c] = m[row][c] - factor * m[at][c];
    }
  }
  return m.map((row, at) => row[n] / row[at]);
}
