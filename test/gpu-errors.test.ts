/** Bad input and failures on the gpu.js engine: named errors of one line, nothing leaked, nothing left running. */
import { describe, expect, it, vi } from 'vitest';
import { type Device, TEST_TUNING, TUNING } from '../gpu/gpujs/device.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { WebGPUDevice } from '../gpu/gpujs/webgpu.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { loadLibrary, type Shortcut } from '../gpu/gpujs/library.ts';
import { openEngine } from '../gpu/gpujs/open.ts';
import type { Cache, Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine, type GpuEngineOptions } from '../src/engines.ts';
import { DeviceError, ValueError } from '../src/core/errors.ts';
import { CountingDevice } from './support/counting-device.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';
import { type ErrorClass, expectError } from './support/expect-error.ts';

describe('options that contradict each other or name nothing', () => {
  it.each<[string, object, ErrorClass, string | RegExp]>([
    ['a backend that does not exist', { gpu: 'cuda' }, ValueError, /^gpu is 'cuda': use true, 'wgsl', 'gpujs', or of gpu.js 'webgpu', 'webgl2', 'webasm' or 'cpu'$/],
    ['a backend of gpu.js that does not exist', { gpu: 'gpujs:cuda' }, ValueError, /^gpu is 'cuda': use true/],
    ['false', { gpu: false }, ValueError, /^gpu is false: use true/],
    ['a gpuDevice for webasm', { gpu: 'webasm', gpuDevice: {} }, ValueError, 'gpuDevice is a WebGPU device but gpu is \'webasm\': use gpu: \'webgpu\''],
    ['a gpuDevice for webgl2', { gpu: 'webgl2', gpuDevice: {} }, ValueError, /but gpu is 'webgl2': use gpu: 'webgpu'$/],
    ['a gpuDevice that is none', { gpu: 'webgpu', gpuDevice: {} }, ValueError, 'gpuDevice is no GPUDevice: pass what adapter.requestDevice() resolved to'],
    ['a precision', { gpu: 'webasm', precision: 'float64' }, ValueError, 'precision was given with gpu: leave it out, as GPUs compute only in float32'],
    ['a gpuDevice that is none, for WGSL', { gpu: 'wgsl', gpuDevice: {} }, ValueError, /^gpuDevice is no GPUDevice: /],
    ['WebGL2 in Node', { gpu: 'webgl2' }, DeviceError, 'WebGL2 is there in browsers only: use gpu: \'webgpu\' here, or leave gpu out to run on the CPU'],
  ])('%s', (_, options, type, message) => expectError(() => createEngine(options as GpuEngineOptions), type, message));

  it('a backend of gpu.js has the same name with and without gpujs: before it', async () => {
    const [short, long] = [await createEngine({ gpu: 'cpu' }), await createEngine({ gpu: 'gpujs:cpu' })];
    expect(long.name).toBe(short.name);
    short.dispose();
    long.dispose();
  });
});

/** Opens a device with a limit of a few bytes. */
class SmallDevice extends HostDevice {
  override readonly maxLength = 1000;
}

describe('an error of gpu.js on the CPU, such as a lack of memory for one more module,', () => {
  it.each(['cpu', 'webasm'] as const)('is a DeviceError on %s that names the kernel, and the engine still works', async (mode) => {
    const library = await loadLibrary();
    let fails = true;
    class Full extends library.GPU {
      override createKernel(source: string, settings: object): Shortcut {
        if (fails) throw new RangeError('could not allocate memory');
        return super.createKernel(source, settings);
      }
    }
    const device = new HostDevice({ ...library, GPU: Full }, mode, { poison: true, tuning: TEST_TUNING });
    const engine = gpuEngine(device);
    const one = engine.tensor([1], [1]);
    const words = /^kernel 'add' failed on gpu\.js (cpu|webasm) .*could not allocate memory\): use a shorter context/;
    const sum = engine.add(one, one);
    await expect(engine.read(sum)).rejects.toThrow(DeviceError);
    await expect(engine.read(sum)).rejects.toThrow(words);
    fails = false;
    expect([...await engine.read(engine.add(one, one))]).toEqual([2]);
    engine.dispose();
  });
});

describe('more than float32 can count', () => {
  it.each([
    ['window', { window: 2 ** 24 - 2 }], ['localWindow', { window: 0, localWindow: 2 ** 24 - 2 }],
    ['reach', { window: 0, reach: 2 ** 24 - 2 }],
  ])('is refused as a %s', async (name, reach) => {
    const engine = await openEngine({ gpu: 'cpu' });
    const types = engine.integers([0, 0], [1, 1, 2]);
    await expectError(() => void engine.lifetime(types, 2, { chunk: 1, ...reach }), DeviceError, `2 tokens and a ${name} of 16777214 pass 16777216, beyond which float32 does not count: use a smaller ${name}`);
    engine.dispose();
  });
});

