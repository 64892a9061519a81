/** Folders as downloads leave them: each is read, or refused in one line that says what is there and what to do. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, test } from 'vitest';
import { isNamedError } from '../src/errors.ts';
import { readAdapter } from '../src/io/adapter.ts';
import { openModelFolder, readModelFolder } from '../src/io/model-folder.ts';
import { decodeSafetensors, encodeSafetensors, writeSafetensors } from '../src/io/safetensors.ts';
import { loadModel } from '../src/load.ts';
import type { NDArray } from '../src/tensor.ts';

const models = fileURLToPath(new URL('./fixtures/hf/models/', import.meta.url));
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const HEAD = 'lm_head.weight';
const EMBEDDING = 'model.embed_tokens.weight';
const POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n';
const PAGE = '\n<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n';

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-field-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (folder = mkdtempSync(join(root, 'model-'))));

const copy = (name: string): void => cpSync(models + name, folder, { recursive: true });
const write = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content);
const remove = (name: string): void => rmSync(join(folder, name));
const edit = (file: string, change: (json: Record<string, unknown>) => object): void => {
  write(file, JSON.stringify(change(JSON.parse(readFileSync(join(folder, file), 'utf8')) as Record<string, unknown>)));
};
const numbers = (weights: ReadonlyMap<string, NDArray>): object => {
  return Object.fromEntries([...weights].map(([name, { data, shape }]) => [name, { data: Array.from(data), shape }]));
};

async function expectRefusal(...says: RegExp[]): Promise<void> {
  const error: unknown = await openModelFolder(folder).then(() => undefined, (found: unknown) => found);
  expect(isNamedError(error)).toBe(true);
  for (const each of [...says, /^[^\n]+$/]) expect((error as Error).message).toMatch(each);
  await expect(loadModel(folder)).rejects.toThrow((error as Error).message);
}

describe('a head that is tied to the embedding', () => {
  it('loads from an index that names it and shards that lack it, and from a shard that the index does not tell of', async () => {
    for (const [name, indexed, held] of [['llama-tied-index', true, false], ['qwen3-tied-shard', false, true]] as const) {
      const { weight_map: map } = JSON.parse(readFileSync(`${models}${name}/${INDEX}`, 'utf8')) as { weight_map: object };
      const shards = readdirSync(models + name).filter((file) => file.startsWith('model-0'));
      const names = shards.flatMap((file) => [...decodeSafetensors(readFileSync(`${models}${name}/${file}`)).tensors.keys()]);
      expect([Object.hasOwn(map, HEAD), names.includes(HEAD)]).toEqual([indexed, held]);
      const { config, weights } = await readModelFolder(models + name);
      expect(config.tieWordEmbeddings).toBe(true);
      expect(weights.has(HEAD)).toBe(false);
    }
  });

  const rewritten = (change: (tensors: Map<string, NDArray & { dtype: 'F32' }>) => void): Uint8Array => {
    const { tensors } = decodeSafetensors(readFileSync(join(folder, SINGLE)));
    const widened = new Map([...tensors].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' as const }]));
    change(widened);
    return encodeSafetensors(widened);
  };
  const config = (): unknown => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));

  it('loads from a file that holds the matrix under the name of the head alone', async () => {
    copy('llama-tied-scaled');
    const { weights } = await readModelFolder(folder);
    const bytes = rewritten((tensors) => {
      tensors.set(HEAD, tensors.get(EMBEDDING)!);
      tensors.delete(EMBEDDING);
    });
    write(SINGLE, bytes);
    expect(numbers((await readModelFolder(folder)).weights)).toEqual(numbers(weights));
    const model = await loadModel({ config: config(), weights: bytes });
    expect([...model.weights.keys()].sort()).toEqual([...weights.keys()].sort());
  });

  it('loads from a model that was saved without its head, whose names have no prefix', async () => {
    copy('llama-tied-scaled');
    const { weights } = await readModelFolder(folder);
    const bytes = rewritten((tensors) => {
      const all = [...tensors];
      tensors.clear();
      for (const [name, each] of all) tensors.set(name.replace(/^model\./, ''), each);
    });
    write(SINGLE, bytes);
    expect(numbers((await readModelFolder(folder)).weights)).toEqual(numbers(weights));
    const model = await loadModel({ config: config(), weights: bytes });
    expect([...model.weights.keys()].sort()).toEqual([...weights.keys()].sort());
  });

  it('is refused where it has other numbers: versions of transformers disagree which count', async () => {
    copy('llama-tied-scaled');
    const bytes = rewritten((tensors) => {
      const { data, shape } = tensors.get(EMBEDDING)!;
      tensors.set(HEAD, { data: data.map((x, n) => (n === 77 ? x + 1 : x)), shape, dtype: 'F32' });
    });
    write(SINGLE, bytes);
    await expectRefusal(/tie_word_embeddings is true, but 'lm_head\.weight' differs/, /set it to false/);
    await expect(loadModel({ config: config(), weights: bytes })).rejects.toThrow(/tie_word_embeddings is true/);
  });

  it('is still missed by a model that is not tied', async () => {
    copy('llama-tied-scaled');
    edit('config.json', (json) => ({ ...json, tie_word_embeddings: false }));
    await expectRefusal(/'lm_head\.weight' is missing/, /set tie_word_embeddings to true/);
  });
});

test('a folder lists the fields of config.json that nobody knows', async () => {
  copy('llama-grouped');
  edit('config.json', (json) => ({ ...json, is_llama_config: true, use_cache: false, use_mrope: false }));
  expect((await openModelFolder(folder)).ignored).toEqual(['is_llama_config']);
});

describe('tensors that no model needs', () => {
  it('are left out, whatever their dtype: old files hold rotary frequencies and tables', async () => {
    copy('llama-grouped');
    const { tensors } = decodeSafetensors(readFileSync(join(folder, SINGLE)));
    const extra = [
      ['model.layers.0.self_attn.rotary_emb.inv_freq', { data: Float64Array.of(1, 2), shape: [2], dtype: 'F16' as const }],
      ['model.layers.1.self_attn.rotary_emb.cos_cached', { data: Int32Array.of(1), shape: [1], dtype: 'I64' as const }],
    ] as const;
    const wide = [...tensors].map(([name, { data, shape }]) => {
      return [name, { data: Float64Array.from(data), shape, dtype: 'F32' as const }] as const;
    });
    write(SINGLE, writeSafetensors([...wide, ...extra]));
    const { weights } = await readModelFolder(folder);
    expect(numbers(weights)).toEqual(numbers((await readModelFolder(`${models}llama-grouped`)).weights));
  });
});

describe('tensors beside the decoder', () => {
  const withTensor = (name: string): Uint8Array => {
    const { tensors } = decodeSafetensors(readFileSync(`${models}llama-grouped/${SINGLE}`));
    const all = [...tensors].map(([each, { data, shape }]) => [each, { data, shape, dtype: 'F32' as const }] as const);
    return encodeSafetensors([...all, [name, { data: Float32Array.of(1), shape: [1], dtype: 'F32' }]]);
  };

  it('such as the head of a reward model are not read, which the folder says', async () => {
    copy('llama-grouped');
    const bytes = withTensor('v_head.summary.bias');
    write(SINGLE, bytes);
    const { places, notes } = await openModelFolder(folder);
    expect(places.size).toBe(21);
    expect(notes).toEqual([expect.stringMatching(/not all tensors belong to the decoder, 1 as 'v_head\.summary/)]);
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as unknown;
    expect((await loadModel({ config, weights: bytes })).weights.size).toBe(21);
  });

  it.each(['model.layers.0.self_attn.q_proj.bias', 'model.layers.0.self_attn.q_norm.weight', 'lm_head.bias'])(
    'are refused within it: %s would change what is computed', async (name) => {
      copy('llama-grouped');
      write(SINGLE, withTensor(name));
      await expectRefusal(new RegExp(`"${name}" has no place in this config`));
    });
});

describe('model.safetensors beside an index', () => {
  it('is read, as by transformers, and the folder says that the index is not', async () => {
    copy('llama-sharded');
    const { weights } = await readModelFolder(folder);
    const shards = [...weights].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F32' as const }] as const);
    write(SINGLE, encodeSafetensors(shards));
    const { places, notes } = await openModelFolder(folder);
    expect([...places.values()].every(({ path }) => path.endsWith(`/${SINGLE}`))).toBe(true);
    expect(notes).toEqual([expect.stringMatching(/index\.json is not read.*take model\.safetensors away/)]);
  });

  it('is named where it is a stray one that does not fit', async () => {
    copy('llama-sharded');
    cpSync(join(folder, 'model-00002-of-00004.safetensors'), join(folder, SINGLE));
    await expectRefusal(/weights are missing/, /index\.json is not read/, /take model\.safetensors away/);
    write(SINGLE, POINTER);
    await expectRefusal(/Git LFS/, /take model\.safetensors away/);
    remove(SINGLE);
    expect((await openModelFolder(folder)).notes).toEqual([]);
  });
});

describe('a file that is not what its name says', () => {
  const files = ['config.json', SINGLE, 'tokenizer.json', 'tokenizer_config.json'];

  it.each(files)('%s as a pointer of Git LFS, a web page, or empty', async (file) => {
    copy('llama-grouped');
    write(file, POINTER);
    await expectRefusal(new RegExp(`${file}: it is a pointer of Git LFS`), /269060552 bytes/, /git lfs pull/);
    write(file, PAGE);
    await expectRefusal(new RegExp(`${file}: it is a web page`), /access token/);
    write(file, '');
    await expectRefusal(new RegExp(`${file}: it is empty`), /download it again/);
  });

  it('a shard and an index likewise', async () => {
    for (const file of [INDEX, 'model-00003-of-00004.safetensors']) {
      copy('llama-sharded');
      write(file, POINTER);
      await expectRefusal(new RegExp(`${file}: it is a pointer of Git LFS`), /git lfs pull/);
    }
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['the refusal of a server', 'Access to model meta-llama/Llama-2-7b-hf is restricted.', /it says 'Access to model/],
    ['a file of llama.cpp', 'GGUF\u0003\u0000\u0000\u0000 and more', /llama\.cpp.*as its makers published it/],
    ['an archive of PyTorch', 'PK\u0003\u0004 and more', /PyTorch.*save_pretrained/],
    ['a pickle of PyTorch', Uint8Array.of(0x80, 2, 0x8a, 10, 1, 2, 3, 4), /PyTorch.*save_pretrained/],
    ['compressed', Uint8Array.of(0x1f, 0x8b, 8, 0, 1, 2, 3, 4), /compressed.*unpack/],
    ['room made for a download', new Uint8Array(5000), /begins with zeros/],
  ])('weights that are %s', async (_, content, says) => {
    copy('llama-grouped');
    write(SINGLE, content);
    await expectRefusal(/model\.safetensors: it/, says);
  });

  it('though a header may have any length, also one that reads like a mark of another format', async () => {
    for (const length of [0x0280, 0x8b1f]) { // a pickle of PyTorch, gzip
      copy('llama-grouped');
      const bytes = readFileSync(join(folder, SINGLE));
      const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE()));
      const data = bytes.subarray(8 + header.length);
      const short = Buffer.from('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}');
      const [text, rest] = header.length <= length ? [header, data] : [short, Buffer.alloc(0)];
      const start = Buffer.alloc(8);
      start.writeBigUInt64LE(BigInt(length));
      write(SINGLE, Buffer.concat([start, Buffer.from(text.toString().padEnd(length)), rest]));
      if (rest === data) expect((await readModelFolder(folder)).weights.size).toBe(21);
      else await expectRefusal(/weights are missing/);
    }
  });

  it('an answer of a server as config.json', async () => {
    copy('llama-grouped');
    write('config.json', '{"error":"Invalid username or password."}');
    await expectRefusal(/config\.json: it is an answer of a server, 'Invalid username or password\.'/);
  });

  it('half a file', async () => {
    copy('llama-grouped');
    truncateSync(join(folder, SINGLE), 100_000);
    await expectRefusal(/model\.safetensors: .*the file is truncated/);
    copy('llama-grouped');
    write(`${SINGLE}.aria2`, '');
    await expectRefusal(/a download that did not end/, /model\.safetensors\.aria2/);
    remove(`${SINGLE}.aria2`);
    remove(SINGLE);
    copy('llama-sharded');
    const shard = 'model-00002-of-00004.safetensors';
    remove(shard);
    await expectRefusal(/names the shard model-00002-of-00004\.safetensors, which is missing: copy it/);
    write(`${shard}.incomplete`, 'x');
    await expectRefusal(/model-00002-of-00004\.safetensors\.incomplete is a download of it that did not end/);
    copy('llama-grouped');
    truncateSync(join(folder, 'config.json'), 200);
    await expectRefusal(/config\.json is not valid JSON/);
  });
});

describe('a folder without model.safetensors', () => {
  it.each<[string, string[], RegExp]>([
    ['nothing', [], /has neither model\.safetensors nor model\.safetensors\.index\.json: copy the weights/],
    ['weights of PyTorch', ['pytorch_model.bin'], /pytorch_model\.bin, weights of PyTorch.*save_pretrained/],
    ['shards of PyTorch', ['pytorch_model-00001-of-00002.bin', 'pytorch_model.bin.index.json'], /weights of PyTorch/],
    ['the original of Meta', ['consolidated.00.pth', 'params.json'], /consolidated\.00\.pth, weights of PyTorch/],
    ['weights of llama.cpp', ['llama-2-7b.Q4_K_M.gguf'], /llama-2-7b\.Q4_K_M\.gguf, weights of llama\.cpp/],
    ['weights of TensorFlow', ['tf_model.h5'], /tf_model\.h5, weights of another program/],
    ['a download that did not end', ['model.safetensors.part', 'pytorch_model.bin'], /safetensors\.part, a download that did not end/],
    ['a partial download', ['model.safetensors.incomplete'], /a download that did not end/],
    ['shards alone', ['model-00001-of-00002.safetensors'], /model\.safetensors\.index\.json which says what is where/],
    ['weights under another name', ['consolidated.safetensors'], /consolidated\.safetensors, weights under another name/],
    ['a variant', ['model.fp16.safetensors'], /model\.fp16\.safetensors, weights under another name/],
    ['an adapter', ['adapter_model.safetensors'], /an adapter without its base.*merge_and_unload/],
  ])('says that it has %s', async (_, files, says) => {
    cpSync(`${models}llama-grouped/config.json`, join(folder, 'config.json'));
    for (const file of files) write(file, 'x');
    await expectRefusal(says);
  });

  it('and without config.json says what it is', async () => {
    await expectRefusal(/has no config\.json: name a folder/);
    write('llama.Q4_K_M.gguf', 'GGUF');
    await expectRefusal(/has no config\.json: it holds llama\.Q4_K_M\.gguf, weights of llama\.cpp/);
    remove('llama.Q4_K_M.gguf');
    mkdirSync(join(folder, 'snapshots'));
    await expectRefusal(/has no config\.json: .*a cache of downloads.*snapshots\/REVISION/);
  });
});

describe('bytes that were fetched', () => {
  it('are named where they are a web page or a pointer, as servers send instead of a file', async () => {
    const config = JSON.parse(readFileSync(`${models}llama-grouped/config.json`, 'utf8')) as unknown;
    const fetched = (text: string) => loadModel({ config, weights: new TextEncoder().encode(text) });
    await expect(fetched(PAGE)).rejects.toThrow(/it is a web page/);
    await expect(fetched(POINTER)).rejects.toThrow(/it is a pointer of Git LFS/);
    await expect(fetched('')).rejects.toThrow(/it is empty/);
  });

  it('of an adapter likewise', async () => {
    write('adapter_config.json', POINTER);
    write('adapter_model.safetensors', POINTER);
    await expect(readAdapter(folder)).rejects.toThrow(/adapter_config\.json: it is a pointer of Git LFS/);
  });
});

describe('packed weights', () => {
  const I32 = { data: Int32Array.of(7), shape: [1], dtype: 'I32' as const };
  const F16 = { data: Float64Array.of(7), shape: [1], dtype: 'F16' as const };

  it.each<[string, string]>([
    ['qweight', 'GPTQ or AWQ'], ['weight.absmax', 'bitsandbytes'], ['weight.quant_state.bitsandbytes__nf4', 'bitsandbytes'],
    ['SCB', 'bitsandbytes'], ['weight_packed', 'compressed-tensors'], ['weight_scale_inv', 'FP8'], ['scales', 'MLX'],
  ])('show by the name %s that %s made them', async (name, packer) => {
    copy('llama-grouped');
    const proj = 'model.layers.0.self_attn.q_proj';
    const bytes = writeSafetensors([[`${proj}.weight`, I32], [`${proj}.${name}`, F16]]);
    write(SINGLE, bytes);
    await expectRefusal(new RegExp(`packed by ${packer} \\('${proj}\\.${name}'\\)`), /in BF16 or F16/);
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as unknown;
    await expect(loadModel({ config, weights: bytes })).rejects.toThrow(`packed by ${packer}`);
  });

  it('are named by config.json where it tells of them', async () => {
    copy('llama-grouped');
    edit('config.json', (json) => ({ ...json, quantization_config: { bits: 4, quant_method: 'awq' } }));
    await expectRefusal(/quantization_config is .*weights packed by awq are not read, take the model in BF16 or F16/);
  });
});
