/** Long runs on gpu.js: nothing grows, nothing drifts, and a decoded token is read back once. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { TUNING } from '../gpu/gpujs/device.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { WebGPUDevice } from '../gpu/gpujs/webgpu.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { loadLibrary } from '../gpu/gpujs/library.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { loadModel, type ModelBytes } from '../src/load.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { generator } from '../src/core/random.ts';
import { boundedAttention } from './support/bounded.ts';
import { CountingDevice } from './support/counting-device.ts';
import { type Bounded, expectSameBits, expectWithin, Rounding } from './support/tolerance.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

const [STEPS, WINDOW, HEADS, KV_HEADS, WIDTH, SCALE] = [10_000, 7, 2, 2, 4, 0.5];
/** Tokens repeat with this period. A query sees the first one, a sink that stays, and the last WINDOW + 1. */
const PERIOD = 3 * (WINDOW + 1);

interface Token {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Token n of an endless repetition. */
function tokens(): Token[] {
  const { normal } = generator(3, [0]);
  const row = (heads: number) => Float32Array.from({ length: heads * WIDTH }, normal);
  return Array.from({ length: PERIOD }, () => ({ q: row(HEADS), k: row(KV_HEADS), v: row(KV_HEADS) }));
}

/** The results of full attention over the first tokens, and how far float32 may be from them. */
function truth(text: readonly Token[], N: number): Bounded[] {
  // [1, heads, N, d] out of one row [heads, d] per token.
  const gathered = (pick: (token: Token) => Float32Array, heads: number) =>
    Float64Array.from({ length: heads * N * WIDTH }, (_, n) => {
      const [head, step] = [Math.floor(n / (N * WIDTH)), Math.floor(n / WIDTH) % N];
      return pick(text[step % PERIOD])[head * WIDTH + n % WIDTH];
    });
  const last = Int32Array.from({ length: KV_HEADS * N }, (_, n) => (n % N === 0 ? FOREVER : n % N + WINDOW));
  return boundedAttention({
    B: 1, H: HEADS, G: KV_HEADS, group: HEADS / KV_HEADS, N, d: WIDTH, scale: SCALE, last,
    q: gathered(({ q }) => q, HEADS), k: gathered(({ k }) => k, KV_HEADS), v: gathered(({ v }) => v, KV_HEADS),
  }, new Rounding('float32')).out;
}

describe('a cache on gpu.js cpu', () => {
  it('neither grows nor drifts in 10,000 steps, and frees everything', async () => {
    const device = new CountingDevice(new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TUNING }));
    const engine = gpuEngine(device);
    const cache = engine.createCache({
      batch: 1, kvHeads: KV_HEADS, headDim: WIDTH, window: WINDOW, chunk: 1, blockSize: 4,
    });
    const text = tokens();
    const [query, key] = [[1, HEADS, 1, WIDTH], [1, KV_HEADS, 1, WIDTH]];
    const settled = 4 * PERIOD; // enough to fill the cache and to reuse every slot
    const expected = truth(text, settled);
    const outputs: ArrayLike<number>[] = [];
    const live = new Set<string>();
    for (let step = 0; step < STEPS; step++) {
      const { q, k, v } = text[step % PERIOD];
      const type = engine.integers(new Int32Array(KV_HEADS).fill(step === 0 ? 0 : 2), [1, KV_HEADS, 1]);
      const [keys, values, queries] = [engine.tensor(k, key), engine.tensor(v, key), engine.tensor(q, query)];
      cache.append(keys, values, type);
      const out = cache.attend(queries, SCALE);
      cache.evict();
      outputs.push(await engine.read(out));
      for (const tensor of [keys, values, type, queries, out]) tensor.dispose();
      const held = await cache.stats(); // after the work that dispose() deferred
      if (step < settled) {
        const row = (head: number) => (head * settled + step) * WIDTH;
        const rows = [0, 1].flatMap((head) => expected.slice(row(head), row(head) + WIDTH));
        expectWithin(outputs[step], rows, `step ${step}`);
      } else {
        expect([...held.live]).toEqual([WINDOW + 1, WINDOW + 1]); // the sink, and what the next query sees
        expectSameBits(outputs[step], outputs[step - PERIOD], `step ${step}`);
        live.add(JSON.stringify(device.live));
      }
    }
    expect([...live]).toHaveLength(1);
    cache.dispose();
    await engine.read(engine.zeros([1]));
    expect(device.strays).toBe(0);
    expect(device.live).toEqual({ memories: 1, elements: 1 });
    engine.dispose();
  }, 120_000);
});

/** Counts the buffers of a GPUDevice that are not destroyed, their bytes, and its maps, each of which is a readback. */
function counted(device: GPUDevice): { buffers: number; bytes: number; maps: number } {
  const counts = { buffers: 0, bytes: 0, maps: 0 };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    const [destroy, mapAsync] = [buffer.destroy.bind(buffer), buffer.mapAsync.bind(buffer)];
    let alive = true;
    counts.buffers++;
    counts.bytes += descriptor.size;
    buffer.destroy = () => {
      if (alive) {
        counts.buffers--;
        counts.bytes -= descriptor.size;
      }
      alive = false;
      return destroy();
    };
    buffer.mapAsync = (...args) => {
      counts.maps++;
      return mapAsync(...args);
    };
    return buffer;
  };
  return counts;
}

describeWebGPU('decoding the shipped model on gpu.js webgpu', () => {
  const shipped: ModelBytes = {
    config: JSON.parse(readFileSync('models/nats/config.json', 'utf8')) as unknown,
    weights: new Uint8Array(readFileSync('models/nats/model.safetensors')),
  };

  it.each(['nats', 'streaming:4+16'])('under %s maps one buffer per token, and holds no more after 250 than after 50', async (policy) => {
    const gpuDevice = await requestGpuDevice();
    const counts = counted(gpuDevice);
    const device = new CountingDevice(
      new WebGPUDevice(await loadLibrary(), gpuDevice, null, { owned: true, poison: false, tuning: TUNING }),
    );
    const engine = gpuEngine(device);
    const model = await loadModel(shipped, { engine });
    const session = model.session({ policy: parsePolicy(policy) });
    let token = model.tokenizer.bos;
    const at = new Map<number, typeof counts & typeof device.live>();
    const known = engine.integers([0], [1]);
    // Before the first step, a model reads its scorers once, to check that they are finite.
    const scorers = policy === 'nats' ? model.config.layers : 0;
    for (let step = 1; step <= 250; step++) {
      const logits = await session.step([token]);
      token = logits.indexOf(Math.max(...logits));
      expect(counts.maps).toBe(scorers + step);
      expect(device.reads).toBe(scorers + step);
      await engine.readIntegers(known); // waits for the queue, in which the step has left what it frees
      at.set(step, { ...counts, ...device.live });
    }
    const [before, after] = [at.get(50)!, at.get(250)!];
    expect(after.memories).toBe(before.memories);
    // What the learned policy keeps may grow with the text. A window does not grow, so not one byte is added.
    if (policy !== 'nats') expect({ ...after, maps: 0 }).toEqual({ ...before, maps: 0 });
    expect(device.strays).toBe(0);
    session.dispose();
    model.dispose();
    known.dispose();
    await engine.read(engine.zeros([1]));
    expect(device.live.memories).toBe(1);
    engine.dispose();
    expect(await gpuDevice.lost).toMatchObject({ reason: 'destroyed' });
    expect(counts.buffers).toBe(0);
  }, 120_000);
});
