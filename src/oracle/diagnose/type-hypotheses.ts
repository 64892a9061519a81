/**
 * Wrong gradients of types (§5).
 * @module
 */
import { chunkEnd, TokenType } from '../../core/lifetime.ts';
import { detailOf, rightPair, type WrongPair, wrongPairs } from './wrong-pairs.ts';
import { inputPairs } from './input-hypotheses.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import { windowsOf } from './solved-lifetimes.ts';
import type { OutputName } from '../types.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** dw, dl, dg [B,G,Nc]. */
export const typeGradientHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { N, chunks, parameters: { chunk: C, window: W } } = scene;
  type Sums = (head: number, c: number) => number;
  const by = (name: DiagnosisName, sums: Sums): Hypothesis =>
    ({ name, predict: (row) => [sums(Math.floor(row / chunks), row % chunks)] });
  /** The sum of dM over the columns j of chunk c and the rows from..to(j). */
  const column = (at: WrongPair['at'], head: number, c: number, to: (j: number) => number, from = 0): number => {
    let total = 0;
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      for (let i = Math.max(j, from); i <= Math.min(to(j), N - 1); i++) total += at(head, i, j);
    }
    return total;
  };
  const dM = kept(scene, rightPair(scene));
  const end = (head: number, c: number): number => scene.plan(head).closing[c];
  const own = (head: number, c: number): number => scene.plan(head).own[c];
  const windowTo = (c: number): number => chunkEnd(c, C) + W;
  const plain = (at: WrongPair['at'], which: string): Sums => (head, c) =>
    which === 'dw' ? column(at, head, c, () => windowTo(c))
      : which === 'dl' ? column(at, head, c, () => end(head, c))
        : column(at, head, c, () => N - 1) - closed(at, head, c, (k) => end(head, k));
  /** The negative term of §5: LOCAL chunks k that c closes or would close, over the rows after c up to to(k). */
  const closed = (
    at: WrongPair['at'], head: number, c: number, to: (k: number) => number,
    { nearest, all }: { nearest?: boolean; all?: boolean } = {},
  ): number => {
    let total = 0;
    for (let k = c - 1; k >= 0; k--) {
      if (own(head, k) === LOCAL) {
        total += column(at, head, k, () => to(k), (c + 1) * C);
        if (nearest) break;
      }
      if (own(head, k) === GLOBAL && !all) break;
    }
    return total;
  };
  const negative = (head: number, c: number, options = {}): number => closed(dM, head, c, () => end(head, c), options);
  const positive = (head: number, c: number, from = 0): number => column(dM, head, c, () => N - 1, from);

  const endBy = (head: number, c: number, closes: (type: number) => boolean): number => {
    for (let n = c + 1; n < chunks; n++) if (closes(own(head, n))) return chunkEnd(n, C);
    return N - 1;
  };

  if (output === 'dw') {
    yield by('dw-long', (head, c) => column(dM, head, c, () => windowTo(c) + 1));
    yield by('dw-short', (head, c) => column(dM, head, c, () => windowTo(c) - 1));
    yield by('dw-partial-dropped', (head, c) => (windowTo(c) > N - 1 ? 0 : plain(dM, 'dw')(head, c)));
    // Past the rows of one head lie those of the next: rows of dM, or of q, do, lse and D against this head's keys.
    const norm = (query: number): number => (scene.parameters.rule === 'exact' ? scene.lse(query) : scene.causalLse(query));
    const ofNext = (head: number, i: number, j: number): number => {
      let total = 0;
      for (const query of scene.queriesOf(head, i)) {
        if (query >= scene.heads * scene.R * N) continue;
        const S = scene.parameters.scale * scene.product(query, head * N + j);
        total += Math.exp(S - norm(query)) * (scene.gain(query, head * N + j) - scene.D(query));
      }
      return total;
    };
    const ofNextRows = (head: number, i: number, j: number): number =>
      (head + 1 < scene.heads && j <= i - N ? dM(head + 1, i - N, j) : 0);
    for (const beyond of [ofNext, ofNextRows]) {
      yield by('dw-unclamped', (head, c) => {
        let total = plain(dM, 'dw')(head, c);
        for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
          for (let i = N; i <= Math.min(windowTo(c), 2 * N - 1); i++) total += beyond(head, i, j);
        }
        return total;
      });
    }
    if (C > 1) {
      yield by('window-from-token', (head, c) => column(dM, head, c, (j) => j + W));
      yield by('window-from-chunk-start', (head, c) => column(dM, head, c, () => c * C + W));
    }
    yield by('window-forever', (head, c) => column(dM, head, c, () => N - 1));
    for (const [size, words] of windowsOf(scene)) {
      const sums: Sums = (head, c) => column(dM, head, c, () => chunkEnd(c, C) + size);
      yield { ...by('window-other', sums), also: words.slice(0, -1), detail: words.at(-1)! };
    }
  }
  if (output === 'dl') {
    yield by('dl-to-end', (head, c) => column(dM, head, c, () => N - 1));
    yield by('dl-short', (head, c) => column(dM, head, c, () => end(head, c) - 1));
    yield by('dl-short', (head, c) => column(dM, head, c, () => (end(head, c) < N - 1 ? end(head, c) - 1 : N - 1)));
    yield by('local-late', (head, c) => column(dM, head, c, () => end(head, c) + 1));
    for (const block of TILES) {
      yield by('dl-diagonal-block', (head, c) => {
        let total = 0;
        for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
          for (let i = (Math.floor(j / block) + 1) * block; i <= end(head, c); i++) total += dM(head, i, j);
        }
        return total;
      });
    }
    yield by('local-by-local', (head, c) => column(dM, head, c, () => endBy(head, c, (type) => type !== WINDOW)));
    yield by('local-by-any', (head, c) => column(dM, head, c, () => endBy(head, c, (type) => type !== LOCAL)));
    if (C > 1) {
      yield by('local-chunk-first', (head, c) => column(dM, head, c, () => (end(head, c) < N - 1 ? end(head, c) - C + 1 : N - 1)));
    }
  }
  if (output === 'dg') {
    yield by('dg-no-negative', positive);
    yield by('dg-rows-dropped', (head, c) => positive(head, c, end(head, c) + 1) - negative(head, c));
    yield by('dg-nearest', (head, c) => positive(head, c) - negative(head, c, { nearest: true }));
    yield by('dg-to-end', (head, c) => positive(head, c) - closed(dM, head, c, () => N - 1));
    yield by('dg-all-local', (head, c) => positive(head, c) - negative(head, c, { all: true }));
    yield by('dg-sign', (head, c) => positive(head, c) + negative(head, c));
  }
  if (output !== 'dg') {
    const last = (head: number, c: number): number => (output === 'dw' ? windowTo(c) : end(head, c));
    for (const tile of TILES) {
      const first = (n: number): number => Math.floor(n / tile) * tile;
      yield { ...by('ends-by-tile', (head, c) => column(dM, head, c, () => first(last(head, c)) + tile - 1)), detail: `sums up to whole tiles of ${tile}` };
      if (tile >= scene.N) continue; // no sum is left
      yield { ...by('ends-by-tile', (head, c) => column(dM, head, c, () => first(last(head, c) + 1) - 1)), detail: `sums down to whole tiles of ${tile}` };
    }
  }
  if (C > 1) yield by('chunk-mean', (head, c) => plain(dM, output)(head, c) / C);
  if (output === 'dw') yield by('triple-swapped', plain(dM, 'dl'));
  if (output === 'dl') yield by('triple-swapped', plain(dM, 'dw'));
  for (const wrong of wrongPairs(scene)) yield { ...sumsOf(scene, output, wrong), ...detailOf(wrong) };
};

