/**
 * Factors that depend on the query, or on the key, and are wrong: a normaliser that is another number or divides twice,
 * a sum that is a mean, a lse in another base.
 * @module
 */
import type { Change } from './backward-change.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { gradientsBy } from './backward-hypotheses.ts';
import { remembered } from './backward-roundings.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type Row, type Scene } from './scene.ts';
import { sumsOf } from './type-hypotheses.ts';
import { detailOf, pairs, rowSum, type WrongPair } from './wrong-pairs.ts';

/** How many rows a number is fitted to. */
const FITTED = 24;

/** What a query is multiplied by. */
interface RowFactor {
  readonly words: string;
  readonly of: (query: number) => number;
}

/** Numbers of a row that a kernel has at hand, and may multiply or divide by. */
function* rowFactors(scene: Scene): Generator<RowFactor> {
  const { N } = scene;
  const m = (query: number): number => scene.shift(query);
  const lse = (query: number): number => scene.lse(query);
  const Z = (query: number): number => Math.exp(lse(query) - m(query));
  const keys = (query: number): number => scene.row(query).keys.length;
  const numbers: readonly (readonly [string, (query: number) => number])[] = [
    ['Z', Z], ['e^m', (query) => Math.exp(m(query))], ['e^lse', (query) => Math.exp(lse(query))],
    ['the number of visible keys', keys], ['the number of keys up to the query', (query) => query % N + 1],
    ['lse', lse], ['m', m], ['e^nu / e^lse', (query) => Math.exp(scene.causalLse(query) - lse(query))],
  ];
  for (const [words, of] of numbers) {
    yield { words: `1 / ${words.replace('e^nu / e^lse', '(e^nu / e^lse)')}`, of: (query) => 1 / of(query) };
    yield { words, of };
  }
  for (const [words, of] of numbers.slice(0, 5)) {
    yield { words: `1 / the root of ${words}`, of: (query) => 1 / Math.sqrt(of(query)) };
    yield { words: `the root of ${words}`, of: (query) => Math.sqrt(of(query)) };
  }
  yield { words: '1 / Z squared', of: (query) => 1 / Z(query) ** 2 };
}

/** Other numbers than Z that a row may be divided by, as Z over them. */
function* otherNormalisers(scene: Scene): Generator<RowFactor> {
  const { N, R } = scene;
  const Z = (query: number): number => Math.exp(scene.lse(query) - scene.shift(query));
  yield { words: 'Z + e^-m: a further logit of 0', of: (query) => 1 / (1 + Math.exp(-scene.lse(query))) };
  yield { words: 'Z + 1', of: (query) => Z(query) / (Z(query) + 1) };
  yield { words: 'Z + e^m', of: (query) => Z(query) / (Z(query) + Math.exp(scene.shift(query))) };
  yield { words: 'the largest weight', of: Z };
  yield { words: 'the number of visible keys', of: (query) => Z(query) / scene.row(query).keys.length };
  yield { words: 'the number of keys up to the query', of: (query) => Z(query) / (query % N + 1) };
  yield { words: 'N', of: (query) => Z(query) / N };
  yield { words: 'e^lse', of: (query) => Math.exp(-scene.shift(query)) };
  const others: readonly (readonly [string, (query: number) => number])[] = [
    ['Z of the row before', (query) => query - Number(query % N > 0)],
    ['Z of the next row', (query) => query + Number(query % N < N - 1)],
    ...TILES.filter((tile) => tile < N).flatMap((tile) => [
      [`Z of the first row of the tile of ${tile}`, (query: number): number => query - query % N % tile],
      [`Z of the last row of the tile of ${tile}`, (query: number): number => query + Math.min(tile - 1 - query % N % tile, N - 1 - query % N)],
    ] as const),
    ...R > 1 ? [['Z of the first query head of the group', (query: number): number => query - Math.floor(query / N) % R * N]] as const : [],
  ];
  for (const [words, from] of others) yield { words, of: (query) => Z(query) / Z(from(query)) };
  const without: readonly (readonly [string, (row: Row, j: number) => boolean])[] = [
    ['the sum without the query\'s own key', (row, j) => j !== row.i], ['the sum without key 0', (_, j) => j !== 0],
    ['the sum without the first visible key', (row, j) => j !== row.keys[0]],
    ['the sum without the last visible key', (row, j) => j !== row.keys.at(-1)],
    ...TILES.filter((tile) => tile < N).flatMap((tile) => [
      [`the sum without the tile of ${tile} keys on the diagonal`, (row: Row, j: number) => Math.floor(j / tile) !== Math.floor(row.i / tile)],
      [`the sum of the tile of ${tile} keys on the diagonal alone`, (row: Row, j: number) => Math.floor(j / tile) === Math.floor(row.i / tile)],
      [`the sum of the last tile of ${tile} keys alone`, (row: Row, j: number) => Math.floor(j / tile) === Math.floor(row.keys.at(-1)! / tile)],
      [`the sum of the first tile of ${tile} keys alone`, (row: Row, j: number) => Math.floor(j / tile) === Math.floor(row.keys[0] / tile)],
    ] as const),
  ];
  for (const [words, counts] of without) {
    yield { words, of: (query) => {
      const row = scene.row(query);
      let total = 0;
      row.keys.forEach((j, n) => {
        if (counts(row, j)) total += Math.exp(row.S[n] - scene.lse(query));
      });
      return total > 0 ? 1 / total : 1;
    } };
  }
  yield { words: 'the sum with the next key, which is hidden', of: (query) => {
    const [head, i] = [scene.headOf(query), query % N];
    return i === N - 1 ? 1 : 1 / (1 + scene.weight(query, head * N + i + 1));
  } };
}

