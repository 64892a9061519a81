/**
 * How often each query head of the group counts in the sums of dM, solved for by least squares.
 * @module
 */
import { headCounts, solved } from './head-reads.ts';
import type { Hypotheses, Hypothesis } from './hypothesis.ts';
import { failingRows } from './moved-hypotheses.ts';
import { MOST_KEPT } from './scene.ts';
import { sumsOf } from './type-hypotheses.ts';
import { pairs, rowSum } from './wrong-pairs.ts';

/** How many rows are fitted, for each query head. */
const FITTED = 6;

export const typeHeads: Hypotheses = function* (scene, output): Generator<Hypothesis> {
  const { R } = scene;
  if (!['dm_rows', 'dw', 'dl', 'dg'].includes(output) || R < 2 || R > 8 || scene.N > MOST_KEPT) return;
  const failing = failingRows(scene, 1);
  if (failing.length < 2 * R) return;
  const exact = scene.parameters.rule === 'exact';
  const norm = (query: number): number => (exact ? scene.lse(query) : scene.causalLse(query));
  const weight = (query: number, S: number): number => Math.exp(S - norm(query));
  const parts = Array.from({ length: R }, (_, own) => {
    const wrong = { name: 'group-other', at: pairs(scene, weight, undefined, (r) => r === own) } as const;
    return output === 'dm_rows' ? rowSum(scene, wrong) : sumsOf(scene, output, wrong);
  });
  const rows = failing.filter((_, n) => n % Math.ceil(failing.length / (FITTED * R)) === 0);
  const made = rows.map((row) => parts.map(({ predict }) => predict(row)[0]));
  const dot = (a: (n: number) => number, b: (n: number) => number): number =>
    rows.reduce((sum, _, n) => sum + a(n) * b(n), 0);
  const times = solved(Array.from({ length: R }, (_, a) => [
    ...Array.from({ length: R }, (_x, b) => dot((n) => made[n][a], (n) => made[n][b])),
    dot((n) => made[n][a], (n) => scene.outputs[output].data[rows[n]]),
  ]));
  if (!times) return;
  const near = times.map((x) => (Math.abs(x - Math.round(x)) < 0.02 ? Math.round(x) + 0 : Number(x.toPrecision(3))));
  if (new Set(near).size > 2 || near.some((x) => Math.abs(x) > 16) || new Set(near).size < 2) return;
  const [detail, ...also] = headCounts(near);
  yield {
    name: 'group-other', detail, also,
    predict: (row) => [parts.reduce((sum, part, r) => sum + (near[r] === 0 ? 0 : near[r] * part.predict(row)[0]), 0)],
  };
};
