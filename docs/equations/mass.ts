/**
 * Section 11: what a budget of entries keeps.
 * @module
 */
import type { Equation } from './equation.ts';

export const MASS: readonly Equation[] = [
  {
    id: 'budget', section: 11, title: 'Budget',
    expressions: ['cap = max(0, floor(base + rate * (i + 1) + 1 / 2))'],
    excerpt: ['return Math.max', 'return Math.max'],
    file: 'src/core/mass.ts', function: 'budgetAfter',
  },
  {
    id: 'recent', section: 11, title: 'Protected entries',
    expressions: ['recent = min(most, floor(share * cap))'],
    symbols: {
      most: 'an upper limit', share: 'a share of the budget',
    },
    file: 'src/core/mass.ts', function: 'recentAfter',
  },
  {
    id: 'mass', section: 11, title: 'Mass',
    expressions: [
      'S[h, j] = scale * dot(q[h], k[j])',
      'A[h, j] = held[j] * exp(S[h, j]) / total(n, held[n] * exp(S[h, n]))',
      'a[j] = total(h, A[h, j])',
    ],
    ranges: { h: 'Hq' },
    symbols: {
      q: 'query $i$ of each of the heads, $[H_q,d]$', h: 'a query head', A: 'attention weights of query $i$',
      held: '1 for entry $i$ and those held after step $i - 1$, else 0', a: 'the mass that query $i$ gives entry $j$',
      S: 'scores of query $i$', n: 'an entry',
    },
    excerpt: ['a[n] = scale * dot(q', 'mass[n] += a[n] / Z'],
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'h2o', section: 11, title: 'Score of h2o: all mass so far',
    expressions: ['s[j] = total(n, j <= n <= i, a[n, j])'],
    symbols: { s: 'score of entry $j$ after query $i$', a: 'the mass that query $n$ gave entry $j$', n: 'a query' },
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'h2o-mean', section: 11, title: 'Score of h2o-mean: mass per query',
    expressions: ['s[j] = total(n, j <= n <= i, a[n, j]) / (i - j + 1)'],
    symbols: { s: 'score of entry $j$ after query $i$', a: 'the mass that query $n$ gave entry $j$', n: 'a query' },
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'tova', section: 11, title: 'Score of tova: the newest mass, over all heads of the layer',
    expressions: ['s[j] = total(g, a[g, j])'], ranges: { g: 'G' },
    symbols: {
      s: 'score of entry $j$ after query $i$', g: 'a KV head',
      a: 'the mass that query $i$ gives entry $j$ of head $g$',
    },
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'snapkv', section: 11, title: 'Score of snapkv: the mass of the newest queries, smoothed',
    expressions: [
      'u[j] = total(n, max(j, i - Q + 1) <= n <= i, a[n, j])',
      's[j] = total(n, held[n] == 1 and j - p <= n <= j + p, u[n]) / (2 * p + 1)',
    ],
    symbols: {
      u: 'mass of the newest $Q$ queries', s: 'score of entry $j$ after query $i$', Q: 'how many queries count, 32',
      p: 'how many positions on each side count, 2', a: 'the mass that query $n$ gave entry $j$',
      n: 'a query, then a position', held: '1 for the entries held, else 0',
    },
    excerpt: ['const reach =', 'pooled[n] /= pool'],
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'keynorm', section: 11, title: 'Score of keynorm: small keys',
    expressions: ['s[j] = -sqrt(dot(k[j], k[j]))'],
    symbols: { s: 'score of entry $j$' },
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'nats-rank', section: 11, title: 'Score of nats-rank: the learned score of GLOBAL over the others',
    expressions: ['s[j] = x[j, GLOBAL] - log(exp(x[j, LOCAL]) + exp(x[j, WINDOW]))'],
    symbols: { s: 'score of entry $j$', x: 'the scores of the types of section 6, $[N,3]$' },
    excerpt: ['const [g, l, w] =', 'return g - max'],
    file: 'src/core/mass-step.ts', function: 'typeRank',
  },
  {
    id: 'mass-eviction', section: 11, title: 'Eviction under a budget',
    expressions: [
      'free[j] = (held[j] == 1 and sinks <= j <= i - recent)',
      'out = first(j, free[j] == 1 and s[j] == minimum(n, free[n] == 1, s[n]))',
      'heldNew[j] = (held[j] == 1 and j != out)',
    ],
    symbols: {
      free: 'whether the entry may be evicted', sinks: 'how many of the first positions are protected', n: 'an entry',
      s: 'scores after query $i$', out: 'the entry that is evicted', held: '1 for the entries held, else 0',
      heldNew: 'the entries held afterwards',
    },
    excerpt: ['while (head.held.length', 'head.held.splice'],
    file: 'src/core/mass-step.ts', function: 'massStep',
  },
  {
    id: 'mass-kept', section: 11, title: 'What a budget keeps',
    expressions: [
      'count[i] = min(i + 1, max(0, floor(base + rate * (i + 1) + 1 / 2)))',
      'pairs = N + total(i, i < N - 1, count[i])',
      'atEnd = count[N - 1]',
    ],
    symbols: {
      count: 'entries held after step $i$', pairs: 'visible pairs', atEnd: 'entries held at the end',
    },
    excerpt: ['for (let i = 0; i < longest', 'end += count'],
    file: 'src/evaluate/fit.ts', function: 'keptUnder',
  },
];
