/**
 * An lse (§3) that is made of another maximum than its sum, or of another sum, or fails in rows with one key.
 * @module
 */
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { logSum, MOST_KEPT, type Row, type Scene } from './scene.ts';

/** Keys that a maximum or a sum may be over, by row. */
function* subsets(scene: Scene): Generator<readonly [words: string, has: (row: Row, j: number) => boolean]> {
  yield ['even keys', (_, j) => j % 2 === 0];
  yield ['odd keys', (_, j) => j % 2 === 1];
  yield ['all keys but the query\'s own', (row, j) => j !== row.i];
  yield ['the query\'s own key', (row, j) => j === row.i];
  yield ['all keys but key 0', (_, j) => j !== 0];
  yield ['the first visible key', (row, j) => j === row.keys[0]];
  yield ['all keys but the last visible one', (row, j) => j !== row.keys.at(-1)];
  for (const tile of TILES.filter((size) => size < scene.N)) {
    const at = (j: number | undefined): number => Math.floor(j! / tile);
    yield [`the first tile of ${tile} keys that is visible`, (row, j) => at(j) === at(row.keys[0])];
    yield [`the last tile of ${tile} keys that is visible`, (row, j) => at(j) === at(row.keys.at(-1))];
    yield [`the first tile of ${tile} keys`, (_, j) => at(j) === 0];
    yield [`all tiles of ${tile} keys but the first`, (_, j) => at(j) > 0];
    yield [`all tiles of ${tile} keys but that on the diagonal`, (row, j) => at(j) !== at(row.i)];
    yield [`the tile of ${tile} keys on the diagonal`, (row, j) => at(j) === at(row.i)];
  }
}

/** What a merge of splits may make of their lse instead of the logarithm of the sum. */
const MERGES: readonly (readonly [how: string, merge: (lse: readonly number[]) => number])[] = [
  ['largest', (lse) => Math.max(...lse)], ['smallest', (lse) => Math.min(...lse)],
  ['sum', (lse) => lse.reduce((a, b) => a + b, 0)], ['mean', (lse) => lse.reduce((a, b) => a + b, 0) / lse.length],
  ['first', (lse) => lse[0]], ['last', (lse) => lse.at(-1)!],
  ['logarithm of the mean of e^lse, not of the sum,', (lse) => logSum(lse) - Math.log(lse.length)],
];

/** How many rows a number is fitted to. */
const FITTED = 24;

/** ln Z times a number, or with a number added to Z, that is solved for; and m times a number. */
function solvedSums(
  scene: Scene, m: (query: number) => number, lnZ: (query: number) => number,
): (readonly [string, (query: number) => number])[] {
  const actual = scene.outputs.lse.data;
  const failing = [...scene.failing.keys()].filter((at) => scene.failing[at] > 0 && Number.isFinite(actual[at]));
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  if (rows.length < 4) return [];
  const middle = (of: (query: number) => number): number => rows.map(of).sort((a, b) => a - b)[rows.length >> 1];
  const shown = (x: number): string => String(Number(x.toPrecision(3)));
  const times = middle((query) => (actual[query] - m(query)) / lnZ(query));
  const plus = middle((query) => Math.exp(actual[query] - m(query)) - Math.exp(lnZ(query)));
  const ofM = middle((query) => (actual[query] - lnZ(query)) / m(query));
  const found: (readonly [string, (query: number) => number])[] = [];
  if (Number.isFinite(times)) found.push([`ln Z times ${shown(times)}`, (query) => times * lnZ(query)]);
  if (Number.isFinite(plus)) found.push([`ln (Z ${plus < 0 ? '-' : '+'} ${shown(Math.abs(plus))})`, (query) => Math.log(Math.exp(lnZ(query)) + plus)]);
  if (Number.isFinite(ofM)) found.push([`ln Z, and m times ${shown(ofM)}`, (query) => (ofM - 1) * m(query) + lnZ(query)]);
  // Where all that fails has the same Z, it is cut there.
  const cut = middle((query) => Math.exp(actual[query] - m(query)));
  const low = rows.every((query) => Math.exp(lnZ(query)) < cut);
  if (rows.every((query) => Math.abs(Math.exp(actual[query] - m(query)) - cut) < 1e-3 * cut)) {
    const Z = (query: number): number => Math.exp(lnZ(query));
    found.push([`ln Z with Z at ${low ? 'least' : 'most'} ${shown(cut)}`, (query) => Math.log(low ? Math.max(Z(query), cut) : Math.min(Z(query), cut))]);
  }
  return found;
}

