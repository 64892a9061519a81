/**
 * Sections 5 to 8: the gradient of the types, how they are chosen, the price of memory, and eviction.
 * @module
 */
import type { Equation } from './equation.ts';

const CHUNKS = { n: 'Nc' };
const THREE = { c: '3', r: '3' };

export const TYPES: readonly Equation[] = [
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
    id: 'second-window-mask', section: 5, title: 'Relaxed mask with a second window',
    expressions: ['M[i, j] = g[j] + l[j] * (i - j <= Wl) + w[j] * (i - j <= W)'], given: 'j <= i',
    symbols: { M: 'the mask for types that are real numbers' },
    file: 'reference/mask.ts', function: 'relaxedMask',
  },
  {
    id: 'second-window-gradient', section: 5, title: 'Gradient of the types with a second window',
    expressions: [
      'dw[j] = total(i, j <= i <= j + W, dM[i, j])', 'dl[j] = total(i, j <= i <= j + Wl, dM[i, j])',
      'dg[j] = total(i, j <= i, dM[i, j])',
    ],
    file: 'reference/mask.ts', function: 'addTypeGradientRow',
  },
  {
    id: 'types', section: 6, title: 'Choosing a type',
    expressions: [
      'y[c] = exp((s[c] + u[c]) / tau) / total(r, exp((s[r] + u[r]) / tau))',
      't = first(c, y[c] == maximum(r, y[r]))',
    ],
    ranges: THREE, symbols: { t: 'the chosen type; ties go to the lowest number' },
    excerpt: ['const z =', 'types[t] ='],
    file: 'reference/search.ts', function: 'tokenTypes',
  },
  {
    id: 'types-backward', section: 6, title: 'Straight through',
    expressions: ['ds[c] = y[c] * (dt[c] - total(r, y[r] * dt[r])) / tau'], ranges: THREE,
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
    id: 'second-window-price', section: 7, title: 'Price of LOCAL with a second window',
    expressions: ['K = 2 * lambda / (L * G * B * N^2)', 'Kl[j] = K * min(Wl, N - 1 - j)'],
    file: 'reference/price.ts', function: 'addMemoryPrice',
  },
  {
    id: 'cache', section: 8, title: 'Eviction',
    expressions: ['live[j] = (last[j] >= i + T)'],
    symbols: { i: 'the first token of this step' },
    excerpt: ['this.append(k, v', 'return out;'],
    file: 'reference/cache.ts', function: 'EvictingCache',
  },
];
