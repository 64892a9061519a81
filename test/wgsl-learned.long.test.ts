/** 10,000 steps by kept commands, with several in flight: nothing grows, and the caches hold what they should. */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import type { Engine } from '../src/core/engine.ts';
import { createEngine } from '../src/engines.ts';
import { livelyConfig, livelyModel } from './support/lively-model.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

const [ROUNDS, STEPS, REACH] = [20, 500, 24];
/** Bytes of an entry of a head of size 4: key and value, position and last, state, and where it was before it moved. */
const SLOT = 4 * (4 + 4 + 2 + 1 + 1);
/** The smallest model that has types of every kind, with a window of its own, which bounds what it can keep. */
const CONFIG = livelyConfig('nats', { window: 5 }, {
  model_type: 'mistral', sliding_window: REACH, max_position_embeddings: 2 ** 14, vocab_size: 12, hidden_size: 4,
  intermediate_size: 4, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1,
});

/** Counts the buffers of a GPUDevice that are not destroyed, and their bytes. */
function counted(device: GPUDevice): { buffers: number; bytes: number } {
  const counts = { buffers: 0, bytes: 0 };
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    let alive = 1;
    counts.buffers++;
    counts.bytes += descriptor.size;
    buffer.destroy = () => {
      counts.buffers -= alive;
      counts.bytes -= alive * descriptor.size;
      alive = 0;
      return destroy();
    };
    return buffer;
  };
  return counts;
}

describeWebGPU('10,000 steps whose types are chosen by kept commands', () => {
  it('neither grow nor differ from the reference, and free everything', { timeout: 3_600_000 }, async () => {
    const gpuDevice = await requestGpuDevice('maxStorageBuffersPerShaderStage', 'maxComputeWorkgroupStorageSize');
    const counts = counted(gpuDevice);
    const engine: Engine = await openWgslEngine({ gpuDevice, testing: true, width: 64 });
    const { layers, ...others } = engine.forms!;
    let taken = 0;
    const counting: typeof layers = (inputs) => {
      const made = layers!(inputs);
      if (made) taken++;
      return made;
    };
    Object.defineProperty(engine, 'forms', { value: { ...others, layers: counting } });
    const model = livelyModel(engine, CONFIG);
    const session = model.session();
    const reference = livelyModel(createEngine({ engine: 'reference' }), CONFIG);
    const twin = reference.session();
    await session.step([1], { logits: 'none' });
    const known = engine.zeros([1]);
    const held: (typeof counts)[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const tokens = session.greedy([round % 12], { steps: STEPS, ahead: 3 });
      for await (const [token] of tokens) expect(token).toBeLessThan(12);
      const [{ live }] = await session.stats();
      expect(live[0]).toBeLessThan(REACH);
      await engine.read(known); // waits for what is freed late
      held.push({ ...counts });
    }
    expect(taken).toBe(ROUNDS * STEPS);
    // Dead entries are dropped after 64 tokens, and after 1/64 of what was seen once that is more. Then slots grow as
    // far: these are with room for 64 more, an eighth besides, and twice while they move to new memory.
    const settled = held.slice(4, Math.floor(64 * 64 / STEPS));
    expect(new Set(settled.map((each) => JSON.stringify(each))).size).toBe(1);
    const slots = (REACH + (ROUNDS * STEPS) / 64 + 64) * 9 / 8;
    expect(held.at(-1)!.bytes - settled[0].bytes).toBeLessThan(2 * slots * SLOT);
    // Every query's visible entries follow from the types of all tokens before it, and they add up to this.
    const [ids] = session.tokens;
    for (let n = 0; n < ids.length; n += 64) await twin.step(ids.subarray(n, n + 64), { logits: 'none' });
    const [[found], [expected]] = [await session.stats(), await twin.stats()];
    expect([found.seen, found.live, found.peakLive, found.visiblePairs]).toEqual(
      [expected.seen, expected.live, expected.peakLive, expected.visiblePairs]);
    session.dispose();
    model.dispose();
    engine.dispose();
    reference.dispose();
    await gpuDevice.queue.onSubmittedWorkDone();
    expect(counts.buffers).toBe(0);
    gpuDevice.destroy();
  });
});
