/** Adapters with changes of q and k: their files, and models loaded with them on every engine. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, FileFormatError, NumericError, ValueError } from '../src/core/errors.ts';
import { Tape } from '../src/core/tape.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { createEngine } from '../src/engines.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/formats/safetensors.ts';
import { loadModel } from '../src/load.ts';
import { type ModelConfig, serializeConfig } from '../src/model/config/config.ts';
import { hiddenStates, uploadWeights, type Weights } from '../src/model/decoder.ts';
import {
  type Adapter, adaptedConfig, baseFields, parseAdapter, readAdapter, writeAdapter,
} from '../src/model/folder/adapter.ts';
import { encodeAdapter } from '../src/model/folder/adapter-weights.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { changesOf, type LowRank, mergesOf } from '../src/model/low-rank.ts';
import { Search } from '../src/train/gradients.ts';
import { describeEngines } from './support/engines.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';
import { lora, RANK, someChanges } from './support/low-rank-setup.ts';

const config = configOf();
const all = weightsOf(configOf({ nats: { ...NATS, policy: 'nats' } }));
const isScorer = (name: string) => name.endsWith('proj_layer.weight');
const base = new Map([...all].filter(([name]) => !isScorer(name)));
const adapterOf = (weights: ReadonlyMap<string, NDArray>, alpha = 4): Adapter => ({
  baseModel: 'tiny', base: baseFields(config), window: 3, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0,
  targetKeep: 0.2, kept: 0.25, keptByLayer: [0.2, 0.3], context: 16, steps: 7, seed: 3, packageVersion: '0.1.0',
  weights: new Map([...all].filter(([name]) => isScorer(name))), lowRank: { rank: RANK, alpha, weights },
});
const adapter = adapterOf(someChanges(config));
const lowRank = adapter.lowRank!;

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-low-rank-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = mkdtempSync(join(root, 'adapter-'));
  await writeAdapter(folder, adapter);
});

const CONFIG = 'adapter_config.json';
const jsonIn = (at: string) => JSON.parse(readFileSync(join(at, CONFIG), 'utf8')) as Record<string, unknown>;

function rewrite(fields: object): void {
  writeFileSync(join(folder, CONFIG), JSON.stringify({ ...jsonIn(folder), ...fields }));
}

describe('an adapter with changes', () => {
  it('has PEFT\'s names and fields beside its own, and is read back as it was written', async () => {
    expect(jsonIn(folder)).toMatchObject({
      format: 'natsearch-adapter', version: 2, peft_type: 'LORA', r: RANK, lora_alpha: 4,
      target_modules: ['q_proj', 'k_proj'],
    });
    const { tensors } = decodeSafetensors(readFileSync(join(folder, 'adapter_model.safetensors')));
    const name = 'base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight';
    expect(tensors.get(name)).toMatchObject({ dtype: 'F32', shape: [4, RANK] });
    const { weights, lowRank: read, ...rest } = await readAdapter(folder);
    const { weights: scorers, lowRank: _, ...settings } = adapter;
    expect(rest).toEqual(settings);
    expect(read).toMatchObject({ rank: RANK, alpha: 4 });
    expect([...weights.keys()]).toEqual([...scorers.keys()]);
    expect([...read!.weights.keys()].sort()).toEqual([...lowRank.weights.keys()].sort());
    for (const [key, { data }] of read!.weights) expect([...data]).toEqual([...lowRank.weights.get(key)!.data]);
  });

  it('is not one of scorers alone, which have version 1 and no fields of PEFT\'s', async () => {
    const { lowRank: _, ...scorers } = adapter;
    await writeAdapter(folder, scorers);
    const json = jsonIn(folder);
    expect(json['version']).toBe(1);
    for (const field of ['peft_type', 'r', 'lora_alpha', 'target_modules', 'lowRank']) expect(json).not.toHaveProperty(field);
    expect(await readAdapter(folder)).not.toHaveProperty('lowRank');
  });

  it.each<[object, RegExp]>([
    [{ r: 0 }, /r is 0, not a whole number from 1/],
    [{ r: 1.5 }, /r is 1\.5/],
    [{ r: undefined }, /r is missing/],
    [{ r: 3 }, /as \[2,8\], but for the base it must be \[3,8\]/],
    [{ r: 2 ** 30 }, /as \[2,8\], but for the base it must be \[1073741824,8\]/],
    [{ lora_alpha: 0 }, /lora_alpha is 0, not a number above 0/],
    [{ lora_alpha: '4' }, /lora_alpha is "4"/],
    [{ target_modules: ['v_proj'] }, /target_modules is \["v_proj"\], not \["q_proj","k_proj"\]/],
    [{ target_modules: 'all-linear' }, /target_modules is "all-linear"/],
    [{ version: 1 }, /holds 10 scorers and the config 2 kept shares for the base's 2 layers/],
  ])('is refused with %j, by name', async (fields, message) => {
    rewrite(fields);
    await expect(readAdapter(folder)).rejects.toThrow(FileFormatError);
    await expect(readAdapter(folder)).rejects.toThrow(message);
  });

  it('is refused if a matrix is missing, of another shape, or not finite', async () => {
    const written = new Map([...adapter.weights, ...lowRank.weights]);
    const [A, B] = [lora(0, 'q_proj', 'A'), lora(1, 'k_proj', 'B')];
    const without = new Map([...written].filter(([name]) => name !== A));
    const data = Float64Array.of(1, NaN, 1, 1, 1, 1, 1, 1);
    const nan = new Map([...written, [B, { data, shape: [4, 2] }] as const]);
    const turned = new Map([...written, [A, { ...written.get(A)!, shape: [8, 2] }] as const]);
    for (const [weights, message] of [
      [without, /holds 9 tensors and the config 2 kept shares .* and 8 matrices of changes/],
      [new Map([...without, ['x', written.get(A)!] as const]), /lacks '.*layers\.0.*q_proj\.lora_A/],
      [nan, /k_proj\.lora_B\.weight' with NaN at element 1/],
      [turned, /as \[8,2\], but for the base it must be \[2,8\]/],
    ] as const) {
      writeFileSync(join(folder, 'adapter_model.safetensors'), encodeAdapter(weights));
      await expect(readAdapter(folder)).rejects.toThrow(message);
      await expect(readAdapter(folder)).rejects.toThrow(FileFormatError);
    }
    const large = new Map([[A, { data: Float64Array.of(1e39), shape: [1] }]]);
    const infinite = { ...adapter, lowRank: { ...lowRank, weights: large } };
    await expect(writeAdapter(folder, infinite)).rejects.toThrow(NumericError);
  });
});

/** A file of the base in which half of the weights are float16, and what it holds. */
const dtypeOf = (name: string) => (/mlp|embed|_proj/.test(name) ? 'F16' as const : 'F32' as const);
const stored = (weights: ReadonlyMap<string, NDArray>, dtype = dtypeOf): Uint8Array =>
  encodeSafetensors([...weights].map(([name, each]) => [name, { ...each, dtype: dtype(name) }] as const));
