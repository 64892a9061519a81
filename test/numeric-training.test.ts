/** No training saves what is NaN or infinite, nor resumes from it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { FileFormatError, NumericError } from '../src/core/errors.ts';
import { encodeSealed } from '../src/formats/sealed.ts';
import { encodeSafetensors } from '../src/formats/safetensors.ts';
import { serializeConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { loadCheckpoint, saveCheckpoint } from '../src/train/checkpoint.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { loadFinetune, saveFinetune } from '../src/train/finetune-checkpoint.ts';
import { DEFAULT_FINETUNE_OPTIONS } from '../src/train/finetune-options.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { tensorsOf } from '../src/train/state.ts';
import { decodeState } from '../src/train/state-file.ts';
import { Trainer, type TrainingState } from '../src/train/trainer.ts';
import { configOf } from './support/spoiled-model.ts';

let root: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-numeric-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = (): string => mkdtempSync(join(root, 'run-'));

/** Names and bytes of all files. */
const contents = (path: string): string =>
  readdirSync(path).map((name) => `${name} ${readFileSync(join(path, name)).toString('base64')}`).join('\n');

const TEXT = 'It was the best of times, it was the worst of times. ';
const tokens = tokenizeDocuments(new ByteTokenizer(), [TEXT.repeat(2)]);
const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 30, batch: 2, context: 8, warmup: 0 };
const bits = (state: TrainingState): number[][] => [...tensorsOf(state)].map(([, { data }]) => [...data]);

describe('training', () => {
  it('does not save a state that overflowed, and keeps what was saved', async () => {
    const [config, out] = [configOf('full'), folder()];
    const run = { config, options, textHash: '' };
    const trainer = new Trainer(createEngine(), config, options, tokens);
    await trainer.next();
    const state = await trainer.state();
    await saveCheckpoint(out, state, run);
    const before = contents(out);
    const changed = (part: 'weights' | 'm' | 'v', value: number): TrainingState => {
      const norm = { data: new Float64Array(8).fill(value), shape: [8] };
      return { ...state, [part]: new Map([...state[part], ['model.norm.weight', norm]]) };
    };
    for (const [part, value, message] of [
      ['weights', NaN, /after step 1 holds NaN in 'model\.norm\.weight' at element 0/],
      ['weights', 1e39, /1e\+39, beyond the largest F32, in 'model\.norm\.weight'/],
      ['m', -Infinity, /after step 1 holds -Infinity in 'm\/model\.norm\.weight'/],
      ['v', NaN, /holds NaN in 'v\/model\.norm\.weight'/],
    ] as const) {
      await expect(saveCheckpoint(out, changed(part, value), run)).rejects.toThrow(NumericError);
      await expect(saveCheckpoint(out, changed(part, value), run)).rejects.toThrow(message);
    }
    expect(contents(out)).toBe(before);
  });

  it('does not give a state whose last update overflowed', async () => {
    // The gradients of the first step are finite, but the update with 1e308 overflows.
    const rates = { learningRate: 1.7e308, minLearningRate: 1.7e308, weightDecay: 1000, steps: 1 };
    const trainer = new Trainer(createEngine(), configOf('full'), { ...options, ...rates }, tokens);
    await trainer.run();
    await expect(trainer.state()).rejects.toThrow(/the state after step 1 holds .*Infinity|NaN/);
  });

  it('does not continue from a state with NaN in it, or of another shape', async () => {
    const config = configOf('full');
    const trainer = new Trainer(createEngine(), config, options, tokens);
    const state = await trainer.state();
    const from = (part: 'weights' | 'm' | 'v', data: Float64Array): (() => Trainer) => () => new Trainer(
      createEngine(), config, options, tokens,
      { from: { ...state, [part]: new Map([...state[part], ['model.norm.weight', { data, shape: [data.length] }]]) } },
    );
    expect(from('m', new Float64Array(8).fill(NaN))).toThrow(/holds NaN in 'm\/model\.norm\.weight' at element 0/);
    expect(from('v', new Float64Array(8).fill(-1))).toThrow(/-1 in 'v\/model\.norm\.weight'.*mean of squares/);
    expect(from('weights', new Float64Array(7))).toThrow(/'weights\/model\.norm\.weight' as \[7\], not \[8\]/);
    expect(from('weights', new Float64Array(8))).not.toThrow();
  });
});

