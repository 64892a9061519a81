/**
 * Wrong choices of types (§6), wrong gradients of types (§5), and wrong gradients of scores (§6, §7).
 * @module
 */
import { chunkEnd, chunkOf, TokenType } from '../../core/lifetime.ts';
import { rightPair, type WrongPair, wrongPairs } from './backward-hypotheses.ts';
import { inputPairs } from './input-hypotheses.ts';
import type { DiagnosisName } from './diagnoses.ts';
import { type Hypotheses, type Hypothesis, TILES } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** The scores and noise of a chunk t = (b G + g) Nc + c, and whether it is forced to be GLOBAL. */
interface Scored {
  readonly scores: readonly number[];
  readonly noise: readonly number[];
  readonly forced: boolean;
}

function scoredOf({ inputs, chunks, parameters: { kvHeads: G } }: Scene): (t: number) => Scored {
  const [scores, noise, forced] = [inputs.scores.data, inputs.noise?.data, inputs.forced?.data];
  return (t) => ({
    scores: [0, 1, 2].map((n) => scores[3 * t + n]),
    noise: [0, 1, 2].map((n) => noise?.[3 * t + n] ?? 0),
    forced: forced?.[Math.floor(t / (G * chunks)) * chunks + t % chunks] === 1,
  });
}

function softmax(z: readonly number[]): number[] {
  const e = z.map((x) => Math.exp(x - Math.max(...z)));
  return e.map((x) => x / (e[0] + e[1] + e[2]));
}

/** types [B,G,Nc]. */
export const choiceHypotheses: Hypotheses = function* (scene): Generator<Hypothesis> {
  if (!scene.inputs.scores) return;
  const of = scoredOf(scene);
  const { temperature: tau } = scene.parameters;
  const first = (z: readonly number[]): number => z.indexOf(Math.max(...z));
  const sums = ({ scores, noise }: Scored): number[] => scores.map((x, n) => x + noise[n]);
  const choose = (name: DiagnosisName, choice: (scored: Scored, t: number) => number): Hypothesis => ({
    name, predict: (t) => [of(t).forced ? GLOBAL : choice(of(t), t)],
  });
  yield choose('ties-highest', (each) => sums(each).lastIndexOf(Math.max(...sums(each))));
  const single = (z: readonly number[]): number[] => {
    const e = z.map((x) => Math.fround(Math.exp(Math.fround(x - Math.max(...z)))));
    const Z = Math.fround(Math.fround(e[0] + e[1]) + e[2]);
    return e.map((x) => Math.fround(x / Z));
  };
  yield choose('probabilities-tie', (each) => first(single(sums(each).map((x) => Math.fround(x / tau)))));
  yield choose('noise-sign', ({ scores, noise }) => first(scores.map((x, n) => x - noise[n])));
  yield choose('noise-ignored', ({ scores }) => first(scores));
  yield choose('noise-untempered', ({ scores, noise }) => first(scores.map((x, n) => x / tau + noise[n])));
  yield { name: 'forced-ignored', predict: (t) => [first(sums(of(t)))] };
  yield { name: 'forced-ignored', predict: (t) => [of(t).forced && t % scene.chunks === 0 ? GLOBAL : first(sums(of(t)))] };
  yield { name: 'forced-ignored', predict: (t) => [of(t).forced && t % scene.chunks > 0 ? GLOBAL : first(sums(of(t)))] };
  yield choose('argmin', (each) => sums(each).indexOf(Math.min(...sums(each))));
  const swapped = (type: number): number => [GLOBAL, WINDOW, LOCAL][type];
  yield choose('types-local-window', (each) => swapped(first(sums(each))));
  yield choose('types-reversed', (each) => 2 - first(sums(each)));
  yield { name: 'types-reversed', predict: (t) => [2 - (of(t).forced ? GLOBAL : first(sums(of(t))))] };
  const flat = Float64Array.from(scene.inputs.scores.data, (x, n) => x + (scene.inputs.noise?.data[n] ?? 0));
  yield choose('scores-transposed', (_, t) => {
    const [head, c] = [Math.floor(t / scene.chunks), t % scene.chunks];
    return first([0, 1, 2].map((type) => flat[(head * 3 + type) * scene.chunks + c]));
  });
};

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
  if (C > 1) yield by('chunk-mean', (head, c) => plain(dM, output)(head, c) / C);
  if (output === 'dw') yield by('triple-swapped', plain(dM, 'dl'));
  if (output === 'dl') yield by('triple-swapped', plain(dM, 'dw'));
  for (const wrong of wrongPairs(scene)) yield sumsOf(scene, output, wrong);
};

