/**
 * Folders in the form of published ones, complete and broken: read tensor by tensor, or refused before any work starts.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it, type Mock, vi } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { widen } from '../src/core/stored.ts';
import { ConfigError, FileFormatError, StorageError } from '../src/core/errors.ts';
import { adaptedConfig, baseFields } from '../src/model/folder/adapter.ts';
import { openModelFolder } from '../src/model/folder/model-folder.ts';
import { readStored, readTensors } from '../src/files/safetensors-file.ts';
import { decodeSafetensors, storedAs, encodeSafetensors } from '../src/formats/safetensors.ts';
import { loadModel } from '../src/load.ts';
import { type NDArray, ndarray } from '../src/core/tensor.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ASKED, CONTINUATION, PROMPT, publishedFiles } from './support/hf-published.ts';

const fixtures = fileURLToPath(new URL('./fixtures/hf/', import.meta.url));
const SHARD = 'model-00002-of-00004.safetensors';

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-hf-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  folder = mkdtempSync(join(root, 'model-'));
  cpSync(`${fixtures}models/llama-sharded`, folder, { recursive: true });
});
const edit = (file: string, change: (json: Record<string, unknown>) => object): void => {
  const path = join(folder, file);
  writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>)));
};

/** Records what reaches the engine, which must be nothing before everything is checked. */
function countingEngine(): { engine: TrainingEngine; uploads: Mock } {
  const engine = referenceEngine();
  return { engine, uploads: vi.spyOn(engine, 'tensor') };
}

async function expectRefusal(error: new () => Error, message: RegExp): Promise<void> {
  const { engine, uploads } = countingEngine();
  const loading = loadModel(folder, { engine });
  await expect(loading).rejects.toThrow(error);
  await expect(loading).rejects.toThrow(message);
  await expect(loading).rejects.toThrow(/^[^\n]+$/);
  expect(uploads).not.toHaveBeenCalled();
}

describe('the weights of a folder', () => {
  it('come one by one, the same as from whole files, with progress', async () => {
    const { places } = await openModelFolder(folder);
    const whole = new Map([1, 2, 3, 4].flatMap((n) => {
      return [...decodeSafetensors(readFileSync(join(folder, `model-0000${n}-of-00004.safetensors`))).tensors];
    }));
    const calls: [number, number][] = [];
    const seen: string[] = [];
    const memory = new Set<ArrayBufferLike>();
    const onProgress = (done: number, total: number) => void calls.push([done, total]);
    for await (const [name, { bytes, shape, dtype }] of readStored(places, { onProgress })) {
      const data = widen(bytes, storedAs(dtype));
      expect({ data: [...data], shape, dtype }).toEqual({ ...whole.get(name)!, data: [...whole.get(name)!.data] });
      memory.add(bytes.buffer);
      seen.push(name);
    }
    expect(seen.sort()).toEqual([...whole.keys()].sort());
    expect(memory.size).toBe(1);
    const total = [...whole.values()].reduce((sum, { data }) => sum + 2 * data.length, 0); // F16
    expect(calls.at(-1)).toEqual([total, total]);
    expect(calls.every(([done], n) => n === 0 || done > calls[n - 1][0])).toBe(true);
  });

  it('are put into shared memory if threads are to read them, and the reference engine uses them without copying', async () => {
    const { places } = await openModelFolder(folder);
    const engine = referenceEngine();
    for await (const [, { data, shape }] of readTensors(places, { shared: true })) {
      expect(data.buffer).toBeInstanceOf(SharedArrayBuffer);
      const weight = engine.tensor(data, shape);
      data[0] = 5;
      expect((await engine.read(weight))[0]).toBe(5);
      engine.accumulate(weight, weight);
      expect((await engine.read(weight))[0]).toBe(10);
      expect(data[0]).toBe(5); // as other threads would see
    }
  });

  it('in shared memory are copied by a float32 engine, which may write to them', async () => {
    const data = new Float32Array(new SharedArrayBuffer(4));
    const engine = referenceEngine('float32');
    const weight = engine.tensor(data, [1]);
    engine.accumulate(weight, engine.tensor([1], [1]));
    expect([data[0], ...(await engine.read(weight))]).toEqual([0, 1]);
  });

  it('of float32 are held in float32 on a float64 engine, until an optimiser or a sum changes them', async () => {
    const engine = referenceEngine();
    const weight = engine.tensor(Float32Array.of(0.1, 2), [2]);
    engine.accumulate(weight, engine.tensor([1e-12, 0], [2]));
    expect([...(await engine.read(weight))]).toEqual([Math.fround(0.1) + 1e-12, 2]);
    const twice = engine.add(engine.tensor(Float32Array.of(0.1), [1]), engine.tensor([1e-12], [1]));
    expect([...(await engine.read(twice))]).toEqual([Math.fround(0.1) + 1e-12]);
    const tenth = () => engine.tensor(Float32Array.of(0.1), [1, 1]);
    const product = engine.linear(tenth(), tenth());
    expect([...(await engine.read(product))]).toEqual([Math.fround(0.1) * Math.fround(0.1)]);
  });
});

describe('a folder with a tokenizer', () => {
  it('continues with the same text as its files in memory, on every platform', async () => {
    const published = join(root, 'published with spaces');
    mkdirSync(published);
    for (const [file, content] of await publishedFiles()) writeFileSync(join(published, file), content);
    const model = await loadModel(published);
    let text = '';
    for await (const piece of model.generate(PROMPT, ASKED)) text += piece;
    model.dispose();
    expect(text).toBe(CONTINUATION);
  });
});

