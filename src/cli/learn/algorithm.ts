/**
 * The answers to the exercises, as docs/algorithm.md has them, for one head and plain lists. A test compares them with
 * the reference.
 * @module
 */
import { G, L, W } from './step.ts';

/** §2: the last query that may see each token, Infinity if all may. */
export function lifetime(types: readonly number[], window: number): number[] {
  return types.map((type, j) => {
    if (type === G) return Infinity;
    if (type === W) return j + window;
    const next = types.findIndex((other, n) => n > j && other === G);
    return next < 0 ? Infinity : next;
  });
}

/** §2: M[i][j] = 1 where query i sees key j. */
export const mask = (last: readonly number[]): number[][] =>
  last.map((_, i) => last.map((end, j) => (j <= i && i <= end ? 1 : 0)));

/** Inputs of attention: [N][d] each. */
export interface Attended {
  readonly q: number[][];
  readonly k: number[][];
  readonly v: number[][];
  readonly last: number[];
}

export const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, n) => sum + x * b[n], 0);

/** §3: A[i][j], and lse. */
export function weights({ q, k, last }: Omit<Attended, 'v'>): { A: number[][]; S: number[][]; lse: number[] } {
  const M = mask(last);
  const scale = 1 / Math.sqrt(q[0].length);
  const S = q.map((qi) => k.map((kj) => scale * dot(qi, kj)));
  const lse = S.map((row, i) => {
    const seen = row.filter((_, j) => M[i][j] === 1);
    const m = Math.max(...seen);
    return m + Math.log(seen.reduce((sum, s) => sum + Math.exp(s - m), 0));
  });
  return { S, lse, A: S.map((row, i) => row.map((s, j) => (M[i][j] === 1 ? Math.exp(s - lse[i]) : 0))) };
}

/** §3: o[i] = sum over j of A[i][j] v[j]. */
export function attention(given: Attended): number[][] {
  const { A } = weights(given);
  return A.map((row) => given.v[0].map((_, c) => row.reduce((sum, a, j) => sum + a * given.v[j][c], 0)));
}

/** §4: gradients of attention from do [N][d]. */
export function attentionBackward(
  given: Attended & { dOut: number[][] },
): { dq: number[][]; dk: number[][]; dv: number[][] } {
  const { q, k, v, dOut } = given;
  const { A } = weights(given);
  const out = attention(given);
  const scale = 1 / Math.sqrt(q[0].length);
  const dS = A.map((row, i) => row.map((a, j) => a * (dot(dOut[i], v[j]) - dot(dOut[i], out[i]))));
  const columns = q[0].map((_, c) => c);
  return {
    dq: q.map((_, i) => columns.map((c) => scale * dS[i].reduce((sum, s, j) => sum + s * k[j][c], 0))),
    dk: k.map((_, j) => columns.map((c) => scale * dS.reduce((sum, row, i) => sum + row[j] * q[i][c], 0))),
    dv: v.map((_, j) => columns.map((c) => A.reduce((sum, row, i) => sum + row[j] * dOut[i][c], 0))),
  };
}

/** §4, rule `exact`: dM[i][j] over all causal pairs, visible or not, and 0 above the diagonal. */
export function maskGradient(given: Attended & { dOut: number[][] }): number[][] {
  const { S, lse } = weights(given);
  const out = attention(given);
  return S.map((row, i) => row.map((s, j) =>
    (j <= i ? Math.exp(s - lse[i]) * (dot(given.dOut[i], given.v[j]) - dot(given.dOut[i], out[i])) : 0)));
}

/** §5: [dg, dl, dw] of every token, from dM. */
export function typeGradient({ dM, types, window }: { dM: number[][]; types: number[]; window: number }): number[][] {
  const N = types.length;
  const sum = (k: number, from: number, to: number): number => {
    let total = 0;
    for (let i = from; i <= to; i++) total += dM[i][k];
    return total;
  };
  const end = (j: number): number => {
    const next = types.findIndex((type, n) => n > j && type === G);
    return next < 0 ? N - 1 : next;
  };
  return types.map((_, j) => {
    let dg = sum(j, j, N - 1);
    for (let k = j - 1; k >= 0; k--) {
      if (types[k] === L) dg -= sum(k, j + 1, end(j));
      if (types[k] === G) break;
    }
    return [dg, sum(j, j, end(j)), sum(j, j, Math.min(N - 1, j + window))];
  });
}

/** §7 for one layer and one head: [for g, l, w] of every token. */
export function price({ types, window, lambda }: { types: number[]; window: number; lambda: number }): number[][] {
  const N = types.length;
  const K = 2 * lambda / (N * N);
  return types.map((_, j) => {
    const next = types.findIndex((type, n) => n > j && type === G);
    return [K * (N - 1 - j), K * ((next < 0 ? N - 1 : next) - j), K * Math.min(window, N - 1 - j)];
  });
}

/** §6: the type of each token, and the gradient of its scores. */
export function straightThrough(
  { scores, noise, tau, dTypes }: { scores: number[][]; noise: number[][]; tau: number; dTypes: number[][] },
): { types: number[]; dScores: number[][] } {
  const y = scores.map((row, t) => {
    const z = row.map((s, c) => (s + noise[t][c]) / tau);
    const e = z.map((x) => Math.exp(x - Math.max(...z)));
    const total = e.reduce((a, b) => a + b, 0);
    return e.map((x) => x / total);
  });
  return {
    types: y.map((row) => row.indexOf(Math.max(...row))),
    dScores: y.map((row, t) => row.map((p, c) => p * (dTypes[t][c] - dot(row, dTypes[t])) / tau)),
  };
}

/** §8: the positions that are held after each token was appended, attended to, and the dead were evicted. */
export function cache(types: readonly number[], window: number): number[][] {
  let entries: { position: number; type: number; last: number }[] = [];
  return types.map((type, i) => {
    if (type === G) for (const entry of entries) if (entry.type === L && entry.last === Infinity) entry.last = i;
    entries.push({ position: i, type, last: type === W ? i + window : Infinity });
    entries = entries.filter(({ last }) => last >= i + 1);
    return entries.map(({ position }) => position);
  });
}