describe('more than a device can hold', () => {
  const small = async (): Promise<TrainingEngine> =>
    gpuEngine(new SmallDevice(await loadLibrary(), 'cpu', { poison: false, tuning: TUNING }));

  it('is refused at once, with the limit, the size requested, and how many tokens fit', async () => {
    const engine = await small();
    const [x, weight] = [engine.tensor(new Float32Array(60), [1, 60, 1]), engine.tensor(new Float32Array(20), [20, 1])];
    await expectError(() => void engine.linear(x, weight), DeviceError, 'a tensor [1,60,20] takes 4800 bytes but the memory of a WebAssembly module is 4000 on gpu.js cpu (plain JavaScript): at most 50 instead of 60 tokens fit');
    const heads = engine.tensor(new Float32Array(600), [1, 2, 300, 1]);
    await expectError(() => void engine.linear(heads, engine.tensor([1, 2], [2, 1])), DeviceError, 'a tensor [1,2,300,2] takes 4800 bytes but the memory of a WebAssembly module is 4000 on gpu.js cpu (plain JavaScript): at most 250 instead of 300 tokens fit');
    for (const [shape, message] of [
      [[1001, 1], /: at most 1000 instead of 1001 rows fit$/],
      [[1001], /: at most 1000 instead of 1001 rows fit$/],
      [[2, 600], /: at most 1 instead of 2 rows fit$/],
      [[9, 1001], /: not one of its 9 rows fits, use a smaller model$/],
      [[600, 2, 3], /: not one of its 2 tokens fits, use a smaller batch$/],
      [[2 ** 40, 1], /^a tensor \[1099511627776,1\] takes 4398046511104 bytes /], // before it is requested
    ] as const) await expectError(() => void engine.zeros(shape), DeviceError, message);
    engine.dispose();
  });

  it('is refused by a cache with the limit, and the engine goes on', async () => {
    const engine = await small();
    const cache = engine.createCache({ batch: 1, kvHeads: 1, headDim: 10, window: 4, chunk: 1, blockSize: 16 });
    const kv = engine.tensor(new Float32Array(400), [1, 1, 40, 10]);
    const types = engine.integers(new Int32Array(40), [1, 1, 40]); // all of them are kept
    cache.append(kv, kv, types);
    cache.append(kv, kv, types); // in six blocks of 16, although doubling would make it eight
    expect([...(await cache.stats()).live]).toEqual([80]);
    cache.append(kv, kv, types);
    await expectError(() => cache.stats(), DeviceError, 'the keys of a cache take 4480 bytes but the memory of a WebAssembly module is 4000: at most 96 entries fit over 1 heads, a context of 96 tokens if all are kept; evict more, or use a shorter context or a smaller batch');
    cache.dispose();
    expect([...await engine.read(engine.tensor([1], [1]))]).toEqual([1]);
    engine.dispose();
  });
});

