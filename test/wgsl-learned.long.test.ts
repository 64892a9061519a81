/** 10,000 steps by kept commands, with several in flight: nothing grows, and the caches hold what they should. */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import type { Engine } from '../src/core/engine.ts';
import { createEngine } from '../src/engines.ts';
import { livelyConfig, livelyModel } from './support/lively-model.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/** Sessions have fewer than 4,096 tokens: after more, dead entries wait longer to be dropped, and slots grow. */
const [SESSIONS, ROUNDS, STEPS, REACH] = [3, 7, 500, 24];
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
    const reference = livelyModel(createEngine({ engine: 'reference' }), CONFIG);
    const known = engine.zeros([1]);
    const settled: string[] = [];
    for (let n = 0; n < SESSIONS; n++) {
      const [session, twin] = [model.session(), reference.session()];
      await session.step([n], { logits: 'none' });
      for (let round = 0; round < ROUNDS; round++) {
        const tokens = session.greedy([(n + round) % 12], { steps: STEPS, ahead: 3 });
        for await (const [token] of tokens) expect(token).toBeLessThan(12);
        const [{ live }] = await session.stats();
        expect(live[0]).toBeLessThan(REACH);
        await engine.read(known); // waits for what is freed late
        if (n > 0 || round > 3) settled.push(JSON.stringify(counts));
      }
      expect(taken).toBe((n + 1) * ROUNDS * STEPS);
      // Every query's visible entries follow from the types of all tokens before it, and they add up to this.
      const [ids] = session.tokens;
      for (let at = 0; at < ids.length; at += 64) await twin.step(ids.subarray(at, at + 64), { logits: 'none' });
      const [[found], [expected]] = [await session.stats(), await twin.stats()];
      expect([found.seen, found.live, found.peakLive, found.visiblePairs]).toEqual(
        [expected.seen, expected.live, expected.peakLive, expected.visiblePairs]);
      for (const each of [session, twin]) each.dispose();
    }
    expect(settled).toEqual(settled.map(() => settled[0]));
    model.dispose();
    engine.dispose();
    reference.dispose();
    await gpuDevice.queue.onSubmittedWorkDone();
    expect(counts.buffers).toBe(0);
    gpuDevice.destroy();
  });
});
