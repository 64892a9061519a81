/**
 * The decoder of Llama, Mistral, Qwen2 and Qwen3, written once for training and inference, which differ only in how the
 * attention of a layer is computed.
 * @module
 */
import { type Changes, composedForms, formsOn } from '../core/composed-forms.ts';
import type { Cache, Engine, Tensor } from '../core/engine.ts';
import { ConfigError } from '../core/errors.ts';
import type { DecoderLayer, Drawing, LayersMade, Norm, Projected, Projection } from '../core/forms.ts';
import type { Tape } from '../core/tape.ts';
import type { NDArray } from '../core/tensor.ts';
import { architectureOf } from './arch/index.ts';
import type { ModelConfig } from './config/config.ts';
import { embedding, rmsNorm } from '../core/layers.ts';
import { EMBEDDING, HEAD, scorerName } from './config/names.ts';
import { rotaryAngles, rotaryTables } from './rotary.ts';

/** Weights on an engine, by Hugging Face's names. */
export type Weights = ReadonlyMap<string, Tensor>;

/** The inputs of a layer's attention, and its normed input. */
export type LayerInputs = Projected;

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
  return headLogits(tape, config, weights, layerStates(tape, config, weights, ids, positions, attend));
}

/** Logits [...,V] of hidden states [...,D] that all layers have been through: the last norm and the head. */
export function headLogits(tape: Tape, config: ModelConfig, weights: Weights, x: Tensor): Tensor {
  return formsOn(tape).logits(x, lastNorm(config, weights), headOf(config, weights));
}

/** The tokens [...] with the largest logits of such hidden states [...,D]; -1 where a logit is NaN or infinite. */
export function nextToken(tape: Tape, config: ModelConfig, weights: Weights, x: Tensor): Tensor {
  return formsOn(tape).nextToken(x, lastNorm(config, weights), headOf(config, weights));
}

/**
 * The tokens [...] that an engine with this form draws after such hidden states; -1 where a logit is NaN or
 * infinite.
 */
export function drawnToken(tape: Tape, config: ModelConfig, weights: Weights, x: Tensor, drawing: Drawing): Tensor {
  return formsOn(tape).drawnToken!(x, lastNorm(config, weights), headOf(config, weights), drawing);
}

/** The final hidden states [B,N,D] after the last norm, which the language model head reads. */
export function hiddenStates(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>, attend: Attend,
  changes?: Changes,
): Tensor {
  const { weight, epsilon } = lastNorm(config, weights);
  return rmsNorm(tape, layerStates(tape, config, weights, ids, positions, attend, changes), weight, epsilon);
}

function headOf({ tieWordEmbeddings }: ModelConfig, weights: Weights): Tensor {
  return weightOf(weights, tieWordEmbeddings ? EMBEDDING : HEAD);
}

function lastNorm({ rmsNormEpsilon: epsilon }: ModelConfig, weights: Weights): Norm {
  return { weight: weightOf(weights, 'model.norm.weight'), epsilon };
}

/**
 * The hidden states [B,N,D] after the last layer, before the last norm.
 *
 * @param changes Changes of projections that are not merged into the weights.
 */
export function layerStates(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>, attend: Attend,
  changes?: Changes,
): Tensor {
  const [B, N] = ids.shape as [number, number];
  const { cos, sin } = rotaryTables(tape, config, positions, B, N);
  const forms = changes ? composedForms(tape, changes) : formsOn(tape);
  let x = embedding(tape, weightOf(weights, EMBEDDING), ids);
  for (const [n, { attention, feedForward, output }] of layersOf(config, weights).entries()) {
    const inputs = forms.project({ x, ...attention, cos, sin });
    const attended = forms.output(x, attend(n, inputs), output);
    tape.release(x);
    x = forms.feedForward({ x: attended, ...feedForward });
    tape.release(attended);
  }
  return x;
}

/**
 * The same for one token of each sequence, in one call of the engine with a step of every cache. The types [B,G] are
 * those that the host knows, or each layer's scorer gives them. Undefined where the engine has no such form, or does
 * not take it here.
 */
export function layersAtOnce(
  tape: Tape, config: ModelConfig, weights: Weights, ids: Tensor, positions: ArrayLike<number>,
  { caches, types }: { readonly caches: readonly Cache[]; readonly types: ArrayLike<number> | undefined },
): LayersMade | undefined {
  if (!tape.engine.forms?.layers) return undefined;
  const { cos, sin } = rotaryAngles(config, positions);
  return formsOn(tape).layers!({
    ids, embedding: weightOf(weights, EMBEDDING), layers: layersOf(config, weights), caches, cos, sin, types,
    scale: 1 / Math.sqrt(config.headDim),
  });
}

/** The layers of models whose weights do not change: to look them up anew for each token takes long. */
const layers = new WeakMap<Weights, { readonly config: ModelConfig; readonly layers: readonly DecoderLayer[] }>();

function layersOf(config: ModelConfig, weights: Weights): readonly DecoderLayer[] {
  const known = layers.get(weights);
  if (known?.config === config) return known.layers;
  const found = Array.from({ length: config.layers }, (_, n) => layerOf(config, weights, n));
  layers.set(weights, { config, layers: found });
  return found;
}

function layerOf(config: ModelConfig, weights: Weights, n: number): DecoderLayer {
  const { heads, kvHeads, rmsNormEpsilon: epsilon } = config;
  const { projectionBias, headNorm } = architectureOf(config);
  const of = (name: string) => weightOf(weights, `model.layers.${n}.${name}`);
  const norm = (name: string): Norm => ({ weight: of(`${name}.weight`), epsilon });
  const scorer = weights.get(scorerName(n));
  const projection = (letter: 'q' | 'k' | 'v', into: number): Projection => ({
    heads: into,
    weight: of(`self_attn.${letter}_proj.weight`),
    ...(projectionBias && { bias: of(`self_attn.${letter}_proj.bias`) }),
    ...(headNorm && letter !== 'v' && { norm: norm(`self_attn.${letter}_norm`) }),
  });
  return {
    attention: {
      norm: norm('input_layernorm'),
      q: projection('q', heads), k: projection('k', kvHeads), v: projection('v', kvHeads),
    },
    output: of('self_attn.o_proj.weight'),
    feedForward: {
      norm: norm('post_attention_layernorm'),
      gate: of('mlp.gate_proj.weight'), up: of('mlp.up_proj.weight'), down: of('mlp.down_proj.weight'),
    },
    ...(scorer && { scorer }),
  };
}

/** The weight called `name`. */
export function weightOf(weights: Weights, name: string): Tensor {
  const tensor = weights.get(name);
  if (!tensor) throw new ConfigError(`the model has no weight '${name}': load a folder whose config.json matches its weights`);
  return tensor;
}

/** Uploads a weight to an engine. */
export function uploadWeight(engine: Engine, { data, shape }: NDArray): Tensor {
  return engine.tensor(data, shape);
}

/** Uploads host weights to an engine. Weights that are already on it are passed on. */
export function uploadWeights(
  engine: Engine, weights: Iterable<readonly [string, NDArray | Tensor]>,
): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, each] of weights) out.set(name, 'kind' in each ? each : uploadWeight(engine, each));
  return out;
}
