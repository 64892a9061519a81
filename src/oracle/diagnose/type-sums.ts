/**
 * Sums of §5 over other rows, or charged to other tokens: dw, dl and dg from the right dM.
 * @module
 */
import { chunkEnd, TOKEN_TYPE_NAMES, TokenType } from '../../core/lifetime.ts';
import { TILES, type Hypotheses, type Hypothesis } from './hypothesis.ts';
import { MOST_KEPT, type Scene } from './scene.ts';
import { rightPair } from './wrong-pairs.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** The sum of dM over the tokens j of a chunk and the rows from..to, each of which may depend on j. */
type Column = (head: number, c: number, from: (j: number) => number, to: (j: number) => number) => number;

/** Sums over rows of each column of dM, from those up to each row. */
export function columns(scene: Scene): Column {
  const { N, parameters: { chunk: C } } = scene;
  const dM = rightPair(scene);
  const known: (Float64Array | undefined)[] = [];
  const upTo = (head: number, j: number): Float64Array => {
    const made = known[head * N + j];
    if (made) return made;
    const sums = new Float64Array(N + 1);
    for (let i = j; i < N; i++) sums[i + 1] = sums[i] + dM(head, i, j);
    return (known[head * N + j] = sums);
  };
  return (head, c, from, to) => {
    let total = 0;
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      const [first, last] = [Math.max(from(j), j), Math.min(to(j), N - 1)];
      if (last >= first) total += upTo(head, j)[last + 1] - upTo(head, j)[first];
    }
    return total;
  };
}

/** A bound of rows, by head, chunk and token. */
type Bound = readonly [words: string, at: (head: number, c: number, j: number) => number];

