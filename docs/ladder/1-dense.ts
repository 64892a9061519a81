/**
 * Rung 1: every pair is computed, and what the mask hides gets the weight 0.
 * @module
 */
import type { Head } from './head.ts';

export function dense({ N, d, q, k, v, last }: Head): Float64Array {
  const out = new Float64Array(N * d);
  for (let i = 0; i < N; i++) {
    const s = new Float64Array(N);
    for (let j = 0; j < N; j++) {
      for (let c = 0; c < d; c++) s[j] += q[i * d + c] * k[j * d + c] / Math.sqrt(d);
      if (j > i || i > last[j]) s[j] = -Infinity;
    }
    const m = s.reduce((a, b) => Math.max(a, b));
    const e = s.map((x) => Math.exp(x - m));
    const Z = e.reduce((a, b) => a + b);
    for (let j = 0; j < N; j++) {
      for (let c = 0; c < d; c++) out[i * d + c] += e[j] / Z * v[j * d + c];
    }
  }
  return out;
}
