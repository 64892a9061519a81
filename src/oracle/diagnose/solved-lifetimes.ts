/**
 * Wrong lifetimes (§2) by formulas: lengths of windows, and ends of LOCAL and WINDOW that depend on tiles, blocks of
 * chunks or other sequences.
 * @module
 */
import { chunkEnd, FOREVER, TokenType } from '../../core/lifetime.ts';
import { TILES, type WrongLifetime } from './hypothesis.ts';
import type { OfType } from './rarer-lifetimes.ts';
import type { Scene } from './scene.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** Windows that a kernel may have in the place of W, in words that do not depend on the case, by length. */
export function windowsOf({ N, parameters: { chunk: C, window: W } }: Scene): ReadonlyMap<number, readonly string[]> {
  const up = (x: number, by: number): number => Math.ceil(x / by) * by;
  const down = (x: number, by: number): number => x - x % by;
  const formulas: readonly (readonly [string, number])[] = [
    ...[-4, -3, -2, 2, 3, 4].map((by) => [`W ${by < 0 ? '-' : '+'} ${Math.abs(by)}`, W + by] as const),
    ['2 W', 2 * W], ['W / 2', W >> 1], ['2 W + 1', 2 * W + 1], ['0', 0], ['W + C', W + C], ['W - C', W - C],
    ...[8, 16, 32, 64, 128].map((size) => [String(size), size] as const),
    ...[4, 8, 16, 32, 64].flatMap((size) => [
      [`W rounded down to a multiple of ${size}`, down(W, size)], [`W rounded up to a multiple of ${size}`, up(W, size)],
      [`at least ${size}`, Math.max(W, size)],
    ] as const),
    ['W rounded down to whole chunks', down(W, C)], ['W rounded up to whole chunks', up(W, C)], ['W / C', Math.floor(W / C)],
    ['W rounded up to a power of two', 2 ** Math.ceil(Math.log2(Math.max(W, 1)))],
    ['W rounded down to a power of two', 2 ** Math.floor(Math.log2(Math.max(W, 1)))],
    ['W + C - 1', W + C - 1], ['W - C + 1', W - C + 1], ['at most N / 2', Math.min(W, N >> 1)],
  ];
  const all = new Map<number, string[]>();
  for (const [words, size] of formulas) if (size >= 0 && size !== W) all.set(size, [...all.get(size) ?? [], words]);
  // One more and one less have names of their own, unless something else makes them.
  for (const size of [W - 1, W + 1]) {
    const words = (all.get(size) ?? []).filter((each) => !/^(\d+|W [+-] \d+)$/.test(each));
    if (words.length > 0) all.set(size, words);
    else all.delete(size);
  }
  return all;
}

/** Ends of lifetimes that depend on the tile of the key, on blocks of chunks, or on the types of other sequences. */
export function* solvedLifetimes(
  scene: Scene, ofType: OfType, life: (change: (head: number, j: number) => number) => WrongLifetime,
): Generator<WrongLifetime> {
  const { N, chunks, heads, parameters: { chunk: C, window: W, kvHeads: G } } = scene;
  const right = (head: number, j: number): number => scene.last[head * N + j];
  const local = (name: 'local-other' | 'local-by-neighbour' | 'local-in-block', detail: string, change: (head: number, j: number, c: number) => number): WrongLifetime =>
    ({ ...ofType(LOCAL, name, change), detail });
  const ended = (head: number, j: number, otherwise: (last: number) => number): number =>
    (right(head, j) === FOREVER ? FOREVER : Math.max(j, otherwise(right(head, j))));
  yield local('local-other', 'one chunk late', (head, j) => ended(head, j, (last) => last + (C > 1 ? C : 1)));
  if (C > 1) {
    yield local('local-other', 'one chunk early', (head, j) => ended(head, j, (last) => last - C));
    yield local('local-other', 'at its own place in the closing chunk', (head, j) => ended(head, j, (last) => last - C + 1 + j % C));
  }
  if (N % C > 0) yield local('local-other', 'by no unfinished chunk', (head, j) => (right(head, j) >= N ? FOREVER : right(head, j)));
  for (const block of [8, 16, 32, 64].filter((each) => each < chunks)) {
    const blockOf = (c: number): number => Math.floor(c / block);
    const apart = (c: number, last: number): boolean => blockOf(c) !== blockOf(Math.floor(last / C));
    for (const by of [1, -1]) {
      yield local('local-other', `one token ${by > 0 ? 'late' : 'early'} where the GLOBAL is in another block of ${block} chunks`, (head, j, c) =>
        ended(head, j, (last) => (apart(c, last) ? last + by : last)));
    }
  }
  const global = (head: number, c: number): boolean => scene.plan(head).own[c] === GLOBAL;
  const closing = (c: number, counts: (c: number) => boolean): number => {
    for (let at = c + 1; at < chunks; at++) if (counts(at)) return chunkEnd(at, C);
    return FOREVER;
  };
  if (heads > G) {
    const other = (detail: string, sources: (head: number) => readonly number[]): WrongLifetime =>
      local('local-by-neighbour', detail, (head, _, c) => closing(c, (at) => sources(head).some((each) => global(each, at))));
    yield other('of the next sequence', (head) => [(head + G) % heads]);
    yield other('of the sequence before', (head) => [(head + heads - G) % heads]);
    yield other('of batch 0', (head) => [head % G]);
    yield other('of any sequence', (head) => Array.from({ length: heads / G }, (_, b) => b * G + head % G));
  }
  for (const tile of TILES.filter((each) => each < N)) {
    const endOf = (n: number): number => Math.floor(n / tile) * tile + tile - 1;
    yield {
      ...ofType(WINDOW, 'window-other', (_, j) => Math.max(j, endOf(j) - tile + 1 + W)),
      detail: `counted from the first key of its tile of ${tile}`,
    };
    yield { ...ofType(WINDOW, 'window-other', (_, j) => endOf(j) + W), detail: `counted from the last key of its tile of ${tile}` };
    yield {
      ...ofType(WINDOW, 'ends-by-tile', (head, j) =>
        Math.min(right(head, j), Math.max(endOf(j), endOf(endOf(j) - tile + 1 + W)))),
      detail: `WINDOW of whole tiles of ${tile} keys within W of the first row of a tile`,
    };
    yield local('local-in-block', `tiles of ${tile} tokens`, (head, j) => (right(head, j) > endOf(j) ? FOREVER : right(head, j)));
    const before = (head: number, j: number): number => {
      const last = right(head, j);
      return last >= N - 1 || last === endOf(last) ? last : Math.max(Math.min(last, endOf(j)), endOf(last) - tile);
    };
    for (const [detail, change] of [
      [`not before the end of the tile of ${tile} on the diagonal`, (head: number, j: number) => Math.max(right(head, j), endOf(j))],
      [`with the tile of ${tile} on the diagonal at the latest`, (head: number, j: number) => Math.min(right(head, j), endOf(j))],
      [`before the tile of ${tile} rows in which they end, but for the one on the diagonal`, before],
    ] as const) {
      yield { ...ofType(WINDOW, 'ends-by-tile', change), detail: `WINDOW ${detail}` };
      yield { ...ofType(LOCAL, 'ends-by-tile', change), detail: `LOCAL ${detail}` };
      yield { ...life(change), detail: `all ${detail}` };
    }
  }
}
