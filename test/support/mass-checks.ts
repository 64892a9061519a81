/**
 * Section 11 of docs/equations.ts: mathjs follows the rule step by step, and the reference must evict the same entries.
 * @module
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { massAttention } from '../../reference/public/mass.ts';
import { budgetAfter, type MassRule, type MassScore, recentAfter } from '../../src/core/mass.ts';
import { ndarray } from '../../src/core/tensor.ts';
import { keptUnder } from '../../src/evaluate/fit.ts';
import { agree, type Draw, finite } from './equation-draw.ts';
import { evaluateEquation, rowsOf } from './mathjs.ts';

/** How close two scores may be before the roundings of the two sides could order them differently. */
const CLOSE = 1e-9;

/** A budget, and which entries are protected. */
function drawRule(draw: Draw, score: MassScore): MassRule {
  return {
    score, budget: { base: draw.whole(-4, 14) / 4, perToken: draw.whole(0, 1) * draw.whole(0, 8) / 8 },
    recent: { share: draw.whole(0, 4) / 4, ...(draw.whole(0, 1) === 1 && { most: draw.whole(0, 3) }) },
    first: draw.whole(0, 2),
  };
}

const budgetOf = ({ budget: { base, perToken: rate } }: MassRule, i: number): number =>
  evaluateEquation('budget', { base, rate, i })['cap'] as number;
const recentOf = (rule: MassRule, cap: number): number =>
  evaluateEquation('recent', { most: rule.recent.most ?? Infinity, share: rule.recent.share, cap })['recent'] as number;

/** What an equation of a score may use in addition to masses. `x` holds the scores of types. */
interface Known {
  readonly N: number;
  readonly G: number;
  readonly i: number;
  readonly held: readonly number[];
  readonly k: readonly number[][];
  readonly x: readonly number[][];
}

/**
 * Checks one kind of score: `scores` evaluates its equation, from the masses [g][n][j] of all queries so far.
 *
 * @param ties Whether to draw queries of zeros too, which make many scores equal on both sides.
 */
function follow(
  draw: Draw, score: MassScore, ties: boolean, scores: (a: readonly number[][][], g: number, known: Known) => number[],
): void {
  // Nothing protected and a small budget: then gaps between the entries held, which only pooling sees, are common.
  const bare = draw.whole(0, 1) === 0;
  const rule: MassRule = bare
    ? { score, budget: { base: draw.whole(2, 4), perToken: 0 }, recent: { share: 0 } } : drawRule(draw, score);
  const [N, d, G, group] = [draw.whole(bare ? 6 : 1, 9), draw.whole(1, 3), draw.whole(1, 2), draw.whole(1, 2)];
  const scale = draw.whole(1, 8) / 8;
  const [k, q] = [draw.reals(G * N * d), draw.reals(G * group * N * d)];
  const equal = ties && draw.whole(0, 2) === 0;
  if (equal) q.fill(0);
  const typeScores = draw.reals(G * N * 3);
  const { last, out } = massAttention({
    q: ndarray(q, [1, G * group, N, d]), k: ndarray(k, [1, G, N, d]), v: ndarray(k, [1, G, N, d]), mass: rule, scale,
    ...(score.by === 'types' && { typeScores: ndarray(typeScores, [1, G, N, 3]) }),
  });
  const [keys, queries] = [rowsOf(rowsOf([...k], d), N), rowsOf(rowsOf([...q], d), N)];
  const learned = rowsOf(rowsOf([...typeScores], 3), N);
  const held = keys.map(() => Array<number>(N).fill(0));
  const ends = keys.map(() => Array<number>(N).fill(Infinity));
  const a = keys.map((): number[][] => []);
  for (let i = 0; i < N; i++) {
    for (let g = 0; g < G; g++) {
      held[g][i] = 1;
      const heads = queries.slice(g * group, (g + 1) * group).map((rows) => rows[i]);
      const mass = evaluateEquation('mass', { N, Hq: group, scale, q: heads, k: keys[g], held: held[g] });
      a[g].push(mass['a'] as number[]);
      (mass['A'] as number[][]).forEach((weights, h) => {
        const o = keys[g][0].map((_, x) => weights.reduce((sum, w, j) => sum + w * keys[g][j][x], 0));
        const at = ((g * group + h) * N + i) * d;
        agree(out.data.subarray(at, at + d), o, { k: keys });
      });
    }
    const cap = budgetOf(rule, i);
    for (let g = 0; g < G; g++) {
      while (held[g].filter(Boolean).length > cap) {
        const s = scores(a, g, { N, G, i, held: held[g], k: keys[g], x: learned[g] });
        const known = { N, i, s, held: held[g], sinks: rule.first ?? 0, recent: recentOf(rule, cap) };
        const { free, out: evicted, heldNew } = evaluateEquation('mass-eviction', known) as Record<string, number[]> & { out: number };
        if (evicted === Infinity) break;
        const others = s.filter((_, j) => free[j] === 1 && j !== evicted).map((x) => Math.abs(x - s[evicted]));
        fc.pre(others.every((gap) => gap > CLOSE || (equal && gap === 0)));
        ends[g][evicted] = i;
        held[g] = heldNew;
      }
    }
  }
  expect(finite(last.data)).toEqual(ends.flat());
}

