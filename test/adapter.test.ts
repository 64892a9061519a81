/**
 * Adapters: what is written is read back, damage is reported by name, and for a wrong base the message says what
 * differs.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, FileFormatError, StorageError } from '../src/core/errors.ts';
import {
  type Adapter, adaptedConfig, baseFields, checkAdapter, parseAdapter, readAdapter, writeAdapter,
} from '../src/model/folder/adapter.ts';
import { encodeAdapter } from '../src/model/folder/adapter-weights.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/formats/safetensors.ts';
import { checkWeights, type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { initialLowRank } from '../src/model/low-rank.ts';
import { type NDArray, ndarray } from '../src/core/tensor.ts';

const LLAMA = {
  model_type: 'llama', vocab_size: 258, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 32,
};
const config: ModelConfig = parseConfig(LLAMA);
const name = (layer: number) => `model.layers.${layer}.self_attn.proj_layer.weight`;
const scorer = (layer: number): NDArray => {
  return ndarray(Float64Array.from({ length: 48 }, (_, n) => Math.sin(n + layer)), [6, 8]);
};
const adapter: Adapter = {
  baseModel: 'tiny', base: baseFields(config), window: 4, chunk: 2, pooling: 'max', temperature: 0.5, lambda: 0.01,
  targetKeep: 0.2, kept: 0.25, keptByLayer: [0.2, 0.3], context: 32, steps: 7, seed: 3, packageVersion: '0.1.0',
  weights: new Map([0, 1].map((layer) => [name(layer), scorer(layer)])),
};

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-adapter-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = mkdtempSync(join(root, 'adapter-'));
  await writeAdapter(folder, adapter);
});

/** Changes fields of adapter_config.json; undefined removes one. */
function rewrite(fields: object): void {
  const path = join(folder, 'adapter_config.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')) as object, ...fields }));
}

function rewriteScorers(weights: Iterable<readonly [string, NDArray]>): void {
  writeFileSync(join(folder, 'adapter_model.safetensors'), encodeAdapter(new Map(weights)));
}

describe('an adapter', () => {
  it('is read back as it was written, with its scorers rounded to float32', async () => {
    const { weights, ...rest } = await readAdapter(folder);
    const { weights: written, ...settings } = adapter;
    expect(rest).toEqual(settings);
    expect([...weights.keys()]).toEqual([...written.keys()]);
    for (const [key, { data, shape }] of weights) {
      expect(shape).toEqual([6, 8]);
      expect([...data]).toEqual(Array.from(written.get(key)!.data, Math.fround));
    }
  });

  it('identifies its base by a SHA-256 of the fields that affect its results', async () => {
    const json = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(json['base'])));
    expect(json['base_sha256']).toBe(Buffer.from(digest).toString('hex'));
    expect(json['base']).toMatchObject({ hiddenSize: 8, layers: 2, kvHeads: 2, headDim: 2, ropeTheta: 10000 });
  });

  it('turns its base\'s config into that of a model with learned types', () => {
    const adapted = adaptedConfig(adapter, config);
    expect(adapted).toEqual({
      ...config, nats: { policy: 'nats', window: 4, chunk: 2, pooling: 'max', lambda: 0.01, temperature: 0.5 },
    });
    expect(() => checkWeights(adapted, new Map([...initialWeights(config, 1), ...adapter.weights]))).not.toThrow();
  });

  it.each([false, true])('has a second window, with changes of q and k: %j, in a version that older packages refuse', async (ranked) => {
    const lowRank = ranked ? { rank: 1, alpha: 2, weights: initialLowRank(config, 1, 3) } : undefined;
    await writeAdapter(folder, { ...adapter, localWindow: 9, ...(lowRank && { lowRank }) });
    const json = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
    expect(json).toMatchObject({ version: 3, localWindow: 9 });
    const read = await readAdapter(folder);
    expect(read.localWindow).toBe(9);
    expect(read.lowRank?.alpha).toBe(lowRank?.alpha);
    expect(adaptedConfig(read, config).nats).toMatchObject({ window: 4, localWindow: 9, chunk: 2 });
  });

  it('exports scorers in float32 under the authors\' names, rows by KV head, then type', () => {
    const { tensors } = decodeSafetensors(encodeAdapter(adapter.weights));
    const layer = (n: number) => `model.layers.${n}.self_attn.proj_layer.weight`;
    expect([...tensors.keys()]).toEqual([layer(0), layer(1)]);
    for (const [key, { dtype, shape, data }] of tensors) {
      expect([dtype, shape]).toEqual(['F32', [6, 8]]);
      expect([...data]).toEqual(Array.from(adapter.weights.get(key)!.data, Math.fround));
    }
  });
});