/** Z with a number added that is solved for, or to a power. */
function solvedNormalisers(scene: Scene): readonly RowFactor[] {
  const { d, outputs } = scene;
  const [actual, truth] = [outputs.out.data, scene.truth('out')];
  const rows = failingRows(scene, d);
  const some = rows.filter((_, n) => n % Math.ceil(rows.length / FITTED) === 0);
  const Z = (query: number): number => Math.exp(scene.lse(query) - scene.shift(query));
  /** Z of the outputs. */
  const other = (query: number): number => {
    let [both, own] = [0, 0];
    for (let c = 0; c < d; c++) {
      both += actual[query * d + c] * truth[query * d + c];
      own += actual[query * d + c] ** 2;
    }
    return Z(query) * both / own;
  };
  const middle = (of: (query: number) => number): number => some.map(of).sort((a, b) => a - b)[some.length >> 1];
  if (some.length < 4) return [];
  const plus = middle((query) => other(query) - Z(query));
  const power = middle((query) => Math.log(other(query)) / Math.log(Z(query)));
  const shown = (x: number): string => String(Number(x.toPrecision(3)));
  return [
    { words: `Z ${plus < 0 ? '-' : '+'} ${shown(Math.abs(plus))}`, of: (query) => Z(query) / (Z(query) + plus) },
    { words: `Z to the power of ${shown(power)}`, of: (query) => Z(query) ** (1 - power) },
  ];
}

/** Wrong exponents of the weights of the backward, given what is subtracted from S. */
function* wrongExponents(
  scene: Scene, norm: (query: number) => number, normWords: string,
): Generator<Required<Pick<Change, 'name' | 'detail' | 'weight'>>> {
  const { scale, headDim: d } = scene.parameters;
  yield { name: 'exp2-weights', detail: `2^(S - ${normWords})`, weight: (query, S) => 2 ** (S - norm(query)) };
  for (const [words, factor] of [['log2(e)', Math.LOG2E], ['ln 2', Math.LN2]] as const) {
    yield { name: 'lse-base-2', detail: `${normWords} times ${words}`, weight: (query, S) => Math.exp(S - factor * norm(query)) };
    yield { name: 'lse-base-2', detail: `2^x, ${normWords} times ${words}`, weight: (query, S) => 2 ** (S - factor * norm(query)) };
    yield { name: 'scale-off', detail: `S times ${words}, less ${normWords}`, weight: (query, S) => Math.exp(factor * S - norm(query)) };
  }
  const scales: readonly (readonly [DiagnosisName, number])[] = [
    ['scale-forgotten', 1 / scale], ['scale-twice', scale], ['scale-own', 1 / (scale * Math.sqrt(d))], ['scale-inverted', 1 / scale ** 2],
  ];
  for (const [name, factor] of scales) {
    if (factor !== 1) yield { name, detail: `in S, less ${normWords}`, weight: (query, S) => Math.exp(factor * S - norm(query)) };
  }
  yield { name: 'lse-max-only', detail: `S less m in the place of ${normWords}`, weight: (query, S) => Math.exp(S - scene.shift(query)) };
  yield { name: 'lse-no-max', detail: `S less ln Z in the place of ${normWords}`, weight: (query, S) => Math.exp(S - norm(query) + scene.shift(query)) };
  yield { name: 'weights-unnormalised', detail: 'e^S', weight: (_, S) => Math.exp(S) };
}

