/** Plans of memory, compared with what the engines allocate, and the effect of limits. */
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { Engine, Tensor } from '../src/core/engine.ts';
import { DeviceError, ValueError } from '../src/core/errors.ts';
import type { ModelConfig } from '../src/model/config/config.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { planMemory } from '../src/model/plan.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { TEST_TUNING } from '../gpu/gpujs/device.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { loadLibrary } from '../gpu/gpujs/library.ts';
import { CountingDevice } from './support/counting-device.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';

const CONFIGS: [string, ModelConfig][] = [
  ['Llama', livelyConfig('full')],
  ['an untied Llama with learned types', livelyConfig('nats', {}, { tie_word_embeddings: false })],
  ['Mistral with its window', livelyConfig('full', {}, { model_type: 'mistral', sliding_window: 9 })],
  ['Qwen2, with biases', livelyConfig('full', {}, { model_type: 'qwen2' })],
  ['Qwen3, with norms of heads', livelyConfig('full', {}, { model_type: 'qwen3' })],
];

/** An engine that counts the bytes of live float tensors, and their maximum. */
function counting(engine: Engine, number: number): { engine: Engine; bytes: { now: number; most: number } } {
  const bytes = { now: 0, most: 0 };
  const watch = (x: unknown): void => {
    const tensor = x as Partial<Tensor> | null;
    if (typeof tensor !== 'object' || tensor === null || tensor instanceof Promise) return;
    if (!Array.isArray(tensor.shape)) return Object.values(tensor).forEach(watch);
    if (tensor.kind !== 'float') return;
    const size = (tensor.shape as number[]).reduce((a, b) => a * b, 1) * number;
    bytes.most = Math.max(bytes.most, bytes.now += size);
    const dispose = tensor.dispose!.bind(tensor);
    let alive = true;
    (tensor as { dispose(): void }).dispose = () => {
      if (alive) bytes.now -= size;
      alive = false;
      dispose();
    };
  };
  const proxy = new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (name === 'createCache') {
        return (...args: Parameters<Engine['createCache']>) => {
          const cache = target.createCache(...args);
          for (const name of ['attend', 'step', 'prefill'] as const) {
            const method = cache[name].bind(cache) as (...call: unknown[]) => Tensor;
            cache[name] = (...call: unknown[]) => {
              const out = method(...call);
              watch(out);
              return out;
            };
          }
          return cache;
        };
      }
      if (typeof member !== 'function') return member;
      return (...call: unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, target, call);
        watch(result);
        return result;
      };
    },
  });
  return { engine: proxy, bytes };
}

