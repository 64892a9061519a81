/**
 * Sums over all causal pairs of a head, a tile of queries at a time: never N x N.
 * @module
 */
import type { FloatTensor } from '../io/named-tensor.ts';
import type { CaseParameters, Tensors } from './types.ts';

/** sum over j <= i of dM[i,j] (§4), summed over the query heads of each group: [B,G,N]. */
export function maskGradientRowSums(
  { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale, rule }: CaseParameters, inputs: Tensors,
  { out, lse }: { out: FloatTensor; lse: FloatTensor },
): FloatTensor {
  const [q, k, v, dOut] = ['q', 'k', 'v', 'dout'].map((name) => inputs[name]!.data as Float64Array) as
    [Float64Array, Float64Array, Float64Array, Float64Array];
  const data = new Float64Array(B * G * N);
  const S = new Float64Array(N);
  for (let row = 0; row < B * H * N; row++) {
    const i = row % N;
    const [b, h] = [Math.floor(row / (H * N)), Math.floor(row / N) % H];
    const head = b * G + Math.floor(h / (H / G));
    const dot = (x: Float64Array, y: Float64Array, at: number): number => {
      let sum = 0;
      for (let c = 0; c < d; c++) sum += x[row * d + c]! * y[at + c]!;
      return sum;
    };
    const D = dot(dOut, out.data, row * d);
    let max = -Infinity;
    for (let j = 0; j <= i; j++) max = Math.max(max, S[j] = scale * dot(q, k, (head * N + j) * d));
    let n = lse.data[row]!;
    if (rule === 'bounded') {
      let Z = 0;
      for (let j = 0; j <= i; j++) Z += Math.exp(S[j]! - max);
      n = max + Math.log(Z);
    }
    let sum = 0;
    for (let j = 0; j <= i; j++) sum += Math.exp(S[j]! - n) * (dot(dOut, v, (head * N + j) * d) - D);
    data[head * N + i] = data[head * N + i]! + sum;
  }
  return { dtype: 'F64', shape: [B, G, N], data };
}
