/** Weights as published files hold them: a tied head in every form, extra tensors, two layouts, quantized ones. */
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openModelFolder, readModelFolder } from '../src/model/folder/model-folder.ts';
import { decodeSafetensors, encodeSafetensors, writeSafetensors } from '../src/formats/safetensors.ts';
import { loadModel } from '../src/load.ts';
import type { NDArray } from '../src/core/tensor.ts';
import {
  config, copy, edit, expectRefusal, here, INDEX, MODELS, numbers, remove, SINGLE, useFolders, write,
} from './support/field-folder.ts';

const HEAD = 'lm_head.weight';
const EMBEDDING = 'model.embed_tokens.weight';
const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n';

useFolders();

describe('a head that is tied to the embedding', () => {
  it('loads from an index that names it and shards that lack it, and from a shard that the index does not mention', async () => {
    for (const [name, indexed, held] of [['llama-tied-index', true, false], ['qwen3-tied-shard', false, true]] as const) {
      const { weight_map: map } = JSON.parse(readFileSync(`${MODELS}${name}/${INDEX}`, 'utf8')) as { weight_map: object };
      const shards = readdirSync(MODELS + name).filter((file) => file.startsWith('model-0'));
      const names = shards.flatMap((file) => [...decodeSafetensors(readFileSync(`${MODELS}${name}/${file}`)).tensors.keys()]);
      expect([Object.hasOwn(map, HEAD), names.includes(HEAD)]).toEqual([indexed, held]);
      const { config: read, weights } = await readModelFolder(MODELS + name);
      expect(read.tieWordEmbeddings).toBe(true);
      expect(weights.has(HEAD)).toBe(false);
    }
  });

  const rewritten = (change: (tensors: Map<string, NDArray & { dtype: 'F32' }>) => void): Uint8Array => {
    const { tensors } = decodeSafetensors(readFileSync(join(here(), SINGLE)));
    const widened = new Map([...tensors].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' as const }]));
    change(widened);
    return encodeSafetensors(widened);
  };
  it('loads from a file that holds the matrix only under the name of the head', async () => {
    copy('llama-tied-scaled');
    const { weights } = await readModelFolder(here());
    const bytes = rewritten((tensors) => {
      tensors.set(HEAD, tensors.get(EMBEDDING)!);
      tensors.delete(EMBEDDING);
    });
    write(SINGLE, bytes);
    expect(numbers((await readModelFolder(here())).weights)).toEqual(numbers(weights));
    const model = await loadModel({ config: config(), weights: bytes });
    expect([...model.weights.keys()].sort()).toEqual([...weights.keys()].sort());
  });

  it('loads from a model that was saved without its head, whose names have no prefix', async () => {
    copy('llama-tied-scaled');
    const { weights } = await readModelFolder(here());
    const bytes = rewritten((tensors) => {
      const all = [...tensors];
      tensors.clear();
      for (const [name, each] of all) tensors.set(name.replace(/^model\./, ''), each);
    });
    write(SINGLE, bytes);
    expect(numbers((await readModelFolder(here())).weights)).toEqual(numbers(weights));
    const model = await loadModel({ config: config(), weights: bytes });
    expect([...model.weights.keys()].sort()).toEqual([...weights.keys()].sort());
  });

  it('is refused if its numbers differ, since versions of transformers disagree on which ones count', async () => {
    copy('llama-tied-scaled');
    const bytes = rewritten((tensors) => {
      const { data, shape } = tensors.get(EMBEDDING)!;
      tensors.set(HEAD, { data: data.map((x, n) => (n === 77 ? x + 1 : x)), shape, dtype: 'F32' });
    });
    write(SINGLE, bytes);
    await expectRefusal(/tie_word_embeddings is true, but 'lm_head\.weight' differs/, /set it to false/);
    await expect(loadModel({ config: config(), weights: bytes })).rejects.toThrow(/tie_word_embeddings is true/);
  });

  it('is still required for a model that is not tied', async () => {
    copy('llama-tied-scaled');
    edit({ tie_word_embeddings: false });
    await expectRefusal(/'lm_head\.weight' is missing/, /set tie_word_embeddings to true/);
  });
});

describe('tensors that no model needs', () => {
  it('are left out, whatever their dtype, such as the rotary frequencies and tables of old files', async () => {
    copy('llama-grouped');
    const { tensors } = decodeSafetensors(readFileSync(join(here(), SINGLE)));
    const extra = [
      ['model.layers.0.self_attn.rotary_emb.inv_freq', { data: Float64Array.of(1, 2), shape: [2], dtype: 'F16' as const }],
      ['model.layers.1.self_attn.rotary_emb.cos_cached', { data: Int32Array.of(1), shape: [1], dtype: 'I64' as const }],
    ] as const;
    const wide = [...tensors].map(([name, { data, shape }]) => {
      return [name, { data: Float64Array.from(data), shape, dtype: 'F32' as const }] as const;
    });
    write(SINGLE, writeSafetensors([...wide, ...extra]));
    const { weights } = await readModelFolder(here());
    expect(numbers(weights)).toEqual(numbers((await readModelFolder(`${MODELS}llama-grouped`)).weights));
  });
});

describe('tensors beside the decoder', () => {
  const withTensor = (name: string): Uint8Array => {
    const { tensors } = decodeSafetensors(readFileSync(`${MODELS}llama-grouped/${SINGLE}`));
    const all = [...tensors].map(([each, { data, shape }]) => [each, { data, shape, dtype: 'F32' as const }] as const);
    return encodeSafetensors([...all, [name, { data: Float32Array.of(1), shape: [1], dtype: 'F32' }]]);
  };

  it('such as the head of a reward model are not read, and the folder reports that', async () => {
    copy('llama-grouped');
    const bytes = withTensor('v_head.summary.bias');
    write(SINGLE, bytes);
    const { places, notes } = await openModelFolder(here());
    expect(places.size).toBe(21);
    expect(notes).toEqual([expect.stringMatching(/1 tensors that do not belong .*, such as 'v_head\.summary/)]);
    expect((await loadModel({ config: config(), weights: bytes })).weights.size).toBe(21);
  });

  it.each(['model.layers.0.self_attn.q_proj.bias', 'model.layers.0.self_attn.q_norm.weight', 'lm_head.bias'])(
    'are refused within it: %s would change what is computed', async (name) => {
      copy('llama-grouped');
      write(SINGLE, withTensor(name));
      await expectRefusal(new RegExp(`"${name}" does not belong to this config`));
    });
});

describe('model.safetensors beside an index', () => {
  it('is read, as in transformers, and the folder reports that the index is not', async () => {
    copy('llama-sharded');
    const { weights } = await readModelFolder(here());
    const shards = [...weights].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' as const }] as const);
    write(SINGLE, encodeSafetensors(shards));
    const { places, notes } = await openModelFolder(here());
    expect([...places.values()].every(({ path }) => path.endsWith(`/${SINGLE}`))).toBe(true);
    expect(notes).toEqual([expect.stringMatching(/index\.json is not read.*remove model\.safetensors/)]);
  });

  it('is named in the error if it does not fit the index', async () => {
    copy('llama-sharded');
    cpSync(join(here(), 'model-00002-of-00004.safetensors'), join(here(), SINGLE));
    await expectRefusal(/weights are missing/, /index\.json is not read/, /remove model\.safetensors/);
    write(SINGLE, POINTER);
    await expectRefusal(/Git LFS/, /remove model\.safetensors/);
    remove(SINGLE);
    expect((await openModelFolder(here())).notes).toEqual([]);
  });
});

describe('quantized weights', () => {
  const I32 = { data: Int32Array.of(7), shape: [1], dtype: 'I32' as const };
  const F16 = { data: Float64Array.of(7), shape: [1], dtype: 'F16' as const };

  it.each<[string, string]>([
    ['qweight', 'GPTQ or AWQ'], ['weight.absmax', 'bitsandbytes'], ['weight.quant_state.bitsandbytes__nf4', 'bitsandbytes'],
    ['SCB', 'bitsandbytes'], ['weight_packed', 'compressed-tensors'], ['weight_scale_inv', 'FP8'], ['scales', 'MLX'],
  ])('are recognized by the name %s as made by %s', async (name, packer) => {
    copy('llama-grouped');
    const proj = 'model.layers.0.self_attn.q_proj';
    const bytes = writeSafetensors([[`${proj}.weight`, I32], [`${proj}.${name}`, F16]]);
    write(SINGLE, bytes);
    await expectRefusal(new RegExp(`quantized by ${packer} \\('${proj}\\.${name}'\\)`), /in BF16 or F16/);
    await expect(loadModel({ config: config(), weights: bytes })).rejects.toThrow(`quantized by ${packer}`);
  });

  it('are recognized by config.json if it mentions them', async () => {
    copy('llama-grouped');
    edit({ quantization_config: { bits: 4, quant_method: 'awq' } });
    await expectRefusal(/quantization_config is .*weights quantized by awq cannot be read, take the model in BF16/);
  });
});