/** Each row, or key, times a number of its own. */
export const rowWeights: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (scene.N > MOST_KEPT) return;
  const { N, d } = scene;
  const name = 'row-weight';
  const truth = scene.truth(output) as Float64Array;
  const times = (detail: string, of: (row: number) => number, each: DiagnosisName = name): Hypothesis => ({
    name: each, detail, predict: (row) => {
      const factor = of(row);
      return truth.slice(row * d, (row + 1) * d).map((x) => factor * x);
    },
  });
  if (output === 'out') {
    for (const { words, of } of rowFactors(scene)) yield times(`each row of out times ${words}`, of);
    for (const { words, of } of [...otherNormalisers(scene), ...solvedNormalisers(scene)]) {
      yield times(words, of, 'normaliser-other');
    }
  } else if (output === 'dm_rows') {
    for (const wrong of weighedPairs(scene)) yield rowSum(scene, wrong);
  } else if (output === 'dw' || output === 'dl' || output === 'dg') {
    for (const wrong of weighedPairs(scene)) yield { ...sumsOf(scene, output, wrong), ...detailOf(wrong) };
  } else if (output === 'dv' || output === 'dq' || output === 'dk') {
    yield* gradientsBy(scene, output, changes(scene, output));
    if (output === 'dq') return;
    const seenBy = remembered((key) => {
      const [head, j] = [Math.floor(key / N), key % N];
      let count = 0;
      for (let i = j; i < N; i++) count += Number(scene.sees(head, i, j));
      return count;
    });
    const place = (key: number): number => key % N + 1;
    const rest = (key: number): number => N - key % N;
    for (const [words, of] of [['the queries that see the key', seenBy], ['the place of the key, from 1', place], ['the number of later queries and its own', rest]] as const) {
      yield times(`${output} of each key divided by ${words}`, (key) => 1 / of(key));
      yield times(`${output} of each key times ${words}`, of);
    }
  }
};

/** Gradients of which P, dP or D is multiplied by a number of the query. */
function* changes(scene: Scene, output: 'dv' | 'dq' | 'dk'): Generator<Change> {
  const only = output;
  const what = output === 'dv' ? 'P' : 'dS';
  for (const { name, detail, weight } of wrongExponents(scene, (query) => scene.lse(query), 'lse')) {
    yield { name, detail: `${detail}, in the backward`, only, weight };
  }
  for (const [all, name] of [[rowFactors(scene), 'row-weight'], [otherNormalisers(scene), 'normaliser-other']] as const) {
    for (const { words, of: each } of all) {
      const of = remembered(each);
      const said = name === 'row-weight' ? `${what} times ${words}` : `${words}, in the backward`;
      yield { name, only, detail: said, pairWeight: (query, key) => of(query) * scene.weight(query, key) };
      if (output === 'dv' || name !== 'row-weight') continue;
      yield { name, only, detail: `dP times ${words}`, change: (query, key) => of(query) * scene.gain(query, key) - scene.D(query) };
      yield { name, only, detail: `D times ${words}`, change: (query, key) => scene.gain(query, key) - of(query) * scene.D(query) };
    }
  }
}

/** The same of dM. */
function* weighedPairs(scene: Scene): Generator<WrongPair> {
  if (scene.N > MOST_KEPT) return;
  const { rule } = scene.parameters;
  const norm = (query: number): number => (rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
  const normWords = rule === 'exact' ? 'lse' : 'nu';
  const right = (query: number, S: number): number => Math.exp(S - norm(query));
  for (const { name, detail, weight } of wrongExponents(scene, norm, normWords)) {
    yield { name, detail: `${detail}, for dM`, at: pairs(scene, weight) };
  }
  for (const { words, of: each } of rowFactors(scene)) {
    const of = remembered(each);
    const name = 'row-weight';
    yield { name, detail: `dM times ${words}`, at: pairs(scene, (query, S) => of(query) * right(query, S)) };
    yield { name, detail: `dP times ${words}, for dM`, at: pairs(scene, right, (query, key) => of(query) * scene.gain(query, key) - scene.D(query)) };
    yield { name, detail: `D times ${words}, for dM`, at: pairs(scene, right, (query, key) => scene.gain(query, key) - of(query) * scene.D(query)) };
  }
}
