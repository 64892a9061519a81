/**
 * A lost device is a named error, and everything that the host holds continues on a new engine: a model from its
 * weights, a session from its snapshot, training from its state.
 */
import { expect, it } from 'vitest';
import { DeviceError, DeviceLostError, isNamedError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine } from '../src/engines.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { batchGradients, Trainer, type TrainingState } from '../src/train/trainer.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { expectSameBits } from './support/tolerance.ts';
import { describeWebGPU, requestGpuDevice } from './support/webgpu.ts';

/** An engine, and what takes its device away. */
async function fragile(): Promise<{ engine: TrainingEngine; lose(): void }> {
  const gpuDevice = await requestGpuDevice();
  return { engine: await createEngine({ gpu: 'wgsl', gpuDevice }), lose: () => gpuDevice.destroy() };
}

const LOST = /^the GPU device was lost \(/;

describeWebGPU('after the loss of a device', () => {
  it('a session continues from its snapshot with the same bits, on a model made again from its weights', async () => {
    const { engine, lose } = await fragile();
    const steps = [livelyIds(0, 7), livelyIds(1, 1), livelyIds(2, 1), livelyIds(3, 4)];
    const config = livelyConfig('nats', {}, {});
    const model = livelyModel(engine, config); // its weights are drawn from a seed, and so the host has them
    const session = model.session();
    for (const ids of steps.slice(0, 2)) await session.step(ids);
    const file = await session.snapshot();
    const truth = [];
    for (const ids of steps.slice(2)) truth.push(await session.step(ids));

    const broken = await model.restore(file);
    await broken.step(steps[2]);
    lose();
    const failure = await broken.step(steps[3]).then(() => undefined, (error: unknown) => error);
    expect(failure).toBeInstanceOf(DeviceLostError);
    expect(failure).toBeInstanceOf(DeviceError);
    expect(isNamedError(failure)).toBe(true);
    expect((failure as Error).message).toMatch(LOST);
    await expect(broken.snapshot()).rejects.toThrow(DeviceLostError);
    for (const each of [session, broken]) each.dispose();
    model.dispose();
    engine.dispose();

    // On a device that the engine opens itself it would have more features, and take other kernels.
    const { engine: again } = await fragile();
    const revived = await livelyModel(again, config).restore(file);
    for (const [n, ids] of steps.slice(2).entries()) expectSameBits(await revived.step(ids), truth[n], `step ${n}`);
    revived.dispose();
    again.dispose();
  }, 60_000);

  it('training continues from its state, and ends with the bits of a run that lost nothing', async () => {
    const tokens = livelyIds(4, 90);
    const config = livelyConfig('nats', {}, {});
    const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 4, batch: 2, context: 12, warmup: 1, seed: 5 };
    const make = (engine: TrainingEngine, from?: TrainingState): Trainer =>
      new Trainer(engine, config, options, tokens, { source: batchGradients(config, options), ...(from && { from }) });

    const whole = make(await createEngine({ gpu: 'wgsl' }));
    await whole.run();
    const truth = await whole.state();
    whole.dispose();
    whole.engine.dispose();

    const { engine, lose } = await fragile();
    const trainer = make(engine);
    await trainer.next();
    await trainer.next();
    const saved = await trainer.state();
    const third = trainer.next(); // the device is lost amid a step
    lose();
    await expect(third).rejects.toThrow(DeviceLostError);
    await expect(trainer.next()).rejects.toThrow(LOST);
    await expect(trainer.state()).rejects.toThrow(DeviceLostError);
    trainer.dispose();
    engine.dispose();

    const revived = make(await createEngine({ gpu: 'wgsl' }), saved);
    expect(revived.step).toBe(2);
    await revived.run();
    const found = await revived.state();
    for (const part of ['weights', 'm', 'v'] as const) {
      for (const [name, { data }] of truth[part]) expectSameBits(found[part].get(name)!.data, data, `${part} ${name}`);
    }
    revived.dispose();
    revived.engine.dispose();
  }, 60_000);
});