describe('a base', () => {
  it.each([
    { max_position_embeddings: 64, use_cache: true }, { bos_token_id: 5, eos_token_id: 6 }, { eos_token_id: [2, 5, 6] },
    { eos_token_id: null }, { nats: { policy: 'window:8' } },
  ])('is accepted with %j, which changes none of its results', (change) => {
    const same = parseConfig({ ...LLAMA, ...change });
    expect(baseFields(same)).toEqual(adapter.base);
    expect(() => checkAdapter(adapter, same)).not.toThrow();
  });

  it.each([
    ['with the ends of text in its hash', { ...adapter.base, eosTokenIds: [2, 5, 6] }],
    ['before models had a type', { ...adapter.base, modelType: undefined }],
    ['with switches of a later version that are off', { ...adapter.base, attentionSinks: false, other: null }],
  ])('is accepted by an adapter that was written %s', async (_, base) => {
    await writeAdapter(folder, { ...adapter, base: JSON.parse(JSON.stringify(base)) as typeof adapter.base });
    const old = await readAdapter(folder);
    expect(() => checkAdapter(old, config)).not.toThrow();
    expect(() => checkAdapter(old, parseConfig({ ...LLAMA, eos_token_id: [3, 4] }))).not.toThrow();
    expect(() => checkAdapter(old, parseConfig({ ...LLAMA, rope_theta: 5 }))).toThrow(/: ropeTheta 10000, here 5: use/);
  });

  it.each([
    [{ hidden_size: 16 }, /headDim 2, here 4; hiddenSize 8, here 16/],
    [{ num_hidden_layers: 3 }, /layers 2, here 3/],
    [{ rope_theta: 500000 }, /ropeTheta 10000, here 500000/],
    [{ rms_norm_eps: 1e-5 }, /rmsNormEpsilon 0\.000001, here 0\.00001/],
    [{ tie_word_embeddings: true }, /tieWordEmbeddings nothing, here true/],
    [{ vocab_size: 300, num_key_value_heads: 4 }, /kvHeads 2, here 4; vocabSize 258, here 300/],
  ])('that differs by %j is refused by name, with both values', (change, message) => {
    const check = () => checkAdapter(adapter, parseConfig({ ...LLAMA, ...change }));
    expect(check).toThrow(ConfigError);
    expect(check).toThrow(message);
    expect(check).toThrow(/^the adapter was made for another base, "tiny": [^\n]*$/);
    expect(check).toThrow(/ that it was fine-tuned on(, or override these fields of its config as they were then)?$/);
  });
});

describe('a damaged adapter', () => {
  it('is refused if a file is missing or truncated', async () => {
    await expect(readAdapter(join(root, 'nowhere'))).rejects.toThrow(StorageError);
    const path = join(folder, 'adapter_model.safetensors');
    writeFileSync(path, readFileSync(path).subarray(0, -1));
    await expect(readAdapter(folder)).rejects.toThrow(/adapter_model\.safetensors.*truncated/);
    rmSync(path);
    await expect(readAdapter(folder)).rejects.toThrow(/has no adapter_model\.safetensors/);
    writeFileSync(join(folder, 'adapter_config.json'), '{"format": ');
    rewriteScorers(adapter.weights);
    await expect(readAdapter(folder)).rejects.toThrow(/adapter_config\.json is not valid JSON/);
  });

  it.each<[object, RegExp]>([
    [{ format: 'peft' }, /format "peft"/],
    [{ version: 4 }, /version 4, but this package reads versions 1 to 3/],
    [{ version: 3 }, /localWindow is missing, not a whole number/],
    [{ localWindow: 8 }, /has a localWindow, which only version 3 has/],
    [{ version: 3, localWindow: -1 }, /localWindow is -1/],
    [{ base: { ...adapter.base, layers: 3 } }, /base_sha256 is not the hash of base/],
    [{ base: undefined }, /has no base/],
    [{ base_model: 5 }, /base_model is 5, not a string/],
    [{ window: -1 }, /window is -1/],
    [{ chunk: 0 }, /chunk is 0/],
    [{ pooling: 'sum' }, /pooling is "sum"/],
    [{ temperature: 0 }, /temperature is 0/],
    [{ lambda: undefined }, /lambda is missing/],
    [{ kept: 1.5 }, /kept is 1\.5/],
    [{ keptByLayer: [0.1] }, /1 kept shares for the base's 2 layers/],
    [{ keptByLayer: 'all' }, /keptByLayer/],
    [{ steps: 0.5 }, /steps is 0\.5/],
  ])('is refused with %j, by name', async (fields, message) => {
    rewrite(fields);
    await expect(readAdapter(folder)).rejects.toThrow(FileFormatError);
    await expect(readAdapter(folder)).rejects.toThrow(message);
    await expect(readAdapter(folder)).rejects.toThrow(/^[^\n]*: copy the adapter again, or fine-tune again$/);
  });

  it('is refused if it lacks a scorer, has one too many or one of another shape, or contains NaN', async () => {
    const zeros = new Float64Array(48);
    const cases: [[string, NDArray][], RegExp][] = [
      [[[name(0), scorer(0)]], /holds 1 scorers/],
      [[[name(0), scorer(0)], [name(1), scorer(1)], [name(2), scorer(2)]], /holds 3 scorers/],
      [[[name(0), scorer(0)], [name(2), scorer(2)]], /lacks 'model\.layers\.1\./],
      [[[name(0), scorer(0)], [name(1), ndarray(zeros, [8, 6])]], /as \[8,6\], but for the base it must be \[6,8\]/],
      [[[name(0), scorer(0)], [name(1), ndarray(zeros.slice().fill(NaN, 5, 6), [6, 8])]], /NaN at element 5/],
    ];
    for (const [weights, message] of cases) {
      rewriteScorers(weights);
      await expect(readAdapter(folder)).rejects.toThrow(message);
      await expect(readAdapter(folder)).rejects.toThrow(FileFormatError);
    }
  });

  it('is refused from memory in the same way', async () => {
    const bytes = encodeSafetensors([[name(0), { ...scorer(0), dtype: 'F32' }]]);
    await expect(parseAdapter([], bytes)).rejects.toThrow(/adapter_config\.json is not a JSON object/);
    await expect(parseAdapter(null, bytes)).rejects.toThrow(FileFormatError);
  });
});
