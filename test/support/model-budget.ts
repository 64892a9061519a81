/**
 * How far the logits of a whole model may be from the truth: the roundings of all operations, carried to the logits.
 *
 * The truth is a float64 evaluation of the decoder on given weights and tokens. Let y = F(e) be a logit as a function
 * of all errors e that operations add to what they make. To first order, y is off by sum_i g_i e_i, where
 * g_i = dF / de_i is computed for each logit by the backward operations of the reference (running error analysis,
 * linearised: Higham, Accuracy and Stability of Numerical Algorithms, §3.3). What is neglected is of second order in
 * the roundings; linear() serves to measure it. There are two kinds of errors:
 *
 * - Roundings of float32. |e_i| <= b_i, which is the budget of the operation on exact inputs (tolerance.ts). They are
 *   not independent, so they are added as if all had the worst sign: sum_i |g_i| b_i. Attention counts twice, since
 *   parts of it that are put together rescale a weight twice; so do products in float16, whose units may cut off.
 * - Roundings of factors, and of what a cache holds, to float16 (docs/kernels.md has the list): e_i is within h_i, half
 *   a unit of float16 at the number that is rounded. A number is rounded once, however many products it is a factor
 *   of: g_i is the sum over all of these. They are so many that the worst signs would say nothing. The model is
 *   that of Higham and Mary (A new approach to probabilistic rounding error analysis, 2019): e_i are independent and of
 *   mean 0; and, as is usual for a number with more bits than are kept, uniform in [-h_i, h_i]. Then
 *   E exp(s e_i) = sinh(s h_i) / (s h_i) <= exp(s^2 h_i^2 / 6), so that by Chernoff's bound
 *   P(|sum_i g_i e_i| > t) <= 2 exp(-3 t^2 / (2 sum_i g_i^2 h_i^2)).
 *   Hence M logits are all within t = sqrt(2 / 3 ln(2 M / p) sum_i g_i^2 h_i^2) with probability 1 - p.
 *
 * Numbers of a tensor that are equal are rounded alike, and count as one: the first layer has the same values for equal
 * tokens.
 * @module
 */
import { type HostArray, referenceKernels } from '../../reference/index.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import type { ModelConfig } from '../../src/model/config/config.ts';
import { lifetimeOptions } from '../../src/model/policy.ts';
import { rotaryAngles } from '../../src/model/rotary.ts';
import { fixedTypes } from '../../src/model/session/step-types.ts';
import type { Policy } from '../../src/policies/index.ts';
import { array, type Changes, floats, type Gradients, ModelOperations, type Narrowed } from './model-operations.ts';
import type { Bounded } from './tolerance.ts';

export type { Changes, Narrowed } from './model-operations.ts';

/** A decoder, and a policy whose types do not depend on numbers. */
export interface Decoder {
  readonly config: ModelConfig;
  readonly weights: ReadonlyMap<string, NDArray>;
  readonly policy: Policy;
}

/** Half a unit of float16 at x. */
export function halfUnit(x: number): number {
  return Math.abs(x) < 2 ** -14 ? 2 ** -25 : 2 ** (Math.floor(Math.log2(Math.abs(x))) - 11);
}

/** One sequence through a decoder, in float64, with budgets of its logits. */
export class ModelBudget {
  /** [N,V] */
  readonly logits: Float64Array;
  readonly #V: number;
  readonly #operations: ModelOperations;
  readonly #last: HostArray;