export const lseHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'lse' || scene.N > MOST_KEPT) return;
  const { N, R, parameters: { scale } } = scene;
  const m = (query: number): number => scene.shift(query);
  const lnZ = (query: number): number => scene.lse(query) - m(query);
  const Z = (query: number): number => Math.exp(lnZ(query));
  const causal = (query: number): readonly number[] => scene.row(query, { sees: (_, i, j) => j <= i }).S;
  const of = (query: number, has: (row: Row, j: number) => boolean): readonly number[] => {
    const row = scene.row(query);
    return row.S.filter((_, n) => has(row, row.keys[n]));
  };
  const maxima: (readonly [string, (query: number) => number])[] = [
    ['at least 0', (query) => Math.max(m(query), 0)], ['at most 0', (query) => Math.min(m(query), 0)],
    ['its absolute value', (query) => Math.abs(m(query))], ['with the other sign', (query) => -m(query)],
    ['of scores before the scale', (query) => m(query) / scale], ['times the scale once more', (query) => m(query) * scale],
    ['in base 2', (query) => m(query) * Math.LOG2E], ['times ln 2', (query) => m(query) * Math.LN2],
    ['of all keys up to the query, hidden ones too', (query) => Math.max(...causal(query))],
    ['of the row before', (query) => m(query - Number(query % N > 0))],
    ['of the next row', (query) => m(query + Number(query % N < N - 1))],
    ...R > 1 ? [['of the first query head of the group', (query: number): number => m(query - Math.floor(query / N) % R * N)]] as const : [],
  ];
  const sums: (readonly [string, (query: number) => number])[] = [
    ['log10 Z', (query) => Math.log10(Z(query))], ['half of ln Z', (query) => lnZ(query) / 2], ['ln (1 + Z)', (query) => Math.log1p(Z(query))],
    ['ln 2 ln Z', (query) => Math.LN2 * lnZ(query)], ['-ln Z', (query) => -lnZ(query)], ['2 ln Z', (query) => 2 * lnZ(query)],
    ['1 / Z', (query) => 1 / Z(query)], ['Z - 1', (query) => Z(query) - 1], ['ln of the number of visible keys', (query) => Math.log(scene.row(query).keys.length)],
    ['ln (Z + e^-m)', (query) => Math.log(Z(query) + Math.exp(-m(query)))],
    ['ln Z over all keys up to the query, hidden ones too', (query) => Math.log(causal(query).reduce((sum, S) => sum + Math.exp(S - m(query)), 0))],
    ['ln Z of the row before', (query) => lnZ(query - Number(query % N > 0))],
    ['ln Z of the next row', (query) => lnZ(query + Number(query % N < N - 1))],
    ...R > 1 ? [['ln Z of the first query head of the group', (query: number): number => lnZ(query - Math.floor(query / N) % R * N)]] as const : [],
  ];
  for (const [words, has] of subsets(scene)) {
    maxima.push([`of ${words}`, (query) => {
      const S = of(query, has);
      return S.length > 0 ? Math.max(...S) : m(query);
    }]);
    sums.push([`ln Z over ${words}`, (query) => Math.log(of(query, has).reduce((sum, S) => sum + Math.exp(S - m(query)), 0))]);
  }
  for (const tile of TILES.filter((size) => size < N)) {
    for (const two of tile * 2 < N ? [false, true] : [false]) {
      const words = two ? `two splits at key ${tile}` : `splits of ${tile} keys`;
      const splits = (query: number): readonly number[] => {
        const row = scene.row(query);
        const of = (j: number): number => (two ? Math.min(Math.floor(j / tile), 1) : Math.floor(j / tile));
        return [...new Set(row.keys.map(of))].map((n) => logSum(row.S.filter((_, at) => of(row.keys[at]) === n)));
      };
      for (const [how, merge] of MERGES) {
        sums.push([`the ${how} of the lse of ${words}`, (query) => merge(splits(query)) - m(query)]);
      }
    }
  }
  const single = (query: number): boolean => scene.row(query).keys.length === 1;
  const alone: readonly (readonly [string, (query: number) => boolean])[] = [
    ['', single], [', or whose other weights are lost beside 1', (query) => Math.fround(Z(query)) <= 1],
  ];
  for (const [words, has] of alone) {
    for (const value of [-Infinity, Infinity, 0, NaN]) {
      yield { name: 'lse-one-key', detail: `${value}${words}`, predict: (query) => [has(query) ? value : scene.lse(query)] };
    }
  }
  for (const [words, factor] of [
    ['the score before the scale', 1 / scale], ['the score times the scale once more', scale], ['the score in base 2', Math.LOG2E],
    ['the score times ln 2', Math.LN2], ['the score with the other sign', -1],
  ] as const) {
    yield { name: 'lse-one-key', detail: words, predict: (query) => [scene.lse(query) * (single(query) ? factor : 1)] };
  }
  for (const [words, max] of maxima) {
    yield { name: 'lse-max-other', detail: words, predict: (query) => [max(query) + lnZ(query)] };
  }
  for (const [words, sum] of sums) {
    yield { name: 'lse-sum-other', detail: words, predict: (query) => [m(query) + sum(query)] };
  }
};

/** An lse whose sum is a function of Z with a number that is solved for. */
export const solvedLse: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'lse' || scene.N > MOST_KEPT) return;
  const m = (query: number): number => scene.shift(query);
  for (const [detail, sum] of solvedSums(scene, m, (query) => scene.lse(query) - m(query))) {
    yield { name: 'lse-sum-other', detail, predict: (query) => [m(query) + sum(query)] };
  }
};
