/**
 * Some terms of the sums multiplied by one number, which is fitted: 0 where they are left out, 2 where they count
 * twice, and hidden pairs that count. Which terms: those of a tile, a type, the diagonal, a query head of the group.
 * @module
 */
import { slope, weightOf } from './backward-hypotheses.ts';
import { chunkOf, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Which pairs of a query and a key of KV head b G + g. */
interface Part {
  readonly words: string;
  readonly has: (head: number, i: number, j: number, query: number) => boolean;
}

/** The most rows by which a factor is fitted. */
const FITTED = 24;

/** Which pairs may be treated otherwise. */
export function* partsOf(scene: Scene, output: OutputName): Generator<Part> {
  const { N, R, parameters: { chunk: C, window: W } } = scene;
  const part = (words: string, has: Part['has']): Part => ({ words, has });
  yield part('the pairs on the diagonal', (_, i, j) => i === j);
  yield part('the pairs off the diagonal', (_, i, j) => i !== j);
  yield part('key 0', (_head, _i, j) => j === 0);
  yield part('the last key', (_head, _i, j) => j === N - 1);
  yield part('the last query', (_, i) => i === N - 1);
  yield part('keys at the end of their life', (head, i, j) => scene.last[head * N + j] === i);
  yield part('keys W before the query', (_, i, j) => i - j === W);
  yield part('keys more than W before the query', (_, i, j) => i - j > W);
  yield part('keys within W of the query', (_, i, j) => i - j <= W);
  if (C > 1) {
    yield part('keys of the query\'s own chunk', (_, i, j) => Math.floor(i / C) === Math.floor(j / C));
    yield part('the first token of each chunk as key', (_head, _i, j) => j % C === 0);
    yield part('the last token of each chunk as key', (_head, _i, j) => j % C === C - 1);
  }
  for (const type of [TokenType.GLOBAL, TokenType.LOCAL, TokenType.WINDOW]) {
    const of = (head: number, n: number): number => scene.plan(head).own[chunkOf(n, C)];
    yield part(`${TOKEN_TYPE_NAMES[type]} keys`, (head, _, j) => of(head, j) === type);
    yield part(`earlier ${TOKEN_TYPE_NAMES[type]} keys`, (head, i, j) => j < i && of(head, j) === type);
    yield part(`queries that are ${TOKEN_TYPE_NAMES[type]}`, (head, i) => of(head, i) === type);
  }
  for (const tile of TILES) {
    if (tile >= N) continue;
    const at = (n: number): number => Math.floor(n / tile);
    yield part(`tiles of ${tile} on the diagonal`, (_, i, j) => at(i) === at(j));
    yield part(`tiles of ${tile} before the one on the diagonal`, (_, i, j) => at(i) - 1 === at(j));
    yield part(`tiles of ${tile} further back than the one on the diagonal`, (_, i, j) => at(i) > at(j));
    yield part(`the first tile of ${tile} keys`, (_head, _i, j) => at(j) === 0);
    yield part(`the first tile of ${tile} queries`, (_, i) => at(i) === 0);
    yield part(`odd tiles of ${tile} keys`, (_head, _i, j) => at(j) % 2 === 1);
    yield part(`odd tiles of ${tile} queries`, (_, i) => at(i) % 2 === 1);
    yield part(`the last key of each tile of ${tile}`, (_head, _i, j) => j % tile === tile - 1);
    yield part(`the first key of each tile of ${tile}`, (_head, _i, j) => j % tile === 0);
    yield part(`the last query of each tile of ${tile}`, (_, i) => i % tile === tile - 1);
    yield part(`the first query of each tile of ${tile}`, (_, i) => i % tile === 0);
    yield part(`the last tile of ${tile} keys`, (_head, _i, j) => at(j) === at(N - 1));
    yield part(`the last tile of ${tile} queries`, (_, i) => at(i) === at(N - 1));
    if (N % tile === 0) continue;
    const shared = (n: number): boolean => n >= N - tile && n < N - N % tile;
    yield part(`queries that a last tile of ${tile}, shifted to end at N - 1, shares with the one before`, (_, i) => shared(i));
    yield part(`keys that a last tile of ${tile}, shifted to end at N - 1, shares with the one before`, (_head, _i, j) => shared(j));
  }
  if (R > 1 && output !== 'out' && output !== 'lse' && output !== 'dq') {
    const of = (query: number): number => Math.floor(query / N) % R;
    for (let r = 0; r < R; r++) yield part(`query head ${r} of each group`, (_head, _i, _j, query) => of(query) === r);
    yield part('odd query heads of each group', (_head, _i, _j, query) => of(query) % 2 === 1);
  }
}

/** A row of an output: what it would be, given the factor of the terms in question. */
interface Split {
  readonly rest: ArrayLike<number>;
  readonly part: ArrayLike<number>;
  /** Of out and lse, the weights in the part, of 1 in total; 0 otherwise. */
  readonly weight: number;
}

export const termsHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (!['out', 'lse', 'dv', 'dq', 'dk', 'dm_rows'].includes(output) || scene.N > 1024) return;
  const width = output === 'lse' || output === 'dm_rows' ? 1 : scene.d;
  const failing = failingRows(scene, width);
  if (failing.length * width < 8) return; // one factor explains a few numbers anyway
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  const hides = output !== 'dm_rows';
  for (const part of partsOf(scene, output)) {
    for (const hidden of hides ? [false, true] : [false]) {
      const split = (row: number): Split => splitOf(scene, output, row, part, hidden);
      const factor = fitted(scene, output, rows, width, split, hidden);
      const none = hidden ? 0 : 1;
      if (factor === undefined || !Number.isFinite(factor) || Math.abs(factor - none) < 1e-3) continue;
      const times = Math.abs(factor) < 1e-3 ? 'left out' : `times ${Number(factor.toPrecision(3))}`;
      const words = hidden ? `${part.words}, though hidden, count${Math.abs(factor - 1) < 1e-3 ? '' : ` ${times}`}` : `${part.words}: ${times}`;
      const kind = `${part.words}${hidden ? ', though hidden' : ''}: ${oftenness(factor)}`;
      yield { name: 'terms-weighed', detail: words, kind, predict: (row) => made(scene, output, row, split(row), factor, hidden) };
    }
  }
};

