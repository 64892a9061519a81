/** What one decoded token of the shipped model costs on gpu.js, with upper bounds that may only be lowered. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type Device, TUNING } from '../gpu/gpujs/device.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { loadLibrary } from '../gpu/gpujs/library.ts';
import { WebGPUDevice } from '../gpu/gpujs/webgpu.ts';
import { loadModel } from '../src/load.ts';
import { CountingDevice } from './support/counting-device.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

interface Cost {
  readonly kernels: number;
  readonly copies: number;
  readonly uploads: number;
  readonly reads: number;
}

/** Tokens decoded before counting starts, after which memory no longer grows. */
const [WARM, COUNTED] = [40, 24];

/** The cost of each of several tokens. `mark` is called before each and after the last. */
async function decode(inner: Device, mark: () => void = () => {}): Promise<Cost[]> {
  const device = new CountingDevice(inner);
  const engine = gpuEngine(device);
  const model = await loadModel({
    config: JSON.parse(readFileSync('models/nats/config.json', 'utf8')) as unknown,
    weights: new Uint8Array(readFileSync('models/nats/model.safetensors')),
  }, { engine });
  const session = model.session();
  let token = model.tokenizer.bos;
  const costs: Cost[] = [];
  const known = engine.integers([0], [1]);
  for (let step = 0; step < WARM + COUNTED; step++) {
    if (step >= WARM) mark();
    const [kernels, copies, uploads, reads] = [device.runs, device.copies, device.uploads, device.reads];
    const logits = await session.step([token], { logits: 'last' });
    token = logits.indexOf(Math.max(...logits));
    await engine.readIntegers(known); // waits for the queue, in which the step has left what it frees
    if (step < WARM) continue;
    costs.push({
      kernels: device.runs - kernels, copies: device.copies - copies, uploads: device.uploads - uploads,
      reads: device.reads - reads,
    });
  }
  mark();
  session.dispose();
  model.dispose();
  engine.dispose();
  return costs;
}

/** The median, since the memory of a cache grows and its entries move only at some tokens. */
const usual = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

function expectAtMost(costs: readonly Cost[], most: Cost): void {
  for (const { kernels, reads } of costs) {
    expect(kernels).toBeLessThanOrEqual(most.kernels);
    expect(reads).toBe(most.reads);
  }
  expect(usual(costs.map(({ copies }) => copies))).toBeLessThanOrEqual(most.copies);
  expect(usual(costs.map(({ uploads }) => uploads))).toBeLessThanOrEqual(most.uploads);
}

describe('a decoded token on gpu.js cpu', () => {
  it('takes at most 96 kernels, 8 copies, 7 uploads and one read', async () => {
    const costs = await decode(new HostDevice(await loadLibrary(), 'cpu', { poison: false, tuning: TUNING }));
    expectAtMost(costs, { kernels: 96, copies: 8, uploads: 7, reads: 1 });
  });
});

/** Counts what a GPUDevice is asked to do. */
function counted(device: GPUDevice): Record<'submits' | 'writes' | 'dispatches' | 'groups' | 'maps', number> {
  const counts = { submits: 0, writes: 0, dispatches: 0, groups: 0, maps: 0 };
  const count = (name: keyof typeof counts, object: object, method: string): void => {
    const call = (Reflect.get(object, method) as (...args: unknown[]) => unknown).bind(object);
    Reflect.set(object, method, (...args: unknown[]) => {
      counts[name]++;
      return call(...args);
    });
  };
  count('submits', device.queue, 'submit');
  count('groups', device, 'createBindGroup');
  count('writes', device.queue, 'writeBuffer');
  const [createEncoder, createBuffer] = [device.createCommandEncoder.bind(device), device.createBuffer.bind(device)];
  device.createCommandEncoder = () => {
    const encoder = createEncoder();
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = () => {
      const pass = begin();
      count('dispatches', pass, 'dispatchWorkgroups');
      return pass;
    };
    return encoder;
  };
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    count('maps', buffer, 'mapAsync');
    return buffer;
  };
  return counts;
}

describeWebGPU('a decoded token on gpu.js webgpu', () => {
  it('takes at most 87 kernels, 8 copies, 7 uploads, one read, and 2 submits in all', async () => {
    const gpuDevice = await requestGpuDevice();
    const counts = counted(gpuDevice);
    const device = new WebGPUDevice(
      await loadLibrary(), gpuDevice, null, { owned: true, poison: false, tuning: TUNING },
    );
    const marks: (typeof counts)[] = [];
    const costs = await decode(device, () => marks.push({ ...counts }));
    expectAtMost(costs, { kernels: 87, copies: 8, uploads: 7, reads: 1 });
    const taken = marks.slice(1).map((mark, n) => ({
      submits: mark.submits - marks[n].submits, dispatches: mark.dispatches - marks[n].dispatches,
      writes: mark.writes - marks[n].writes, groups: mark.groups - marks[n].groups, maps: mark.maps - marks[n].maps,
    }));
    for (const { submits, dispatches, maps } of taken) {
      expect(submits).toBeLessThanOrEqual(2);
      expect(dispatches).toBeLessThanOrEqual(87);
      expect(maps).toBe(1);
    }
    // The uploads, and the parameters of each submit.
    expect(usual(taken.map(({ writes }) => writes))).toBeLessThanOrEqual(9);
    // Equal steps use equal buffers, so that no bind group is made.
    expect(usual(taken.map(({ groups }) => groups))).toBe(0);
  });
});
