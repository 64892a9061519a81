/**
 * Rung 2: a list of the keys that are still alive, and no look at any other.
 * @module
 */
import type { Head } from './head.ts';

export function live({ N, d, q, k, v, last }: Head): Float64Array {
  const out = new Float64Array(N * d);
  const scale = 1 / Math.sqrt(d);
  let keys: number[] = [];
  for (let i = 0; i < N; i++) {
    keys = keys.filter((j) => last[j] >= i); // the dead never return
    keys.push(i);
    const s = keys.map((j) => {
      let sum = 0;
      for (let c = 0; c < d; c++) sum += q[i * d + c] * k[j * d + c];
      return scale * sum;
    });
    const m = s.reduce((a, b) => Math.max(a, b));
    let Z = 0;
    for (const x of s) Z += Math.exp(x - m);
    keys.forEach((j, n) => {
      const A = Math.exp(s[n] - m) / Z;
      for (let c = 0; c < d; c++) out[i * d + c] += A * v[j * d + c];
    });
  }
  return out;
}