describe('--resume', () => {
  const config = configOf('full', { num_hidden_layers: 1, hidden_size: 2, num_attention_heads: 1, intermediate_size: 2 });
  const run = { config, options, textHash: 'a' };
  const path = (out: string): string => join(out, 'training-state.safetensors');

  async function saved(): Promise<string> {
    const out = folder();
    const trainer = new Trainer(createEngine(), config, options, tokens);
    await saveCheckpoint(out, await trainer.state(), run);
    return out;
  }

  it('is refused for a state with NaN in it, naming the tensor, with or without a checksum', async () => {
    const out = await saved();
    const { state } = await loadCheckpoint(out);
    state.m.get('model.norm.weight')!.data[1] = NaN;
    const tensors = [...tensorsOf(state)].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F64' }] as const);
    for (const bytes of [await encodeSealed(tensors, { step: '3' }), encodeSafetensors(tensors, { step: '3' })]) {
      writeFileSync(path(out), bytes);
      await expect(loadCheckpoint(out)).rejects.toThrow(NumericError);
      await expect(loadCheckpoint(out)).rejects.toThrow(/training-state.* NaN in 'm.model.norm.weight' at element 1/);
    }
  });

  it('notices every flipped bit of a state, wherever it is', async () => {
    const bytes = new Uint8Array(readFileSync(path(await saved())));
    await expect(decodeState(bytes, 'state', 'training')).resolves.toMatchObject({ step: 0, sealed: true });
    const header = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    // Every byte of the header, and some of the data, each with another bit flipped.
    const places = Array.from({ length: header }, (_, n) => n);
    for (let at = header; at < bytes.length; at += 997) places.push(at);
    for (const at of [...places, bytes.length - 1]) {
      const bit = 1 << (at % 8);
      bytes[at] ^= bit;
      await expect(decodeState(bytes, 'state', 'training'), `byte ${at}`).rejects.toThrow(FileFormatError);
      bytes[at] ^= bit;
    }
    for (const rest of [bytes.subarray(0, -8), Uint8Array.from([...bytes, 0])]) {
      await expect(decodeState(rest, 'state', 'training')).rejects.toThrow(FileFormatError);
    }
  });

  it('is refused for a state that a full disk or a power failure left empty or zeroed, without advice about downloads', async () => {
    const out = await saved();
    for (const [bytes, what] of [[new Uint8Array(0), 'is empty'], [new Uint8Array(4096), 'begins with zeros']] as const) {
      writeFileSync(path(out), bytes);
      await expect(loadCheckpoint(out)).rejects.toThrow(
        new RegExp(`training-state\\.safetensors ${what}[^:]*: copy it again, or start again without --resume$`),
      );
    }
  });

  it('continues from a state that an older version wrote without a checksum, and says that it has none', async () => {
    const out = await saved();
    const { state } = await loadCheckpoint(out);
    const tensors = [...tensorsOf(state)].map(([name, { data, shape }]) => [name, { data, shape, dtype: 'F64' }] as const);
    writeFileSync(path(out), encodeSafetensors(tensors, {
      step: '0', config: serializeConfig(config), options: JSON.stringify(options), text_hash: 'a',
    }));
    const old = await loadCheckpoint(out);
    expect(old.sealed).toBe(false);
    expect(old.run).toEqual(run);
    expect(bits(old.state)).toEqual(bits(state));
  });
});

describe('fine-tuning', () => {
  const finetune = { ...DEFAULT_FINETUNE_OPTIONS, context: 12, batch: 1, steps: 4, warmup: 0 };
  const base = (): Model => new Model(createEngine(), configOf('full'), initialWeights(configOf('full'), 1));

  it('at a learning rate that overflows saves nothing, and keeps the existing adapter', async () => {
    const [out, config] = [folder(), configOf('full')];
    const record = { baseModel: 'base', config, options: finetune, textHash: '', packageVersion: '0' };
    const good = new Finetuner(base(), { window: 2 }, finetune, tokens);
    await good.next();
    await saveFinetune(out, good, { ...record, config: good.config });
    const before = contents(out);
    const wild = { ...finetune, learningRate: 1e300, minLearningRate: 1e300 };
    const bad = new Finetuner(base(), { window: 2 }, wild, tokens);
    await expect((async () => {
      await bad.run();
      await saveFinetune(out, bad, { ...record, config: bad.config });
    })()).rejects.toThrow(NumericError);
    expect(contents(out)).toBe(before);
  });

  it('does not continue from a state with NaN in it, or with a price that is not a number', async () => {
    const out = folder();
    const finetuner = new Finetuner(base(), { window: 2 }, finetune, tokens);
    await finetuner.next();
    const state = await finetuner.state();
    const name = 'model.layers.1.self_attn.proj_layer.weight';
    const shape = [6, 8];
    const poisoned = { ...state, v: new Map([...state.v, [name, { data: new Float64Array(48).fill(NaN), shape }]]) };
    const resume = (from: typeof state) => () => new Finetuner(base(), { window: 2 }, finetune, tokens, { from });
    expect(resume(poisoned)).toThrow(/holds NaN in 'v\/model\.layers\.1\.self_attn\.proj_layer\.weight'/);
    expect(resume({ ...state, price: { lambda: NaN } })).toThrow(/lambda has become NaN/);
    expect(resume(state)).not.toThrow();
    const tensors = [...tensorsOf(poisoned)].map(([key, each]) => [key, { ...each, dtype: 'F64' }] as const);
    writeFileSync(join(out, 'finetune-state.safetensors'), await encodeSealed(tensors, { step: '1' }));
    await expect(loadFinetune(out)).rejects.toThrow(/holds NaN in 'v\/model\.layers\.1/);
  });
});