const followH2O = (draw: Draw): void => follow(draw, { by: 'attention', heads: 'group' }, true, (a, g, known) =>
  evaluateEquation('h2o', { ...known, a: a[g] })['s'] as number[]);

/** One check per equation of section 11, by its name. */
export const massChecks: Readonly<Record<string, (draw: Draw) => void>> = {
  budget(draw) {
    const rule = drawRule(draw, { by: 'age' });
    const i = draw.whole(0, 40);
    expect(budgetAfter(rule, i)).toBe(budgetOf(rule, i));
  },
  recent(draw) {
    const rule = drawRule(draw, { by: 'age' });
    const i = draw.whole(0, 40);
    expect(recentAfter(rule, i)).toBe(recentOf(rule, budgetOf(rule, i)));
  },
  mass: (draw) => followH2O(draw),
  h2o: (draw) => followH2O(draw),
  'h2o-mean': (draw) => follow(draw, { by: 'attention', heads: 'group', mean: true }, true, (a, g, known) =>
    evaluateEquation('h2o-mean', { ...known, a: a[g] })['s'] as number[]),
  tova: (draw) => follow(draw, { by: 'attention', heads: 'layer', queries: 1 }, true, (a, _, known) =>
    evaluateEquation('tova', { ...known, a: a.map((rows) => rows[known.i]) })['s'] as number[]),
  snapkv(draw) {
    const [Q, p] = [draw.whole(1, 4), draw.whole(0, 2)];
    follow(draw, { by: 'attention', heads: 'group', queries: Q, pool: 2 * p + 1 }, false, (a, g, known) =>
      evaluateEquation('snapkv', { ...known, Q, p, a: a[g] })['s'] as number[]);
  },
  keynorm: (draw) => follow(draw, { by: 'key-norm' }, false, (_, __, known) =>
    evaluateEquation('keynorm', { ...known })['s'] as number[]),
  'nats-rank': (draw) => follow(draw, { by: 'types' }, false, (_, __, known) =>
    evaluateEquation('nats-rank', { ...known })['s'] as number[]),
  /** With scores that are all the same, so that the oldest goes. */
  'mass-eviction': (draw) => {
    const rule = drawRule(draw, { by: 'age' });
    const N = draw.whole(1, 9);
    const x = ndarray(draw.reals(N), [1, 1, N, 1]);
    const { last } = massAttention({ q: x, k: x, v: x, mass: rule });
    const [ends, s] = [Array<number>(N).fill(Infinity), Array<number>(N).fill(0)];
    let held = Array<number>(N).fill(0);
    for (let i = 0; i < N; i++) {
      held[i] = 1;
      const cap = budgetOf(rule, i);
      while (held.filter(Boolean).length > cap) {
        const { out, heldNew } = evaluateEquation('mass-eviction', { N, i, s, held, sinks: rule.first, recent: recentOf(rule, cap) });
        if (out === Infinity) break;
        ends[out as number] = i;
        held = heldNew as number[];
      }
    }
    expect(finite(last.data)).toEqual(ends);
  },
  'mass-kept'(draw) {
    const N = draw.whole(1, 12);
    const { budget } = drawRule(draw, { by: 'age' });
    const { pairs, atEnd: end } = evaluateEquation('mass-kept', { N, base: budget.base, rate: budget.perToken });
    expect(keptUnder(budget, new Map([[N, 1]]))).toEqual({ pairs, end });
    const x = ndarray(draw.reals(N), [1, 1, N, 1]);
    const mass: MassRule = { score: { by: 'attention', heads: 'group' }, budget, recent: { share: 0.5 } };
    const seen = [...massAttention({ q: x, k: x, v: x, mass }).last.data].map((n, j) => Math.min(n, N - 1) - j + 1);
    expect(seen.reduce((a, b) => a + b, 0)).toBe(pairs);
  },
};
