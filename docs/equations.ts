/**
 * Every equation of the chapter, once. The strings are mathjs expressions, with the additions that mathematics.ts
 * describes. test/equations.test.ts evaluates them against the functions named here, and chapter.ts prints them as TeX,
 * so the chapter and the code cannot drift apart.
 * @module
 */
import type { Definitions } from './mathematics.ts';

/** One equation, or a few that belong together. */
export interface Equation extends Definitions {
  readonly id: string;
  /** Section of the chapter. */
  readonly section: number;
  readonly title: string;
  /** Meanings of symbols where they differ from those of glossary.ts. */
  readonly symbols?: Readonly<Record<string, string>>;
  /** The file that computes it, from the repository's root. */
  readonly file: string;
  /** The export of that file that computes it. */
  readonly function: string;
  /** The first and last line of the code to show (at most 15 lines), each identified by text that it contains. */
  readonly excerpt?: readonly [from: string, to: string];
}

const CHUNKS = { n: 'Nc' };
const TYPES = { c: '3', r: '3' };

/** The equations, in the chapter's order. */
export const EQUATIONS: readonly Equation[] = [
  {
    id: 'lifetime', section: 2, title: 'Lifetime',
    expressions: [
      'e[j] = first(n, j < n and t[n] == GLOBAL)',
      'last[j] = t[j] == GLOBAL ? Infinity : t[j] == LOCAL ? e[j] : j + W',
    ],
    excerpt: ['// From the last chunk', 'closing = chunkEnd'],
    file: 'reference/lifetime.ts', function: 'lifetime',
  },
  {
    id: 'mask', section: 2, title: 'Mask',
    expressions: ['M[i, j] = (j <= i <= last[j])'],
    excerpt: ['for (let i = 0; i < N; i++)', 'mask[(head'],
    file: 'reference/mask.ts', function: 'attentionMask',
  },
  {
    id: 'chunk-lifetime', section: 2, title: 'Lifetime of chunks',
    expressions: [
      'a[n] = (n + 1) * C > N ? GLOBAL : t[n]',
      'b[j] = floor(j / C)',
      'e[j] = (first(n, b[j] < n and a[n] == GLOBAL) + 1) * C - 1',
      'last[j] = a[b[j]] == GLOBAL ? Infinity : a[b[j]] == LOCAL ? e[j] : (b[j] + 1) * C - 1 + W',
    ],
    ranges: CHUNKS,
    symbols: {
      a: 'type of each chunk, GLOBAL while it is unfinished', b: 'the chunk of token $j$', n: 'a chunk',
      e: 'the last token of the first GLOBAL chunk after the chunk of $j$',
    },
    file: 'reference/lifetime.ts', function: 'lifetime',
  },
  {
    id: 'chunk-pool', section: 2, title: 'Pooling of a chunk (mean)',
    expressions: ['p[n] = total(j, floor(j / C) == n, x[j]) / total(j, floor(j / C) == n, 1)'],
    ranges: CHUNKS, symbols: { x: 'hidden states, $[N,D]$', p: 'pooled hidden states', n: 'a chunk' },
    file: 'reference/chunks.ts', function: 'poolChunks',
  },
  {
    id: 'scores', section: 3, title: 'Scores',
    expressions: ['S[i, j] = scale * dot(q[i], k[j])'],
    file: 'reference/attention.ts', function: 'attention',
  },
  {
    id: 'attention', section: 3, title: 'Masked attention',
    expressions: [
      'm[i] = maximum(j, j <= i <= last[j], S[i, j])',
      'E[i, j] = exp(S[i, j] - m[i])',
      'Z[i] = total(j, M[i, j] * E[i, j])',
      'A[i, j] = M[i, j] * E[i, j] / Z[i]',
      'o[i] = total(j, A[i, j] * v[j])',
      'lse[i] = m[i] + log(Z[i])',
    ],
    excerpt: ['let max = -Infinity', 'lse[row] ='],
    file: 'reference/attention.ts', function: 'attention',
  },
  {
    id: 'attention-backward', section: 4, title: 'Gradients of attention',
    expressions: [
      'D[i] = dot(do[i], o[i])',
      'P[i, j] = dot(do[i], v[j])',
      'dS[i, j] = A[i, j] * (P[i, j] - D[i])',
      'dq[i] = scale * total(j, dS[i, j] * k[j])',
      'dk[j] = scale * total(i, dS[i, j] * q[i])',
      'dv[j] = total(i, A[i, j] * do[i])',
    ],
    excerpt: ['const D = dot', 'axpy(A, dOut'],
    file: 'reference/attention.ts', function: 'attentionBackward',
  },
  {
    id: 'mask-gradient-exact', section: 4, title: 'Gradient of the mask, rule `exact`',
    expressions: ['dM[i, j] = exp(S[i, j] - lse[i]) * (P[i, j] - D[i])'], given: 'j <= i',
    file: 'reference/attention.ts', function: 'maskGradient',
  },
  {
    id: 'mask-gradient-bounded', section: 4, title: 'Gradient of the mask, rule `bounded`',
    expressions: [
      'norm[i] = log(total(j, j <= i, exp(S[i, j])))',
      'dM[i, j] = exp(S[i, j] - norm[i]) * (P[i, j] - D[i])',
    ],
    given: 'j <= i',
    excerpt: ['const S = matmulNT', 'dM[pair] = dM[pair]'],
    file: 'reference/attention.ts', function: 'maskGradient',
  },
  {
    id: 'relaxed-mask', section: 5, title: 'Relaxed mask',
    expressions: ['M[i, j] = g[j] + l[j] * product(n, j < n < i, 1 - g[n]) + w[j] * (i - j <= W)'], given: 'j <= i',
    symbols: { M: 'the mask for types that are real numbers' },
    file: 'reference/mask.ts', function: 'relaxedMask',
  },
  {
    id: 'relaxed-chunk-mask', section: 5, title: 'Relaxed mask of chunks',
    expressions: [
      'b[j] = floor(j / C)',
      'M[i, j] = g[b[j]] + l[b[j]] * product(n, b[j] < n < b[i], 1 - g[n]) + w[b[j]] * (i <= (b[j] + 1) * C - 1 + W)',
    ],
    given: 'j <= i', ranges: CHUNKS,
    symbols: { b: 'the chunk of token $j$', n: 'a chunk', M: 'the mask for types that are real numbers' },
    excerpt: ['let open = 1;', 'WINDOW) : 0);'],
    file: 'reference/mask.ts', function: 'relaxedMask',
  },
  {
    id: 'type-gradient', section: 5, title: 'Gradient of the types',
    expressions: [
      'e[j] = min(first(n, j < n and t[n] == GLOBAL), N - 1)',
      'dw[j] = total(i, j <= i <= j + W, dM[i, j])',
      'dl[j] = total(i, j <= i <= e[j], dM[i, j])',
      'dg[j] = total(i, j <= i, dM[i, j])' +
        ' - total(k, k < j <= e[k] and t[k] == LOCAL, total(i, j < i <= e[j], dM[i, k]))',
    ],
    symbols: { k: 'a LOCAL token that $j$ would close', e: 'the first GLOBAL token after $j$, or the last token' },
    excerpt: ['let openLocal', 'openLocal += sum'],
    file: 'reference/mask.ts', function: 'addTypeGradientRow',
  },
  {
    id: 'types', section: 6, title: 'Choosing a type',
    expressions: [
      'y[c] = exp((s[c] + u[c]) / tau) / total(r, exp((s[r] + u[r]) / tau))',
      't = first(c, y[c] == maximum(r, y[r]))',
    ],
    ranges: TYPES, symbols: { t: 'the chosen type; ties go to the lowest number' },
    excerpt: ['const z =', 'types[t] ='],
    file: 'reference/search.ts', function: 'tokenTypes',
  },
  {
    id: 'types-backward', section: 6, title: 'Straight through',
    expressions: ['ds[c] = y[c] * (dt[c] - total(r, y[r] * dt[r])) / tau'], ranges: TYPES,
    excerpt: ['let mean = 0', 'dScores[n]'],
    file: 'reference/search.ts', function: 'tokenTypesBackward',
  },
  {
    id: 'kept', section: 7, title: 'Share of the cache that is kept',
    expressions: ['kept[j] = 2 * (min(last[j], N - 1) - j) / N', 'share = total(j, kept[j]) / N'],
    excerpt: ['let kept = 0', 'share[head]'],
    file: 'reference/price.ts', function: 'keptShare',
  },
  {
    id: 'price', section: 7, title: 'Price of memory',
    expressions: [
      'K = 2 * lambda / (L * G * B * N^2)',
      'e[j] = min(first(n, j < n and t[n] == GLOBAL), N - 1)',
      'Kg[j] = K * (N - 1 - j)',
      'Kl[j] = K * (e[j] - j)',
      'Kw[j] = K * min(W, N - 1 - j)',
    ],
    symbols: { e: 'the first GLOBAL token after $j$, or the last token' },
    excerpt: ['const { closing }', '(Math.min((c + 1)'],
    file: 'reference/price.ts', function: 'addMemoryPrice',
  },
  {
    id: 'cache', section: 8, title: 'Eviction',
    expressions: ['live[j] = (last[j] >= i + T)'],
    symbols: { i: 'the first token of this step' },
    excerpt: ['this.append(k, v', 'return out;'],
    file: 'reference/cache.ts', function: 'EvictingCache',
  },
  {
    id: 'linear', section: 10, title: 'Linear layer',
    expressions: ['y[c] = total(r, weight[c, r] * x[r])'],
    ranges: { c: 'M', r: 'D' },
    symbols: {
      y: 'output', c: 'an output feature', weight: 'a matrix, one row per output feature',
      D: 'number of input features', M: 'number of output features',
    },
    excerpt: ['return {', 'return {'],
    file: 'reference/linear.ts', function: 'linear',
  },
  {
    id: 'rmsnorm', section: 10, title: 'RMSNorm',
    expressions: [
      'rstd = 1 / sqrt(total(r, x[r]^2) / D + eps)',
      'y[c] = x[c] * rstd * weight[c]',
    ],
    ranges: { c: 'D', r: 'D' },
    symbols: {
      rstd: 'one over the root mean square', y: 'output', c: 'a feature', D: 'number of features',
      weight: 'a learned gain',
    },
    excerpt: ['const r = inverseRoot', 'out[at + n]'],
    file: 'reference/rmsnorm.ts', function: 'rmsNorm',
  },
  {
    id: 'rmsnorm-backward', section: 10, title: 'RMSNorm, backward',
    expressions: [
      'rstd = 1 / sqrt(total(r, x[r]^2) / D + eps)',
      'dx[c] = rstd * (weight[c] * dy[c] - x[c] * rstd^2 * total(r, weight[r] * dy[r] * x[r]) / D)',
    ],
    ranges: { c: 'D', r: 'D' },
    symbols: {
      rstd: 'one over the root mean square', dy: 'cotangent of the output', dx: 'cotangent of the input',
      c: 'a feature', D: 'number of features', weight: 'a learned gain',
    },
    file: 'reference/rmsnorm.ts', function: 'rmsNormBackward',
  },
  {
    id: 'rope', section: 10, title: 'Rotary embedding',
    expressions: ['aNew = a * cos - b * sin', 'bNew = b * cos + a * sin'],
    symbols: {
      a: 'a number of the head\'s first half', b: 'its partner in the second half', aNew: 'the first, rotated',
      bNew: 'the second, rotated', cos: 'cosine of the position times a frequency', sin: 'its sine',
    },
    excerpt: ['const c = cos', 'second * c'],
    file: 'reference/rope.ts', function: 'rope',
  },
  {
    id: 'swiglu', section: 10, title: 'SwiGLU',
    expressions: ['y = gate / (1 + exp(-gate)) * up'],
    symbols: { gate: 'a number', up: 'a number', y: 'output' },
    excerpt: ['for (let n', 'out[n] ='],
    file: 'reference/swiglu.ts', function: 'swiglu',
  },
  {
    id: 'swiglu-backward', section: 10, title: 'SwiGLU, backward',
    expressions: [
      'sigma = 1 / (1 + exp(-gate))',
      'dgate = dy * up * sigma * (1 + gate * (1 - sigma))',
      'dup = dy * gate * sigma',
    ],
    symbols: {
      sigma: 'the logistic function of the gate', gate: 'a number', up: 'a number', dy: 'cotangent of the output',
      dgate: 'cotangent of the gate', dup: 'cotangent of up',
    },
    file: 'reference/swiglu.ts', function: 'swigluBackward',
  },
  {
    id: 'cross-entropy', section: 10, title: 'Cross-entropy',
    expressions: ['loss = log(total(r, exp(x[r]))) - x[target]'], ranges: { r: 'V' },
    symbols: {
      x: 'logits of one token', target: 'the token that follows', loss: 'in nats', V: 'size of the vocabulary',
    },
    excerpt: ['if (target >= 0)', 'if (target >= 0)'],
    file: 'reference/cross-entropy.ts', function: 'crossEntropy',
  },
  {
    id: 'cross-entropy-backward', section: 10, title: 'Cross-entropy, backward',
    expressions: ['dx[c] = weight * (exp(x[c]) / total(r, exp(x[r])) - (c == target))'], ranges: { c: 'V', r: 'V' },
    symbols: {
      x: 'logits of one token', dx: 'their cotangent', c: 'an entry of the vocabulary',
      target: 'the token that follows', weight: 'weight of the loss',
      V: 'size of the vocabulary',
    },
    file: 'reference/cross-entropy.ts', function: 'crossEntropyBackward',
  },
  {
    id: 'adamw', section: 10, title: 'AdamW',
    expressions: [
      'mNew = beta1 * m + (1 - beta1) * grad',
      'vNew = beta2 * v + (1 - beta2) * grad^2',
      'mHat = mNew / (1 - beta1^step)',
      'vHat = vNew / (1 - beta2^step)',
      'thetaNew = theta - eta * (mHat / (sqrt(vHat) + eps) + omega * theta)',
    ],
    symbols: {
      grad: 'gradient, after clipping', m: 'running mean of the gradient', v: 'running mean of its square',
      mNew: 'the next $m$', vNew: 'the next $v$', mHat: '$m\'$ without its bias to 0',
      vHat: '$v\'$ without its bias to 0', beta1: 'memory of $m$', beta2: 'memory of $v$', step: 'counted from 1',
      theta: 'parameter', thetaNew: 'the next parameter', eta: 'learning rate', omega: 'weight decay',
    },
    excerpt: ['const g = factor', 'theta[n] ='],
    file: 'reference/adamw.ts', function: 'adamW',
  },
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
    excerpt: ['const a = Float64Array.from(held', 'mass[n] += a[n] / Z'],
    file: 'reference/mass.ts', function: 'massStep',
  },
  {
    id: 'h2o', section: 11, title: 'Score of h2o: all mass so far',
    expressions: ['s[j] = total(n, j <= n <= i, a[n, j])'],
    symbols: { s: 'score of entry $j$ after query $i$', a: 'the mass that query $n$ gave entry $j$', n: 'a query' },
    file: 'reference/mass.ts', function: 'massStep',
  },
  {
    id: 'h2o-mean', section: 11, title: 'Score of h2o-mean: mass per query',
    expressions: ['s[j] = total(n, j <= n <= i, a[n, j]) / (i - j + 1)'],
    symbols: { s: 'score of entry $j$ after query $i$', a: 'the mass that query $n$ gave entry $j$', n: 'a query' },
    file: 'reference/mass.ts', function: 'massStep',
  },
  {
    id: 'tova', section: 11, title: 'Score of tova: the newest mass, over all heads of the layer',
    expressions: ['s[j] = total(g, a[g, j])'], ranges: { g: 'G' },
    symbols: {
      s: 'score of entry $j$ after query $i$', g: 'a KV head',
      a: 'the mass that query $i$ gives entry $j$ of head $g$',
    },
    file: 'reference/mass.ts', function: 'massStep',
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
    excerpt: ['const reach =', 'return sum / pool'],
    file: 'reference/mass.ts', function: 'massStep',
  },
  {
    id: 'keynorm', section: 11, title: 'Score of keynorm: small keys',
    expressions: ['s[j] = -sqrt(dot(k[j], k[j]))'],
    symbols: { s: 'score of entry $j$' },
    file: 'reference/mass.ts', function: 'massStep',
  },
  {
    id: 'nats-rank', section: 11, title: 'Score of nats-rank: the learned score of GLOBAL over the others',
    expressions: ['s[j] = x[j, GLOBAL] - log(exp(x[j, LOCAL]) + exp(x[j, WINDOW]))'],
    symbols: { s: 'score of entry $j$', x: 'the scores of the types of section 6, $[N,3]$' },
    excerpt: ['const [g, l, w] =', 'return g - max'],
    file: 'reference/mass.ts', function: 'typeRank',
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
    file: 'reference/mass.ts', function: 'massStep',
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

/**
 * The equation called `id`.
 *
 * @throws {RangeError} If there is none.
 */
export function equation(id: string): Equation {
  const found = EQUATIONS.find((e) => e.id === id);
  if (!found) throw new RangeError(`no equation is called ${id}: call it ${EQUATIONS.map((e) => e.id).join(', ')}`);
  return found;
}