/** A factor of terms in words that do not depend on the sizes of a case. */
export const oftenness = (factor: number): string =>
  (Math.abs(factor) < 1e-3 ? 'left out' : factor < 0 ? 'with another sign' : factor > 1 ? 'more than once' : 'less than once');

/** What a row is if its part counts `factor` times. */
function made(
  scene: Scene, output: OutputName, row: number, { rest, part, weight }: Split, factor: number, hidden: boolean,
): ArrayLike<number> {
  const Z = (hidden ? 1 : 1 - weight) + factor * weight;
  if (output === 'lse') return [scene.lse(row) + Math.log(Z)];
  const divide = output === 'out' ? Z : 1;
  return Array.from(part, (x, c) => (rest[c] + factor * x) / divide);
}

/** The factor that explains the rows best. */
function fitted(
  scene: Scene, output: OutputName, rows: readonly number[], width: number, split: (row: number) => Split,
  hidden: boolean,
): number | undefined {
  const actual = scene.outputs[output].data;
  let [both, own, some] = [0, 0, 0];
  for (const row of rows) {
    const { rest, part, weight } = split(row);
    if (output === 'lse') {
      if (weight === 0) continue;
      const Z = Math.exp(actual[row] - scene.lse(row));
      if (!Number.isFinite(Z)) return undefined;
      both += weight * (Z - (hidden ? 1 : 1 - weight));
      own += weight * weight;
      some++;
      continue;
    }
    let found = false;
    for (let c = 0; c < width; c++) {
      const a = actual[row * width + c];
      if (!Number.isFinite(a)) return undefined;
      // Of out, w (A out - a) = b - B out, where a and b are the sums over the part and the rest, of weights A and B.
      const [x, y] = output === 'out' ? [weight * a - part[c], rest[c] - (hidden ? 1 : 1 - weight) * a] : [part[c], a - rest[c]];
      both += x * y;
      own += x * x;
      found ||= part[c] !== 0;
    }
    some += Number(found);
  }
  return some >= Math.min(rows.length, 4) / 2 && own > 0 ? both / own : undefined;
}

