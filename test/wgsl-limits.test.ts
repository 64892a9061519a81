/**
 * What is too large for a device is refused before anything is computed, with the most that fits, and that does fit.
 * The device says that its buffers are small.
 */
import { expect, it } from 'vitest';
import { partsOf } from '../gpu/wgsl/decode.ts';
import type { WgslDevice } from '../gpu/wgsl/device.ts';
import { openWgslEngine, type WgslOptions } from '../gpu/wgsl/open.ts';
import { DeviceError } from '../src/core/errors.ts';
import { createEngine } from '../src/engines.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { generate } from '../src/model/generate/generate.ts';
import { Model } from '../src/model/model.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { beginGradients, computeGradients } from '../src/train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { some } from './support/thorough.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/** An engine on a device whose buffers have at most so many bytes, and how many were made and commands submitted. */
async function small(
  bytes: number, options: WgslOptions = {}, ...others: Parameters<typeof requestGpuDevice>
): Promise<{ engine: TrainingEngine; done(): number }> {
  const gpuDevice = await requestGpuDevice(...others);
  const { limits } = gpuDevice;
  Object.defineProperty(gpuDevice, 'limits', { value: new Proxy(limits, {
    get: (of, name) => (name === 'maxStorageBufferBindingSize' ? bytes : Reflect.get(of, name, of) as unknown),
  }) });
  let done = 0;
  const createBuffer = gpuDevice.createBuffer.bind(gpuDevice);
  const createCommandEncoder = gpuDevice.createCommandEncoder.bind(gpuDevice);
  gpuDevice.createBuffer = (how) => (done++, createBuffer(how));
  gpuDevice.createCommandEncoder = (how) => (done++, createCommandEncoder(how));
  return { engine: await openWgslEngine({ gpuDevice, ...options }), done: () => done };
}

const caught = async (work: () => unknown): Promise<DeviceError> => {
  const error: unknown = await Promise.resolve().then(work).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(DeviceError);
  expect((error as DeviceError).message).toContain('maxStorageBufferBindingSize');
  return error as DeviceError;
};

/** The number that an error says fits. */
const fitting = ({ message }: DeviceError, of: RegExp): number => {
  expect(message).toMatch(of);
  return Number(of.exec(message)![1]);
};

const PATIENCE = { timeout: 120_000 };
/** Software drivers take many seconds to compile the kernels for GPUs. */
const SLOW = { timeout: 300_000 };

it('cuts the entries of a cache into as many parts as a GPU likes and a binding holds', () => {
  const parts = (maxBytes: number, most: number, joins = false): number =>
    partsOf({ testing: false, maxBytes } as WgslDevice, { B: 1, H: 8, G: 2, d: 64 }, most, joins);
  for (const bytes of [2 ** 27, 2 ** 31]) {
    expect([parts(bytes, 90, true), parts(bytes, 90), parts(bytes, 2 ** 20)]).toEqual([66, 130, 258]);
  }
  // Sums of a part take 4 * 64 numbers, of which one part needs none.
  for (const joins of [true, false]) expect(parts(2 ** 14, 90, joins)).toBe(17);
  // There is one part for each head, if there is nothing else.
  for (const bytes of [2 ** 11, 2 ** 10]) expect(parts(bytes, 90)).toBe(3);
});