  /** @param changes Of what is computed, for tests of the budget. */
  constructor(decoder: Decoder, ids: readonly number[], narrowed: Narrowed, changes: Changes = {}) {
    const { prompt, cache } = narrowed;
    const N = ids.length;
    if (prompt > 0 && prompt < N && !cache) throw new Error('no budget: keys would be rounded for some queries only');
    const { vocabSize, heads: H, kvHeads: G, headDim: d } = decoder.config;
    this.#V = vocabSize;
    this.#operations = new ModelOperations({ H, G, d, N }, narrowed, changes);
    this.#last = logitsOf(this.#operations, decoder, ids);
    this.logits = floats(this.#last);
  }

  /** The logits of a token, each within its budget, of which `of` are judged, wrong with probability p in all. */
  row(token: number, of: number, p = 1e-6): Bounded[] {
    const V = this.#V;
    return Array.from({ length: V }, (_, v) => {
      const { float32, squares } = this.#carried(token * V + v);
      const error = float32 + Math.sqrt((2 / 3) * Math.log((2 * of) / p) * squares);
      return { value: this.logits[token * V + v], error };
    });
  }

  /** sum_i g_i e_i for logit `at` and errors e of what is rounded to float16, which `errorOf` gives by name. */
  linear(at: number, errorOf: (name: string) => Float64Array): number {
    let sum = 0;
    for (const [x, gradient] of this.#gradients(at).narrow) {
      const error = errorOf(this.#operations.names.get(x)!);
      gradient.forEach((g, n) => (sum += g * error[n]));
    }
    return sum;
  }

  /** The numbers that are rounded to float16, by name. */
  get factors(): ReadonlyMap<string, Float64Array> {
    return new Map(Array.from(this.#operations.names, ([x, name]) => [name, floats(x)]));
  }

  #gradients(at: number): { full: Gradients; narrow: Gradients; more: number } {
    const [full, narrow]: [Gradients, Gradients] = [new Map(), new Map()];
    const unit = new Float64Array(this.logits.length);
    unit[at] = 1;
    full.set(this.#last, unit);
    let more = 0;
    for (const step of [...this.#operations.steps].reverse()) {
      const gradient = full.get(step.out);
      if (!gradient) continue;
      const dOut = array(gradient, step.out.shape);
      more += step.more?.(dOut) ?? 0;
      step.back(dOut, full, narrow);
    }
    return { full, narrow, more };
  }

  #carried(at: number): { float32: number; squares: number } {
    const { full, narrow, more } = this.#gradients(at);
    let [float32, squares] = [0, more];
    for (const { out, own } of this.#operations.steps) {
      full.get(out)?.forEach((g, n) => (float32 += Math.abs(g) * own[n]));
    }
    for (const [x, gradient] of narrow) {
      const sums = new Map<number, number>();
      floats(x).forEach((value, n) => sums.set(value, (sums.get(value) ?? 0) + gradient[n]));
      for (const [value, g] of sums) squares += (g * halfUnit(value)) ** 2;
    }
    return { float32, squares };
  }
}

function logitsOf(on: ModelOperations, { config, weights, policy }: Decoder, ids: readonly number[]): HostArray {
  const { heads: H, kvHeads: G, headDim: d, layers, rmsNormEpsilon: epsilon } = config;
  const N = ids.length;
  const known = new Map<string, HostArray>();
  const weight = (name: string): HostArray => {
    const { data, shape } = weights.get(name)!;
    if (!known.has(name)) known.set(name, array(Float64Array.from(data), shape));
    return known.get(name)!;
  };
  const types = fixedTypes(policy, { config, seen: [0], T: N });
  if (!types) throw new Error('no budget: types must not depend on numbers');
  const sizes = { B: 1, G, chunks: N, N };
  const last = referenceKernels('float64')
    .lifetime({ data: types, shape: [1, G, N] }, lifetimeOptions(policy, config), sizes);
  const { cos, sin } = rotaryAngles(config, Array.from({ length: N }, (_, n) => n));
  let x = on.embedding(weight('model.embed_tokens.weight'), ids);
  for (let n = 0; n < layers; n++) {
    const at = (name: string): string => `model.layers.${n}.${name}`;
    const hidden = on.norm(`${n} norm`, x, weight(at('input_layernorm.weight')), epsilon);
    const qkv = (['q', 'k', 'v'] as const).map((letter) => {
      const heads = letter === 'q' ? H : G;
      const [name, bias, gain] = ['proj.weight', 'proj.bias', 'norm.weight'].map((each) => at(`self_attn.${letter}_${each}`));
      const flat = on.product(`${n} ${letter}`, hidden, weight(name), weights.has(bias) ? weight(bias) : undefined);
      const y = on.moved(flat, heads, 'split');
      if (letter === 'v') return y;
      const normed = weights.has(gain) ? on.norm(`${n} ${letter} norm`, y, weight(gain), epsilon) : y;
      return on.turned(`${n} ${letter} turned`, normed, heads, cos, sin);
    });
    const attended = on.moved(on.attention(`${n} attention`, qkv, last, 1 / Math.sqrt(d)), H, 'merge');
    x = on.sum(`${n} sum`, x, on.product(`${n} output`, attended, weight(at('self_attn.o_proj.weight'))));
    const next = on.norm(`${n} second norm`, x, weight(at('post_attention_layernorm.weight')), epsilon);
    const [gate, up] = ['gate', 'up'].map((name) => on.product(`${n} ${name}`, next, weight(at(`mlp.${name}_proj.weight`))));
    const gated = on.swiglu(`${n} swiglu`, gate, up);
    x = on.sum(`${n} second sum`, x, on.product(`${n} down`, gated, weight(at('mlp.down_proj.weight'))));
  }
  const head = weight(config.tieWordEmbeddings ? 'model.embed_tokens.weight' : 'lm_head.weight');
  return on.product('logits', on.norm('last norm', x, weight('model.norm.weight'), epsilon), head);
}
