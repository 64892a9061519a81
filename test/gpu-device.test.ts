/** What engines on WebGPU share: reuse of buffers, recording of commands, memory with several holders. */
import { describe, expect, it } from 'vitest';
import { BufferPool } from '../gpu/device/buffer-pool.ts';
import type { DeviceHealth } from '../gpu/device/health.ts';
import { type Device, TUNING } from '../gpu/gpujs/device.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { type Kernel, kernel } from '../gpu/gpujs/kernel.ts';
import { loadLibrary } from '../gpu/gpujs/library.ts';
import { WebGPUDevice } from '../gpu/gpujs/webgpu.ts';
import { CountingDevice } from './support/counting-device.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/** A device that has only buffers, which record when they are destroyed. */
function stubDevice(): { device: GPUDevice; destroyed: unknown[] } {
  const destroyed: unknown[] = [];
  const device = {
    limits: { maxStorageBufferBindingSize: 2 ** 30, maxBufferSize: 2 ** 30 },
    createBuffer: ({ size }: { size: number }) => {
      const buffer = { size, destroy: () => destroyed.push(buffer) };
      return buffer;
    },
  };
  return { device: device as unknown as GPUDevice, destroyed };
}

const healthy = { check: () => {} } as unknown as DeviceHealth;

describe('the pool of buffers', () => {
  it('gives a freed buffer to commands at once, but to the host only after commands that may use it were submitted', () => {
    const pool = new BufferPool(stubDevice().device, healthy, false);
    const buffer = pool.take(1000, 8);
    pool.give(buffer, true);
    const other = pool.takeForWriting(1000, 8);
    expect(other).not.toBe(buffer);
    expect(pool.take(1000, 8)).toBe(buffer);
    pool.give(buffer, true);
    pool.settle();
    expect(pool.takeForWriting(1000, 8)).toBe(buffer);
  });

  it('gives the oldest free buffer, in whatever order they were freed, so that equal steps use equal buffers', () => {
    const pool = new BufferPool(stubDevice().device, healthy, false);
    const buffers = [0, 1, 2, 3].map(() => pool.take(1000, 8));
    for (const order of [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]]) {
      for (const [n, at] of order.entries()) {
        pool.give(buffers[at], n !== 1); // one of them may be written to by the host
      }
      expect([0, 1, 2, 3].map(() => buffers.indexOf(pool.take(1000, 8)))).toEqual([0, 1, 2, 3]);
    }
    for (const at of [2, 0, 3]) pool.give(buffers[at], true);
    pool.settle();
    expect([0, 2, 3].map(() => buffers.indexOf(pool.takeForWriting(1000, 8)))).toEqual([0, 2, 3]);
  });

  it('keeps a buffer that is too large to keep until commands that may use it were submitted', () => {
    const { device, destroyed } = stubDevice();
    const pool = new BufferPool(device, healthy, false);
    const first = pool.take(2 ** 29, 8);
    pool.give(first, true); // kept, since as much was in use
    const second = pool.take(2 ** 30, 8);
    pool.give(second, true); // more than was ever in use at a time: what was asked for longest ago goes
    expect(destroyed).toEqual([]);
    pool.settle();
    expect(destroyed).toEqual([first]);
    expect(pool.take(2 ** 30, 8)).toBe(second);
  });

  it('keeps what was in use a short while ago, and lets go of it with time', () => {
    const { device, destroyed } = stubDevice();
    const pool = new BufferPool(device, healthy, false);
    const buffers = [pool.take(2 ** 29, 8), pool.take(2 ** 29, 8), pool.take(2 ** 29, 8)];
    for (let step = 0; step < 100; step++) {
      for (const buffer of buffers) pool.give(buffer, true);
      for (let n = 0; n < 10; n++) pool.settle();
      for (const buffer of buffers) expect(pool.take(2 ** 29, 8)).toBe(buffer);
    }
    expect(destroyed).toEqual([]);
    for (const buffer of buffers) pool.give(buffer, true);
    for (let n = 0; n < 5000; n++) pool.settle();
    expect(destroyed).toHaveLength(3);
  });

  it('lets go of what has not been asked for the longest, so that equal steps make nothing anew', () => {
    const { device, destroyed } = stubDevice();
    const pool = new BufferPool(device, healthy, false);
    const small = pool.take(2 ** 20, 8);
    pool.give(small, false);
    for (let n = 0; n < 8; n++) {
      const outgrown = pool.take((5 + n) * 2 ** 25, 8);
      expect(pool.take(2 ** 20, 8)).toBe(small);
      pool.give(outgrown, false);
      pool.give(small, false);
    }
    expect(destroyed).not.toContain(small);
    expect(destroyed.length).toBeGreaterThan(5);
  });
});

const ADD = kernel('test add', 'a b', 'return a[this.thread.x] + b[this.thread.x];', { flat: true });
const VALUE: Kernel = kernel('test value', 'x | n | f', 'return x[0] + n + f;', { flat: true });