describe('a folder is refused before any weight is read', () => {
  it('if a shard is missing', async () => {
    rmSync(join(folder, SHARD));
    await expectRefusal(StorageError, /names the shard model-00002-of-00004\.safetensors, which is missing/);
  });

  it('if the index names a tensor that the shard lacks', async () => {
    edit('model.safetensors.index.json', ({ weight_map, ...rest }) => {
      return { ...rest, weight_map: { ...weight_map as object, 'model.layers.9.mlp.up_proj.weight': SHARD } };
    });
    await expectRefusal(FileFormatError, /lacks 'model\.layers\.9\.mlp\.up_proj\.weight', which the index places/);
  });

  it('if a tensor has another shape', async () => {
    edit('config.json', (json) => ({ ...json, intermediate_size: 56 }));
    await expectRefusal(ConfigError, /mlp\.\w+\.weight' is \[[\d,]+\] but by the config it must be \[[\d,]+\]/);
  });

  it('if a shard ends too early', async () => {
    const bytes = readFileSync(join(folder, SHARD));
    writeFileSync(join(folder, SHARD), bytes.subarray(0, bytes.length - 8));
    await expectRefusal(FileFormatError, /model-00002-of-00004\.safetensors: .* the file is truncated/);
    writeFileSync(join(folder, SHARD), bytes.subarray(0, 5));
    await expectRefusal(FileFormatError, /5 bytes are too few for a header/);
  });

  it('if the tokenizer has ids beyond the vocabulary, or is not JSON', async () => {
    cpSync(`${fixtures}tokenizers/byte-level/tokenizer.json`, join(folder, 'tokenizer.json'));
    await expectRefusal(ConfigError, /tokenizer\.json has ids up to \d+ but the model's vocabulary has 61 tokens/);
    writeFileSync(join(folder, 'tokenizer.json'), '{');
    await expectRefusal(FileFormatError, /tokenizer\.json is not valid JSON/);
  });
});

describe('tokenizer_config.json', () => {
  const path = (): string => join(folder, 'tokenizer_config.json');

  it('is read with the folder, and is undefined if there is none', async () => {
    expect((await openModelFolder(folder)).tokenizerConfig).toBeUndefined();
    writeFileSync(path(), '{"add_bos_token": false}');
    expect((await openModelFolder(folder)).tokenizerConfig).toEqual({ add_bos_token: false });
  });

  it('is refused if it is damaged or not an object', async () => {
    for (const text of ['{"add_bos_token": fal', '', 'null', '[]', '3']) {
      writeFileSync(path(), text);
      await expectRefusal(FileFormatError, /tokenizer_config\.json(: it is empty| is not (valid JSON|an object))/);
    }
  });
});

describe('a model without tokenizer.json', () => {
  it('takes token ids, and refuses text', async () => {
    const model = await loadModel(folder);
    const session = model.session();
    expect((await session.step([3, 4])).length).toBe(2 * 61);
    session.dispose();
    await expect(model.generate('text').next()).rejects.toThrow(ConfigError);
    await expect(model.generate('text').next()).rejects.toThrow(/61 tokens but no tokenizer\.json/);
    model.dispose();
  });
});

describe('a model from bytes', () => {
  it('has the tokenizer that came with them', async () => {
    const { tensors } = decodeSafetensors(readFileSync(`${fixtures}models/llama-grouped/model.safetensors`));
    const json = JSON.parse(readFileSync(`${fixtures}models/llama-grouped/config.json`, 'utf8')) as object;
    const table = ndarray(new Float32Array(1100 * 48).fill(0.01), [1100, 48]);
    const wider = new Map<string, NDArray>(tensors).set('model.embed_tokens.weight', table).set('lm_head.weight', table);
    const weights = encodeSafetensors([...wider].map(([name, each]) => [name, { ...each, dtype: 'F32' }]));
    const path = `${fixtures}tokenizers/sentencepiece/tokenizer.json`;
    const tokenizer = JSON.parse(readFileSync(path, 'utf8')) as unknown;
    const model = await loadModel({ config: { ...json, vocab_size: 1100 }, weights, tokenizer });
    expect(model.tokenizer.decode(model.tokenizer.encode('naïve 日本'))).toBe('naïve 日本');
    expect(model.tokenizer.bos).toBe(1);
    let text = '';
    for await (const piece of model.generate('the', { maxNewTokens: 3, temperature: 0 })) text += piece;
    expect(text).toBe(model.tokenizer.decode([])); // all logits are equal, and the first token, <unk>, is special
    model.dispose();
  });
});

describe('an adapter', () => {
  const settings = {
    window: 4, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1, targetKeep: 0, kept: 0.5,
    keptByLayer: [0.5, 0.5, 0.5, 0.5], context: 8, steps: 1, seed: 0, packageVersion: '0',
  } as const;

  it('gives a base its token types, and is refused by another', async () => {
    const { config } = await openModelFolder(folder);
    const weights = new Map([0, 1, 2, 3].map((n) => {
      const scorer = Float64Array.from({ length: 12 * 32 }, (_, k) => Math.sin(12.9898 * (k + n)));
      return [`model.layers.${n}.self_attn.proj_layer.weight`, ndarray(scorer, [12, 32])] as const;
    }));
    const adapter = { ...settings, baseModel: 'base', base: baseFields(config), weights };
    const model = await loadModel(folder, { adapter });
    expect(model.policy).toEqual({ kind: 'nats' });
    expect(model.config).toEqual(adaptedConfig(adapter, config));
    const session = model.session();
    await session.step(Int32Array.from({ length: 40 }, (_, n) => n % 61));
    const live = (await session.stats()).flatMap((layer) => [...layer.live]);
    expect(Math.min(...live)).toBeLessThan(40);
    const { engine, uploads } = countingEngine();
    await expect(loadModel(`${fixtures}models/llama-grouped`, { adapter, engine })).rejects.toThrow(ConfigError);
    expect(uploads).not.toHaveBeenCalled();
  });
});
