/** generation_config.json in the style of published ones: what it sets, and what takes precedence over it. */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, FileFormatError } from '../src/core/errors.ts';
import { loadModel } from '../src/load.ts';
import { fillOptions } from '../src/model/generate/generate-options.ts';
import { parseGenerationConfig } from '../src/model/config/generation-config.ts';
import { tinyModel } from './support/tiny-model.ts';

const NONE = { unsupported: [] };

describe('a generation_config.json', () => {
  it.each<[string, object, object]>([
    ['a base model\'s', { _from_model_config: true, bos_token_id: 1, eos_token_id: 2, transformers_version: '4.31.0' },
      { eosTokenIds: [2], ...NONE }],
    ['Llama-2-chat\'s', {
      bos_token_id: 1, do_sample: true, eos_token_id: 2, pad_token_id: 0, temperature: 0.6, max_length: 4096,
      top_p: 0.9, transformers_version: '4.32.0.dev0',
    }, { eosTokenIds: [2], temperature: 0.6, topK: 50, topP: 0.9, maxLength: 4096, ...NONE }],
    ['Llama-3-instruct\'s', { bos_token_id: 10, eos_token_id: [11, 19], do_sample: true, temperature: 0.6, top_p: 0.9 },
      { eosTokenIds: [11, 19], temperature: 0.6, topK: 50, topP: 0.9, ...NONE }],
    ['Qwen2.5-instruct\'s', {
      bos_token_id: 43, pad_token_id: 43, do_sample: true, eos_token_id: [45, 43], repetition_penalty: 1.05,
      temperature: 0.7, top_p: 0.8, top_k: 20,
    }, { eosTokenIds: [45, 43], temperature: 0.7, topK: 20, topP: 0.8, repetitionPenalty: 1.05, ...NONE }],
    ['Qwen2.5\'s base', { bos_token_id: 43, do_sample: false, eos_token_id: 43, max_new_tokens: 2048 },
      { eosTokenIds: [43], temperature: 0, maxNewTokens: 2048, ...NONE }],
    ['one with a temperature that do_sample does not ask for', { temperature: 0.9, top_p: 0.6 },
      { temperature: 0, topP: 0.6, ...NONE }],
    ['one that samples and says no more', { do_sample: true, top_k: 0, top_p: 1, min_p: null },
      { temperature: 1, ...NONE }],
    ['one with stops', { stop_strings: ['User:', '###'], min_p: 0.05, do_sample: true, temperature: 1.5, top_k: 40 },
      { temperature: 1.5, topK: 40, minP: 0.05, stop: ['User:', '###'], ...NONE }],
    ['one that asks for what is not done', { num_beams: 4, typical_p: 0.9, no_repeat_ngram_size: 3, use_cache: false },
      { unsupported: ['num_beams is 4', 'typical_p is 0.9', 'no_repeat_ngram_size is 3'] }],
    ['one with all the defaults that transformers writes', {
      num_beams: 1, num_beam_groups: 1, diversity_penalty: 0, typical_p: 1, epsilon_cutoff: 0, eta_cutoff: 0,
      no_repeat_ngram_size: 0, encoder_repetition_penalty: 1, min_length: 0, bad_words_ids: null, max_time: null,
      suppress_tokens: [], sequence_bias: {}, guidance_scale: 1, length_penalty: 1, early_stopping: false,
    }, NONE],
  ])('like that of %s is read as transformers reads it', (_, json, expected) => {
    expect(parseGenerationConfig(json, 50)).toEqual(expected);
  });

  it.each<[unknown, RegExp]>([
    [[], /generation_config\.json is not a JSON object/],
    [{ eos_token_id: 50 }, /eos_token_id is 50: it must be a token from 0 to 49/],
    [{ eos_token_id: [1, 2.5] }, /eos_token_id is \[1,2\.5\]/], [{ temperature: 'hot' }, /temperature is "hot"/],
    [{ do_sample: 1 }, /do_sample is 1: it must be true or false/], [{ top_k: 1.5 }, /top_k is 1\.5/],
    [{ top_p: 2 }, /top_p is 2/], [{ max_new_tokens: 0 }, /max_new_tokens is 0/],
    [{ repetition_penalty: 0 }, /repetition_penalty is 0/], [{ stop_strings: [''] }, /stop_strings is \[""\]/],
  ])('with %j is refused by the name of the field', (json, message) => {
    expect(() => parseGenerationConfig(json, 50)).toThrow(ConfigError);
    expect(() => parseGenerationConfig(json, 50)).toThrow(message);
  });

  it('applies where the caller gives nothing, and what it lacks is filled with the defaults', () => {
    const file = parseGenerationConfig({ do_sample: true, temperature: 0.6, top_p: 0.9, max_length: 100 }, 50);
    const filled = fillOptions({}, file);
    expect(filled.sampling).toMatchObject({ temperature: 0.6, topK: 50, topP: 0.9 });
    expect([filled.maxNewTokens(30), filled.maxNewTokens(200)]).toEqual([70, 1]);
    const asked = fillOptions({ temperature: 0, topP: 1, maxNewTokens: 7 }, file);
    expect(asked.sampling).toMatchObject({ temperature: 0, topK: 50, topP: 1 });
    expect(asked.maxNewTokens(30)).toBe(7);
    expect(fillOptions({}).sampling.temperature).toBe(1);
    expect(fillOptions({}).maxNewTokens(30)).toBe(128);
    const greedy = parseGenerationConfig({ do_sample: false }, 50);
    expect(fillOptions({}, greedy).sampling.temperature).toBe(0);
    expect(fillOptions({ topK: 5 }, greedy).sampling.temperature).toBe(1); // asking for top-k means asking to sample
  });

  it('determines which tokens end a text, instead of config.json', async () => {
    const plain = tinyModel(10);
    const tokens: number[] = [];
    const onToken = ({ token }: { token: number }) => void tokens.push(token);
    const options = { temperature: 0, maxNewTokens: 20, onToken };
    for await (const piece of plain.generate('End', options)) expect(piece).not.toBe('');
    const third = tokens[2];
    const ended = tinyModel(10, 'nats', { eosTokenIds: [third], unsupported: [] });
    tokens.length = 0;
    const pieces = [];
    for await (const piece of ended.generateBatch(['End'], options)) pieces.push(piece);
    expect(tokens.indexOf(third)).toBe(tokens.length - 1);
    expect(pieces.at(-1)!.finish).toBe('end');
    expect(ended.ends).toEqual([third]);
    expect(plain.ends).toEqual([257]);
  });
});

