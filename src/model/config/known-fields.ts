/**
 * The fields of config.json by what they do here: they are read, have no effect, or belong to other architectures.
 * Fields in none of the lists have no effect, since transformers does not read them for the models supported here.
 * @module
 */
import { Fields } from './config-fields.ts';

/** Used by parseConfig, which refuses some of their values. */
const READ: readonly string[] = [
  'model_type', 'architectures', 'vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers',
  'num_attention_heads', 'num_key_value_heads', 'head_dim', 'max_position_embeddings', 'rms_norm_eps',
  'rope_theta', 'rope_scaling', 'rope_parameters', 'original_max_position_embeddings', 'tie_word_embeddings',
  'bos_token_id', 'eos_token_id', 'nats', 'hidden_act', 'attention_bias', 'mlp_bias', 'sliding_window',
  'use_sliding_window', 'max_window_layers', 'layer_types', 'quantization_config', 'partial_rotary_factor',
  'is_encoder_decoder', 'add_cross_attention', 'pruned_heads', 'auto_map', 'per_layer_config', 'transformers_weights',
];

/** Fields for bookkeeping, training and generation, on which no forward pass depends. */
const HARMLESS: readonly string[] = [
  '_name_or_path', 'name_or_path', '_commit_hash', 'transformers_version', 'transformers.js_config', 'torch_dtype',
  'dtype', 'initializer_range', 'use_cache', 'attention_dropout', 'hidden_dropout', 'pad_token_id', 'unk_token_id',
  'sep_token_id', 'decoder_start_token_id', 'is_decoder', 'tie_encoder_decoder', 'cross_attention_hidden_size',
  'pretraining_tp', // splits sums when training across devices; transformers no longer reads it
  'gradient_checkpointing', '_attn_implementation', '_attn_implementation_autoset', 'attn_implementation',
  '_flash_attn_2_enabled', 'unsloth_fixed', 'unsloth_version', 'id2label', 'label2id', 'num_labels', 'problem_type', 'finetuning_task',
  'task_specific_params', 'tokenizer_class', 'return_dict', 'output_attentions', 'output_hidden_states', 'torchscript',
  'use_bfloat16', 'tf_legacy_loss', 'chunk_size_feed_forward', 'prefix', 'remove_invalid_values', 'model_max_length',
  'exponential_decay_length_penalty', 'max_length', 'min_length', 'do_sample', 'early_stopping', 'num_beams',
  'num_beam_groups', 'diversity_penalty', 'temperature', 'top_k', 'top_p', 'typical_p', 'repetition_penalty',
  'length_penalty', 'no_repeat_ngram_size', 'encoder_no_repeat_ngram_size', 'bad_words_ids', 'num_return_sequences',
  'output_scores', 'return_dict_in_generate', 'forced_bos_token_id', 'forced_eos_token_id', 'suppress_tokens',
  'begin_suppress_tokens', 'epsilon_cutoff', 'eta_cutoff', 'encoder_repetition_penalty', 'num_assistant_tokens',
  'num_assistant_tokens_schedule', 'assistant_confidence_threshold', 'assistant_lookbehind', 'target_lookbehind',
];

/**
 * Fields by which other architectures compute something else, with the number that has no effect. transformers does not
 * read them for the models supported here, but any other value means that another model was intended.
 */
const ELSEWHERE: ReadonlyMap<string, number> = new Map([
  ...[
    'attention_multiplier', 'embedding_multiplier', 'residual_multiplier', 'logits_scaling', 'logit_scale',
    'key_multiplier', 'lm_head_multiplier', 'attention_in_multiplier', 'attention_out_multiplier', 'mlp_multipliers',
    'scale_emb', 'embedding_scale', 'attn_scale', 'rotary_pct', 'rotary_percent', 'rope_ratio',
  ].map((name) => [name, 1] as const),
  ...[
    'attn_logit_softcapping', 'final_logit_softcapping', 'logits_soft_cap', 'query_pre_attn_scalar', 'clip_qkv',
    'attention_chunk_size', 'num_local_experts', 'num_experts', 'n_routed_experts', 'dim_model_base', 'scale_depth',
    'use_mrope', 'rope_interleaved', 'use_qk_norm', 'qk_norm', 'qk_layernorm', 'use_parallel_residual', 'parallel_attn', 'alibi', 'use_alibi',
    'attn_temperature_tuning', 'scale_embedding', 'no_rope_layers', 'no_rope_layer_interval', 'use_post_norm',
  ].map((name) => [name, 0] as const),
]);

/** Fields that a config may lack, although they change results. Misspelt ones must not go unnoticed. */
const OPTIONAL: readonly string[] = [
  'num_key_value_heads', 'head_dim', 'rms_norm_eps', 'rope_theta', 'rope_scaling', 'rope_parameters', 'hidden_act',
  'original_max_position_embeddings', 'partial_rotary_factor', 'tie_word_embeddings', 'attention_bias', 'mlp_bias',
  'sliding_window', 'use_sliding_window', 'max_window_layers', 'layer_types', 'model_type',
];

/** Names that other programs give to a field. */
const ALIASES: Readonly<Record<string, string>> = {
  norm_eps: 'rms_norm_eps', layer_norm_eps: 'rms_norm_eps', layer_norm_epsilon: 'rms_norm_eps',
  rms_norm_epsilon: 'rms_norm_eps', layernorm_epsilon: 'rms_norm_eps', rotary_emb_base: 'rope_theta',
  rotary_base: 'rope_theta', rope_base: 'rope_theta', rope_freq_base: 'rope_theta', hidden_activation: 'hidden_act',
};

/** Whether a value has no more effect than an absent field. */
function saysNothing(value: unknown, neutral: number): boolean {
  if (Array.isArray(value)) return value.every((each) => saysNothing(each, neutral));
  if (typeof value === 'object') return value === null || Object.keys(value).length === 0;
  return value === false || value === neutral;
}

/** Refuses fields that belong to another architecture, or whose names resemble that of a missing field. */
export function refuseForeignFields(fields: Fields): void {
  for (const [name, neutral] of ELSEWHERE) {
    fields.refuse(name, (x) => !saysNothing(x, neutral), 'the architecture has no such field, so the model_type may be wrong');
  }
  for (const [name, meant] of Object.entries(ALIASES)) {
    if (!fields.has(meant)) fields.refuse(name, (x) => x !== null, `it has no effect, did you mean ${meant}?`);
  }
  fields.refuseMisspelt(OPTIONAL, [...READ, ...HARMLESS, ...ELSEWHERE.keys()]);
}

/** Whether a field of config.json affects what is computed, or is refused. */
export function hasEffect(name: string): boolean {
  return READ.includes(name) || ELSEWHERE.has(name) || Object.hasOwn(ALIASES, name);
}

/** The fields that are unknown here. They have no effect, as transformers does not read them for these models. */
export function ignoredFields(json: unknown): string[] {
  const known = [...READ, ...HARMLESS, ...ELSEWHERE.keys(), ...Object.keys(ALIASES)];
  return new Fields('config.json', json).names().filter((name) => !known.includes(name));
}
