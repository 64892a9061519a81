/**
 * Rules for the pairs of query and key that a mask gets wrong, found by holding many against the pairs: which visible
 * ones are hidden, or which hidden ones are seen.
 * @module
 */
import { chunkOf, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { attend } from './forward-hypotheses.ts';
import { MOST_KEPT, type Scene, type Sees } from './scene.ts';
import { partsOf } from './terms-hypotheses.ts';

/** Which pairs. */
interface Rule {
  readonly words: string;
  readonly has: (head: number, i: number, j: number) => boolean;
}

/** The most rules that are told of one case, the simplest first. */
const TOLD = 24;
/** Fewer wrong numbers than this are explained by one of so many rules. */
const FEWEST = 8;

/** Rules for pairs with j <= i. */
function* earlier(scene: Scene): Generator<Rule> {
  const { N, parameters: { chunk: C, window: W } } = scene;
  for (const { words, has } of partsOf(scene, 'out')) yield { words, has: (head, i, j) => has(head, i, j, -1) };
  const rule = (words: string, has: Rule['has']): Rule => ({ words, has });
  yield rule('the last query and key 0', (_, i, j) => i === N - 1 && j === 0);
  yield rule('the last query and its own key', (_, i, j) => i === N - 1 && j === i);
  yield rule('key 0 and its own query', (_, i, j) => i === 0 && j === 0);
  yield rule('odd queries', (_, i) => i % 2 === 1);
  yield rule('even queries', (_, i) => i % 2 === 0);
  yield rule('odd keys', (_head, _i, j) => j % 2 === 1);
  yield rule('even keys', (_head, _i, j) => j % 2 === 0);
  for (const [words, by] of [['W + 1', W + 1], ...[1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128].map((n) => [String(n), n] as const)] as const) {
    yield rule(`i - j = ${words}`, (_, i, j) => i - j === by);
  }
  for (const by of [2, 4, 8, 16, 32, 64, 128]) {
    if (by >= N) continue;
    yield rule(`keys ${by} or more before the query`, (_, i, j) => i - j >= by);
    yield rule(`keys less than ${by} before the query`, (_, i, j) => i - j < by);
    yield rule(`key ${by}`, (_head, _i, j) => j === by);
    yield rule(`key ${by - 1}`, (_head, _i, j) => j === by - 1);
    yield rule(`query ${by}`, (_, i) => i === by);
    yield rule(`query ${by - 1}`, (_, i) => i === by - 1);
  }
  for (const type of [TokenType.GLOBAL, TokenType.LOCAL, TokenType.WINDOW]) {
    yield rule(`${TOKEN_TYPE_NAMES[type]} keys`, (head, _, j) => scene.plan(head).own[chunkOf(j, C)] === type);
  }
  for (const tile of TILES) {
    if (tile >= N) continue;
    const at = (n: number): number => Math.floor(n / tile);
    const partial = N % tile > 0 ? at(N) : -1;
    for (const back of [2, 3, 4]) yield rule(`tiles of ${tile} keys ${back} or more back`, (_, i, j) => at(i) - at(j) >= back);
    yield rule(`the first tile of ${tile} keys, for later queries`, (_, i, j) => at(j) === 0 && at(i) > 0);
    yield rule(`the second tile of ${tile} keys`, (_head, _i, j) => at(j) === 1);
    yield rule(`earlier keys, for the queries of a last, partial tile of ${tile}`, (_, i, j) => at(i) === partial && at(j) < partial);
    yield rule(`the queries of a last, partial tile of ${tile}`, (_, i) => at(i) === partial);
    yield rule(`the keys of a last, partial tile of ${tile}`, (_head, _i, j) => at(j) === partial);
    yield rule(`the first query of each tile of ${tile} and the key before it`, (_, i, j) => i % tile === 0 && j === i - 1);
    yield rule(`the second half of each tile of ${tile} keys`, (_head, _i, j) => j % tile >= tile / 2);
    yield rule(`the second half of each tile of ${tile} queries`, (_, i) => i % tile >= tile / 2);
    yield rule(`the last key of each tile of ${tile}, for later tiles`, (_, i, j) => j % tile === tile - 1 && at(j) < at(i));
    yield rule(`the first key of each tile of ${tile}, for later tiles`, (_, i, j) => j % tile === 0 && at(j) < at(i));
  }
}

/** Rules for pairs with j > i. */
function* later(scene: Scene): Generator<Rule> {
  const { N, parameters: { chunk: C } } = scene;
  const rule = (words: string, has: Rule['has']): Rule => ({ words, has });
  yield rule('the next key', (_, i, j) => j === i + 1);
  yield rule('the next two keys', (_, i, j) => j <= i + 2);
  yield rule('all later keys', () => true);
  if (C > 1) yield rule('later keys of the query\'s own chunk', (_, i, j) => chunkOf(i, C) === chunkOf(j, C));
  for (const tile of [...TILES, 4, 2]) {
    if (tile >= 2 * N) continue;
    const at = (n: number): number => Math.floor(n / tile);
    yield rule(`later keys of the query's own tile of ${tile}`, (_, i, j) => at(i) === at(j));
    yield rule(`later keys of the query's own half of a tile of ${tile}`, (_, i, j) => at(2 * i) === at(2 * j));
    yield rule(`later keys of the first half of the tile of ${tile}`, (_, i, j) => at(i) === at(j) && j % tile < tile / 2);
  }
}

/** Which queries a rule is limited to. */
function* limits(scene: Scene): Generator<Rule> {
  const { N } = scene;
  const rule = (words: string, has: (i: number) => boolean): Rule => ({ words, has: (_, i) => has(i) });
  yield rule('', () => true);
  yield rule(', for odd queries', (i) => i % 2 === 1);
  yield rule(', for even queries', (i) => i % 2 === 0);
  for (const from of [8, 16, 32, 64, 128, 256].filter((each) => each < N)) {
    yield rule(`, for queries from ${from}`, (i) => i >= from);
    yield rule(`, for queries below ${from}`, (i) => i < from);
    const at = (i: number): number => Math.floor(i / from);
    yield rule(`, for queries of odd tiles of ${from}`, (i) => at(i) % 2 === 1);
    yield rule(`, for queries of even tiles of ${from}`, (i) => at(i) % 2 === 0);
    yield rule(`, for the last query of each tile of ${from}`, (i) => i % from === from - 1);
    yield rule(`, for the first query of each tile of ${from}`, (i) => i % from === 0);
    yield rule(`, for the last tile of ${from} queries, which is not whole`, (i) => N % from > 0 && at(i) === at(N));
  }
  yield rule(', for the last query', (i) => i === N - 1);
}

/** Rules that are exactly true of the pairs that a mask [B,G,N,N] gets wrong. */
function* ofMask(scene: Scene): Generator<Hypothesis> {
  const { N, failing } = scene;
  const actual = scene.outputs.mask.data;
  const wrong = [...failing.keys()].filter((at) => failing[at] > 0);
  const seen = actual[wrong[0]] !== 0;
  if (wrong.some((at) => (actual[at] !== 0) !== seen)) return;
  const pair = (at: number): readonly [head: number, i: number, j: number] =>
    [Math.floor(at / (N * N)), Math.floor(at / N) % N, at % N];
  const ahead = wrong.filter((at) => at % N > Math.floor(at / N) % N).length;
  if (ahead > 0 && ahead < wrong.length) return;
  // Heads in which nothing is wrong deny no rule: places name the others.
  const heads = new Set(wrong.map((at) => pair(at)[0]));
  const right: (readonly [number, number, number])[] = [];
  for (const head of heads) {
    for (let i = 0; i < N; i++) {
      for (let j = ahead > 0 ? i + 1 : 0; j < (ahead > 0 ? N : i + 1); j++) {
        if (scene.sees(head, i, j) !== seen && failing[(head * N + i) * N + j] === 0) right.push([head, i, j]);
      }
    }
  }
  const pairs = wrong.map(pair);
  const all = [...limits(scene)].filter(({ has }) => pairs.every(([head, i, j]) => has(head, i, j)));
  const own: Rule = { words: '', has: () => true };
  const others: Rule = { words: ' but the query\'s own', has: (_, i, j) => i !== j };
  const exceptions = pairs.every(([, i, j]) => i !== j) && !seen ? [own, others] : [own];
  let told = 0;
  for (const rule of ahead > 0 ? later(scene) : earlier(scene)) {
    if (!pairs.every(([head, i, j]) => rule.has(head, i, j))) continue;
    for (const limit of all) {
      for (const but of exceptions) {
        const all3 = [rule, limit, but];
        if (right.some((at) => all3.every(({ has }) => has(...at)))) continue;
        if (told++ > TOLD) return;
        yield { ...named(seen, `${rule.words}${but.words}${limit.words}`), predict: (at) => [actual[at]] };
        break;
      }
    }
  }
}

const named = (seen: boolean, words: string): { readonly name: 'pairs-seen' | 'pairs-hidden'; readonly detail: string } =>
  ({ name: seen ? 'pairs-seen' : 'pairs-hidden', detail: words });

/** Pairs that are hidden or seen by a rule of their own. */
export const pairRules: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output === 'mask') return yield* ofMask(scene);
  if ((output !== 'out' && output !== 'lse') || scene.N > MOST_KEPT) return;
  if (scene.failing.reduce((count, level) => count + Number(level > 0), 0) < FEWEST) return;
  const by = (seen: boolean, words: string, sees: Sees): Hypothesis => {
    const predict = (query: number): ArrayLike<number> => {
      const { out, lse } = attend(scene, scene.row(query, { sees }));
      return output === 'lse' ? [lse] : out;
    };
    return { ...named(seen, words), sees, predict };
  };
  for (const { words, has } of earlier(scene)) {
    yield by(false, words, (head, i, j) => scene.sees(head, i, j) && !has(head, i, j));
    yield by(false, `${words} but the query's own`, (head, i, j) => scene.sees(head, i, j) && (i === j || !has(head, i, j)));
    yield by(true, words, (head, i, j) => j <= i && (scene.sees(head, i, j) || has(head, i, j)));
  }
  for (const { words, has } of later(scene)) {
    for (const limit of limits(scene)) {
      if (limit.words !== '' && words !== 'the next key') continue;
      yield by(true, `${words}${limit.words}`, (head, i, j) => (j <= i ? scene.sees(head, i, j) : has(head, i, j) && limit.has(head, i, j)));
    }
  }
};
