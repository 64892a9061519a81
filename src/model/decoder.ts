/**
 * The decoder of Llama, Mistral, Qwen2 and Qwen3, written once for training and inference, which differ only in how the
 * attention of a layer is computed.
 * @module
 */
import type { Engine, Tensor } from '../core/engine.ts';
import { ConfigError } from '../core/errors.ts';
import type { Tape } from '../core/tape.ts';
import type { NDArray } from '../core/tensor.ts';
import { architectureOf } from './arch/index.ts';
import type { ModelConfig } from './config/config.ts';
import { add, embedding, linear, mergeHeads, rmsNorm, rope, splitHeads, swiglu } from '../core/layers.ts';
import { EMBEDDING, HEAD } from './config/names.ts';
import { rotaryTables } from './rotary.ts';

/** Weights on an engine, by Hugging Face's names. */
export type Weights = ReadonlyMap<string, Tensor>;

/**
 * The inputs of a layer's attention: q [B,H,N,d] and k [B,G,N,d] after rotary embedding, v [B,G,N,d], and the
 * normalised input of the layer [B,N,D].
 */
export interface LayerInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly hidden: Tensor;
}

/** Computes the attention of one layer: out [B,H,N,d], owned by the tape. */
export type Attend = (layer: number, inputs: LayerInputs) => Tensor;

/**
 * The logits [B,N,V] of the tokens ids [B,N] at `positions` [B*N].
 *
 * @param tape Owns all intermediate tensors.
 * @param attend Computes attention, with the full mask in training and the evicting cache at inference.
 */
export function decode(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>, attend: Attend,
): Tensor {
  return headLogits(tape, config, weights, hiddenStates(tape, config, weights, ids, positions, attend));
}

/** The logits [...,V] that the language model head computes from final hidden states [...,D]. */
export function headLogits(tape: Tape, config: ModelConfig, weights: Weights, final: Tensor): Tensor {
  return linear(tape, final, weightOf(weights, config.tieWordEmbeddings ? EMBEDDING : HEAD));
}

/** The final hidden states [B,N,D] after the last norm, which the language model head reads. */
export function hiddenStates(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>, attend: Attend,
): Tensor {
  return finalNorm(tape, config, weights, layerStates(tape, config, weights, ids, positions, attend));
}

/** The last norm, of hidden states [...,D] after all layers. */
export function finalNorm(tape: Tape, config: ModelConfig, weights: Weights, x: Tensor): Tensor {
  return rmsNorm(tape, x, weightOf(weights, 'model.norm.weight'), config.rmsNormEpsilon);
}

/** The hidden states [B,N,D] after the last layer, before the last norm. */
export function layerStates(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>, attend: Attend,
): Tensor {
  const { heads, kvHeads, rmsNormEpsilon: epsilon } = config;
  const [B, N] = ids.shape as [number, number];
  const weight = (name: string) => weightOf(weights, name);
  const { cos, sin } = rotaryTables(tape, config, positions, B, N);
  // A bias [1,M] is a table of one row, which every token picks: no operation of its own.
  const { projectionBias, headNorm } = architectureOf(config);
  const zero = projectionBias ? tape.own(tape.engine.integers(new Int32Array(B * N), [B, N])) : undefined;
  let x = embedding(tape, weight(EMBEDDING), ids);
  for (let n = 0; n < config.layers; n++) {
    const of = (name: string) => weight(`model.layers.${n}.${name}.weight`);
    const hidden = rmsNorm(tape, x, of('input_layernorm'), epsilon);
    const project = (part: string, into: number) => {
      const y = linear(tape, hidden, of(`self_attn.${part}`));
      const bias = zero && embedding(tape, weight(`model.layers.${n}.self_attn.${part}.bias`), zero);
      const sum = bias ? add(tape, y, bias) : y;
      const split = splitHeads(tape, sum, into);
      tape.release(y, sum, ...(bias ? [bias] : []));
      return split;
    };
    const rotatedHeads = (y: Tensor, norm: string) => {
      const normed = headNorm ? rmsNorm(tape, y, of(`self_attn.${norm}`), epsilon) : y;
      const rotated = rope(tape, normed, cos, sin);
      tape.release(y, normed);
      return rotated;
    };
    const q = rotatedHeads(project('q_proj', heads), 'q_norm');
    const k = rotatedHeads(project('k_proj', kvHeads), 'k_norm');
    const v = project('v_proj', kvHeads);
    const attended = mergeHeads(tape, attend(n, { q, k, v, hidden }));
    const plus = (y: Tensor) => {
      const sum = add(tape, x, y);
      tape.release(x, y);
      return sum;
    };
    x = plus(linear(tape, attended, of('self_attn.o_proj')));
    const normed = rmsNorm(tape, x, of('post_attention_layernorm'), epsilon);
    const [gate, up] = [linear(tape, normed, of('mlp.gate_proj')), linear(tape, normed, of('mlp.up_proj'))];
    const gated = swiglu(tape, gate, up);
    tape.release(attended, normed, gate, up);
    x = plus(linear(tape, gated, of('mlp.down_proj')));
    tape.release(gated);
  }
  return x;
}

/** The weight called `name`. */
export function weightOf(weights: Weights, name: string): Tensor {
  const tensor = weights.get(name);
  if (!tensor) throw new ConfigError(`the model has no weight '${name}': load a folder whose config.json matches its weights`);
  return tensor;
}

/** Uploads a weight to an engine; a bias [M] becomes a table [1,M]. */
export function uploadWeight(engine: Engine, name: string, { data, shape }: NDArray): Tensor {
  return engine.tensor(data, name.endsWith('.bias') && shape.length === 1 ? [1, ...shape] : shape);
}

/** Uploads host weights to an engine. Weights that are already on it are passed on. */
export function uploadWeights(
  engine: Engine, weights: Iterable<readonly [string, NDArray | Tensor]>,
): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, each] of weights) out.set(name, 'kind' in each ? each : uploadWeight(engine, name, each));
  return out;
}