export const typeSums: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if ((output !== 'dw' && output !== 'dl' && output !== 'dg') || scene.N > MOST_KEPT) return;
  const { N, chunks, parameters: { chunk: C, window: W } } = scene;
  const column = columns(scene);
  const own = (head: number, c: number): number => scene.plan(head).own[c];
  const end = (head: number, c: number): number => scene.plan(head).closing[c];
  const windowEnd = (c: number): number => chunkEnd(c, C) + W;
  type Of = (head: number, c: number) => number;
  const sums = (name: Hypothesis['name'], detail: string, of: Of): Hypothesis => ({
    name, detail, predict: (row) => [of(Math.floor(row / chunks), row % chunks)],
    // Of chunks of one token, a token is its chunk.
    ...C === 1 && /^from the first row after the token/.test(detail) && { also: [detail.replace('token', 'chunk')] },
  });
  const next = (head: number, c: number, has: (type: number) => boolean): number => {
    for (let n = c + 1; n < chunks; n++) if (has(own(head, n))) return n;
    return chunks;
  };
  const froms: readonly Bound[] = [
    ['the first row after the token', (_head, _c, j) => j + 1],
    ...C > 1 ? [
      ['the first row after the chunk', (_: number, c: number): number => chunkEnd(c, C) + 1] as const,
      ['the last row of the chunk', (_: number, c: number): number => chunkEnd(c, C)] as const,
    ] : [],
    ['the first row after the window', (_, c) => windowEnd(c) + 1], ['the row at the end of the window', (_, c) => windowEnd(c)],
    ['e(j) + 1', (head, c) => end(head, c) + 1], ['e(j)', (head, c) => end(head, c)],
    ...TILES.filter((tile) => tile < N).flatMap((tile): Bound[] => [
      [`the first row of the next tile of ${tile}`, (_head, _c, j) => (Math.floor(j / tile) + 1) * tile],
    ]),
  ];
  const tos: readonly Bound[] = [
    ['N - 1', () => N - 1], ['e(j)', (head, c) => end(head, c)], ['the end of the window', (_, c) => windowEnd(c)],
    ['the row before e(j)', (head, c) => end(head, c) - 1], ['the row after e(j)', (head, c) => end(head, c) + 1],
    ['the row before the end of the window', (_, c) => windowEnd(c) - 1], ['the row after the end of the window', (_, c) => windowEnd(c) + 1],
    ['the row before e(j), where a GLOBAL closes', (head, c) => (end(head, c) < N - 1 ? end(head, c) - 1 : N - 1)],
    ['the smaller of e(j) and the end of the window', (head, c) => Math.min(end(head, c), windowEnd(c))],
    ['the larger of e(j) and the end of the window', (head, c) => Math.max(end(head, c), windowEnd(c))],
    ['the end of the chunk', (_, c) => chunkEnd(c, C)], ['the end of the next chunk', (_, c) => chunkEnd(c + 1, C)],
    ['W after the token', (_head, _c, j) => j + W], ['W - 1 after the token', (_head, _c, j) => j + W - 1],
    ['W after the first token of the chunk', (_, c) => c * C + W],
    ['W chunks after the chunk', (_, c) => chunkEnd(c + W, C)], ['whole chunks of the window', (_, c) => chunkEnd(c + Math.floor(W / C), C)],
    ['whole chunks of the window, rounded up', (_, c) => chunkEnd(c + Math.ceil(W / C), C)], ['two windows', (_, c) => windowEnd(c) + W], ['half the window', (_, c) => chunkEnd(c, C) + (W >> 1)],
    ['the row before the chunk that closes', (head, c) => next(head, c, (type) => type === GLOBAL) * C - 1],
    ['the first row of the chunk that closes', (head, c) => next(head, c, (type) => type === GLOBAL) * C],
    ['the end of the chunk before the one that closes', (head, c) => Math.max(chunkEnd(c, C), end(head, c) - C)],
    ['the end of the next LOCAL or GLOBAL', (head, c) => chunkEnd(next(head, c, (type) => type !== WINDOW), C)],
    ['the end of the next LOCAL', (head, c) => chunkEnd(next(head, c, (type) => type === LOCAL), C)],
    ['the end of the next WINDOW', (head, c) => chunkEnd(next(head, c, (type) => type === WINDOW), C)],
    ['the end of the second GLOBAL', (head, c) => chunkEnd(next(head, next(head, c, (type) => type === GLOBAL), (type) => type === GLOBAL), C)],
  ];
  const right = (head: number, c: number): number => (output === 'dw' ? windowEnd(c) : output === 'dl' ? end(head, c) : N - 1);
  const charge = (
    head: number, c: number, has: (k: number) => boolean, from: Bound[1], to: Bound[1],
    stops: (k: number, n: number) => boolean,
  ): number => {
    let [total, n] = [0, 0];
    for (let k = c - 1; k >= 0 && !stops(k, n); k--) {
      if (!has(k)) continue;
      n++;
      total += column(head, k, (j) => from(head, c, j), (j) => to(head, c, j));
    }
    return total;
  };
  const after: Bound[1] = (_, c) => chunkEnd(c, C) + 1;
  const negative = (head: number, c: number): number =>
    charge(head, c, (k) => own(head, k) === LOCAL, after, (h, at) => end(h, at), (k) => own(head, k) === GLOBAL);
  const rest = output === 'dg' ? negative : (): number => 0;
  const name = `${output}-rows-other` as const;
  for (const [words, from] of froms) {
    yield sums(name, `from ${words}`, (head, c) => column(head, c, (j) => from(head, c, j), () => right(head, c)) - rest(head, c));
  }
  for (const [words, to] of tos) {
    yield sums(name, `up to ${words}`, (head, c) => column(head, c, (j) => j, (j) => to(head, c, j)) - rest(head, c));
    if (C > 1) yield sums(name, `from the first row after the chunk up to ${words}`, (head, c) => column(head, c, () => chunkEnd(c, C) + 1, (j) => to(head, c, j)) - rest(head, c));
  }
  if (output !== 'dg') return;
  const positive = (head: number, c: number): number => column(head, c, (j) => j, () => N - 1);
  const charged: readonly (readonly [string, (type: number) => boolean])[] = [
    ['LOCAL tokens', (type) => type === LOCAL], ['WINDOW tokens in the place of LOCAL ones', (type) => type === WINDOW],
    ['WINDOW and LOCAL tokens', (type) => type !== GLOBAL], ['GLOBAL tokens in the place of LOCAL ones', (type) => type === GLOBAL],
    ['GLOBAL and LOCAL tokens', (type) => type !== WINDOW], ['all tokens', () => true],
  ];
  const stops: readonly (readonly [string, (head: number) => (k: number, n: number) => boolean])[] = [
    ['', (head) => (k) => own(head, k) === GLOBAL], [', also those that an earlier GLOBAL closed', () => () => false],
    [' back to the first WINDOW', (head) => (k) => own(head, k) !== LOCAL], [', the nearest alone', (head) => (k, n) => n > 0 || own(head, k) === GLOBAL],
    [' back to the second GLOBAL', (head) => {
      let [met, last] = [0, Infinity];
      return (k) => {
        if (k > last) met = 0;
        last = k;
        return own(head, k) === GLOBAL && ++met > 1;
      };
    }],
    ...[8, 16, 32].filter((size) => size < chunks).map((size) => [`, within its block of ${size} chunks`, (head: number) => (k: number): boolean => own(head, k) === GLOBAL || (k + 1) % size === 0] as const),
  ];
  const rows: readonly (readonly [string, Bound[1], Bound[1]])[] = [
    ['', after, (head, c) => end(head, c)],
    [', rows of the chunk itself, too', (_, c) => c * C, (head, c) => end(head, c)],
    [', the last row of the chunk, too', (_, c) => chunkEnd(c, C), (head, c) => end(head, c)],
    [', all rows of theirs', (_head, _c, j) => j, (head, c) => end(head, c)],
    [', not the first row after the chunk', (_, c) => chunkEnd(c, C) + 2, (head, c) => end(head, c)],
    [', up to N - 1', after, () => N - 1], [', up to the row before e(j)', after, (head, c) => end(head, c) - 1],
    [', up to the row after e(j)', after, (head, c) => end(head, c) + 1],
    [', up to the end of the window', after, (_, c) => windowEnd(c)],
    [', up to the end of their own window', after, (_head, _c, j) => windowEnd(Math.floor(j / C))],
    [', the row before e(j) where a GLOBAL closes', after, (head, c) => (end(head, c) < N - 1 ? end(head, c) - 1 : N - 1)],
    [', up to the row before the chunk that closes', after, (head, c) => next(head, c, (type) => type === GLOBAL) * C - 1],
  ];
  const chargeName = 'dg-charge-other';
  for (const [who, has] of charged) {
    for (const [where, stop] of stops) {
      for (const [which, from, to] of rows) {
        if (who === 'LOCAL tokens' && where === '' && which === '') continue;
        yield sums(chargeName, `${who}${where}${which}`, (head, c) =>
          positive(head, c) - charge(head, c, (k) => has(own(head, k)), from, to, stop(head)));
      }
    }
  }
  for (const type of [GLOBAL, LOCAL, WINDOW]) {
    for (const only of [true, false]) {
      yield sums(chargeName, `${only ? 'in' : 'not in'} chunks that are ${TOKEN_TYPE_NAMES[type]}${only ? ' alone' : ''}`, (head, c) =>
        positive(head, c) - ((own(head, c) === type) === only ? negative(head, c) : 0));
    }
  }
};