/** Does every kind of work once, forward and backward, and puts what it makes on `keep`. */
function workload(
  engine: TrainingEngine, keep: <T extends { dispose(): void }>(made: T) => T,
): (() => Promise<unknown>)[] {
  const numbers = (shape: number[], seed: number): Tensor =>
    keep(engine.tensor(Array.from({ length: shape.reduce((a, b) => a * b) }, (_, n) => Math.sin(seed + n)), shape));
  const [N, window] = [30, 3];
  const ids = keep(engine.integers(Int32Array.from({ length: N }, (_, n) => n % 5), [1, N]));
  const [table, norm, scorer] = [numbers([5, 8], 1), numbers([8], 2), numbers([6, 8], 3)];
  const x = keep(engine.embedding(table, ids));
  const hidden = keep(engine.rmsNorm(x, norm, 1e-5));
  const q = keep(engine.splitHeads(hidden, 2));
  const scores = keep(engine.splitHeads(keep(engine.linear(hidden, scorer)), 2));
  const { types, probabilities } = engine.tokenTypes(scores, { temperature: 1 });
  [types, probabilities].forEach(keep);
  const last = keep(engine.lifetime(types, N, { window, chunk: 1 }));
  const inputs = { q, k: q, v: q, last, scale: 0.5 };
  const { out, lse } = engine.attention(inputs);
  [out, lse].forEach(keep);
  const logits = keep(engine.linear(keep(engine.mergeHeads(out)), table));
  const row = keep(engine.pickRows(logits, keep(engine.integers([N - 1], [1]))));
  const losses = keep(engine.crossEntropy(logits, ids));
  const dLogits = keep(engine.crossEntropyBackward(logits, ids, 1));
  const dTable = keep(engine.linearBackwardWeight(dLogits, hidden));
  const dOut = keep(engine.splitHeads(keep(engine.linearBackwardInput(dLogits, table)), 2));
  const searched = { types, rule: 'bounded' as const, window, chunk: 1 };
  const { dq, dk, dv, dTypes } = engine.attentionBackward({ ...inputs, out, lse, dOut, types: searched });
  [dq, dk, dv, dTypes!].forEach(keep);
  const priced = keep(engine.addMemoryPrice(dTypes!, types, N, { window, chunk: 1, weight: 0.1 }));
  const dScores = keep(engine.tokenTypesBackward(priced, probabilities, { temperature: 1 }));
  const { dx, dWeight } = engine.rmsNormBackward(keep(engine.mergeHeads(dq)), x, norm, 1e-5);
  [dx, dWeight].forEach(keep);
  const dEmbedding = keep(engine.embeddingBackward(dx, ids, 5));
  engine.accumulate(dTable, dEmbedding);
  const squaredNorm = keep(engine.sumOfSquares([dTable, dWeight]));
  const [m, v] = [keep(engine.zeros([5, 8])), keep(engine.zeros([5, 8]))];
  engine.adamW(table, dTable, m, v, {
    step: 1, learningRate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 1e-8, weightDecay: 0.1,
    clip: { squaredNorm, maxNorm: 1 },
  });
  const cache = keep(engine.createCache({ batch: 1, kvHeads: 2, headDim: 4, window, chunk: 1, blockSize: 4 }));
  cache.append(q, q, types);
  const attended = keep(cache.attend(q, 0.5));
  cache.evict();
  const results = [losses, row, dScores, dv, dk, table, m, v, attended];
  return [
    ...results.map((tensor) => () => engine.read(tensor)),
    () => engine.readIntegers(last), () => cache.stats(), () => cache.positions(0, 1),
  ];
}

describe('a kernel that fails', () => {
  it('is reported wherever its result is needed, and leaks nothing, whichever kernel it is', async () => {
    const device = new CountingDevice(new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TEST_TUNING }));
    const engine = gpuEngine(device);
    const one = engine.tensor([1], [1]);
    let failures = 0;
    for (let n = 0; ; n++) {
      const made: { dispose(): void }[] = [];
      device.failAfter = n;
      const reads = workload(engine, (each) => {
        made.push(each);
        return each;
      });
      const results = await Promise.allSettled(reads.map((read) => read()));
      const reasons = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
      const complete = device.failAfter !== undefined; // there are fewer kernels
      device.failAfter = undefined;
      if (complete) expect(reasons).toEqual([]);
      else {
        failures++;
        expect(reasons.length, `nothing was rejected when kernel ${n} failed`).toBeGreaterThan(0);
        for (const reason of reasons) expect(reason).toMatch(/^Error: kernel '[^'\n]+' was told to fail$/);
        expect(new Set(reasons).size).toBe(1);
      }
      for (const each of made) each.dispose();
      await engine.read(one);
      expect({ n, ...device.live }).toEqual({ n, memories: 1, elements: 1 });
      expect(device.strays).toBe(0);
      if (complete) break;
    }
    expect(failures).toBeGreaterThan(50);
    engine.dispose();
  }, 60_000);
});

