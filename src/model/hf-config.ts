/**
 * The architectures that are read from Hugging Face folders, and what their config.json may say: every field
 * that changes the computation is honoured or refused by name, fields known to change nothing are skipped,
 * and a field that nobody here knows is refused too.
 * @module
 */
import { ConfigError } from '../errors.ts';
import { type Fields, shown } from './config-fields.ts';

/** Architectures by Hugging Face's `model_type`. */
export const ARCHITECTURES = {
  llama: 'LlamaForCausalLM', mistral: 'MistralForCausalLM', qwen2: 'Qwen2ForCausalLM',
} as const;
/** `model_type` of config.json. */
export type ModelType = keyof typeof ARCHITECTURES;

/** Scaling of rotary frequencies as of Llama 3.1: long waves slower by `factor`, short ones as they were. */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  /** Tokens of context before the scaling. */
  readonly originalMaxPositions: number;
}

/** Read and used by parseConfig, or checked below. */
const READ = [
  'model_type', 'architectures', 'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers',
  'num_attention_heads', 'num_key_value_heads', 'head_dim', 'max_position_embeddings', 'rms_norm_eps',
  'rope_theta', 'rope_scaling', 'rope_parameters', 'tie_word_embeddings', 'bos_token_id', 'eos_token_id', 'nats',
  'hidden_act', 'attention_bias', 'mlp_bias', 'sliding_window', 'use_sliding_window', 'layer_types',
  'quantization_config', 'partial_rotary_factor', 'pretraining_tp', 'is_encoder_decoder', 'is_decoder',
  'add_cross_attention', 'pruned_heads', 'auto_map', 'tie_encoder_decoder',
];

/** Bookkeeping, training and generation: nothing that a forward pass computes depends on these. */
const HARMLESS = [
  '_name_or_path', 'name_or_path', 'transformers_version', 'torch_dtype', 'dtype', 'initializer_range', 'use_cache',
  'attention_dropout', 'hidden_dropout', 'pad_token_id', 'unk_token_id', 'sep_token_id', 'decoder_start_token_id',
  'max_window_layers', // read only where use_sliding_window is true, which is refused
  'gradient_checkpointing', '_attn_implementation', '_attn_implementation_autoset', 'attn_implementation',
  'id2label', 'label2id', 'num_labels', 'problem_type', 'finetuning_task', 'task_specific_params', 'tokenizer_class',
  'return_dict', 'output_attentions', 'output_hidden_states', 'torchscript', 'use_bfloat16', 'tf_legacy_loss',
  'chunk_size_feed_forward', 'prefix', 'remove_invalid_values', 'exponential_decay_length_penalty', 'max_length',
  'min_length', 'do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty', 'temperature',
  'top_k', 'top_p', 'typical_p', 'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size',
  'encoder_no_repeat_ngram_size', 'bad_words_ids', 'num_return_sequences', 'output_scores',
  'return_dict_in_generate', 'forced_bos_token_id', 'forced_eos_token_id', 'suppress_tokens', 'begin_suppress_tokens',
  'cross_attention_hidden_size', 'model_max_length', 'unsloth_fixed', 'unsloth_version',
];

const absent = (value: unknown): boolean => value === null;
const isNot = (wanted: unknown) => (value: unknown): boolean => value !== null && value !== wanted;

/** `model_type`, once everything that no model here computes is refused. */
export function parseArchitecture(fields: Fields): ModelType {
  const names = Object.keys(ARCHITECTURES);
  const type = fields.text('model_type', 'llama') as ModelType;
  fields.refuse('model_type', (x) => !names.includes(x as string), `only ${names.join(', ')} are supported`);
  fields.refuse('architectures', (x) => !absent(x) && !(Array.isArray(x) && x.includes(ARCHITECTURES[type])),
    `a model of type ${type} must be a ${ARCHITECTURES[type]}`);
  fields.refuse('hidden_act', (x) => x !== 'silu', 'only "silu" is supported');
  const bias = type === 'qwen2'; // of q, k and v, whatever the config says
  fields.refuse('attention_bias', isNot(bias), bias ? 'Qwen2 always has it' : 'projections with bias are not supported');
  fields.refuse('mlp_bias', isNot(false), 'projections with bias are not supported');
  fields.refuse('quantization_config', (x) => !absent(x), 'quantised weights are not supported, take the BF16 or F16 ones');
  fields.refuse('partial_rotary_factor', isNot(1), 'only whole heads are rotated');
  fields.refuse('pretraining_tp', isNot(1), 'only 1 is supported');
  fields.refuse('auto_map', (x) => !absent(x), 'code that comes with a model is not run');
  for (const name of ['is_encoder_decoder', 'add_cross_attention', 'tie_encoder_decoder']) {
    fields.refuse(name, isNot(false), 'only decoders are supported');
  }
  fields.refuse('is_decoder', (x) => x !== null && typeof x !== 'boolean', 'it must be true or false');
  fields.refuse('pruned_heads', (x) => Object.keys(x ?? {}).length > 0, 'pruned heads are not supported');
  return type;
}

