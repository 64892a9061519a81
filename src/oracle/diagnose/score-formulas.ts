/**
 * dscores (§6, §7) by another derivative than y (dt - sum of y dt) / tau: another mean, other factors, other dt.
 * @module
 */
import { chunkEnd, TOKEN_TYPE_NAMES } from '../../core/lifetime.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { MOST_KEPT } from './scene.ts';

type Three = readonly number[];
/** What dscores of one chunk are made of. */
interface Parts {
  readonly y: Three;
  readonly x: Three;
  readonly type: number;
}
type Of = (parts: Parts, t: number) => Three;

const sum = (x: Three): number => x[0] + x[1] + x[2];
const dot = (y: Three, x: Three): number => y[0] * x[0] + y[1] * x[1] + y[2] * x[2];

/** What is subtracted from dt. */
const MEANS: readonly (readonly [words: string, of: (parts: Parts) => number])[] = [
  ['the plain mean of the three dt, unweighted, in the place of the sum of y dt', ({ x }) => sum(x) / 3],
  ['the plain sum of the three dt, unweighted, in the place of the sum of y dt', ({ x }) => sum(x)],
  ['dt of the chosen type in the place of the sum of y dt', ({ x, type }) => x[type]],
  ['the largest dt in the place of the sum of y dt', ({ x }) => Math.max(...x)],
  ['the smallest dt in the place of the sum of y dt', ({ x }) => Math.min(...x)],
  ['the sum of y dt over 3', ({ x, y }) => dot(y, x) / 3],
  ['y dt of the chosen type alone in the place of the sum of y dt', ({ x, y, type }) => y[type] * x[type]],
  ['the sum of y dt with the other sign', ({ x, y }) => -dot(y, x)],
  ['twice the sum of y dt', ({ x, y }) => 2 * dot(y, x)],
  ['the sum of the squares of y times dt', ({ x, y }) => dot(y.map((each) => each * each), x)],
  ['dt of GLOBAL in the place of the sum of y dt', ({ x }) => x[0]],
  ['dt of WINDOW in the place of the sum of y dt', ({ x }) => x[2]],
  ['nothing subtracted', () => 0],
];

/** What dt less its mean is multiplied by. */
const FACTORS: readonly (readonly [words: string, of: (parts: Parts) => Three])[] = [
  ['without the factor y', () => [1, 1, 1]],
  ['a third in the place of the factor y', () => [1 / 3, 1 / 3, 1 / 3]],
  ['y (1 - y) in the place of the factor y', ({ y }) => y.map((each) => each * (1 - each))],
  ['1 - y in the place of the factor y', ({ y }) => y.map((each) => 1 - each)],
  ['y squared in the place of the factor y', ({ y }) => y.map((each) => each * each)],
  ['y of the chosen type for all types', ({ y, type }) => [y[type], y[type], y[type]]],
  ['for the chosen type alone', ({ y, type }) => y.map((each, n) => (n === type ? each : 0))],
  ['for all types but the chosen one', ({ y, type }) => y.map((each, n) => (n === type ? 0 : each))],
];

