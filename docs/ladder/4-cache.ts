/**
 * Rung 4: one token after the other through a cache that appends, attends and evicts. It knows the type of a token, and
 * its lifetime only when that ends.
 * @module
 */
import { FOREVER, type Head } from './head.ts';

interface Entry {
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly type: number;
  last: number;
}

/** What was computed, and the most entries that were held at once. */
export function cached({ N, d, q, k, v, types, window }: Head): { out: Float64Array; most: number } {
  const out = new Float64Array(N * d);
  const entries: Entry[] = [];
  let most = 0;
  for (let i = 0; i < N; i++) {
    const type = types[i];
    const row = (x: Float32Array): Float32Array => x.subarray(i * d, i * d + d);
    // 1. Append. A GLOBAL token closes the LOCAL entries that are open.
    for (const entry of entries) if (type === 0 && entry.type === 1 && entry.last === FOREVER) entry.last = i;
    entries.push({ k: row(k), v: row(v), type, last: type === 2 ? i + window : FOREVER });
    most = Math.max(most, entries.length);
    // 2. Attend to all entries: there is nothing to mask.
    let [m, Z] = [-Infinity, 0];
    for (const entry of entries) {
      let s = 0;
      for (let c = 0; c < d; c++) s += q[i * d + c] * entry.k[c];
      s /= Math.sqrt(d);
      const max = Math.max(m, s);
      const [old, e] = [Math.exp(m - max), Math.exp(s - max)];
      Z = Z * old + e;
      for (let c = 0; c < d; c++) out[i * d + c] = out[i * d + c] * old + e * entry.v[c];
      m = max;
    }
    for (let c = 0; c < d; c++) out[i * d + c] /= Z;
    // 3. Evict what query i + 1 cannot see. The last entry moves into the hole: order does not matter.
    for (let n = entries.length - 1; n >= 0; n--) {
      if (entries[n].last >= i + 1) continue;
      const moved = entries.pop()!;
      if (n < entries.length) entries[n] = moved;
    }
  }
  return { out, most };
}