describe('planMemory()', () => {
  it.each(CONFIGS)('gives the weights of %s and the memory in which the reference holds them', async (_, config) => {
    const engine = referenceEngine('float64');
    const model = livelyModel(engine, config);
    const { parameters, weights, stored } = planMemory(config, { kept: 1, storedBytes: 2 });
    expect(parameters).toBe(model.parameters);
    expect(stored).toBe(2 * model.parameters);
    // As when a file of float32 is loaded; a step widens the norms.
    for (const [name, tensor] of model.weights) {
      const narrow = engine.tensor(Float32Array.from(await engine.read(tensor)), tensor.shape);
      (model.weights as Map<string, Tensor>).set(name, narrow);
    }
    await model.session().step([1]);
    const bytesOf = (tensor: Tensor): number =>
      (tensor as unknown as { array: { data: Float32Array } }).array.data.byteLength;
    const held = [...model.weights.values()].reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    expect(weights).toBe(held);
  });

  it.each(CONFIGS)('gives the bytes that the caches of %s report, under every fixed policy and length', async (_, config) => {
    const engine = referenceEngine('float64');
    const model = livelyModel(engine, config);
    for (const policy of ['full', 'window:3', 'streaming:2+4', 'window:40'].map(parsePolicy)) {
      const contexts = [1, 2, 5, 8, 9, 17, 30];
      const plan = planMemory(config, { policies: [policy], contexts, blockSize: 4 });
      for (const { tokens, entries, bytes } of plan.policies[0].caches) {
        const session = model.session({ policy, blockSize: 4 });
        await session.step(livelyIds(1, tokens), { logits: 'none' });
        const stats = await session.stats();
        const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
        expect([tokens, entries]).toEqual([tokens, sum(stats.map(({ live }) => sum(live)))]);
        expect([tokens, bytes]).toEqual([tokens, sum(stats.map((layer) => sum(layer.bytes)))]);
        expect(plan.entryBytes).toBe(stats[0].entryBytes);
        session.dispose();
      }
    }
  });

  it.each(CONFIGS)('is at most a tenth above the maximum that a step of %s holds at once, and not below it', async (_, config) => {
    const { engine, bytes } = counting(referenceEngine('float64'), 8);
    const model = livelyModel(engine, config);
    const session = model.session({ batch: 2 });
    bytes.most = bytes.now;
    const before = bytes.now;
    await session.step(livelyIds(2, 2 * 24), { logits: 'last' });
    const planned = planMemory(config, { kept: 1, batch: 2, prefillStep: 24 }).step;
    expect(bytes.most - before).toBeLessThanOrEqual(planned);
    expect(bytes.most - before).toBeGreaterThan(0.9 * planned);
    expect(bytes.now).toBe(before);
  });

  it('uses the measured share of learned types, layer by layer, and refuses to guess it', () => {
    const config = livelyConfig('nats');
    const { policies } = planMemory(config, { kept: [0.1, 0.5], contexts: [1000], blockSize: 1 });
    const nats = policies.find(({ policy }) => policy === 'nats')!.caches[0];
    expect(nats.entries).toBe(2 * (100 + 500));
    expect(nats.bytes).toBe(2 * 600 * (2 * 4 * 8 + 9));
    expect(() => planMemory(config)).toThrow(ValueError);
    for (const kept of [-0.1, 1.1, NaN, [0.1], [0.1, 0.1, 0.1]]) {
      expect(() => planMemory(config, { kept })).toThrow(ValueError);
    }
  });

  it('names the limit that a text exceeds first, and the longest text that does not', () => {
    const config = livelyConfig('full');
    const free = planMemory(config, { contexts: [100] });
    expect(free.policies.map(({ longest }) => longest)).toEqual([
      { tokens: 2 ** 31 - 2, limit: 'positions of 32 bits' }, { tokens: 2 ** 31 - 2, limit: 'positions of 32 bits' },
    ]);
    for (const memory of [free.weights + free.step + 100_000, free.weights + free.step + 1_000_000]) {
      const { longest } = planMemory(config, { memory }).policies[0];
      expect(longest.limit).toBe('memory');
      const at = (tokens: number) => planMemory(config, { memory, contexts: [tokens] }).policies[0].caches[0];
      expect(at(longest.tokens).exceeds).toBeUndefined();
      expect(at(longest.tokens).total).toBeLessThanOrEqual(memory);
      expect(at(longest.tokens + 1)).toMatchObject({ exceeds: 'memory' });
      // A window stops growing.
      expect(planMemory(config, { memory }).policies[1].longest.limit).toBe('positions of 32 bits');
    }
    const none = planMemory(config, { memory: free.weights, contexts: [1] });
    const [{ caches, longest }] = none.policies as [typeof none.policies[0]];
    expect([none.exceeds, caches[0].exceeds, longest]).toEqual(['memory', 'memory', { tokens: 0, limit: 'memory' }]);
    const large = planMemory(config, { tensor: { bytes: free.largest.bytes - 1, name: 'maxBufferSize' } });
    expect([large.largest.name, large.exceeds]).toEqual(['model.embed_tokens.weight', 'maxBufferSize']);
  });

  it.each(['a batch of 0', 'a context of 0.5', 'a step of -1'])('refuses %s', (what) => {
    const options = {
      'a batch of 0': { batch: 0 }, 'a context of 0.5': { contexts: [0.5] }, 'a step of -1': { prefillStep: -1 },
    };
    expect(() => planMemory(livelyConfig('full'), options[what as keyof typeof options])).toThrow(ValueError);
  });
});

/** A device with a low limit on the size of tensors. */
class SmallDevice extends HostDevice {
  override readonly maxLength = 2000;
}

describe('planMemory() for an engine on gpu.js', () => {
  const config = livelyConfig('full');

  it('gives what a device holds: weights, and pools that double', async () => {
    const device = new CountingDevice(new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TEST_TUNING }));
    const engine = gpuEngine(device);
    const model = livelyModel(engine, config);
    await engine.read(engine.zeros([0]));
    const { weights, policies: [full] } = planMemory(config, { engine: 'gpu', contexts: [17], blockSize: 4 });
    expect(device.live.elements * 4).toBe(weights);
    const session = model.session({ blockSize: 4 });
    await session.step(livelyIds(1, 17), { logits: 'none' });
    const stats = await session.stats();
    const bytes = stats.flatMap((layer) => [...layer.bytes]).reduce((a, b) => a + b);
    expect(full.caches[0].bytes).toBe(bytes);
    const pools = device.live.elements * 4 - weights;
    const rows = bytes * (2 * 4 * 4) / (2 * 4 * 4 + 9); // without the part of an entry that the host keeps
    expect(pools).toBeGreaterThanOrEqual(rows);
    expect(pools).toBeLessThanOrEqual(2 * rows + 100); // and a page table
    engine.dispose();
  });

  it('gives the longest text whose keys fit into one tensor of the device, and one token more is a DeviceError', async () => {
    const engine = gpuEngine(new SmallDevice(await loadLibrary(), 'cpu', { poison: false, tuning: TEST_TUNING }));
    const model = livelyModel(engine, config);
    const { tensorBytes, name } = engine.limits!;
    const plan = planMemory(config, { engine: 'gpu', tensor: { bytes: tensorBytes, name }, blockSize: 8, prefillStep: 1 });
    const { tokens, limit } = plan.policies[0].longest;
    expect([plan.exceeds, limit]).toEqual([undefined, name]);
    const session = model.session({ blockSize: 8 });
    for (let done = 0; done < tokens; done += 8) {
      await session.step(livelyIds(1, Math.min(8, tokens - done)), { logits: 'none' });
    }
    await session.stats();
    await expect(session.step([1], { logits: 'none' })).rejects.toThrow(DeviceError);
    engine.dispose();
  });
});
