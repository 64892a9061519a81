/**
 * A Llama decoder evaluated densely, number by number, with real-valued token types in every layer (§5). It shares
 * no code with the model, the tape or an engine.
 * @module
 */
import type { ModelConfig } from '../../src/model/config/config.ts';
import { relaxedMask } from './dense.ts';

type Matrix = readonly (readonly number[])[];
/** Returns the elements of a weight, row-major. */
export type DenseWeights = (name: string) => ArrayLike<number>;

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, n) => sum + x * b[n], 0);

/** x Wᵀ for W [rows, D]. */
function linear(x: Matrix, weight: ArrayLike<number>): Matrix {
  const D = x[0].length;
  const rows = Array.from({ length: weight.length / D }, (_, m) => Array.from(weight).slice(m * D, m * D + D));
  return x.map((row) => rows.map((w) => dot(row, w)));
}

function rmsNorm(x: Matrix, weight: ArrayLike<number>, epsilon: number): Matrix {
  return x.map((row) => {
    const norm = Math.sqrt(dot(row, row) / row.length + epsilon);
    return row.map((value, n) => (value / norm) * weight[n]);
  });
}

/** Head `index` of x [N, heads*d], rotated by position unless `still`. */
function head(x: Matrix, index: number, d: number, theta: number, still = false): Matrix {
  return x.map((row, position) => {
    const own = row.slice(index * d, index * d + d);
    if (still) return own;
    return own.map((value, n) => {
      const pair = n % (d / 2);
      const angle = position * theta ** (-pair / (d / 2));
      const partner = n < d / 2 ? -own[n + d / 2] : own[n - d / 2];
      return value * Math.cos(angle) + partner * Math.sin(angle);
    });
  });
}

/** Returns the soft types of a layer, given what its scorer reads. */
export type TypesOf = (layer: number, normed: Matrix) => ArrayLike<number>;

/**
 * Final hidden states [N, D] of one sequence. `typesOf` gives the soft types [G, Nc, 3] of each layer, from the
 * normed input of its attention.
 */
export function denseHidden(
  config: ModelConfig, weights: DenseWeights, ids: readonly number[], typesOf: TypesOf,
): Matrix {
  const { hiddenSize: D, heads, kvHeads: G, headDim: d, rmsNormEpsilon: epsilon, ropeTheta, nats } = config;
  const { window, localWindow, chunk } = nats;
  const life = { window, localWindow, chunk, reach: (config.slidingWindow ?? Infinity) - 1 };
  const N = ids.length;
  const table = weights('model.embed_tokens.weight');
  let x: Matrix = ids.map((id) => Array.from({ length: D }, (_, n) => table[id * D + n]));
  for (let layer = 0; layer < config.layers; layer++) {
    const of = (name: string) => weights(`model.layers.${layer}.${name}.weight`);
    const normed = rmsNorm(x, of('input_layernorm'), epsilon);
    const M = relaxedMask(typesOf(layer, normed), { B: 1, G, N, ...life });
    const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map((name) => linear(normed, of(`self_attn.${name}`)));
    const outs = Array.from({ length: heads }, (_, h): Matrix => {
      const g = Math.floor(h / (heads / G));
      const [qh, kh] = [head(q, h, d, ropeTheta), head(k, g, d, ropeTheta)];
      const vh = head(v, g, d, ropeTheta, true);
      return qh.map((query, i) => {
        const E = kh.slice(0, i + 1).map((key, j) => {
          return M[(g * N + i) * N + j] * Math.exp(dot(query, key) / Math.sqrt(d));
        });
        const Z = E.reduce((a, b) => a + b, 0);
        return query.map((_, n) => E.reduce((sum, weight, j) => sum + weight * vh[j][n], 0) / Z);
      });
    });
    const attended = x.map((_, i) => outs.flatMap((out) => out[i]));
    const added = linear(attended, of('self_attn.o_proj'));
    x = x.map((row, i) => row.map((value, n) => value + added[i][n]));
    const second = rmsNorm(x, of('post_attention_layernorm'), epsilon);
    const [gate, up] = [linear(second, of('mlp.gate_proj')), linear(second, of('mlp.up_proj'))];
    const gated = gate.map((row, i) => row.map((z, n) => (z / (1 + Math.exp(-z))) * up[i][n]));
    const down = linear(gated, of('mlp.down_proj'));
    x = x.map((row, i) => row.map((value, n) => value + down[i][n]));
  }
  return rmsNorm(x, weights('model.norm.weight'), epsilon);
}
