/**
 * §11: attention over whole sequences under a budget of entries for each KV head. The rule, step by step, is in
 * src/core/mass-step.ts, and mass-cache.ts is the cache that evicts by it.
 * @module
 */
import { endWithin, FOREVER } from '../src/core/lifetime.ts';
import { type MassOptions, scoreWidth } from '../src/core/mass.ts';
import { type HeadUnderBudget, massStep, typeRank } from '../src/core/mass-step.ts';
import type { AttentionSizes } from '../src/core/shape.ts';
import { ndarray, type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';

/**
 * Attention under a budget, over whole sequences: query i sees the entries held after query i - 1, and its own. Returns
 * out [B,H,N,d], lse [B,H,N], and last [B,G,N], the last query that sees each key.
 */
export function massAttention(
  { q, k, v, types, mass: rule, reach, scale }: MassOptions & {
    q: NDArray; k: NDArray; v: NDArray; types?: NDArray | undefined; scale: number;
  },
  { B, H, G, N, d }: AttentionSizes,
): { out: NDArray; lse: NDArray; last: NDArray<Int32Array> } {
  const group = H / G;
  const out = zerosLike(q.data, B * H * N * d);
  const lse = zerosLike(q.data, B * H * N);
  const last = zeros(Int32Array, B * G * N);
  const position = Int32Array.from({ length: N }, (_, j) => j);
  for (let b = 0; b < B; b++) {
    const heads = Array.from({ length: G }, (_, g): HeadUnderBudget => {
      const at = (b * G + g) * N;
      const ends = last.subarray(at, at + N);
      ends.forEach((_, j) => (ends[j] = endWithin(FOREVER, j, reach)));
      const scores = zerosLike(k.data, N * scoreWidth(rule));
      if (types) for (let j = 0; j < N; j++) scores[j] = typeRank(types.data, (at + j) * 3);
      return { held: [], position, last: ends, scores, k: k.data, v: v.data, start: at * d };
    });
    for (let i = 0; i < N; i++) {
      const row = (g: number, h: number): number => (b * H + g * group + h) * N + i;
      massStep(rule, heads, i, () => i, { q: q.data, out, lse, d, scale, row, group }, reach);
    }
  }
  return { out: ndarray(out, [B, H, N, d]), lse: ndarray(lse, [B, H, N]), last: ndarray(last, [B, G, N]) };
}