const json: unknown = JSON.parse(serializeConfig(config));

/** The base's own numbers with the changes of an adapter in them, as float32. */
function mergedBase(bytes: Uint8Array, changes: LowRank): Map<string, NDArray> {
  const merges = mergesOf(config, changes);
  return new Map([...decodeSafetensors(bytes).tensors].map(([name, { data, shape }]) => {
    return [name, { data: merges.get(name)?.(data) ?? data, shape }];
  }));
}

describeEngines('a model loaded with changes', ({ engine: current }) => {
  it('is the model whose q and k are the merged ones in float32, bit for bit, and the base stays', async () => {
    const engine = current();
    const bytes = stored(base);
    const before = bytes.slice();
    const second = adapterOf(someChanges(config, RANK, 10), 1);
    const logits = async (weights: Uint8Array, learned?: Adapter, overrides?: unknown) => {
      const options = { engine, ...(learned && { adapter: learned }) };
      const model = await loadModel({ config: overrides ?? json, weights }, options);
      const session = model.session();
      const values = (await session.step([256, ...tokens.slice(3, 12)], { logits: 'all' })).slice();
      const next = (await session.step([65], { logits: 'last' })).slice();
      session.dispose();
      model.dispose();
      return [...values, ...next];
    };
    const nats = JSON.parse(serializeConfig(adaptedConfig(adapter, config))) as unknown;
    const asMerged = ({ lowRank: changes, weights }: Adapter) => {
      const merged = new Map([...mergedBase(bytes, changes!), ...weights]);
      const plain = (name: string) => (/[qk]_proj|proj_layer/.test(name) ? 'F32' as const : dtypeOf(name));
      return logits(stored(merged, plain), undefined, nats);
    };
    const [one, two] = [await logits(bytes, adapter), await logits(bytes, second)];
    expect(one.every(Number.isFinite)).toBe(true);
    expect(one).not.toEqual(two);
    expect(one).toEqual(await asMerged(adapter));
    expect(bytes).toEqual(before);
    expect(await logits(bytes, adapter)).toEqual(one); // no trace of the other adapter
  });
});