function splitOf(scene: Scene, output: OutputName, row: number, { has }: Part, hidden: boolean): Split {
  const { N, d } = scene;
  const { scale } = scene.parameters;
  const counts = (head: number, i: number, j: number, query: number): boolean =>
    j <= i && scene.sees(head, i, j) !== hidden && has(head, i, j, query);
  const right = { name: 'unknown' } as const;
  const truth = scene.truth(output);
  if (output === 'out' || output === 'lse') {
    const head = scene.headOf(row);
    const all = scene.row(row, { sees: (_, i, j) => counts(head, i, j, row) });
    const weights = all.S.map((S) => Math.exp(S - scene.lse(row)));
    const weight = weights.reduce((a, b) => a + b, 0);
    if (output === 'lse') return { rest: [], part: [], weight };
    const part = scene.weigh(all, weights);
    const whole = truth.slice(row * d, (row + 1) * d) as Float64Array;
    return { rest: hidden ? whole : whole.map((x, c) => x - part[c]), part, weight };
  }
  const part = new Float64Array(output === 'dm_rows' ? 1 : d);
  const add = (a: number, x: Float64Array, at: number): void => {
    for (let c = 0; c < d; c++) part[c] = part[c] + a * x[at * d + c];
  };
  const whole = truth.slice(row * part.length, (row + 1) * part.length) as Float64Array;
  if (output === 'dq') {
    const head = scene.headOf(row);
    for (let j = 0; j < N; j++) {
      if (counts(head, row % N, j, row)) add(scale * slope(scene, right, row, head * N + j), scene.k, head * N + j);
    }
  } else if (output === 'dm_rows') {
    const [head, i] = [Math.floor(row / N), row % N];
    const exact = scene.parameters.rule === 'exact';
    for (let j = 0; j <= i; j++) {
      for (const query of scene.queriesOf(head, i)) {
        if (!has(head, i, j, query)) continue;
        const norm = exact ? scene.lse(query) : scene.causalLse(query);
        part[0] = part[0] + slope(scene, { ...right, weight: (_, S) => Math.exp(S - norm) }, query, head * N + j);
      }
    }
  } else {
    const [head, j] = [Math.floor(row / N), row % N];
    for (let i = j; i < N; i++) {
      for (const query of scene.queriesOf(head, i)) {
        if (!counts(head, i, j, query)) continue;
        if (output === 'dv') add(weightOf(scene, right, query, row), scene.dout, query);
        else add(scale * slope(scene, right, query, row), scene.q, query);
      }
    }
  }
  return { rest: hidden ? whole : whole.map((x, c) => x - part[c]), part, weight: 0 };
}

/** Each row off by a factor of its own, or every value by one difference. */
export const fittedHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const truth = scene.truth(output);
  if (truth instanceof Int32Array) return;
  const actual = scene.outputs[output].data;
  const width = ['out', 'dv', 'dq', 'dk', 'cache_out'].includes(output) ? scene.d : output === 'dscores' ? 3 : 1;
  const failing = failingRows(scene, width);
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / FITTED) === 0);
  if (width > 1 && output !== 'dscores') {
    yield { name: 'row-factor', predict: (row) => {
      let [both, own] = [0, 0];
      for (let c = 0; c < width; c++) {
        const [a, t] = [actual[row * width + c], truth[row * width + c]];
        both += a * t;
        own += t * t;
      }
      const factor = own > 0 && Number.isFinite(both) ? both / own : 1;
      return Array.from({ length: width }, (_, c) => factor * truth[row * width + c]);
    } };
  }
  const differences = rows.flatMap((row) => Array.from({ length: width }, (_, c) => row * width + c))
    .map((at) => actual[at] - truth[at]).filter((x) => Number.isFinite(x) && x !== 0);
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  if (differences.length < 4 || differences.some((x) => Math.abs(x - mean) > 0.02 * Math.abs(mean))) return;
  yield {
    name: 'offset', detail: String(Number(mean.toPrecision(4))),
    predict: (row) => Array.from({ length: width }, (_, c) => truth[row * width + c] + mean),
  };
};