const HOLDERS: readonly (readonly [string, () => Promise<Device>])[] = [
  ['cpu', async () => new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TUNING })],
  ['webasm', async () => new HostDevice(await loadLibrary(), 'webasm', { poison: true, tuning: TUNING })],
];

const webgpu = async (): Promise<Device> => new WebGPUDevice(
  await loadLibrary(), await requestGpuDevice(), null, { owned: true, poison: false, tuning: TUNING },
);

function shares(open: () => Promise<Device>): void {
  it('holds shared memory until all that share it have freed it', async () => {
    const device = await open();
    const first = device.upload(Float32Array.of(1, 2));
    const second = device.share(first);
    device.free(first);
    const others = [device.upload(Float32Array.of(8, 8)), await device.run(ADD, [2], [second, second], [], [])];
    expect([...await device.read(second, 2)]).toEqual([1, 2]);
    expect([...await device.read(others[1], 2)]).toEqual([2, 4]);
    for (const memory of [second, ...others]) device.free(memory);
    device.dispose();
  });
}

describe.each(HOLDERS)('gpu.js %s', (_, open) => shares(open));

describeWebGPU('gpu.js webgpu', () => {
  shares(webgpu);

  it('does not let an upload overtake commands that were recorded before it', async () => {
    const device = await webgpu();
    const old = device.upload(Float32Array.of(1, 2));
    const doubled = await device.run(ADD, [2], [old, old], [], []);
    device.free(old);
    const fresh = device.upload(Float32Array.of(50, 60));
    const sum = await device.run(ADD, [2], [doubled, fresh], [], []);
    expect([...await device.read(sum, 2)]).toEqual([52, 64]);
    device.dispose();
  });

  it('makes a bind group once for a kernel and its buffers, even if these were freed in another order meanwhile', async () => {
    const gpu = await requestGpuDevice();
    const device = new WebGPUDevice(await loadLibrary(), gpu, null, { owned: true, poison: false, tuning: TUNING });
    let made = 0;
    const create = gpu.createBindGroup.bind(gpu);
    gpu.createBindGroup = (descriptor) => {
      made++;
      return create(descriptor);
    };
    const [x, y] = [device.upload(Float32Array.of(1, 2)), device.upload(Float32Array.of(3, 4))];
    const counts: number[] = [];
    for (const order of [[0, 1, 2], [2, 0, 1], [1, 2, 0]]) {
      const sums = [await device.run(ADD, [2], [x, y], [], []), await device.run(ADD, [2], [y, x], [], [])];
      sums.push(await device.run(ADD, [2], sums, [], []));
      expect([...await device.read(sums[2], 2)]).toEqual([8, 12]);
      for (const n of order) device.free(sums[n]);
      counts.push(made);
    }
    expect(counts).toEqual([3, 3, 3]);
    device.dispose();
  });

  it('gives every dispatch its own numbers, even if there are more than one submit takes', async () => {
    const device = await webgpu();
    const base = device.upload(Float32Array.of(1000));
    const results = [];
    for (let n = 0; n < 200; n++) results.push(await device.run(VALUE, [1], [base], [n], [n / 256]));
    const read = await Promise.all(results.map((memory) => device.read(memory, 1)));
    expect(read.map(([value]) => value)).toEqual(Array.from({ length: 200 }, (_, n) => 1000 + n + n / 256));
    device.dispose();
  });
});

describe('probabilities of token types on gpu.js', () => {
  const scores = Float32Array.of(1, 2, 3, 3, 2, 1);
  const opened = async () => {
    const device = new CountingDevice(new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TUNING }));
    return { device, engine: gpuEngine(device) };
  };

  it('cost no kernel unless they are used, and hold no memory once they are disposed of', async () => {
    const { device, engine } = await opened();
    const tensor = engine.tensor(scores, [1, 1, 2, 3]);
    const { types, probabilities } = engine.tokenTypes(tensor, { temperature: 1 });
    expect([...await engine.readIntegers(types)]).toEqual([2, 0]);
    expect(device.runs).toBe(1);
    for (const each of [probabilities, tensor, types]) each.dispose();
    await engine.readIntegers(engine.integers([0], [1]));
    expect(device.live.elements).toBe(1);
    expect(device.strays).toBe(0);
    engine.dispose();
  });

  it('are right even if scores and noise were disposed of before they are used', async () => {
    const { device, engine } = await opened();
    const [tensor, noise] = [engine.tensor(scores, [1, 1, 2, 3]), engine.tensor([1, 0, -1, -1, 0, 1], [1, 1, 2, 3])];
    const { types, probabilities } = engine.tokenTypes(tensor, { temperature: 1, noise });
    for (const each of [tensor, noise, types]) each.dispose();
    for (const y of await engine.read(probabilities)) expect(y).toBeCloseTo(1 / 3, 6);
    expect(device.runs).toBe(2);
    expect([...await engine.read(engine.add(probabilities, probabilities))]).toHaveLength(6);
    expect(device.runs).toBe(3);
    engine.dispose();
  });
});