describe('loading an adapter with changes', () => {
  /** Changes and a base whose sums float32 has exactly. */
  const dyadic = (weights: ReadonlyMap<string, NDArray>, by: number) =>
    new Map([...weights].map(([name, { data, shape }]) => {
      return [name, { data: Float64Array.from(data, (x) => Math.round(x * by) / by), shape }] as const;
    }));

  it('gives the hidden states of the student that was trained, up to rounding in float64', async () => {
    const engine = createEngine({ precision: 'float64', engine: 'reference' });
    const [own, changes] = [dyadic(base, 2 ** 12), dyadic(someChanges(config), 64)];
    const exactly = adapterOf(changes, 4);
    const nats: ModelConfig = adaptedConfig(exactly, config);
    const states = async (weights: Weights, apart: boolean) => {
      const tape = new Tape(engine, false);
      const search = new Search(tape, nats, optionsOf(), weights, 1, 16);
      const ids = tape.own(engine.integers(tokens.slice(0, 16), [1, 16]));
      const positions = Array.from({ length: 16 }, (_, n) => n);
      const out = hiddenStates(tape, nats, weights, ids, positions, (layer, inputs) => search.attend(layer, inputs),
        apart ? changesOf(config, weights, exactly.lowRank!) : undefined);
      const values = [...await engine.read(out)];
      tape.dispose();
      return values;
    };
    const student = await states(uploadWeights(engine, new Map([...own, ...exactly.weights, ...changes])), true);
    const model = await loadModel({ config: json, weights: stored(own, () => 'F32') }, { engine, adapter: exactly });
    const merged = await states(model.weights, false);
    const largest = Math.max(...student.map(Math.abs));
    expect(largest).toBeGreaterThan(0.1);
    student.forEach((x, n) => expect(Math.abs(x - merged[n])).toBeLessThan(1e-12 * largest));
    const plain = await states(uploadWeights(engine, new Map([...own, ...exactly.weights])), false);
    expect(Math.max(...plain.map((x, n) => Math.abs(x - merged[n])))).toBeGreaterThan(0.01 * largest);
  });

  it('works from a folder, whose files stay as they are', async () => {
    const path = join(mkdtempSync(join(root, 'base-')), 'base');
    await writeModelFolder(path, config, base);
    const file = readFileSync(join(path, 'model.safetensors'));
    const [one, two] = [
      await loadModel(path, { adapter: folder }),
      await loadModel({ config: json, weights: file }, { adapter: await parseAdapter(
        readFileSync(join(folder, CONFIG)), readFileSync(join(folder, 'adapter_model.safetensors')),
      ) }),
    ];
    expect(await one.hash()).toBe(await two.hash());
    const { lowRank: _, ...scorers } = await readAdapter(folder);
    expect(await (await loadModel(path, { adapter: scorers })).hash()).not.toBe(await one.hash());
    expect(readFileSync(join(path, 'model.safetensors')).equals(file)).toBe(true);
  });

  it('is refused where changes do not fit the model or are none, before a weight is read', async () => {
    const weights = stored(base);
    const load = (changes: unknown) =>
      loadModel({ config: json, weights }, { adapter: { ...adapter, lowRank: changes } as Adapter });
    await expect(load({ ...lowRank, rank: 3 })).rejects.toThrow(ConfigError);
    await expect(load({ ...lowRank, weights: new Map() })).rejects.toThrow(ConfigError);
    for (const rank of [0, -1, 1.5, NaN, '2']) await expect(load({ ...lowRank, rank })).rejects.toThrow(ValueError);
    for (const alpha of [0, NaN, '2']) await expect(load({ ...lowRank, alpha })).rejects.toThrow(ValueError);
    await expect(load({ ...lowRank, weights: {} })).rejects.toThrow(/lowRank\.weights of adapter/);
    await expect(load(null)).rejects.toThrow(ValueError);
  });

  it('is refused by name for a base whose q and k are fused or quantised', async () => {
    const fused = new Map([...base].filter(([name]) => !/[qkv]_proj/.test(name)));
    fused.set('model.layers.0.self_attn.qkv_proj.weight', { data: new Float64Array(128), shape: [16, 8] });
    const load = (weights: Uint8Array) => loadModel({ config: json, weights }, { adapter });
    await expect(load(stored(fused))).rejects.toThrow(/weights are missing, first 'model\.layers\.0\..*\.q_proj/);
    const header = (bytes: Uint8Array) => Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
    const bytes = stored(base, () => 'F32').slice();
    const text = new TextDecoder().decode(bytes.subarray(8, 8 + header(bytes)));
    const quantised = text.replace(/("model\.layers\.0\.self_attn\.q_proj\.weight":\{"dtype":)"F32"/, '$1"I32"');
    expect(quantised).not.toBe(text);
    bytes.set(new TextEncoder().encode(quantised), 8);
    await expect(load(bytes)).rejects.toThrow(/I32/);
  });
});
