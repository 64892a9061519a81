/** config.json of published models: what is read, and what is refused by the name of its field. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { ConfigError } from '../src/core/errors.ts';
import { expectedWeights, parseConfig, serializeConfig } from '../src/model/config/config.ts';
import { ignoredFields } from '../src/model/config/known-fields.ts';
import { rotaryFrequencies } from '../src/model/rotary.ts';
import { cases } from './support/thorough.ts';

const root = fileURLToPath(new URL('./fixtures/hf/models/', import.meta.url));
const fixture = (name: string): object => JSON.parse(readFileSync(`${root}${name}/config.json`, 'utf8')) as object;

const LLAMA_3 = {
  architectures: ['LlamaForCausalLM'], attention_bias: false, attention_dropout: 0, bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009], hidden_act: 'silu', hidden_size: 4096, initializer_range: 0.02,
  intermediate_size: 14336, max_position_embeddings: 131072, mlp_bias: false, model_type: 'llama',
  num_attention_heads: 32, num_hidden_layers: 32, num_key_value_heads: 8, pretraining_tp: 1, rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192, rope_type: 'llama3',
  },
  rope_theta: 500000, tie_word_embeddings: false, torch_dtype: 'bfloat16', transformers_version: '4.42.3',
  use_cache: true, vocab_size: 128256,
};
const MISTRAL = {
  architectures: ['MistralForCausalLM'], bos_token_id: 1, eos_token_id: 2, hidden_act: 'silu', hidden_size: 4096,
  initializer_range: 0.02, intermediate_size: 14336, max_position_embeddings: 32768, model_type: 'mistral',
  num_attention_heads: 32, num_hidden_layers: 32, num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 10000,
  sliding_window: 4096, tie_word_embeddings: false, torch_dtype: 'bfloat16', transformers_version: '4.34.0',
  use_cache: true, vocab_size: 32000,
};
const QWEN_2 = {
  architectures: ['Qwen2ForCausalLM'], attention_dropout: 0, bos_token_id: 151643, eos_token_id: 151645,
  hidden_act: 'silu', hidden_size: 896, initializer_range: 0.02, intermediate_size: 4864,
  max_position_embeddings: 32768, max_window_layers: 24, model_type: 'qwen2', num_attention_heads: 14,
  num_hidden_layers: 24, num_key_value_heads: 2, rms_norm_eps: 1e-6, rope_theta: 1e6, sliding_window: 32768,
  tie_word_embeddings: true, torch_dtype: 'bfloat16', transformers_version: '4.40.1', use_cache: true,
  use_sliding_window: false, vocab_size: 151936,
};

const QWEN_3 = {
  ...QWEN_2, architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3', head_dim: 128, attention_bias: false,
};

describe('a published config.json', () => {
  it('of Llama 3.1 has scaled rotary frequencies and several tokens that end a text', () => {
    const config = parseConfig(LLAMA_3);
    expect(config).toMatchObject({ modelType: 'llama', headDim: 128, kvHeads: 8, ropeTheta: 5e5, eosTokenId: 128001 });
    expect(config.eosTokenIds).toEqual([128001, 128008, 128009]);
    const [plain, scaled] = [parseConfig({ ...LLAMA_3, rope_scaling: null }), config].map(rotaryFrequencies);
    expect(scaled[0]).toBe(plain[0]); // the shortest wave
    expect(scaled[63]).toBe(plain[63] / 8); // the longest
    expect(scaled.every((x, n) => x <= plain[n] && x >= plain[n] / 8)).toBe(true);
  });

  it('of Mistral has a window, and none if the field is null', () => {
    expect(parseConfig(MISTRAL)).toMatchObject({ modelType: 'mistral', slidingWindow: 4096 });
    expect(parseConfig({ ...MISTRAL, sliding_window: null }).slidingWindow).toBeUndefined();
  });

  it('of Qwen2 has biases of queries, keys and values, and no window unless it is switched on', () => {
    const config = parseConfig(QWEN_2);
    expect(config.slidingWindow).toBeUndefined();
    const biases = [...expectedWeights(config)].filter(([name]) => name.endsWith('.bias'));
    expect(biases.length).toBe(3 * 24);
    expect(biases[1]).toEqual(['model.layers.0.self_attn.k_proj.bias', [128]]);
  });

  it('means the same after it was written and read again', () => {
    const all = [LLAMA_3, MISTRAL, QWEN_2, ...readdirSync(root).map(fixture)];
    for (const config of all.map(parseConfig)) expect(parseConfig(JSON.parse(serializeConfig(config)))).toEqual(config);
  });

  it('has its rotary scaling at the top or in rope_parameters', () => {
    const { rope_scaling: scaling, rope_theta, ...rest } = LLAMA_3;
    expect(parseConfig({ ...rest, rope_parameters: { ...scaling, rope_theta } })).toEqual(parseConfig(LLAMA_3));
    const { rope_type, ...old } = scaling;
    expect(parseConfig({ ...LLAMA_3, rope_scaling: { ...old, type: rope_type } })).toEqual(parseConfig(LLAMA_3));
  });

  it('rounds the boundaries of YaRN unless truncate is false, or null, which means false in transformers', () => {
    const truncates = (more: object): unknown => {
      const scaling = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32768, ...more };
      const { ropeScaling } = parseConfig({ ...QWEN_2, rope_scaling: scaling });
      return ropeScaling?.kind === 'yarn' && ropeScaling.truncate;
    };
    const all = [{}, { truncate: true }, { truncate: false }, { truncate: null }];
    expect(all.map(truncates)).toEqual([true, true, false, false]);
  });

  it('may lack the token that starts a text, the one that ends it, or both', () => {
    expect(parseConfig({ ...QWEN_2, bos_token_id: null })).toMatchObject({ bosTokenId: 151645, eosTokenId: 151645 });
    const endless = parseConfig({ ...MISTRAL, eos_token_id: null });
    expect(endless).toMatchObject({ bosTokenId: 1, eosTokenId: 1, eosTokenIds: [] });
    const neither = { ...MISTRAL, bos_token_id: null, eos_token_id: null };
    expect(parseConfig(neither)).toMatchObject({ bosTokenId: -1, eosTokenId: -1, eosTokenIds: [] });
    const again = parseConfig(JSON.parse(serializeConfig(parseConfig(neither))));
    expect(again).toMatchObject({ bosTokenId: -1, eosTokenId: -1, eosTokenIds: [] });
  });

  it.each<[string, object, object]>([
    ['is_llama_config', LLAMA_3, { is_llama_config: true }],
    ['rope_interleaved', LLAMA_3, { rope_interleaved: false }],
    ['use_mrope', QWEN_2, { use_mrope: false }],
    ['transformers.js_config', MISTRAL, { 'transformers.js_config': { dtype: 'q4', use_external_data_format: true } }],
    ['pretraining_tp', LLAMA_3, { pretraining_tp: 2 }],
    ['attention_bias', QWEN_2, { attention_bias: false }],
    ['attention_bias', MISTRAL, { attention_bias: true }],
    ['mlp_bias', QWEN_2, { mlp_bias: true }],
    ['use_sliding_window', QWEN_2, { use_sliding_window: true }], // from layer 24 on, of 24
    ['sliding_window', QWEN_2, { sliding_window: 16 }],
    ['sliding_window', LLAMA_3, { sliding_window: null }],
    ['sliding_window', LLAMA_3, { sliding_window: 131072 }],
    ['layer_types', LLAMA_3, { layer_types: new Array<string>(32).fill('full_attention') }],
    ['hidden_act', LLAMA_3, { hidden_act: null }],
    ['head_dim', LLAMA_3, { head_dim: null }],
    ['num_key_value_heads', { ...LLAMA_3, num_key_value_heads: 32 }, { num_key_value_heads: null }],
    ['rope_scaling', MISTRAL, { rope_scaling: null, rope_parameters: {} }],
    ['quantization_config', LLAMA_3, { quantization_config: null }],
    ['auto_map', LLAMA_3, { auto_map: { AutoTokenizer: ['tokenization_x.Tokenizer', null], AutoConfig: 'x.Config' } }],
    ['is_decoder', LLAMA_3, { is_decoder: true, tie_encoder_decoder: true, cross_attention_hidden_size: 3 }],
    ['pad_token_id', LLAMA_3, { pad_token_id: -1 }],
    ['eos_token_id', LLAMA_3, { eos_token_id: [128001, 128008, 128009, 999999] }],
    ['residual_multiplier', LLAMA_3, { residual_multiplier: 1, logits_scaling: 1.0, clip_qkv: null, no_rope_layers: [] }],
    ['dual_chunk_attention_config', QWEN_2, { dual_chunk_attention_config: { chunk_size: 262144 } }],
    ['dtype', LLAMA_3, { dtype: 'float16', torch_dtype: null }],
    ['a name of Object', LLAMA_3, { toString: 1, constructor: 2, hasOwnProperty: 3 }],
  ])('means the same with %s at a value that changes nothing', (_, base, change) => {
    expect(parseConfig({ ...base, ...change })).toEqual(parseConfig(base));
  });

  it('has a window on every layer if Qwen\'s fields say so', () => {
    const all = { ...QWEN_2, use_sliding_window: true, sliding_window: 512, max_window_layers: 0 };
    expect(parseConfig(all).slidingWindow).toBe(512);
    const { max_window_layers: _, ...rest } = all;
    const types = new Array<string>(24).fill('sliding_attention');
    expect(parseConfig({ ...rest, layer_types: types }).slidingWindow).toBe(512);
    expect(parseConfig({ ...all, layer_types: types.map(() => 'full_attention') }).slidingWindow).toBeUndefined();
    expect(parseConfig(JSON.parse(serializeConfig(parseConfig(all))))).toEqual(parseConfig(all));
  });

  it('has its unknown fields listed, and not its known ones', () => {
    expect(ignoredFields(LLAMA_3)).toEqual([]);
    expect(ignoredFields({ ...QWEN_2, use_mrope: false, my_note: 'x', 'transformers.js_config': {} })).toEqual(['my_note']);
  });

  it.each<[string, object, object]>([
    ['rope_theta', LLAMA_3, { rope_theta: undefined, rope_theata: 1e6 }],
    ['rope_theta', LLAMA_3, { rope_theta: undefined, ropeTheta: 1e6 }],
    ['rope_theta', LLAMA_3, { rope_theta: undefined, rotary_emb_base: 1e6 }],
    ['rms_norm_eps', LLAMA_3, { rms_norm_eps: undefined, rms_norm_epsilon: 1e-5 }],
    ['rms_norm_eps', LLAMA_3, { rms_norm_eps: undefined, rms_norn_eps: 1e-5 }],
    ['sliding_window', MISTRAL, { sliding_window: undefined, sliding_windows: 16 }],
    ['tie_word_embeddings', QWEN_2, { tie_word_embeddings: undefined, tie_word_embedding: true }],
    ['rope_scaling', LLAMA_3, { rope_scaling: undefined, rope_scalling: { type: 'linear', factor: 2 } }],
  ])('is refused if the name of %s is misspelt', (field, base, change) => {
    const json = JSON.parse(JSON.stringify({ ...base, ...change })) as object;
    expect(() => parseConfig(json)).toThrow(new RegExp(`^config.json: [^\\n]+ did you mean ${field}\\?$`));
    expect(parseConfig({ ...json, ...base })).toEqual(parseConfig(base)); // accepted, since both fields are present
  });

  it.each<[string, object, object]>([
    ['model_type', LLAMA_3, { model_type: 'gemma' }],
    ['architectures', LLAMA_3, { architectures: ['LlamaForSequenceClassification'] }],
    ['architectures', MISTRAL, { architectures: ['LlamaForCausalLM'] }],
    ['hidden_act', LLAMA_3, { hidden_act: 'gelu' }],
    ['attention_bias', LLAMA_3, { attention_bias: true }],
    ['mlp_bias', LLAMA_3, { mlp_bias: true }],
    ['quantization_config', LLAMA_3, { quantization_config: { quant_method: 'gptq' } }],
    ['partial_rotary_factor', LLAMA_3, { partial_rotary_factor: 0.5 }],
    ['rope_parameters.partial_rotary_factor', MISTRAL, { rope_parameters: { partial_rotary_factor: 0.5 } }],
    ['auto_map', LLAMA_3, { auto_map: { AutoConfig: 'x.Config', AutoModelForCausalLM: 'modeling.Other' } }],
    ['use_mrope', QWEN_2, { use_mrope: true }],
    ['rope_interleaved', LLAMA_3, { rope_interleaved: true }],
    ['no_rope_layers', LLAMA_3, { no_rope_layers: [1, 1, 0] }],
    ['transformers_weights', LLAMA_3, { transformers_weights: 'other.safetensors' }],
    ['attention_bias', QWEN_3, { attention_bias: true }],
    ['is_encoder_decoder', LLAMA_3, { is_encoder_decoder: true }],
    ['pruned_heads', LLAMA_3, { pruned_heads: { 0: [1] } }],
    ['sliding_window', LLAMA_3, { sliding_window: 4096 }],
    ['sliding_window', MISTRAL, { sliding_window: 0 }],
    ['max_window_layers', QWEN_2, { use_sliding_window: true, max_window_layers: 12 }],
    ['layer_types', QWEN_2, { use_sliding_window: true, layer_types: ['full_attention', 'sliding_attention'] }],
    ['layer_types', QWEN_2, { layer_types: new Array<string>(24).fill('sliding_attention') }],
    ['layer_types', MISTRAL, { layer_types: new Array<string>(32).fill('full_attention') }],
    ['layer_types', LLAMA_3, { layer_types: ['full_attention'] }],
    ['rope_scaling.type', LLAMA_3, { rope_scaling: { type: 'dynamic', factor: 2 } }],
    ['rope_scaling.rope_type', LLAMA_3, { rope_scaling: { rope_type: 'longrope', factor: 4 } }],
    ['rope_scaling.type', LLAMA_3, { rope_scaling: { rope_type: 'linear', type: 'yarn', factor: 4 } }],
    ['rope_scaling.factor', LLAMA_3, { rope_scaling: { type: 'linear' } }],
    ['rope_scaling.mscale', LLAMA_3, { rope_scaling: { type: 'linear', factor: 2, mscale: 0.7 } }],
    ['rope_scaling.beta_fats', LLAMA_3, { rope_scaling: { type: 'yarn', factor: 2, beta_fats: 16 } }],
    ['rope_parameters.rope_theta', LLAMA_3, { rope_parameters: { rope_theta: 10000 } }],
    ['original_max_position_embeddings', LLAMA_3, { original_max_position_embeddings: 4096 }],
    ['per_layer_config', LLAMA_3, { per_layer_config: { 3: { intermediate_size: 7 } } }],
    ['rope_scaling.factor', LLAMA_3, { rope_scaling: { ...LLAMA_3.rope_scaling, factor: 0.5 } }],
    ['rope_theta', LLAMA_3, { rope_theta: 5e-324 }],
    ['rope_theta', QWEN_2, { rope_parameters: { rope_type: 'default', rope_theta: 1e-31 } }],
    ['high_freq_factor', LLAMA_3, { rope_scaling: { ...LLAMA_3.rope_scaling, high_freq_factor: 1 } }],
    ['attention_factor', LLAMA_3, { rope_scaling: { ...LLAMA_3.rope_scaling, attention_factor: 2 } }],
    ['rope_parameters', LLAMA_3, { rope_parameters: { rope_type: 'default' } }],
    ['residual_multiplier', LLAMA_3, { residual_multiplier: 0.2 }],
    ['num_local_experts', MISTRAL, { num_local_experts: 8 }],
  ])('is refused by the name of %s', (field, base, change) => {
    expect(() => parseConfig({ ...base, ...change })).toThrow(ConfigError);
    expect(() => parseConfig({ ...base, ...change })).toThrow(new RegExp(`^[^\\n]*${field.replace('.', '\\.')}[^\\n]*$`));
  });
});

test('parseConfig() gives a config or a ConfigError of one line, whatever the fields hold', () => {
  const fields = Object.keys({ ...LLAMA_3, ...MISTRAL, ...QWEN_3, ...LLAMA_3.rope_scaling });
  const more = ['rope_parameters', 'layer_types', 'auto_map', 'quantization_config', 'pruned_heads', 'nats', 'type',
    'beta_fast', 'beta_slow', 'attention_factor', 'mscale', 'mscale_all_dim', 'truncate', 'no_rope_layers', '__proto__'];
  const name = fc.constantFrom(...fields, ...more);
  const likely = fc.constantFrom<unknown>(0, 1, -1, 2, 0.5, 1e308, '', 'silu', 'yarn', 'linear', 'llama3', [], {}, [null]);
  const value = fc.oneof(likely, fc.dictionary(name, likely, { maxKeys: 4 }), fc.jsonValue());
  const base = fc.constantFrom<object>(LLAMA_3, MISTRAL, QWEN_2, QWEN_3);
  fc.assert(fc.property(base, fc.array(fc.tuple(name, value), { maxLength: 3 }), (json, changes) => {
    try {
      const config = parseConfig(JSON.parse(JSON.stringify({ ...json, ...Object.fromEntries(changes) })));
      expect(rotaryFrequencies(config).every(Number.isFinite)).toBe(true);
      expect(parseConfig(JSON.parse(serializeConfig(config)))).toEqual(config);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      expect(error.message).toMatch(/^config\.json[^\n]+$/);
    }
  }), { numRuns: cases(400, 20_000) });
});

describe('the second window in config.json', () => {
  const learned = { ...LLAMA_3, nats: { policy: 'nats', window: 16, local_window: 128 } };

  it('is read, written under its name and absent if it was', () => {
    const config = parseConfig(learned);
    expect(config.nats).toMatchObject({ window: 16, localWindow: 128 });
    const written = JSON.parse(serializeConfig(config)) as { nats: object };
    expect(written.nats).toMatchObject({ local_window: 128 });
    expect(written.nats).not.toHaveProperty('localWindow');
    expect(parseConfig(written)).toEqual(config);
    const without = parseConfig({ ...LLAMA_3, nats: { policy: 'nats', window: 16, local_window: null } });
    expect(without.nats).not.toHaveProperty('localWindow');
    expect(serializeConfig(without)).not.toContain('local_window');
  });

  it.each<[object, RegExp]>([
    [{ local_window: -1 }, /nats\.local_window is -1: it must be a whole number from 0/],
    [{ local_window: 1.5 }, /nats\.local_window is 1\.5/],
    [{ policy: 'window:16', window: undefined }, /nats\.local_window is for learned types, but nats\.policy is "window:16"/],
    [{ localWindow: 4 }, /nats has an unknown field "localWindow": its fields are policy, window, local_window/],
  ])('is refused as %j', (change, message) => {
    const refused = () => parseConfig({ ...learned, nats: { ...learned.nats, ...change } });
    expect(refused).toThrow(ConfigError);
    expect(refused).toThrow(message);
  });
});

describe('the fields that configurations have in transformers', () => {
  const field = fileURLToPath(new URL('./field/config-fields.json', import.meta.url));
  const versions = JSON.parse(readFileSync(field, 'utf8')) as Record<string, Record<string, string[]>>;
  const table = readFileSync(new URL('../docs/models.md', import.meta.url), 'utf8');
  const rows = Object.entries(versions).flatMap(([version, each]) => {
    return Object.entries(each).map(([model, names]) => [version, model, names] as const);
  });

  it.each(rows)('version %s, %s, are all known, and in the table of docs/models.md', (_version, _model, names) => {
    expect(names.length).toBeGreaterThan(15);
    expect(ignoredFields(Object.fromEntries(names.map((name) => [name, null])))).toEqual([]);
    for (const name of names) expect(table).toContain(`\`${name}\``);
  });
});
