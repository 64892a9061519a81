/**
 * What may be said about a row or a token of one KV head from its type, its lifetime and its visible keys.
 * @module
 */
import { chunkEnd, chunkOf, FOREVER, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { TILES } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';

/** A property of the row or token at `n` of KV head b G + g. */
export interface HeadFact {
  readonly text: string;
  readonly has: (head: number, n: number) => boolean;
}

const { GLOBAL, LOCAL, WINDOW } = TokenType;
const ALL = [GLOBAL, LOCAL, WINDOW] as const;
const COUNTS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** What holds of a row i by the keys that it sees and hides, the most telling first. */
export function* rowFacts(scene: Scene): Generator<HeadFact> {
  const { N, parameters: { chunk: C, window: W } } = scene;
  const of = (scene.N <= 2 * MOST_KEPT ? kept : lazily)(scene);
  yield { text: 'in rows with one visible key', has: (head, i) => of(head, i).seen === 1 };
  for (const type of ALL) {
    const name = TOKEN_TYPE_NAMES[type];
    yield { text: `in rows that hide a ${name} key`, has: (head, i) => of(head, i).hides[type] > 0 };
    yield { text: `in rows that see an earlier ${name} key`, has: (head, i) => of(head, i).sees[type] > 0 };
  }
  yield { text: 'in rows that hide a key', has: (head, i) => of(head, i).seen < i + 1 };
  yield { text: 'in rows that hide no key', has: (head, i) => of(head, i).seen === i + 1 };
  yield { text: 'in rows that close LOCAL keys', has: (head, i) => of(head, i).closes };
  yield { text: 'in rows right after the last that sees a key', has: (head, i) => of(head, i).after };
  yield { text: 'in rows that are the last to see a key', has: (head, i) => of(head, i).lasts };
  if (C > 1) {
    yield { text: 'in rows that end a chunk', has: (_, i) => i % C === C - 1 };
    yield { text: 'in rows that begin a chunk', has: (_, i) => i % C === 0 };
    yield { text: 'in rows of an unfinished chunk', has: (_, i) => i >= N - N % C };
  }
  for (const tile of [...TILES].sort((a, b) => a - b)) {
    yield { text: `in rows that see keys before their tile of ${tile}`, has: (head, i) => of(head, i).first < i - i % tile };
    yield { text: `in rows that see keys of their tile of ${tile} alone`, has: (head, i) => of(head, i).first >= i - i % tile };
  }
  for (const tile of [...TILES].sort((a, b) => a - b)) {
    yield {
      text: `in rows whose first tile of ${tile} keys is hidden whole`, has: (head, i) => of(head, i).first >= tile,
    };
  }
  yield* seenTiles(scene);
  for (const count of COUNTS.slice(1).toReversed()) {
    yield { text: `in rows with more than ${count} visible keys`, has: (head, i) => of(head, i).seen > count };
  }
  for (const count of COUNTS) {
    yield { text: `in rows with at most ${count} visible keys`, has: (head, i) => of(head, i).seen <= count };
  }
  yield { text: 'in rows beyond W', has: (_, i) => i > W };
  yield { text: 'in rows up to W', has: (_, i) => i <= W };
  if (scene.N > MOST_KEPT) return;
  const tops = new Map<number, readonly [seen: number, hidden: number]>();
  const top = (head: number, i: number): readonly [number, number] => {
    let made = tops.get(head * N + i);
    if (!made) {
      let [seen, hidden] = [-Infinity, -Infinity];
      for (const query of scene.queriesOf(head, i)) {
        for (let j = 0; j <= i; j++) {
          const S = scene.parameters.scale * scene.product(query, head * N + j);
          if (scene.sees(head, i, j)) seen = Math.max(seen, S);
          else hidden = Math.max(hidden, S);
        }
      }
      tops.set(head * N + i, made = [seen, hidden]);
    }
    return made;
  };
  yield { text: 'in rows whose largest score is at a hidden key', has: (head, i) => top(head, i)[1] > top(head, i)[0] };
  for (const size of [64, 16, 8]) {
    yield { text: `in rows with a visible score above ${size}`, has: (head, i) => top(head, i)[0] > size };
  }
  yield { text: 'in rows whose visible scores are all negative', has: (head, i) => top(head, i)[0] < 0 };
}

/** Rows that see certain earlier keys of tiles, as kernels that lose or mistake those keys are wrong in. */
function* seenTiles(scene: Scene): Generator<HeadFact> {
  const { N } = scene;
  const known = new Map<string, Uint8Array>();
  const seesSome = (words: string, is: (j: number, i: number) => boolean): HeadFact => ({
    text: `in rows that see ${words}`,
    has: (head, i) => {
      const key = `${head} ${words}`;
      let rows = known.get(key);
      if (!rows) {
        rows = new Uint8Array(N);
        for (let at = 0; at < N; at++) {
          for (let j = 0; j < at && rows[at] === 0; j++) if (is(j, at) && scene.sees(head, at, j)) rows[at] = 1;
        }
        known.set(key, rows);
      }
      return rows[i] === 1;
    },
  });
  if (N > MOST_KEPT) return;
  yield seesSome('key 0', (j) => j === 0);
  yield seesSome('an odd key', (j) => j % 2 === 1);
  for (const tile of [8, 16, 32, 64]) {
    if (N <= tile) continue;
    yield seesSome(`the last key of a tile of ${tile}`, (j) => j % tile === tile - 1);
    yield seesSome(`the first key of a tile of ${tile}`, (j) => j % tile === 0);
    yield seesSome(`an odd tile of ${tile} keys`, (j) => Math.floor(j / tile) % 2 === 1);
    yield seesSome(`the second half of a tile of ${tile} keys`, (j) => j % tile >= tile / 2);
    yield seesSome(`the second tile of ${tile} keys`, (j) => Math.floor(j / tile) === 1);
    yield seesSome(`the tile of ${tile} keys before their own`, (j, i) => Math.floor(j / tile) === Math.floor(i / tile) - 1);
  }
}

/** What holds of a key j, or of a chunk if `chunked`, by its lifetime. */
export function* keyFacts(scene: Scene, chunked: boolean): Generator<HeadFact> {
  const { N, parameters: { chunk: C, window: W } } = scene;
  const token = (n: number): number => (chunked ? n * C : n);
  const last = (head: number, n: number): number => scene.last[head * N + token(n)];
  const type = (head: number, n: number): number => scene.plan(head).own[chunkOf(token(n), C)];
  const fact = (text: string, has: HeadFact['has']): HeadFact => ({ text, has });
  const local = (head: number, n: number): boolean => type(head, n) === LOCAL;
  const window = (head: number, n: number): boolean => type(head, n) === WINDOW;
  yield fact('of LOCAL tokens that a GLOBAL closes', (head, n) => local(head, n) && last(head, n) !== FOREVER);
  yield fact('of LOCAL tokens that no GLOBAL closes', (head, n) => local(head, n) && last(head, n) === FOREVER);
  yield fact('of WINDOW tokens whose window reaches past N', (head, n) => window(head, n) && last(head, n) >= N);
  yield fact('of WINDOW tokens whose window ends before N', (head, n) => window(head, n) && last(head, n) < N);
  yield fact('of GLOBAL tokens after LOCAL ones', (head, n) => type(head, n) === GLOBAL
    && n > 0 && endsLocal(scene, head, chunkOf(token(n), C)));
  for (const each of ALL) yield fact(`of ${TOKEN_TYPE_NAMES[each]} tokens`, (head, n) => type(head, n) === each);
  for (const each of ALL) yield fact(`of tokens that are not ${TOKEN_TYPE_NAMES[each]}`, (head, n) => type(head, n) !== each);
  yield fact('of keys that are hidden before the end', (head, n) => last(head, n) < N - 1);
  yield fact('of keys that are never hidden', (head, n) => last(head, n) >= N - 1);
  if (C > 1 && !chunked) {
    yield fact('of the last token of each chunk', (_, j) => j % C === C - 1);
    yield fact('of the first token of each chunk', (_, j) => j % C === 0);
  }
  if (C > 1 && N % C > 0) yield fact('of an unfinished chunk', (_, n) => chunkEnd(chunkOf(token(n), C), C) >= N);
  const end = (head: number, n: number): number => Math.min(last(head, n), N - 1);
  for (const tile of [...TILES].sort((a, b) => a - b)) {
    const tileOf = (n: number): number => Math.floor(n / tile);
    yield fact(`of keys that later tiles of ${tile} see`, (head, n) => tileOf(end(head, n)) > tileOf(token(n)));
    yield fact(`of keys that their own tile of ${tile} alone sees`, (head, n) => tileOf(end(head, n)) === tileOf(token(n)));
  }
  for (const count of COUNTS.slice(1).toReversed()) {
    yield fact(`of keys that more than ${count} queries see`, (head, n) => end(head, n) - token(n) + 1 > count);
  }
  for (const count of COUNTS) {
    yield fact(`of keys that at most ${count} queries see`, (head, n) => end(head, n) - token(n) + 1 <= count);
  }
  yield fact('of keys within W of the end', (_, n) => token(n) >= N - W);
  if (!chunked) {
    for (const tile of [8, 16, 32, 64]) {
      if (N <= tile) continue;
      const reaches = (head: number, j: number, rest: number): boolean => {
        const next = j + (rest - j % tile + tile) % tile;
        return (next > j ? next : next + tile) <= end(head, j);
      };
      yield fact(`of keys that the last row of a tile of ${tile} sees`, (head, j) => reaches(head, j, tile - 1));
      yield fact(`of keys that the first row of a tile of ${tile} sees`, (head, j) => reaches(head, j, 0));
    }
    yield fact('of keys that the last row sees', (head, j) => end(head, j) === N - 1);
  }
  yield fact('of keys further than W from the end', (_, n) => token(n) < N - W);
  const follows = (head: number, n: number): boolean => {
    const { own } = scene.plan(head);
    for (let c = chunkOf(token(n), C) + 1; c < own.length; c++) if (own[c] === GLOBAL) return true;
    return false;
  };
  yield fact('of tokens that no GLOBAL follows', (head, n) => !follows(head, n));
  yield fact('of tokens that a GLOBAL follows', follows);
  const windowEnd = (n: number): number => chunkEnd(chunkOf(token(n), C), C) + W;
  yield fact('of tokens whose window, if they had one, ends before N', (_, n) => windowEnd(n) < N);
  yield fact('of tokens whose window, if they had one, reaches past N', (_, n) => windowEnd(n) >= N);
  const next = (head: number, n: number, by: number): number | undefined =>
    scene.plan(head).own[chunkOf(token(n), C) + by];
  for (const each of ALL) {
    yield fact(`of tokens right before a chunk that is ${TOKEN_TYPE_NAMES[each]}`, (head, n) => next(head, n, 1) === each);
    yield fact(`of tokens right after a chunk that is ${TOKEN_TYPE_NAMES[each]}`, (head, n) => next(head, n, -1) === each);
  }
  if (C > 1) yield fact('of the last chunk', (_, n) => chunkOf(token(n), C) === chunkOf(N - 1, C));
}

/** Whether the GLOBAL chunk c closes some LOCAL one, or would if none before it did. */
function endsLocal(scene: Scene, head: number, c: number): boolean {
  const { own } = scene.plan(head);
  for (let n = c - 1; n >= 0 && own[n] !== GLOBAL; n--) if (own[n] === LOCAL) return true;
  return false;
}

/** The visible keys of a row in short. */
interface Visible {
  readonly seen: number;
  readonly first: number;
  readonly closes: boolean;
  /** Whether the row is the last that sees a key of before, and whether it follows such a row. */
  readonly lasts: boolean;
  readonly after: boolean;
  /** By type, the keys before i that are seen, and those that are hidden. */
  readonly sees: readonly number[];
  readonly hides: readonly number[];
}

function lazily(scene: Scene): (head: number, i: number) => Visible {
  const { N, parameters: { chunk } } = scene;
  return (head, i) => {
    let [seen, first, closes, lasts, after] = [0, i, false, false, false];
    const [sees, hides] = [[0, 0, 0], [0, 0, 0]];
    const { own } = scene.plan(head);
    for (let j = i; j >= 0; j--) {
      const last = scene.last[head * N + j];
      const type = own[chunkOf(j, chunk)];
      if (last === i - 1) after = true;
      if (last === i && j < i) lasts = true;
      if (last < i) hides[type] = hides[type] + 1;
      else {
        seen++;
        first = j;
        if (j < i) sees[type] = sees[type] + 1;
        if (last === i && type === LOCAL) closes = true;
      }
    }
    return { seen, first, closes, lasts, after, sees, hides };
  };
}

function kept(scene: Scene): (head: number, i: number) => Visible {
  const known = new Map<number, Visible>();
  const make = lazily(scene);
  return (head, i) => {
    const at = head * scene.N + i;
    let made = known.get(at);
    if (!made) known.set(at, made = make(head, i));
    return made;
  };
}
