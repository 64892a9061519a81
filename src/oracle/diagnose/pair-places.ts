/**
 * Properties of keys, of queries, and of pairs of both, of which rules for pairs are made, the simplest first.
 * @module
 */
import { chunkOf, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { stepsOf } from './cache-steps.ts';
import { TILES } from './hypothesis.ts';
import type { Scene } from './scene.ts';

/** A property of the key, or the query, at `n` of KV head b G + g. */
export interface PlaceRule {
  readonly words: string;
  readonly has: (head: number, n: number) => boolean;
}
/** A property of a pair. */
export interface PairRule {
  readonly words: string;
  readonly has: (head: number, i: number, j: number, query: number) => boolean;
}

const TYPES = [TokenType.GLOBAL, TokenType.LOCAL, TokenType.WINDOW] as const;
const sizes = (N: number): number[] => [...TILES].sort((a, b) => a - b).filter((tile) => tile < N);

/** Which keys, or queries; the first is all of them, without words. */
export function* placeRules(scene: Scene, one: 'key' | 'query', stepped: boolean): Generator<PlaceRule> {
  const { N, parameters: { chunk: C } } = scene;
  const many = one === 'key' ? 'keys' : 'queries';
  const rule = (words: string, has: PlaceRule['has']): PlaceRule => ({ words, has });
  const type = (head: number, n: number): number => scene.plan(head).own[chunkOf(n, C)];
  const last = (head: number, j: number): number => scene.last[head * N + j];
  yield rule('', () => true);
  yield rule(`${one} 0`, (_, n) => n === 0);
  yield rule(`the last ${one}`, (_, n) => n === N - 1);
  yield rule(`odd ${many}`, (_, n) => n % 2 === 1);
  yield rule(`even ${many}`, (_, n) => n % 2 === 0);
  for (const each of TYPES) yield rule(`${TOKEN_TYPE_NAMES[each]} ${many}`, (head, n) => type(head, n) === each);
  for (const each of TYPES) yield rule(`${many} that are not ${TOKEN_TYPE_NAMES[each]}`, (head, n) => type(head, n) !== each);
  yield rule(`all ${many} but ${one} 0`, (_, n) => n > 0);
  yield rule(`all ${many} but the last`, (_, n) => n < N - 1);
  if (stepped) yield* ofSteps(scene, many);
  if (C > 1) {
    const end = N - N % C;
    yield rule(`the first ${one} of each chunk`, (_, n) => n % C === 0);
    yield rule(`the last ${one} of each chunk`, (_, n) => n % C === C - 1 || n === N - 1);
    yield rule(`all ${many} but the first of each chunk`, (_, n) => n % C > 0);
    yield rule(`all ${many} but the last of each chunk`, (_, n) => n % C < C - 1 && n < N - 1);
    yield rule(`${many} of the first chunk`, (_, n) => n < C);
    yield rule(`${many} of the last chunk`, (_, n) => chunkOf(n, C) === chunkOf(N - 1, C));
    yield rule(`${many} of odd chunks`, (_, n) => chunkOf(n, C) % 2 === 1);
    yield rule(`${many} of even chunks`, (_, n) => chunkOf(n, C) % 2 === 0);
    if (N % C > 0) yield rule(`${many} of an unfinished chunk`, (_, n) => n >= end);
  }
  if (one === 'key') {
    yield rule('LOCAL keys that a GLOBAL closes', (head, j) => type(head, j) === TokenType.LOCAL && last(head, j) < N);
    yield rule('LOCAL keys that no GLOBAL closes', (head, j) => type(head, j) === TokenType.LOCAL && last(head, j) >= N);
    yield rule('keys that are hidden before the end', (head, j) => last(head, j) < N - 1);
  }
  for (const tile of sizes(N)) {
    const [at, end] = [(n: number): number => Math.floor(n / tile), Math.floor((N - 1) / tile)];
    yield rule(`the first tile of ${tile} ${many}`, (_, n) => n < tile);
    yield rule(`${many} from ${tile}`, (_, n) => n >= tile);
    yield rule(`the last tile of ${tile} ${many}`, (_, n) => at(n) === end);
    if (N % tile > 0) {
      yield rule(`the last, partial tile of ${tile} ${many}`, (_, n) => at(n) === end);
      yield rule(`the last whole tile of ${tile} ${many}`, (_, n) => at(n) === end - 1);
      yield rule(`${many} that a last tile of ${tile}, shifted to end at N - 1, shares with the one before`, (_, n) => n >= N - tile && at(n) < end);
    }
    yield rule(`all tiles of ${tile} ${many} but the last`, (_, n) => at(n) < end);
    yield rule(`odd tiles of ${tile} ${many}`, (_, n) => at(n) % 2 === 1);
    yield rule(`even tiles of ${tile} ${many}`, (_, n) => at(n) % 2 === 0);
    yield rule(`the first ${one} of each tile of ${tile}`, (_, n) => n % tile === 0);
    yield rule(`the first ${one} of each tile of ${tile} but the first tile`, (_, n) => n % tile === 0 && n > 0);
    yield rule(`the last ${one} of each tile of ${tile}`, (_, n) => n % tile === tile - 1);
    yield rule(`all ${many} but the first of each tile of ${tile}`, (_, n) => n % tile > 0);
    yield rule(`all ${many} but the last of each tile of ${tile}`, (_, n) => n % tile < tile - 1);
    yield rule(`the second half of each tile of ${tile} ${many}`, (_, n) => n % tile >= tile / 2);
    yield rule(`the first half of each tile of ${tile} ${many}`, (_, n) => n % tile < tile / 2);
    yield rule(`the second tile of ${tile} ${many}`, (_, n) => at(n) === 1);
    for (const quarter of tile > 8 ? [0, 1, 2, 3] : []) {
      yield rule(`quarter ${quarter} of each tile of ${tile} ${many}`, (_, n) => Math.floor(4 * (n % tile) / tile) === quarter);
    }
  }
  for (let n = 0; n < 4; n++) yield rule(`${many} ${one === 'key' ? 'j' : 'i'} % 4 = ${n}`, (_, at) => at % 4 === n);
}

function* ofSteps(scene: Scene, many: string): Generator<PlaceRule> {
  const { steps } = scene.parameters;
  const step = stepsOf(scene);
  const firsts = steps.map((_, r) => step.indexOf(r));
  const rule = (words: string, has: (n: number, r: number) => boolean): PlaceRule =>
    ({ words: `${many} ${words}`, has: (_, n) => has(n, step[n]) });
  yield rule('in steps of one token', (_, r) => steps[r] === 1);
  yield rule('in steps of several tokens', (_, r) => steps[r] > 1);
  yield rule('in the first step', (_, r) => r === 0);
  yield rule('in later steps than the first', (_, r) => r > 0);
  yield rule('in later steps of one token', (_, r) => r > 0 && steps[r] === 1);
  yield rule('in later steps of several tokens', (_, r) => r > 0 && steps[r] > 1);
  yield rule('that are the first of their step', (n, r) => n === firsts[r]);
  yield rule('that are not the first of their step', (n, r) => n > firsts[r]);
  yield rule('that are the last of their step', (n, r) => n === firsts[r] + steps[r] - 1);
  yield rule('that are not the last of their step', (n, r) => n < firsts[r] + steps[r] - 1);
}

/** Which pairs, by key and query; the first is all, without words. */
export function* relations(scene: Scene, grouped: boolean, stepped: boolean): Generator<PairRule> {
  const { N, R, parameters: { chunk: C, window: W } } = scene;
  const rule = (words: string, has: PairRule['has']): PairRule => ({ words, has });
  const last = (head: number, j: number): number => scene.last[head * N + j];
  yield rule('', () => true);
  yield rule('on the diagonal', (_, i, j) => i === j);
  yield rule('before the query', (_, i, j) => j < i);
  yield rule('right before the query', (_, i, j) => j === i - 1);
  yield rule('at the end of their life', (head, i, j) => last(head, j) === i);
  yield rule('right after the end of their life', (head, i, j) => last(head, j) === i - 1);
  if (grouped && R > 1) {
    const of = (query: number): number => Math.floor(query / N) % R;
    yield rule('by the first query head of each group', (_head, _i, _j, query) => of(query) === 0);
    yield rule('by the last query head of each group', (_head, _i, _j, query) => of(query) === R - 1);
    if (R > 2) {
      yield rule('by all query heads but the first of each group', (_head, _i, _j, query) => of(query) > 0);
      yield rule('by all query heads but the last of each group', (_head, _i, _j, query) => of(query) < R - 1);
      yield rule('by odd query heads', (_head, _i, _j, query) => of(query) % 2 === 1);
    }
  }
  for (const [words, by] of [['W - 1', W - 1], ['W', W], ['W + 1', W + 1]] as const) {
    yield rule(`${words} before the query`, (_, i, j) => i - j === by);
    yield rule(`more than ${words} before the query`, (_, i, j) => i - j > by);
    yield rule(`at most ${words} before the query`, (_, i, j) => i - j <= by);
  }
  yield rule('up to W rows after the end of their life', (head, i, j) => i > last(head, j) && i - last(head, j) <= W);
  yield rule('in the first half of those up to the query', (_, i, j) => 2 * j < i);
  if (C > 1) {
    const at = (n: number): number => chunkOf(n, C);
    yield rule('of the query\'s own chunk', (_, i, j) => at(i) === at(j));
    yield rule('of the query\'s own chunk, before it', (_, i, j) => at(i) === at(j) && j < i);
    yield rule('of earlier chunks', (_, i, j) => at(i) > at(j));
    yield rule('of the chunk before', (_, i, j) => at(i) - 1 === at(j));
    yield rule('that end with the query\'s own chunk', (head, i, j) => at(last(head, j)) === at(i));
  }
  const firstSeen = perRow(scene, (head, i) => scene.keysSeen(head, i)[0]);
  const lastSeen = perRow(scene, (head, i) => scene.keysSeen(head, i).at(-2) ?? -1);
  const oldGlobal = perRow(scene, (head, i) => {
    for (let c = chunkOf(i, C) - 1; c >= 0; c--) if (scene.plan(head).own[c] === TokenType.GLOBAL) return c * C + C;
    return 0;
  });
  yield rule('the first that the query sees', (head, i, j) => j === firstSeen(head, i));
  yield rule('the last before the query that it sees', (head, i, j) => j === lastSeen(head, i));
  yield rule('behind the last GLOBAL before the query\'s chunk', (head, i, j) => j >= oldGlobal(head, i));
  yield rule('up to the last GLOBAL before the query\'s chunk', (head, i, j) => j < oldGlobal(head, i));
  if (stepped) {
    const step = stepsOf(scene);
    yield rule('of the query\'s own step', (_, i, j) => step[j] === step[i]);
    yield rule('of earlier steps', (_, i, j) => step[j] < step[i]);
    yield rule('of the step before', (_, i, j) => step[j] === step[i] - 1);
    yield rule('of the query\'s own step, before it', (_, i, j) => step[j] === step[i] && j < i);
    yield rule('that end with the query\'s own step', (head, i, j) => last(head, j) < N && step[last(head, j)] === step[i]);
  }
  for (const tile of sizes(N)) yield* ofTiles(scene, tile, firstSeen);
}

function* ofTiles(scene: Scene, tile: number, firstSeen: (head: number, i: number) => number): Generator<PairRule> {
  const { N } = scene;
  const at = (n: number): number => Math.floor(n / tile);
  const rule = (words: string, has: PairRule['has']): PairRule => ({ words, has });
  const last = (head: number, j: number): number => scene.last[head * N + j];
  yield rule(`in tiles of ${tile} on the diagonal`, (_, i, j) => at(i) === at(j));
  yield rule(`before the query in tiles of ${tile} on the diagonal`, (_, i, j) => at(i) === at(j) && j < i);
  yield rule(`in tiles of ${tile} further back than the one on the diagonal`, (_, i, j) => at(i) > at(j));
  yield rule(`in tiles of ${tile} before the one on the diagonal`, (_, i, j) => at(i) - 1 === at(j));
  yield rule(`in tiles of ${tile} 2 or more back`, (_, i, j) => at(i) - at(j) > 1);
  yield rule(`an odd number of tiles of ${tile} back`, (_, i, j) => (at(i) - at(j)) % 2 === 1);
  yield rule(`an even number of tiles of ${tile} back`, (_, i, j) => (at(i) - at(j)) % 2 === 0);
  yield rule(`less than ${tile} before the query`, (_, i, j) => i - j < tile);
  yield rule(`${tile} or more before the query`, (_, i, j) => i - j >= tile);
  yield rule(`more than ${tile} before the query`, (_, i, j) => i - j > tile);
  yield rule(`${tile} before the query`, (_, i, j) => i - j === tile);
  yield rule(`at the query's place in its tile of ${tile}`, (_, i, j) => j % tile === i % tile);
  yield rule(`behind the query's place in its tile of ${tile}`, (_, i, j) => j % tile > i % tile);
  yield rule(`before the query's place in its tile of ${tile}`, (_, i, j) => j % tile < i % tile);
  yield rule(`of the first tile of ${tile} that the query sees`, (head, i, j) => at(j) === at(firstSeen(head, i)));
  yield rule(`that end in the query's own tile of ${tile}`, (head, i, j) => at(last(head, j)) === at(i));
  yield rule(`that end in the tile of ${tile} before the query's own`, (head, i, j) => at(last(head, j)) === at(i) - 1);
  yield rule(`that end before the last row of the query's tile of ${tile}`, (head, i, j) => last(head, j) < Math.min(at(i) * tile + tile, N) - 1);
  yield rule(`that end before the query's tile of ${tile}`, (head, i, j) => last(head, j) < at(i) * tile);
  yield rule(`that end in their own tile of ${tile}`, (head, _, j) => at(last(head, j)) === at(j));
  const whole = perTile(scene, tile, (head, i, t) => {
    for (let j = t * tile; j < t * tile + tile; j++) if (j >= N || !scene.sees(head, i, j)) return 0;
    return 1;
  });
  yield rule(`of tiles of ${tile} that the query sees whole`, (head, i, j) => whole(head, i, at(j)) === 1);
  yield rule(`of tiles of ${tile} that the query sees in part`, (head, i, j) => whole(head, i, at(j)) === 0);
}

function perRow({ N }: Scene, make: (head: number, i: number) => number): (head: number, i: number) => number {
  const known = new Map<number, number>();
  return (head, i) => {
    const at = head * N + i;
    let made = known.get(at);
    if (made === undefined) known.set(at, made = make(head, i));
    return made;
  };
}

function perTile(
  { N }: Scene, tile: number, make: (head: number, i: number, t: number) => number,
): (head: number, i: number, t: number) => number {
  const known = new Map<number, number>();
  const tiles = Math.ceil(N / tile);
  return (head, i, t) => {
    const at = (head * N + i) * tiles + t;
    let made = known.get(at);
    if (made === undefined) known.set(at, made = make(head, i, t));
    return made;
  };
}
