/** What the engine of hand-written WGSL does with its device: limits, loss, memory, and kernels as texts. */
import { expect, it } from 'vitest';
import { template } from '../gpu/wgsl/template.ts';
import { createEngine } from '../src/engines.ts';
import type { Cache } from '../src/core/engine.ts';
import { DeviceError, DisposedError, ValueError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { cases } from './support/thorough.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/** A device that notes its buffers: those that were not destroyed, and how many were made. */
async function notingDevice(): Promise<{
  gpuDevice: GPUDevice; live: Set<GPUBuffer>; made(): number; refused: string[];
}> {
  const gpuDevice = await requestGpuDevice();
  const live = new Set<GPUBuffer>();
  let made = 0;
  const createBuffer = gpuDevice.createBuffer.bind(gpuDevice);
  gpuDevice.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => (live.delete(buffer), destroy());
    live.add(buffer);
    made++;
    return buffer;
  };
  const refused: string[] = [];
  gpuDevice.onuncapturederror = ({ error }) => void refused.push(error.message);
  return { gpuDevice, live, made: () => made, refused };
}

const cacheOptions = { batch: 1, kvHeads: 1, headDim: 4, window: 3, chunk: 1, blockSize: 4 };

/** One decoded token of `type`, whose output is read. */
async function decoded(engine: TrainingEngine, cache: Cache, type: number): Promise<number> {
  const x = engine.tensor([1, 2, 3, 4], [1, 1, 1, 4]);
  const types = engine.integers([type], [1, 1, 1]);
  cache.append(x, x, types);
  const out = cache.attend(x, 1);
  cache.evict();
  const [first] = await engine.read(out);
  for (const tensor of [x, types, out]) tensor.dispose();
  return first;
}

