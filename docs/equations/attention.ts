/**
 * Sections 2 to 4: what is visible, attention, and its gradients.
 * @module
 */
import type { Equation } from './equation.ts';

const CHUNKS = { n: 'Nc' };

export const ATTENTION: readonly Equation[] = [
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
    id: 'second-window', section: 2, title: 'Lifetime with a second window',
    expressions: ['last[j] = t[j] == GLOBAL ? Infinity : t[j] == LOCAL ? j + Wl : j + W'],
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
];
