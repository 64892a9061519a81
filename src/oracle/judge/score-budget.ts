/**
 * The budget of dscores (§6, §7), by the rules of budget.ts, for a softmax over three scores and its backward.
 * @module
 */
import type { FloatTensor, IntegerTensor } from '../../formats/named-tensor.ts';
import { roundoffs } from './budget.ts';
import type { RowBudgets } from './compare.ts';
import { planOf } from '../cases/type-sums.ts';
import type { CaseParameters, ClaimedDtype, OracleCase } from '../types.ts';

const GRADIENTS = ['dg', 'dl', 'dw'] as const;

/**
 * One budget per score [B,G,Nc,3]:
 *
 *     z      = (score + noise) / tau, off by 6 u (|score| + |noise|) / tau =: 6 u a
 *     y_c    relative: r = e^(2 max over c of u (12 max a + 5 |x| + 6)) - 1 + 8 u + s, with x = max z - z_c; and tiny
 *     dt     dg, dl, dw as budgeted and stored, the price with C + 4 roundings of itself, and their sum as stored
 *     dscores  (y_c |dt_c - mean| r + y_c (dt_c's + sum_k y_k (dt_k's + r |dt_k|) + 6 u (|dt_c| + sum y |dt|))
 *              + tiny 4 max|dt|) / tau
 */
export function scoreBudgets(
  { parameters, inputs, expected }: OracleCase, dtype: ClaimedDtype, budgets: Partial<Record<string, RowBudgets>>,
): Float64Array {
  const { temperature: tau, chunk } = parameters;
  const { u, s, tiny } = roundoffs(dtype);
  const scores = (inputs.scores as FloatTensor).data;
  const noise = (inputs.noise as FloatTensor | undefined)?.data ?? new Float64Array(scores.length);
  const prices = pricesOf(parameters, (expected.types as IntegerTensor).data);
  const result = new Float64Array(scores.length);
  const sum = (f: (n: number) => number): number => f(0) + f(1) + f(2);
  const largest = (f: (n: number) => number): number => Math.max(f(0), f(1), f(2));
  for (let t = 0; t < scores.length / 3; t++) {
    const z = [0, 1, 2].map((n) => (scores[3 * t + n] + noise[3 * t + n]) / tau);
    const a = largest((n) => (Math.abs(scores[3 * t + n]) + Math.abs(noise[3 * t + n])) / tau);
    const most = Math.max(...z);
    const Z = sum((n) => Math.exp(z[n] - most));
    const y = z.map((x) => Math.exp(x - most) / Z);
    const far = largest((n) => Math.min(most - z[n], 800)); // beyond 800, e^-x vanishes and its error with it
    const r = Math.expm1(2 * u * (12 * a + 5 * far + 6)) + 8 * u + s;
    const values = GRADIENTS.map((name, n) => expected[name].data[t] + prices[3 * t + n]);
    const errors = GRADIENTS.map((name, n) => {
      const [b, price] = [budgets[name]!.perRow[t], prices[3 * t + n]];
      const stored = s * (Math.abs(expected[name].data[t]) + b + Math.abs(values[n]));
      return b + stored + u * (chunk + 4) * price + 2 * tiny;
    });
    const mean = sum((n) => y[n] * values[n]);
    const size = sum((n) => y[n] * Math.abs(values[n]));
    const ofMean = sum((n) => y[n] * (errors[n] + r * Math.abs(values[n])));
    const vanished = 4 * tiny * largest((n) => Math.abs(values[n]));
    for (let n = 0; n < 3; n++) {
      const rounded = errors[n] + ofMean + 6 * u * (Math.abs(values[n]) + size);
      const own = Math.abs(values[n] - mean) * r + (1 + r) * rounded;
      result[3 * t + n] = (y[n] * own + vanished) / tau + tiny;
    }
  }
  return result;
}

/** §7's cotangents of (g, l, w) per chunk: [B,G,Nc,3]. */
function pricesOf(
  { batch: B, kvHeads: G, tokens: N, chunk, window, price }: CaseParameters, types: Int32Array,
): Float64Array {
  const prices = new Float64Array(3 * types.length);
  const chunks = types.length / (B * G);
  for (let start = 0; price > 0 && start < types.length; start += chunks) {
    const { closing } = planOf(types.subarray(start, start + chunks), N, chunk);
    for (let j = 0; j < N; j++) {
      const c = Math.floor(j / chunk);
      const at = 3 * (start + c);
      const ends = [N - 1, closing[c], Math.min((c + 1) * chunk - 1 + window, N - 1)];
      ends.forEach((end, n) => (prices[at + n] = prices[at + n] + price * (end - j)));
    }
  }
  return prices;
}