export const scoreFormulas: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (output !== 'dscores' || !scene.inputs.scores || scene.N > MOST_KEPT) return;
  const { N, chunks, inputs, parameters: { temperature: tau, price, chunk: C, window: W, kvHeads: G } } = scene;
  const [scores, noise, forced] = [inputs.scores.data, inputs.noise?.data, inputs.forced?.data];
  const isForced = (t: number): boolean => forced?.[Math.floor(t / (G * chunks)) * chunks + t % chunks] === 1;
  const probabilities = (t: number): Three => {
    const z = [0, 1, 2].map((n) => (scores[3 * t + n] + (noise?.[3 * t + n] ?? 0)) / tau);
    const e = z.map((each) => Math.exp(each - Math.max(...z)));
    return e.map((each) => each / sum(e));
  };
  const gradients = (t: number): Three => (['dg', 'dl', 'dw'] as const).map((name) => scene.truth(name)[t]);
  /** The price of each type, over tokens j of the chunk and the ends of their lives. */
  const prices = (t: number, of: (end: number, j: number) => number = (end, j) => end - j, clamped = true): Three => {
    const [head, c] = [Math.floor(t / chunks), t % chunks];
    const total = [0, 0, 0];
    const windowEnd = chunkEnd(c, C) + W;
    for (let j = c * C; j < Math.min((c + 1) * C, N); j++) {
      [N - 1, scene.plan(head).closing[c], clamped ? Math.min(windowEnd, N - 1) : windowEnd]
        .forEach((end, n) => (total[n] += price * of(end, j)));
    }
    return total;
  };
  const made = (detail: string, of: Of, x: (t: number) => Three = priced, zeros = true): Hypothesis => ({
    name: 'dscores-other', detail,
    predict: (t) => (zeros && isForced(t) ? [0, 0, 0]
      : of({ y: probabilities(t), x: x(t), type: scene.types[t] }, t).map((each) => each / tau)),
  });
  const plus = (a: Three, b: Three): Three => a.map((each, n) => each + b[n]);
  const priced = (t: number): Three => plus(gradients(t), prices(t));
  const mean = ({ x, y }: Parts): number => dot(y, x);
  const right: Of = (parts) => parts.y.map((each, n) => each * (parts.x[n] - mean(parts)));
  for (const [words, about] of MEANS.slice(0, -1)) {
    yield made(words, (parts) => parts.y.map((each, n) => each * (parts.x[n] - about(parts))));
  }
  for (const [words, factor] of FACTORS) {
    yield made(words, (parts) => factor(parts).map((each, n) => each * (parts.x[n] - mean(parts))));
    for (const [what, about] of MEANS) {
      yield made(`${words}, ${what}`, (parts) => factor(parts).map((each, n) => each * (parts.x[n] - about(parts))));
    }
  }
  const dts: [string, (t: number) => Three][] = [];
  const add = (words: string, x: (t: number) => Three): void => void dts.push([words, x]);
  const names = ['dg', 'dl', 'dw'];
  for (const n of [0, 1, 2]) {
    const without = (x: Three, factor: number): Three => x.map((each, at) => (at === n ? factor * each : each));
    add(`${names[n]} left out`, (t) => plus(without(gradients(t), 0), prices(t)));
    add(`${names[n]} with the other sign`, (t) => plus(without(gradients(t), -1), prices(t)));
    add(`dt of ${TOKEN_TYPE_NAMES[n as 0]} left out`, (t) => without(priced(t), 0));
    add(`the price of ${TOKEN_TYPE_NAMES[n as 0]} left out`, (t) => plus(gradients(t), without(prices(t), 0)));
    add(`the price of ${TOKEN_TYPE_NAMES[n as 0]} alone`, (t) => plus(gradients(t), prices(t).map((each, at) => (at === n ? each : 0))));
    add(`the price of ${TOKEN_TYPE_NAMES[n as 0]} with the other sign`, (t) => plus(gradients(t), without(prices(t), -1)));
    add(`${names[n]} of all three types`, (t) => plus(Array<number>(3).fill(gradients(t)[n]), prices(t)));
  }
  for (const order of [[1, 0, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0], [2, 0, 1]]) {
    const words = order.map((n) => names[n]).join(', ');
    add(`${words} in the place of dg, dl, dw, but the right prices`, (t) => plus(order.map((n) => gradients(t)[n]), prices(t)));
    add(`prices of other types, in the order ${order.map((n) => TOKEN_TYPE_NAMES[n as 0]).join(', ')}`, (t) => plus(gradients(t), order.map((n) => prices(t)[n])));
    add(`${words} in the place of dg, dl, dw, with their prices`, (t) => order.map((n) => priced(t)[n]));
  }
  add('prices that count a token itself', (t) => plus(gradients(t), prices(t, (end, j) => end - j + 1)));
  add('prices without the tokens after the chunk\'s first', (t) => plus(gradients(t), prices(t, (end, j) => (j % C === 0 ? end - j : 0))));
  add('prices by the end of the life, not its length', (t) => plus(gradients(t), prices(t, (end) => end)));
  add('the price of WINDOW past N, too', (t) => plus(gradients(t), prices(t, undefined, false)));
  add('twice the price', (t) => plus(gradients(t), prices(t).map((each) => 2 * each)));
  add('half the price', (t) => plus(gradients(t), prices(t).map((each) => each / 2)));
  add('the price over tau', (t) => plus(gradients(t), prices(t).map((each) => each / tau)));
  add('the price once, whatever lives', (t) => gradients(t).map((each) => each + price));
  add('the price over N', (t) => plus(gradients(t), prices(t).map((each) => each / N)));
  add('prices alone, without dg, dl and dw', (t) => prices(t));
  if (C > 1) {
    const size = (t: number): number => Math.min(C, N - t % chunks * C);
    add('the mean of dt over the tokens of a chunk', (t) => priced(t).map((each) => each / size(t)));
    add('the mean of prices over the tokens of a chunk', (t) => plus(gradients(t), prices(t).map((each) => each / size(t))));
    add('the mean of dg, dl and dw over the tokens of a chunk', (t) => plus(gradients(t).map((each) => each / size(t)), prices(t)));
  }
  add('dt of the chunk before', (t) => priced(t % chunks > 0 ? t - 1 : t));
  add('dt of the next chunk', (t) => priced(t % chunks < chunks - 1 ? t + 1 : t));
  for (const [words, x] of dts) yield made(words, right, x);
  yield made('prices in dt, but not in the mean', ({ y, x }, t) => y.map((each, n) => each * (x[n] - dot(y, gradients(t)))));
  yield made('prices in the mean, but not in dt', ({ y, x }, t) => y.map((each, n) => each * (gradients(t)[n] - dot(y, x))));
  yield made('the right ones of types in reverse order', (parts) => [...right(parts, 0)].toReversed());
  yield made('the right ones of LOCAL and WINDOW swapped', (parts) => [0, 2, 1].map((n) => right(parts, 0)[n]));
  const times = [0, 1, 2].map((type) => {
    let [both, own] = [0, 0];
    for (let t = 0; t < scene.heads * chunks; t++) {
      const [a, b] = [scene.outputs.dscores.data[3 * t + type], scene.truth('dscores')[3 * t + type]];
      both += a * b;
      own += b * b;
    }
    return own > 0 ? Number((both / own).toPrecision(3)) : 1;
  });
  if (times.every(Number.isFinite) && new Set(times).size > 1) {
    const off = times.flatMap((x, n) => (Math.abs(x - 1) < 2e-3 ? [] : [`of ${TOKEN_TYPE_NAMES[n as 0]} times ${x}`]));
    yield made(`those ${off.join(' and ')}`, (parts) => right(parts, 0).map((each, n) => each * times[n]));
  }
  yield made('cut to at most 0', (parts) => right(parts, 0).map((each) => Math.min(each, 0)));
  yield made('cut to at least 0', (parts) => right(parts, 0).map((each) => Math.max(each, 0)));
  yield made('dt itself, without the softmax', ({ x }) => x.map((each) => each * tau));
  yield made('dt over tau, without the softmax', ({ x }) => x);
  yield made('dg, dl and dw themselves', (_, t) => gradients(t).map((each) => each * tau));
};
