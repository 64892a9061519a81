/**
 * Rung 3: tiles of queries by tiles of keys, with the online softmax: the maximum and the sum are carried along, and
 * what was summed under an older maximum is scaled down. A row of scores is never stored.
 * @module
 */
import type { Head } from './head.ts';

const [ROWS, KEYS] = [16, 32];

export function tiles({ N, d, q, k, v, last }: Head): Float64Array {
  const out = new Float64Array(N * d);
  const scale = 1 / Math.sqrt(d);
  let keys: number[] = [];
  for (let first = 0; first < N; first += ROWS) {
    const end = Math.min(first + ROWS, N);
    keys = keys.filter((j) => last[j] >= first); // alive for at least the first query of the tile
    for (let j = first; j < end; j++) keys.push(j);
    const m = new Float64Array(ROWS).fill(-Infinity);
    const Z = new Float64Array(ROWS);
    for (let at = 0; at < keys.length; at += KEYS) {
      const tile = keys.slice(at, at + KEYS); // on a GPU: fetched once, used by all rows
      for (let i = first; i < end; i++) {
        for (const j of tile) {
          if (j > i || i > last[j]) continue;
          let s = 0;
          for (let c = 0; c < d; c++) s += q[i * d + c] * k[j * d + c];
          s *= scale;
          const r = i - first;
          const most = Math.max(m[r], s);
          const [old, e] = [Math.exp(m[r] - most), Math.exp(s - most)]; // exp(-Infinity) is 0 at the first key
          Z[r] = Z[r] * old + e;
          for (let c = 0; c < d; c++) out[i * d + c] = out[i * d + c] * old + e * v[j * d + c];
          m[r] = most;
        }
      }
    }
    for (let i = first; i < end; i++) {
      for (let c = 0; c < d; c++) out[i * d + c] /= Z[i - first];
    }
  }
  return out;
}
