/**
 * Policies with a budget, as a dense simulation that never evicts. It keeps the whole matrix of attention weights, with
 * a mask that is 0 where an entry is no longer held, and takes every score from that matrix. It is written from the
 * definitions of the policies, and shares no code and no rule with any engine.
 * @module
 */
import { FOREVER } from './dense.ts';

/** The definition of a policy. */
export interface Method {
  readonly name: 'h2o' | 'h2o-mean' | 'tova' | 'snapkv' | 'keynorm' | 'growing';
  /** k(i), the number of entries held after step i. */
  readonly budget: (i: number) => number;
  /** How many of the newest positions must not be evicted under a budget of k. */
  readonly newest: (k: number) => number;
  /** For SnapKV, the queries that are summed over, and the positions that are pooled. */
  readonly observed?: number;
  readonly pooled?: number;
  /** How many of the first positions must not be evicted. */
  readonly sinks?: number;
  readonly reach?: number;
}

/** One sequence: rows of d numbers, q [H,N,d], k [G,N,d]. */
export interface Sequence {
  readonly G: number;
  readonly group: number;
  readonly N: number;
  readonly d: number;
  readonly scale: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
}

/** The results of the simulation for one KV head. */
export interface Simulated {
  /** Whether query i sees key j, [N][N]. */
  readonly mask: boolean[][];
  /** Positions held after each step, ascending. */
  readonly held: number[][];
  /** The last query that sees each key. For keys still held, FOREVER or the end that the reach sets. */
  readonly last: Int32Array;
  /**
   * How far, relatively to the largest score, any score that was not the lowest was above that of an entry that was
   * evicted. Scores that are the same do not count.
   */
  margin: number;
}

export function simulate(s: Sequence, method: Method): Simulated[] {
  const { G, group, N } = s;
  const reach = method.reach ?? Infinity;
  const held = Array.from({ length: G }, () => new Set<number>());
  const weights = Array.from({ length: G }, () => [] as number[][]); // [G][i][j], summed over the group
  const found = Array.from({ length: G }, (): Simulated =>
    ({
      mask: [], held: [], margin: Infinity,
      last: Int32Array.from({ length: N }, (_, j) => Math.min(FOREVER, j + reach)),
    }));
  for (let i = 0; i < N; i++) {
    for (let g = 0; g < G; g++) {
      held[g].add(i);
      const mask = Array.from({ length: N }, (_, j) => held[g].has(j));
      found[g].mask.push(mask);
      const row = new Array<number>(N).fill(0);
      for (let h = 0; h < group; h++) maskedSoftmax(s, g * group + h, g, i, mask).forEach((a, j) => (row[j] += a));
      weights[g].push(row);
    }
    for (let g = 0; g < G; g++) {
      for (const j of held[g]) if (j + reach <= i) held[g].delete(j);
      const k = Math.max(0, method.budget(i));
      for (;;) {
        if (held[g].size <= k) break;
        const scores = scoresAfter(s, method, weights, held[g], g, i);
        const isFree = (j: number): boolean => i - j >= method.newest(k) && j >= (method.sinks ?? 0);
        const may = [...held[g]].filter(isFree).sort((x, y) => x - y);
        if (may.length === 0) break;
        const least = Math.min(...may.map((j) => scores[j]));
        const others = may.map((j) => scores[j]).filter((score) => score > least);
        const gap = (Math.min(...others) - least) / Math.max(...may.map((j) => Math.abs(scores[j])));
        if (others.length > 0) found[g].margin = Math.min(found[g].margin, gap);
        const out = may.find((j) => scores[j] === least)!; // the oldest among equals
        held[g].delete(out);
        found[g].last[out] = i;
      }
      found[g].held.push([...held[g]].sort((x, y) => x - y));
    }
  }
  return found;
}

function maskedSoftmax(
  { N, d, scale, q, k }: Sequence, h: number, g: number, i: number, mask: readonly boolean[],
): number[] {
  const scores = Array.from({ length: N }, (_, j) => {
    if (!mask[j]) return -Infinity;
    let s = 0;
    for (let x = 0; x < d; x++) s += q[(h * N + i) * d + x] * k[(g * N + j) * d + x];
    return scale * s;
  });
  const most = Math.max(...scores);
  const exponentials = scores.map((s) => Math.exp(s - most));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((e) => e / sum);
}

/** The score of every position, by the table of definitions. */
function scoresAfter(
  { N, d, k }: Sequence, { name, observed = 32, pooled = 5 }: Method, weights: readonly number[][][],
  held: ReadonlySet<number>, g: number, i: number,
): number[] {
  const column = (rows: readonly number[][], j: number): number => rows.reduce((sum, row) => sum + row[j], 0);
  const positions = Array.from({ length: N }, (_, j) => j);
  if (name === 'growing') return positions.map(() => 0);
  if (name === 'keynorm') {
    const squares = (j: number): number[] => Array.from({ length: d }, (_, x) => k[(g * N + j) * d + x] ** 2);
    return positions.map((j) => -Math.sqrt(squares(j).reduce((a, b) => a + b, 0)));
  }
  if (name === 'h2o') return positions.map((j) => column(weights[g], j));
  if (name === 'h2o-mean') return positions.map((j) => column(weights[g], j) / (i - j + 1));
  if (name === 'tova') return positions.map((j) => weights.reduce((sum, head) => sum + head[i][j], 0));
  const sums = positions.map((j) => (held.has(j) ? column(weights[g].slice(-observed), j) : 0));
  const reach = (pooled - 1) / 2;
  return positions.map((j) => sums.slice(Math.max(0, j - reach), j + reach + 1).reduce((a, b) => a + b, 0) / pooled);
}