describeWebGPU('gpu.js webgpu', () => {
  it('refuses what is above a limit of the device, with its name, the size requested, and how many tokens fit', async () => {
    const gpuDevice = await requestGpuDevice();
    const engine = await createEngine({ gpu: 'webgpu', gpuDevice });
    const { maxStorageBufferBindingSize: limit } = gpuDevice.limits;
    const width = 2 ** 15;
    const rows = limit / 4 / width + 1;
    const x = engine.zeros([1, rows, 1]);
    const weight = engine.zeros([width, 1]);
    await expectError(() => void engine.linear(x, weight), DeviceError, new RegExp(
      `^a tensor \\[1,${rows},${width}\\] takes ${4 * rows * width} bytes but maxStorageBufferBindingSize is ${limit} on gpu\\.js webgpu \\(.+\\): at most ${rows - 1} instead of ${rows} tokens fit$`,
    ));
    engine.dispose();
    gpuDevice.destroy();
  });

  it('reports the loss of its device at the next read, and never hangs', async () => {
    const gpuDevice = await requestGpuDevice();
    const createBuffer = gpuDevice.createBuffer.bind(gpuDevice);
    let held = Promise.resolve(); // what readings wait for
    gpuDevice.createBuffer = (descriptor) => {
      const buffer = createBuffer(descriptor);
      const mapAsync = buffer.mapAsync.bind(buffer);
      buffer.mapAsync = (...how) => held.then(() => mapAsync(...how));
      return buffer;
    };
    const engine = await createEngine({ gpu: 'webgpu', gpuDevice });
    const [x, y] = [engine.tensor([1], [1]), engine.tensor([2], [1])];
    // Types chosen on the device are read back with the next read, which for one cache is before the loss.
    const [cache, late] = [0, 1].map(() =>
      engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, window: 1, chunk: 1, blockSize: 4 })) as [Cache, Cache];
    const row = engine.tensor([1], [1, 1, 1, 1]);
    const { types } = engine.tokenTypes(engine.tensor([1, 0, 0], [1, 1, 1, 3]), { temperature: 1 });
    expect([...await engine.read(engine.add(x, y))]).toEqual([3]);
    held = gpuDevice.lost.then(() => undefined); // so that the next reading is not done before
    cache.append(row, row, types);
    const between = engine.add(x, y);
    const early = engine.read(between);
    early.catch(() => {}); // examined below
    late.append(row, row, types);
    await engine.readIntegers(engine.integers([0], [1])); // now everything is submitted
    gpuDevice.destroy();
    const lost = /^the GPU device was lost \(destroyed: [^\n]+\): create a new engine and upload again$/;
    await expectError(() => engine.read(between), DeviceError, lost);
    await expectError(() => early, DeviceError, lost);
    await expectError(() => cache.stats(), DeviceError, lost);
    await expectError(() => engine.read(engine.add(x, y)), DeviceError, lost);
    await expectError(() => engine.read(engine.swiglu(x, y)), DeviceError, lost); // its kernel was not built yet
    await expectError(() => late.stats(), DeviceError, lost);
    await expectError(() => void engine.tensor([1], [1]), DeviceError, lost);
    engine.dispose();
  });

  it('does not destroy a device of the application, but frees all buffers on it', async () => {
    const gpuDevice = await requestGpuDevice();
    const live = new Set<GPUBuffer>();
    const createBuffer = gpuDevice.createBuffer.bind(gpuDevice);
    gpuDevice.createBuffer = (descriptor) => {
      const buffer = createBuffer(descriptor);
      const destroy = buffer.destroy.bind(buffer);
      buffer.destroy = () => (live.delete(buffer), destroy());
      return live.add(buffer) && buffer;
    };
    const refused: string[] = [];
    gpuDevice.onuncapturederror = ({ error }) => void refused.push(error.message);
    const engine = await createEngine({ gpu: 'webgpu', gpuDevice });
    await Promise.all(workload(engine, (made) => made).map((read) => read()));
    expect(live.size).toBeGreaterThan(10);
    engine.dispose();
    await vi.waitFor(() => expect(live.size).toBe(0));
    const again = await createEngine({ gpu: true, gpuDevice });
    expect([...await again.read(again.add(again.tensor([1], [1]), again.tensor([2], [1])))]).toEqual([3]);
    again.dispose();
    const lost = gpuDevice.lost.then(() => 'lost');
    expect(await Promise.race([lost, gpuDevice.queue.onSubmittedWorkDone().then(() => 'done')])).toBe('done');
    expect(refused).toEqual([]);
    gpuDevice.destroy();
  });

  it('leaks nothing when a kernel fails midway', async () => {
    const inner: Device = new WebGPUDevice(
      await loadLibrary(), await requestGpuDevice(), null, { owned: true, poison: true, tuning: TEST_TUNING },
    );
    const device = new CountingDevice(inner);
    const engine = gpuEngine(device);
    const one = engine.tensor([1], [1]);
    for (const n of [0, 7, 19, 37]) {
      const made: { dispose(): void }[] = [];
      device.failAfter = n;
      const reads = workload(engine, (each) => (made.push(each), each));
      const results = await Promise.allSettled(reads.map((read) => read()));
      expect(results.filter(({ status }) => status === 'rejected')).not.toEqual([]);
      for (const each of made) each.dispose();
      await engine.read(one);
      expect(device.live).toEqual({ memories: 1, elements: 1 });
      expect(device.strays).toBe(0);
    }
    engine.dispose();
  });
});