describeWebGPU('the engine of WGSL', () => {
  it('refuses what is above a limit of the device, with its name, the size requested, and how many tokens fit', async () => {
    const gpuDevice = await requestGpuDevice();
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice });
    const { maxStorageBufferBindingSize: limit } = gpuDevice.limits;
    const rows = limit / 4 / 2 ** 15 + 1;
    expect(() => engine.zeros([1, rows, 2 ** 15])).toThrow(DeviceError);
    expect(() => engine.zeros([1, rows, 2 ** 15])).toThrow(
      new RegExp(`^a tensor \\[1,${rows},32768\\] takes .* bytes but maxStorageBufferBindingSize is ${limit} on wgsl .*: at most ${rows - 1} instead of ${rows} tokens fit$`),
    );
    const wide = engine.createCache({ ...cacheOptions, headDim: 2 ** 20, blockSize: 64 });
    const k = engine.zeros([1, 1, 1, 2 ** 20]);
    const types = engine.integers([0], [1, 1, 1]);
    expect(() => wide.append(k, k, types)).toThrow(/the keys of a cache take .* at most \d+ entries fit/);
    expect([...await engine.read(engine.add(engine.tensor([1], [1]), engine.tensor([2], [1])))]).toEqual([3]);
    engine.dispose();
    gpuDevice.destroy();
  });

  it('reports the loss of its device at the next call or read, and never hangs', async () => {
    const gpuDevice = await requestGpuDevice();
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice });
    const [x, y] = [engine.tensor([1], [1]), engine.tensor([2], [1])];
    const cache = engine.createCache(cacheOptions);
    await decoded(engine, cache, 0);
    const asked = cache.stats();
    asked.catch(() => {}); // examined below
    gpuDevice.destroy();
    const lost = /^the GPU device was lost \(destroyed: [^\n]+\): create a new engine and upload again$/;
    await expect(asked).rejects.toThrow(lost);
    await expect((async () => engine.read(engine.add(x, y)))()).rejects.toThrow(lost);
    await expect((async () => cache.stats())()).rejects.toThrow(lost);
    expect(() => engine.tensor([1], [1])).toThrow(lost);
    engine.dispose();
  });

  it('reads large results that are asked for in a row by one submit, from staging buffers that it keeps', async () => {
    const { gpuDevice, made } = await notingDevice();
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice });
    let submits = 0;
    const submit = gpuDevice.queue.submit.bind(gpuDevice.queue);
    gpuDevice.queue.submit = (commands) => (submits++, submit(commands));
    const counts: (readonly [submits: number, made: number])[] = [];
    for (let round = 0; round < 3; round++) {
      const before = [submits, made()] as const;
      const values = Float32Array.from({ length: 3000 }, (_, n) => n + round);
      const [x, small] = [engine.tensor(values, [3000]), engine.tensor([round], [1])];
      const [twice, four] = [engine.add(x, x), engine.add(small, small)];
      const reading = [engine.read(twice), engine.read(four), engine.read(x)];
      // What is recorded after a read does not change what it gives, even if it takes its memory.
      for (const tensor of [twice, four, x, small]) tensor.dispose();
      const zeros = engine.zeros([3000]);
      const later = engine.add(zeros, zeros);
      const [a, b, c] = await Promise.all(reading);
      expect([a[2999], b[0], c[2999]]).toEqual([2 * (2999 + round), 2 * round, 2999 + round]);
      expect(submits).toBe(before[0] + 1);
      expect((await engine.read(later)).every((y) => y === 0)).toBe(true);
      for (const tensor of [zeros, later]) tensor.dispose();
      counts.push([submits - before[0], made() - before[1]]);
    }
    expect(counts[2]).toEqual([2, 0]);
    engine.dispose();
    gpuDevice.destroy();
  });

  it('refuses to be used after dispose(), and still answers earlier reads', async () => {
    const engine = await createEngine({ gpu: 'wgsl' });
    const x = engine.tensor([1], [1]);
    const promised = engine.read(engine.add(x, x));
    engine.dispose();
    engine.dispose();
    expect(() => engine.add(x, x)).toThrow(DisposedError);
    expect([...await promised]).toEqual([2]);
  });

  it('destroys all its buffers on a device of the application, but not the device, which refused no command', async () => {
    const { gpuDevice, live, refused } = await notingDevice();
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice });
    const q = engine.tensor(Float32Array.from({ length: 48 }, (_, n) => Math.sin(n)), [1, 2, 6, 4]);
    const last = engine.integers([5, 5, 5, 9, 9, 9, 0, 1, 2, 3, 4, 5], [1, 2, 6]);
    const { out, lse } = engine.attention({ q, k: q, v: q, last, scale: 1 });
    const { dq } = engine.attentionBackward({ q, k: q, v: q, last, scale: 1, out, lse, dOut: q });
    expect((await engine.read(dq)).every(Number.isFinite)).toBe(true);
    const cache = engine.createCache(cacheOptions);
    for (const type of [0, 2, 1, 0]) await decoded(engine, cache, type);
    const copy = cache.fork();
    copy.restore(await cache.snapshot());
    expect((await copy.stats()).live).toEqual((await cache.stats()).live);
    expect(live.size).toBeGreaterThan(10);
    engine.dispose();
    await expect.poll(() => live.size).toBe(0);
    await gpuDevice.queue.onSubmittedWorkDone();
    expect(refused).toEqual([]);
    gpuDevice.destroy();
  });

  it('decodes thousands of tokens without making a buffer more, if the live set is bounded', async () => {
    const { gpuDevice, live, made } = await notingDevice();
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice });
    const cache = engine.createCache(cacheOptions);
    await decoded(engine, cache, 0);
    for (let n = 0; n < 600; n++) await decoded(engine, cache, 2); // a GPU drops what is dead after 256
    const [before, counted] = [live.size, made()];
    const steps = cases(300, 10_000);
    for (let n = 0; n < steps; n++) await decoded(engine, cache, 2);
    expect(live.size).toBe(before);
    expect(made()).toBe(counted);
    expect([...(await cache.stats()).live]).toEqual([4]);
    engine.dispose();
    gpuDevice.destroy();
  });

  it('reports types that came of NaN scores when the cache is asked, and goes on once it is cleared', async () => {
    const engine = await createEngine({ gpu: 'wgsl' });
    const cache = engine.createCache(cacheOptions);
    const x = engine.tensor([1, 2, 3, 4], [1, 1, 1, 4]);
    const { types } = engine.tokenTypes(engine.tensor([1, NaN, 0], [1, 1, 1, 3]), { temperature: 1 });
    cache.append(x, x, types);
    await expect(cache.stats()).rejects.toThrow(ValueError);
    await expect(cache.positions(0, 0)).rejects.toThrow(/^the type of chunk 0 is 3: .* a NaN score has none$/);
    cache.clear();
    await decoded(engine, cache, 0);
    expect([...(await cache.stats()).live]).toEqual([1]);
    engine.dispose();
  });

  it('updates a tensor in place without changing those that share its memory', async () => {
    const engine = await createEngine({ gpu: 'wgsl' });
    const x = engine.tensor([1, 2, 3, 4], [1, 1, 4]);
    const split = engine.splitHeads(x, 2); // one token: the same memory
    engine.accumulate(x, x);
    expect([...await engine.read(x)]).toEqual([2, 4, 6, 8]);
    expect([...await engine.read(split)]).toEqual([1, 2, 3, 4]);
    engine.dispose();
  });

  it('gives kernels their constants, those within constants too, and makes each kernel once', () => {
    const made = template('sample', 'struct Params { n: u32, x: f32 }\nvar<storage, read> a: b; $BODY', 'BODY', 'LANES');
    const kernel = made({ BODY: 'f($LANESu)', LANES: 4 });
    expect(kernel.code).toMatch(/ f\(4u\)$/);
    expect([kernel.inputs, kernel.outputs, kernel.fields.map(({ name }) => name)]).toEqual([1, 0, ['n', 'x']]);
    expect(made({ BODY: 'f($LANESu)', LANES: 4 })).toBe(kernel);
    expect(made({ BODY: 'f($LANESu)', LANES: 8 })).not.toBe(kernel);
  });
});