describe('a model folder with generation_config.json and chat_template.jinja', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'natsearch-generation-'));
    await cp(fileURLToPath(new URL('../models/nats', import.meta.url)), folder, { recursive: true });
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('passes both to the model, and the file takes precedence over tokenizer_config.json', async () => {
    await writeFile(join(folder, 'generation_config.json'), '{"eos_token_id": [257, 10], "do_sample": true, "top_k": 3}');
    await writeFile(join(folder, 'tokenizer_config.json'), '{"bos_token": "<s>", "chat_template": "in the config"}');
    const first = await loadModel(folder);
    expect(first.generationDefaults).toEqual({ eosTokenIds: [257, 10], temperature: 1, topK: 3, unsupported: [] });
    expect(first.chatTemplate).toEqual({ template: 'in the config', specials: { bos_token: '<s>' } });
    first.dispose();
    await writeFile(join(folder, 'chat_template.jinja'), 'in a file');
    const second = await loadModel(folder);
    expect(second.chatTemplate!.template).toBe('in a file');
    second.dispose();
  });

  it('is refused with the path of the file that is damaged', async () => {
    await writeFile(join(folder, 'generation_config.json'), '{"temperature": -1}');
    await expect(loadModel(folder)).rejects.toThrow(`${folder}/generation_config.json: temperature is -1`);
    await writeFile(join(folder, 'generation_config.json'), '{"temperature"');
    await expect(loadModel(folder)).rejects.toThrow(FileFormatError);
  });
});
