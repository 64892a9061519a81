/**
 * Where the time of a training step goes: of the shipped configuration, and of 110 million weights.
 * @module
 */
import { readFileSync } from 'node:fs';
import { ByteTokenizer, createEngine, DEFAULT_TRAIN_OPTIONS, tokenizeDocuments, Trainer } from '../../src/index.ts';
import { batchGradients } from '../../src/train/trainer.ts';
import { median } from '../measure.ts';
import { shippedConfig } from '../models.ts';
import { largeTrainer } from '../training.ts';
import type { Bench } from './device.ts';
import { Profiler } from './stamps.ts';

/** Prints the time of a step of full attention and of joint search, and of each kernel in it. */
export async function trainingSteps(bench: Bench, quick: boolean): Promise<void> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 16, context: quick ? 64 : 1024 };
  const profiler = new Profiler(bench.device);
  for (const policy of ['full', 'nats']) {
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice: bench.device });
    const config = shippedConfig('models/nats', policy);
    const trainer = new Trainer(engine, config, options, tokens, { source: batchGradients(config, options) });
    await profile(profiler, policy, trainer, quick);
  }
}

/** The same for 110 million weights, in float32 and in mixed precision where the device has matrix units. */
export async function largeTrainingSteps(bench: Bench, quick: boolean): Promise<void> {
  const profiler = new Profiler(bench.device);
  // What a device says of itself lacks the products of its matrix units.
  Object.defineProperty(bench.device, 'adapterInfo', { value: bench.adapter.info });
  const units = bench.device.features.has('chromium-experimental-subgroup-matrix' as GPUFeatureName);
  for (const compute of units ? ['f16', 'f32'] as const : ['f32'] as const) {
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice: bench.device, compute });
    await profile(profiler, `110 M weights, ${compute}`, largeTrainer(engine, compute, quick), quick);
  }
}

async function profile(profiler: Profiler, name: string, trainer: Trainer, quick: boolean): Promise<void> {
  const { engine, options: { batch, context } } = trainer;
  const times: number[] = [];
  for (let n = 0; n < (quick ? 2 : 8); n++) {
    const start = performance.now();
    await trainer.next();
    times.push(performance.now() - start);
  }
  const submitted = async (): Promise<void> => void await engine.read(engine.zeros([1]));
  await submitted();
  const found = [...await profiler.watch(async () => {
    await trainer.next();
    await submitted();
  })].sort(([, a], [, b]) => b.us - a.us);
  const all = found.reduce((sum, [, { us }]) => sum + us, 0);
  const dispatches = found.reduce((sum, [, { count }]) => sum + count, 0);
  const step = median(times.slice(-5));
  console.log(`# ${name}: ${step.toFixed(1)} ms a step, ${Math.round((batch * context * 1000) / step)} tokens/s; ${(all / 1000).toFixed(1)} ms in ${dispatches} dispatches`);
  for (const [label, { us, count }] of found) {
    if (us * 200 > all || quick) console.log(`${us.toFixed(0).padStart(10)} us in ${String(count).padStart(3)}  ${label}`);
  }
  trainer.dispose();
  engine.dispose();
}
