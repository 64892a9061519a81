/**
 * §11, step by step: a budget of entries for each KV head, filled with the entries of the highest scores. It compares
 * and sorts more than it multiplies, so the engines of CPUs share it; sums are float64.
 * @module
 */
import { exp, log } from './elementary.ts';
import { endWithin, FOREVER } from './lifetime.ts';
import { budgetAfter, type MassRule, recentAfter, scoreWidth } from './mass.ts';
import type { FloatArray } from './tensor.ts';

/** The entries of one KV head, by slot. Some of them are held. */
export interface HeadUnderBudget {
  /** The slots of the entries held, in the order of their positions. */
  held: number[];
  readonly position: Int32Array;
  /** The last query that may see an entry. Until it is evicted, this is FOREVER, or the end that the reach sets. */
  readonly last: Int32Array;
  /** scoreWidth(rule) numbers per slot: the sum of all weights, or the weights of the newest queries in turn. */
  readonly scores: FloatArray;
  /** Keys and values. Those of slot n are at start + n * d. */
  readonly k: FloatArray;
  readonly v: FloatArray;
  readonly start: number;
}

/** The queries of step i and where their results go, in rows of d numbers. */
export interface QueryRows {
  readonly q: FloatArray;
  readonly out: FloatArray;
  readonly lse?: FloatArray;
  readonly d: number;
  readonly scale: number;
  /** The row of the h-th of the query heads that share KV head g. */
  readonly row: (g: number, h: number) => number;
  /** The number of query heads per KV head. */
  readonly group: number;
}

/** Step i of one sequence, for all KV heads of a layer: append the token as `slot`, attend, score, evict. */
export function massStep(
  rule: MassRule, heads: readonly HeadUnderBudget[], i: number, slot: (head: HeadUnderBudget) => number,
  queries: QueryRows, reach?: number,
): void {
  for (const head of heads) append(rule, head, slot(head), queries.d);
  let mass = heads.map((head, g) => attend(head, g, queries));
  if (rule.score.by === 'attention' && rule.score.heads === 'layer') mass = heads.map(() => sumOf(mass));
  heads.forEach((head, g) => {
    score(rule, head, i, mass[g]);
    evict(rule, head, i, reach);
  });
}

function append({ score }: MassRule, head: HeadUnderBudget, slot: number, d: number): void {
  head.held.push(slot);
  const at = head.start + slot * d;
  if (score.by === 'key-norm') head.scores[slot] = -Math.sqrt(dot(head.k, at, head.k, at, d));
}

/**
 * §3 over the entries held, for the query heads of a group. Returns the sums of their weights, in the order of `held`.
 */
function attend({ held, k, v, start }: HeadUnderBudget, g: number, queries: QueryRows): Float64Array {
  const { q, out, lse, d, scale, row, group } = queries;
  const mass = new Float64Array(held.length);
  const a = new Float64Array(held.length); // plain loops: this is where the time of a decoded token goes
  for (let h = 0; h < group; h++) {
    const at = row(g, h);
    let max = -Infinity;
    for (let n = 0; n < held.length; n++) {
      a[n] = scale * dot(q, at * d, k, start + held[n] * d, d);
      if (a[n] > max) max = a[n];
    }
    let Z = 0;
    for (let n = 0; n < held.length; n++) Z += a[n] = exp(a[n] - max);
    for (let n = 0; n < held.length; n++) {
      mass[n] += a[n] / Z;
      axpy(a[n] / Z, v, start + held[n] * d, out, at * d, d);
    }
    if (lse) lse[at] = max + log(Z);
  }
  return mass;
}

function sumOf(mass: readonly Float64Array[]): Float64Array {
  return mass[0].map((_, n) => mass.reduce((sum, each) => sum + each[n], 0));
}

/** How far the score of GLOBAL at `at` is above those of LOCAL and WINDOW: s_g - log(exp(s_l) + exp(s_w)). */
export function typeRank(scores: FloatArray, at: number): number {
  const [g, l, w] = [scores[at], scores[at + 1], scores[at + 2]];
  const max = Math.max(l, w);
  return g - max - log(exp(l - max) + exp(w - max));
}

/** Records the weight that query i gave to each entry. */
function score({ score }: MassRule, { held, scores }: HeadUnderBudget, i: number, mass: Float64Array): void {
  if (score.by !== 'attention') return;
  const { queries: Q } = score;
  held.forEach((slot, n) => {
    if (Q === undefined) scores[slot] += mass[n];
    else scores[slot * Q + (i % Q)] = mass[n]; // replaces the weight of query i - Q
  });
}

/** The scores that eviction compares after query i, in the order of `held`. */
function worth(rule: MassRule, { held, position, scores }: HeadUnderBudget, i: number): Float64Array {
  const width = scoreWidth(rule);
  const sums = new Float64Array(held.length);
  for (let n = 0; n < held.length; n++) {
    for (let at = held[n] * width; at < (held[n] + 1) * width; at++) sums[n] += scores[at];
  }
  if (rule.score.by !== 'attention') return sums;
  const { mean = false, pool = 1 } = rule.score;
  const of = mean ? sums.map((sum, n) => sum / (i - position[held[n]] + 1)) : sums;
  const reach = (pool - 1) / 2;
  if (pool === 1) return of;
  const pooled = new Float64Array(held.length);
  for (let n = 0; n < held.length; n++) {
    for (let m = Math.max(0, n - reach); m <= Math.min(n + reach, held.length - 1); m++) {
      if (Math.abs(position[held[m]] - position[held[n]]) <= reach) pooled[n] += of[m];
    }
    pooled[n] /= pool;
  }
  return pooled;
}

/**
 * Evicts entries that the reach ends, then those with the lowest score, the oldest among equals, until k(i) are held.
 */
function evict(rule: MassRule, head: HeadUnderBudget, i: number, reach: number | undefined): void {
  const { position, last } = head;
  if (reach !== undefined) head.held = head.held.filter((slot) => endWithin(FOREVER, position[slot], reach) > i);
  const { first = 0 } = rule;
  const newest = i - recentAfter(rule, i); // the newest position that is not protected
  while (head.held.length > budgetAfter(rule, i)) {
    const worths = worth(rule, head, i);
    let least = -1;
    head.held.forEach((slot, n) => {
      if (position[slot] < first || position[slot] > newest) return;
      if (least < 0 || worths[n] < worths[least]) least = n;
    });
    if (least < 0) return; // all entries are protected
    last[head.held[least]] = i;
    head.held.splice(least, 1);
  }
}

/** sum_n a[aStart + n] * b[bStart + n]. */
function dot(a: FloatArray, aStart: number, b: FloatArray, bStart: number, length: number): number {
  let [even, odd] = [0, 0];
  for (let n = 0; n + 1 < length; n += 2) {
    even += a[aStart + n] * b[bStart + n];
    odd += a[aStart + n + 1] * b[bStart + n + 1];
  }
  if (length % 2 === 1) even += a[aStart + length - 1] * b[bStart + length - 1];
  return even + odd;
}

function axpy(alpha: number, x: FloatArray, xStart: number, y: FloatArray, yStart: number, length: number): void {
  for (let n = 0; n < length; n++) y[yStart + n] += alpha * x[xStart + n];
}
