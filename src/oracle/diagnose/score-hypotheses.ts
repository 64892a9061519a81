/**
 * Wrong choices of types (§6), and wrong gradients of scores (§6, §7).
 * @module
 */
import { chunkEnd, chunkOf, TokenType } from '../../core/lifetime.ts';
import type { DiagnosisName } from './diagnoses.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import type { Scene } from './scene.ts';
import { misreadScores } from './score-readings.ts';

const { GLOBAL, LOCAL, WINDOW } = TokenType;

/** The fewest chunks of which the types tell where scores were read. */
const FEWEST = 12;

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
  if (scene.heads * scene.chunks < FEWEST) return; // any reading may choose a few types by chance
  yield* misreadScores(scene, (other) => {
    const own = scoredOf(other);
    return (t) => [own(t).forced ? GLOBAL : first(sums(own(t)))];
  });
};

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
    detail?: string;
    y?: (t: number) => number[];
    /** The probabilities in the mean, if they are others than y. */
    about?: (t: number) => number[];
    dt?: (t: number) => number[];
    factor?: number;
    mean?: boolean;
    forced?: boolean;
  }
  const priced = (t: number): number[] => triple(t).map((x, n) => x + prices(t)[n]);
  const wrong = (
    name: DiagnosisName,
    { y = probabilities, about = y, dt = priced, factor = 1, mean = true, forced = true, detail }: Wrong,
  ): Hypothesis => ({
    name, ...(detail !== undefined && { detail }),
    predict: (t) => {
      if (forced && of(t).forced) return [0, 0, 0];
      const [p, x] = [y(t), dt(t)];
      const middle = mean ? about(t).reduce((sum, each, n) => sum + each * x[n], 0) : 0;
      return p.map((each, n) => factor * each * (x[n] - middle) / tau);
    },
  });
  yield wrong('tau-missing', { factor: tau });
  yield wrong('tau-squared', { factor: 1 / tau });
  yield wrong('softmax-mean', { mean: false });
  yield wrong('forced-gradient', { forced: false });
  yield wrong('price-missing', { dt: triple });
  yield wrong('price-sign', { dt: (t) => triple(t).map((x, n) => x - prices(t)[n]) });
  yield wrong('price-chosen', { dt: (t) => triple(t).map((x, n) => (n === scene.types[t] ? x + prices(t)[n] : x)) });
  const others: readonly (readonly [DiagnosisName, (t: number) => number[]])[] = [
    ['probabilities-without-noise', (t) => softmax(of(t).scores.map((x) => x / tau))],
    ['probabilities-hard', (t) => [0, 1, 2].map((n) => (n === scene.types[t] ? 1 : 0))],
    ['noise-sign', (t) => softmax(of(t).scores.map((x, n) => (x - of(t).noise[n]) / tau))],
    ['noise-untempered', (t) => softmax(of(t).scores.map((x, n) => x / tau + of(t).noise[n]))],
    ['tau-missing', (t) => softmax(of(t).scores.map((x, n) => x + of(t).noise[n]))],
  ];
  for (const [name, y] of others) yield wrong(name, { y });
  for (const [name, y] of others) {
    yield wrong(name, { about: y, detail: 'in the mean alone' });
    yield wrong(name, { y, about: probabilities, detail: 'but not in the mean' });
  }
  yield wrong('tau-missing', { y: (t) => softmax(of(t).scores.map((x, n) => x + of(t).noise[n])), factor: tau });
  yield wrong('triple-swapped', { dt: (t) => [0, 2, 1].map((n) => priced(t)[n]) });
  yield wrong('types-reversed', { dt: (t) => priced(t).toReversed() });
  yield* misreadScores(scene, (other) => {
    const own = scoredOf(other);
    return wrong('input-misread', { y: (t) => softmax(own(t).scores.map((x, n) => (x + own(t).noise[n]) / tau)) }).predict;
  });
};