/** dw, dl and dg from a wrong dM. */
function sumsOf(scene: Scene, output: OutputName, { name, at }: WrongPair): Hypothesis {
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

/** dscores [B,G,Nc,3]. */
export const scoreHypotheses: Hypotheses = function* (scene): Generator<Hypothesis> {
  if (!scene.inputs.scores) return;
  const { N, chunks, parameters: { temperature: tau, price, chunk: C, window: W } } = scene;
  const of = scoredOf(scene);
  const prices = (t: number): number[] => {
    const [head, c] = [Math.floor(t / chunks), t % chunks];
    const total = [0, 0, 0];
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      [N - 1, scene.plan(head).closing[c], Math.min(chunkEnd(chunkOf(j, C), C) + W, N - 1)]
        .forEach((last, type) => (total[type] += price * (last - j)));
    }
    return total;
  };
  const probabilities = (t: number): number[] =>
    softmax(of(t).scores.map((x, n) => (x + of(t).noise[n]) / tau));
  const triple = (t: number): number[] => (['dg', 'dl', 'dw'] as const).map((name) => scene.truth(name)[t]);
  interface Wrong {
    y?: (t: number) => number[];
    dt?: (t: number) => number[];
    factor?: number;
    mean?: boolean;
    forced?: boolean;
  }
  const priced = (t: number): number[] => triple(t).map((x, n) => x + prices(t)[n]);
  const wrong = (
    name: DiagnosisName, { y = probabilities, dt = priced, factor = 1, mean = true, forced = true }: Wrong,
  ): Hypothesis => ({
    name,
    predict: (t) => {
      if (forced && of(t).forced) return [0, 0, 0];
      const [p, x] = [y(t), dt(t)];
      const about = mean ? p.reduce((sum, each, n) => sum + each * x[n], 0) : 0;
      return p.map((each, n) => factor * each * (x[n] - about) / tau);
    },
  });
  yield wrong('tau-missing', { factor: tau });
  yield wrong('tau-squared', { factor: 1 / tau });
  yield wrong('softmax-mean', { mean: false });
  yield wrong('forced-gradient', { forced: false });
  yield wrong('price-missing', { dt: triple });
  yield wrong('price-sign', { dt: (t) => triple(t).map((x, n) => x - prices(t)[n]) });
  yield wrong('price-chosen', { dt: (t) => triple(t).map((x, n) => (n === scene.types[t] ? x + prices(t)[n] : x)) });
  yield wrong('probabilities-without-noise', { y: (t) => softmax(of(t).scores.map((x) => x / tau)) });
  yield wrong('probabilities-hard', { y: (t) => [0, 1, 2].map((n) => (n === scene.types[t] ? 1 : 0)) });
  yield wrong('noise-sign', { y: (t) => softmax(of(t).scores.map((x, n) => (x - of(t).noise[n]) / tau)) });
  yield wrong('noise-untempered', { y: (t) => softmax(of(t).scores.map((x, n) => x / tau + of(t).noise[n])) });
  yield wrong('tau-missing', { y: (t) => softmax(of(t).scores.map((x, n) => x + of(t).noise[n])) });
  yield wrong('tau-missing', { y: (t) => softmax(of(t).scores.map((x, n) => x + of(t).noise[n])), factor: tau });
  yield wrong('triple-swapped', { dt: (t) => [0, 2, 1].map((n) => priced(t)[n]) });
  yield wrong('types-reversed', { dt: (t) => priced(t).toReversed() });
};