/** Refuses fields that might change what is computed, for all that is known here. */
export function refuseUnknownFields(fields: Fields): void {
  const unknown = fields.unknown([...READ, ...HARMLESS]);
  if (unknown === undefined) return;
  throw new ConfigError(`config.json: ${shown(unknown)} is not known: it may change what the model computes; take it out if it does not`);
}

/** How many tokens a query sees, its own counted; nothing if all of them. */
export function parseSlidingWindow(fields: Fields, type: ModelType, layers: number): { slidingWindow?: number } {
  fields.refuse('use_sliding_window', isNot(false), 'a window on some of the layers is not supported');
  if (type === 'llama') fields.refuse('sliding_window', (x) => !absent(x), 'Llama has none, the model_type may be wrong');
  const window = type === 'mistral' && fields.has('sliding_window') ? fields.whole('sliding_window', 1) : null;
  const wanted = window === null ? 'full_attention' : 'sliding_attention';
  fields.refuse('layer_types', (x) => !absent(x) &&
    !(Array.isArray(x) && x.length === layers && x.every((kind) => kind === wanted)),
  `with sliding_window ${window} it must be "${wanted}" for each of the ${layers} layers`);
  return window === null ? {} : { slidingWindow: window };
}

/** `rope_theta` and `rope_scaling`, or `rope_parameters` where newer files keep both. */
export function parseRope(fields: Fields): { ropeTheta: number; ropeScaling?: RopeScaling } {
  const [newer, older] = [fields.object('rope_parameters'), fields.object('rope_scaling')];
  if (newer && older && newer.json() !== older.json()) {
    throw new ConfigError('config.json: rope_parameters and rope_scaling are both there: keep the one that the model was trained with');
  }
  const source = newer?.has('rope_theta') || older?.has('rope_theta') ? (newer ?? older)! : fields;
  const ropeTheta = source.positive('rope_theta', 10000);
  const rope = newer ?? older;
  const type = rope?.has('rope_type') ? rope.text('rope_type', 'default') : rope?.text('type', 'default') ?? 'default';
  const kinds = ['default', 'llama3'];
  for (const name of ['rope_type', 'type']) {
    rope?.refuse(name, (x) => !kinds.includes(x as string) || x !== type, 'only default and llama3 are supported');
  }
  rope?.refuse('partial_rotary_factor', isNot(1), 'only whole heads are rotated');
  const common = ['rope_type', 'type', 'rope_theta', 'partial_rotary_factor'];
  if (!rope || type === 'default') {
    rope?.only(common);
    return { ropeTheta };
  }
  rope.only([...common, 'factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings']);
  const ropeScaling = {
    factor: rope.number('factor', 1),
    lowFreqFactor: rope.positive('low_freq_factor'),
    highFreqFactor: rope.positive('high_freq_factor'),
    originalMaxPositions: rope.whole('original_max_position_embeddings', 1),
  };
  if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
    const { highFreqFactor: high, lowFreqFactor: low } = ropeScaling;
    throw new ConfigError(`config.json: high_freq_factor (${high}) must be above low_freq_factor (${low})`);
  }
  return { ropeTheta, ropeScaling };
}

/** Tokens that start and end texts; ids may be null, and those that end a list. */
export function parseSpecials(
  fields: Fields, type: ModelType, vocabSize: number,
): { bosTokenId: number; eosTokenId: number; eosTokenIds?: readonly number[] } {
  const [bos, eos] = type === 'qwen2' ? [null, null] : [1, 2]; // what Hugging Face takes where the field is absent
  const starts = fields.tokens('bos_token_id', bos, vocabSize);
  const eosTokenIds = fields.tokens('eos_token_id', eos, vocabSize);
  if (starts.length > 1) throw new ConfigError(`config.json: bos_token_id is [${starts}]: it must be one token`);
  // A model without the one starts a text with the other, which is what stood before it in training.
  const [bosTokenId, eosTokenId] = [starts[0] ?? eosTokenIds[0], eosTokenIds[0] ?? starts[0]];
  if (bosTokenId === undefined || eosTokenId === undefined) {
    throw new ConfigError('config.json: bos_token_id and eos_token_id are both missing: a text needs a token to start with');
  }
  return { bosTokenId, eosTokenId, ...(eosTokenIds.length !== 1 && { eosTokenIds }) };
}