/** dw, dl and dg from a wrong dM. */
export function sumsOf(scene: Scene, output: OutputName, { name, at }: WrongPair): Hypothesis {
  const { N, chunks, parameters: { chunk: C, window: W } } = scene;
  const pair = kept(scene, at);
  const column = (head: number, c: number, from: number, to: number): number => {
    let total = 0;
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      for (let i = Math.max(j, from); i <= Math.min(to, N - 1); i++) total += pair(head, i, j);
    }
    return total;
  };
  return { name, predict: (row) => {
    const [head, c] = [Math.floor(row / chunks), row % chunks];
    const { own, closing } = scene.plan(head);
    if (output === 'dw') return [column(head, c, 0, chunkEnd(c, C) + W)];
    if (output === 'dl') return [column(head, c, 0, closing[c])];
    let total = column(head, c, 0, N - 1);
    for (let k = c - 1; k >= 0 && own[k] !== GLOBAL; k--) {
      if (own[k] === LOCAL) total -= column(head, k, (c + 1) * C, closing[c]);
    }
    return [total];
  } };
}

/** The same from inputs that are read otherwise. */
export const typeInputHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'dw' && output !== 'dl' && output !== 'dg') return;
  for (const wrong of inputPairs(scene)) yield { ...sumsOf(scene, output, wrong), detail: wrong.detail };
};

/** The same, but computing each pair only once. */
function kept(scene: Scene, at: WrongPair['at']): WrongPair['at'] {
  const { N } = scene;
  if (N > 512) return at;
  const known: Float64Array[] = [];
  return (head, i, j) => {
    const all = known[head] ??= new Float64Array(N * N).fill(NaN);
    const n = i * N + j;
    if (Number.isNaN(all[n])) all[n] = at(head, i, j);
    return all[n];
  };
}