describeWebGPU('limits of a device', () => {
  it.each(some(1, [
    ['full', 'f16', 2], ['full', 'f32', 1],
  ] as const))('a context that is too long under %s, in %s, for %d sequences', PATIENCE, async (policy, cache, batch) => {
    const { engine, done } = await small(2 ** 13);
    const model = livelyModel(engine, livelyConfig('full', {}, {
      vocab_size: 258, hidden_size: 4, max_position_embeddings: 2048, num_hidden_layers: 1,
    }));
    const options = { policy: parsePolicy(policy), cache, batch };
    const session = model.session(options);
    const before = done();
    const prompts = Array.from({ length: batch }, () => livelyIds(1, 900));
    const run = async (tokens: number): Promise<void> => {
      const all = prompts.map((ids) => ids.subarray(0, tokens));
      const how = { policy: options.policy, cache, maxNewTokens: 1, prefillStep: 32 };
      let pieces = 0;
      for await (const piece of generate(model, all, how)) pieces += Number(piece.finish !== undefined);
      expect(pieces).toBe(batch);
    };
    const refused = await caught(async () => run(900));
    expect(done()).toBe(before);
    const fits = fitting(refused, /a context of at most (\d+) tokens fits/);
    // 8 KiB, 2 KV heads, 4 numbers each; a row takes two words at least.
    expect(fits).toBe(2 ** 13 / (batch * 2 * Math.max(4 * (cache === 'f16' ? 2 : 4), 8)));
    await run(fits);
    expect((await caught(async () => run(fits + 1))).message).toContain(`at most ${fits} tokens fits`);
    // Token by token, too: the last one has a slot, and the one after it is refused before anything happens.
    const ids = livelyIds(2, batch * 32);
    for (let n = 0; n < fits / 32; n++) await session.step(ids, { logits: 'none' });
    const full = done();
    await caught(async () => session.step(ids.subarray(0, batch), { logits: 'none' }));
    expect(done()).toBe(full);
    expect((await session.stats())[0].live[0]).toBe(fits);
    engine.dispose();
  });

  it.each(some(1, [['f32', 1, 0], ['f16', 2, 6]] as const))('what learned types keep, in %s, for %d sequences', PATIENCE, async (cache, batch, window) => {
    const { engine } = await small(2 ** 13);
    const config = livelyConfig('nats', { window }, { max_position_embeddings: 2048 });
    const [session, twin] = [engine, createEngine({ engine: 'reference' })].map((on) =>
      livelyModel(on, config).session({ batch, ...(on === engine && { cache }) }));
    const width = Math.max(4 * (cache === 'f16' ? 2 : 4), 8);
    // What is held is that of the reference, whose types are the same.
    const fits = async (tokens: number): Promise<boolean> => (await twin.stats()).every(({ live }) =>
      live.reduce((sum, held) => sum + Math.ceil((held + tokens) / 16) * 16, 0) * width <= 2 ** 13);
    let steps = 0;
    for (; await fits(16); steps++) {
      const ids = livelyIds(steps, 16 * batch);
      for (const each of [session, twin]) await each.step(ids, { logits: 'none' });
    }
    expect(steps * 16 * batch * 2 * width).toBeGreaterThan(2 ** 13); // if all were kept, that would not have fitted
    const before = await session.stats();
    const refused = await caught(async () => session.step(livelyIds(0, 40 * batch), { logits: 'none' }));
    const most = fitting(refused, /a step of at most (\d+) tokens fits/);
    expect([await fits(most), await fits(most + 1)]).toEqual([true, false]);
    await caught(async () => session.step(livelyIds(0, (most + 1) * batch), { logits: 'none' }));
    // No layer has taken a token, so that the session goes on.
    expect(await session.stats()).toEqual(before);
    expect(before.map(({ live }) => [...live])).toEqual((await twin.stats()).map(({ live }) => [...live]));
    if (most > 0) await session.step(livelyIds(0, most * batch), { logits: 'none' });
    expect(session.lengths).toEqual(new Array(batch).fill(16 * steps + most));
    engine.dispose();
  });

  it('learned types, step by step and all at once', PATIENCE, async () => {
    const { engine } = await small(2 ** 12);
    const session = livelyModel(engine, livelyConfig('nats', {}, { max_position_embeddings: 2048 })).session({ cache: 'f32' });
    const feed = async (ids: Int32Array): Promise<void> => void await session.step(ids, { logits: 'none' });
    let steps = 0;
    const most = async (): Promise<number> => Math.max(...(await session.stats()).flatMap(({ live }) => [...live]));
    for (; await most() < 90; steps++) await feed(livelyIds(steps, 16));
    await feed(livelyIds(0, 1)); // since the caches were asked
    // Nobody awaits one before the next. The caches have to be asked for the first; the second alone would not have to.
    const fed = [30, 1, 30, 1].map((length, n) => livelyIds(100 + n, length));
    const done = await Promise.allSettled(fed.map(feed));
    const taken = fed.filter((_, n) => done[n].status === 'fulfilled');
    expect(done[0].status).toBe('fulfilled');
    for (const each of done) if (each.status === 'rejected') expect((each.reason as Error).message).toMatch(/a step of at most \d+ tokens fits/);
    expect([...session.tokens[0].subarray(16 * steps + 1)]).toEqual(taken.flatMap((ids) => [...ids]));
    // What was refused was refused before any layer took it. Tokens that were found before come before a refusal.
    let found = 0;
    const before = session.lengths[0];
    await caught(async () => {
      for await (const tokens of session.greedy([7], { steps: 2000, ahead: 4 })) found += tokens.length;
    });
    expect(session.lengths[0] - before).toBe(found);
    expect(session.tokens[0].length).toBe(before + found);
    engine.dispose();
  });

  it.each(some(1, ['streaming:2+200', 'nats']))('nothing of a step that fits, under %s, by kernels for GPUs', SLOW, async (policy) => {
    const { engine } = await small(2 ** 12, { testing: true, width: 64 }, 'maxStorageBuffersPerShaderStage');
    const config = livelyConfig(policy === 'nats' ? policy : 'full', {}, {
      hidden_size: 4, num_hidden_layers: 1, num_attention_heads: 64, num_key_value_heads: 1,
      max_position_embeddings: 256,
    });
    // A token's queries are a KiB, so that four parts fit. Its entries are in two, which the product puts together
    // under a fixed policy.
    const [found, truth] = await Promise.all([engine, createEngine({ engine: 'reference' })].map(async (on) => {
      const session = livelyModel(on, config).session({ ...(policy !== 'nats' && { policy: parsePolicy(policy) }) });
      for (let n = 0; n < 18; n++) await session.step(livelyIds(n, 4), { logits: 'none' });
      const tokens: number[] = [];
      for await (const each of session.greedy([7], { steps: 6, ahead: 2 })) tokens.push(...each);
      return [tokens, (await session.stats()).map(({ live, visiblePairs }) => [[...live], [...visiblePairs]])];
    }));
    expect(found).toEqual(truth);
    engine.dispose();
  });

  it.each(some(1, ['h2o:20', 'snapkv:20', 'keynorm:20']))('a step that is too long under a budget, %s', PATIENCE, async (text) => {
    const { engine, done } = await small(2 ** 13);
    const config = livelyConfig('full', {}, {
      max_position_embeddings: 2048, num_hidden_layers: 1, hidden_size: 4, intermediate_size: 4, num_attention_heads: 2,
    });
    const model = new Model(engine, config, livelyWeights(config, 1));
    const session = model.session({ policy: parsePolicy(text) });
    await session.step(livelyIds(1, 30), { logits: 'none' });
    const before = done();
    const refused = await caught(async () => session.step(livelyIds(1, 250), { logits: 'none' }));
    expect(done()).toBe(before);
    const fits = fitting(refused, /a step of at most (\d+) tokens fits/);
    expect(fits).toBeGreaterThan(8);
    await session.step(livelyIds(1, fits), { logits: 'none' });
    await caught(async () => session.step(livelyIds(1, fits + 1), { logits: 'none' }));
    expect(session.lengths).toEqual([30 + fits]);
    engine.dispose();
  });

  it('logits of too many tokens or sequences, and too large a vocabulary', PATIENCE, async () => {
    const { engine, done } = await small(2 ** 12);
    const config = livelyConfig('full', {}, {
      vocab_size: 300, hidden_size: 3, intermediate_size: 3, num_hidden_layers: 1, num_attention_heads: 1,
      num_key_value_heads: 1, head_dim: 2,
    });
    const model = livelyModel(engine, config);
    const session = model.session();
    const before = done();
    const long = await caught(async () => session.step(livelyIds(1, 9)));
    const fits = fitting(long, /at most (\d+) instead of 9 tokens fit/);
    expect(done()).toBe(before);
    expect(fits).toBe(3);
    expect((await session.step(livelyIds(1, fits))).length).toBe(fits * 300);
    await caught(async () => session.step(livelyIds(1, fits + 1)));
    expect((await session.step(livelyIds(1, 9), { logits: 'last' })).length).toBe(300);
    const wideBatch = await caught(async () => model.session({ batch: 4 }).next(livelyIds(1, 4)));
    const most = fitting(wideBatch, /at most (\d+) sequences fit/);
    expect(most).toBe(3);
    expect((await model.session({ batch: most }).next(livelyIds(1, most))).length).toBe(most);
    const wide = livelyConfig('full', {}, { vocab_size: 1100, hidden_size: 3, intermediate_size: 3 });
    expect((await caught(() => livelyModel(engine, wide))).message).toMatch(/at most 341 instead of 1100 rows fit/);
    engine.dispose();
  });

  it('steps of training that are too long or too wide', PATIENCE, async () => {
    const { engine, done } = await small(2 ** 13);
    const config = livelyConfig('nats', {}, { num_hidden_layers: 1, max_position_embeddings: 512 });
    const weights = uploadWeights(engine, livelyWeights(config, 1));
    const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 1 };
    const step = async (batch: number, N: number): Promise<number> => {
      const windows = Array.from({ length: batch }, (_, b) => livelyIds(b, N + 1));
      const how = { ...options, batch, context: N };
      const draw = { step: 1, sequences: [...windows.keys()] };
      const { gradients, loss } = await computeGradients(engine, config, how, weights, windows, draw);
      for (const gradient of gradients.values()) gradient.dispose();
      return loss;
    };
    const before = done();
    const refused = await caught(async () => step(2, 40));
    const windows = [1, 2].map((seed) => livelyIds(seed, 41));
    const how = { ...options, batch: 2, context: 40 };
    const begin = (): unknown => beginGradients(engine, config, how, weights, windows, { step: 1, sequences: [0, 1] });
    expect(begin).toThrow(DeviceError);
    expect(done()).toBe(before);
    const context = fitting(refused, /a context of at most (\d+) tokens/);
    const sequences = fitting(refused, /a batch of at most (\d+)/);
    expect([context, sequences]).toEqual([2 ** 13 / 4 / 32 / 2, Math.floor(2 ** 13 / 4 / 32 / 40)]);
    expect(await step(2, context)).toBeGreaterThan(0);
    expect(await step(sequences, 40)).toBeGreaterThan(0);
    await caught(async () => step(2, context + 1));
    await caught(async () => step(sequences + 1, 40));
    engine.dispose();
  });
});
