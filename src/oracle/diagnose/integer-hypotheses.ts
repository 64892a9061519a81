/**
 * What whole numbers that fail have in common, whatever made them: one difference, or no end.
 * @module
 */
import { chunkOf, TokenType } from '../../core/lifetime.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';

/** Fewer numbers than this have a difference in common by chance. */
const FEWEST = 6;

export const integerHypotheses: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  if (!['last', 'cache_closed_by', 'cache_evicted_at'].includes(output)) return;
  const { N, failing, parameters: { chunk: C, window: W } } = scene;
  const [truth, actual] = [scene.truth(output), scene.outputs[output].data];
  const bad = [...failing.keys()].filter((n) => failing[n] > 0);
  const literal = (name: Hypothesis['name'], detail: string, value: (n: number) => number): Hypothesis =>
    ({ name, detail, predict: (n) => [failing[n] > 0 ? value(n) : actual[n]] });
  const by = actual[bad[0]] - truth[bad[0]];
  // What stands for "never" is no number to take a difference from.
  const never = (x: number): boolean => x < 0 || x > 2 * (N + W + C);
  const given = !bad.some((n) => never(truth[n]) || never(actual[n]));
  if (given && bad.length >= FEWEST && bad.every((n) => actual[n] - truth[n] === by)) {
    yield literal('offset', `${by > 0 ? '+' : ''}${by}`, (n) => truth[n] + by);
  }
  if (output !== 'last' || !bad.every((n) => actual[n] >= N - 1)) return;
  for (const [name, type] of [['window-forever', TokenType.WINDOW], ['local-never', TokenType.LOCAL]] as const) {
    const ended = (n: number): boolean => scene.plan(Math.floor(n / N)).own[chunkOf(n % N, C)] === type;
    const all = [...truth.keys()].filter((n) => ended(n) && truth[n] < N - 1);
    const tokens = [...new Set(bad.map((n) => n % N))];
    if (!bad.every(ended) || bad.length === all.length) continue;
    yield literal(name, `of ${all.length} tokens that end, ${bad.length} alone: ${tokens.slice(0, 3).join(', ')}${tokens.length > 3 ? ', ...' : ''}`, (n) => actual[n]);
  }
};
