/**
 * dw, dl and dg (§5) that hold something else in chunks of one class alone: 0, or a sum over other rows.
 * @module
 */
import { chunkEnd, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import { columns } from './type-sums.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;
const ALL = [GLOBAL, LOCAL, WINDOW] as const;

/** A property of chunk c of KV head b G + g. */
interface ChunkClass {
  readonly words: string;
  readonly has: (head: number, c: number) => boolean;
}

/** The classes that a kernel may treat on their own, each beside its opposite. */
function* chunkClasses(scene: Scene): Generator<ChunkClass> {
  const { N, chunks, inputs, parameters: { chunk: C, window: W, kvHeads: G } } = scene;
  const own = (head: number, c: number): number | undefined => scene.plan(head).own[c];
  const follows = (head: number, c: number): boolean => {
    for (let n = c + 1; n < chunks; n++) if (own(head, n) === GLOBAL) return true;
    return false;
  };
  const charged = (head: number, c: number): boolean => {
    for (let n = c - 1; n >= 0 && own(head, n) !== GLOBAL; n--) if (own(head, n) === LOCAL) return true;
    return false;
  };
  const both = function* (yes: string, no: string, has: ChunkClass['has']): Generator<ChunkClass> {
    yield { words: yes, has };
    yield { words: no, has: (head, c) => !has(head, c) };
  };
  yield* both('chunks that no GLOBAL follows', 'chunks that a GLOBAL follows', (head, c) => !follows(head, c));
  yield* both('the last chunk', 'all chunks but the last', (_, c) => c === chunks - 1);
  yield* both('the first chunk', 'all chunks but the first', (_, c) => c === 0);
  for (const type of ALL) {
    const name = TOKEN_TYPE_NAMES[type];
    yield* both(`${name} chunks`, `chunks that are not ${name}`, (head, c) => own(head, c) === type);
  }
  yield* both('chunks whose window reaches past N', 'chunks whose window ends before N', (_, c) => chunkEnd(c, C) + W >= N);
  yield* both('chunks whose window ends at N - 1 or later', 'chunks whose window ends before N - 1',
    (_, c) => chunkEnd(c, C) + W >= N - 1);
  yield* both('chunks whose window ends before the next GLOBAL', 'chunks whose window ends at the next GLOBAL or later',
    (head, c) => chunkEnd(c, C) + W < scene.plan(head).closing[c]);
  const local = (head: number, c: number): boolean => own(head, c) === LOCAL;
  yield { words: 'LOCAL chunks that no GLOBAL follows', has: (head, c) => local(head, c) && !follows(head, c) };
  yield { words: 'LOCAL chunks that a GLOBAL closes', has: (head, c) => local(head, c) && follows(head, c) };
  yield { words: 'chunks that are not LOCAL and that no GLOBAL follows', has: (head, c) => !local(head, c) && !follows(head, c) };
  yield* both('chunks with LOCAL since the GLOBAL before them', 'chunks without LOCAL since the GLOBAL before them', charged);
  yield { words: 'GLOBAL chunks with LOCAL since the GLOBAL before them', has: (head, c) => own(head, c) === GLOBAL && charged(head, c) };
  for (const type of ALL) {
    const name = TOKEN_TYPE_NAMES[type];
    yield { words: `chunks right before a ${name} chunk`, has: (head, c) => own(head, c + 1) === type };
    yield { words: `chunks right after a ${name} chunk`, has: (head, c) => own(head, c - 1) === type };
  }
  yield* both('odd chunks', 'even chunks', (_, c) => c % 2 === 1);
  if (N % C > 0) yield { words: 'an unfinished chunk', has: (_, c) => chunkEnd(c, C) >= N };
  for (const size of [8, 16, 32, 64].filter((each) => each < chunks)) {
    yield* both(`chunks up to ${size - 1}`, `chunks from ${size}`, (_, c) => c < size);
    yield* both(`the last chunk of each block of ${size}`, `all chunks but the last of each block of ${size}`, (_, c) => c % size === size - 1);
    yield* both(`the first chunk of each block of ${size}`, `all chunks but the first of each block of ${size}`, (_, c) => c % size === 0);
  }
  const forced = inputs.forced?.data;
  if (forced) {
    yield* both('chunks that are forced', 'chunks that are not forced',
      (head, c) => forced[Math.floor(head / G) * chunks + c] === 1);
  }
}

/** How far what a class holds may be from what it should, of the largest deviation; and where few chunks fail. */
const NEAR = 5e-3;
const NEARER = 2e-4;
const FEWEST = 4;

export const classSums: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if ((output !== 'dw' && output !== 'dl' && output !== 'dg') || scene.N > MOST_KEPT) return;
  const { N, chunks, parameters: { chunk: C, window: W } } = scene;
  const failing = failingRows(scene, 1);
  if (failing.length === 0) return;
  const [truth, actual] = [scene.truth(output), scene.outputs[output].data];
  const largest = Math.max(...failing.map((row) => Math.abs(actual[row] - truth[row])));
  if (!(largest > 0) || !Number.isFinite(largest)) return;
  const most = (failing.length < FEWEST ? NEARER : NEAR) * largest;
  const column = columns(scene);
  const closing = (head: number, c: number): number => scene.plan(head).closing[c];
  const to = (end: (head: number, c: number) => number) => (head: number, c: number): number =>
    column(head, c, (j) => j, () => end(head, c));
  const after = (end: (head: number, c: number) => number) => (head: number, c: number): number =>
    column(head, c, () => chunkEnd(c, C) + 1, () => end(head, c));
  const windowEnd = (_: number, c: number): number => chunkEnd(c, C) + W;
  const of = (name: 'dw' | 'dl' | 'dg') => (head: number, c: number): number => scene.truth(name)[head * chunks + c];
  type Held = readonly [words: string, of: (head: number, c: number) => number];
  const held: readonly Held[] = [
    ['0', () => 0],
    ['the sum with the other sign', (head, c) => -of(output)(head, c)],
    ['twice the sum', (head, c) => 2 * of(output)(head, c)],
    ['half the sum', (head, c) => of(output)(head, c) / 2],
    ...(['dw', 'dl', 'dg'] as const).filter((name) => name !== output).map((name): Held => [name, of(name)]),
    ['all rows up to N - 1', to(() => N - 1)],
    ['rows up to N - 2', to(() => N - 2)],
    ['rows up to e(j)', to(closing)], ['rows up to the end of the window', to(windowEnd)],
    ['rows up to the row before e(j)', to((head, c) => closing(head, c) - 1)],
    ['rows up to the row after e(j)', to((head, c) => closing(head, c) + 1)],
    ['rows up to the row before the end of the window', to((head, c) => windowEnd(head, c) - 1)],
    ['rows up to the row after the end of the window', to((head, c) => windowEnd(head, c) + 1)],
    ['rows of the chunk itself alone', to((_, c) => chunkEnd(c, C))],
    ['the pair of each token with itself alone', (head, c) => column(head, c, (j) => j, () => 0) + column(head, c, (j) => j, (j) => j)],
    ['rows after the chunk', after(() => N - 1)],
    ['rows after the chunk up to e(j)', after(closing)],
    ['rows after the chunk up to the end of the window', after(windowEnd)],
    ['rows after e(j)', (head, c) => column(head, c, () => closing(head, c) + 1, () => N - 1)],
    ['rows after the end of the window', (head, c) => column(head, c, () => windowEnd(head, c) + 1, () => N - 1)],
    ['the sum of the chunk before', (head, c) => (c > 0 ? of(output)(head, c - 1) : 0)],
    ['the sum of the next chunk', (head, c) => (c < chunks - 1 ? of(output)(head, c + 1) : 0)],
  ];
  const place = (row: number): [number, number] => [Math.floor(row / chunks), row % chunks];
  const name = `${output}-rows-other` as const;
  const fails = new Set(failing);
  for (const [words, value] of held) {
    const fits = (row: number): boolean => Math.abs(actual[row] - value(...place(row))) <= most;
    if (!failing.every(fits)) continue;
    // One number is many a sum by chance, but not 0.
    if (failing.length < 2 && (words !== '0' || actual[failing[0]] !== 0)) continue;
    if (words !== '0' && failing.every((row) => value(...place(row)) === 0)) continue;
    let classed = false;
    for (const tile of words === '0' ? TILES : []) {
      const first = chunks - chunks % tile;
      if (first === 0 || first === chunks || !failing.every((row) => row % chunks >= first)) continue;
      if (![...truth.keys()].every((row) => row % chunks < first || fits(row))) continue;
      const predict: Hypothesis['predict'] = (row) => [row % chunks < first ? truth[row] : 0];
      yield { name: 'tail-unwritten', detail: `the last, partial tile of ${tile} chunks`, predict };
      yield { name: 'zeros', predict }; // other cases have no whole tile, and are 0
    }
    for (const { words: which, has } of chunkClasses(scene)) {
      if (!failing.every((row) => has(...place(row)))) continue;
      const others = truth.length > failing.length
        && [...truth.keys()].every((row) => fails.has(row) || !has(...place(row)) || fits(row));
      if (!others || [...truth.keys()].every((row) => has(...place(row)))) continue;
      classed = true;
      yield { name, detail: `in ${which}: ${words}`, predict: (row) => [has(...place(row)) ? value(...place(row)) : truth[row]] };
    }
    // Other cases in which more fails are named so, whatever the class.
    if (classed && words === '0') yield { name: 'zeros-in-part', predict: (row) => [fails.has(row) ? 0 : truth[row]] };
    if (classed || failing.length < 2 * FEWEST || words === '0') continue;
    yield { name, detail: `in some chunks: ${words}`, predict: (row) => [fails.has(row) ? value(...place(row)) : truth[row]] };
  }
};
