/**
 * Where the time of a training step of the shipped configuration goes.
 * @module
 */
import { readFileSync } from 'node:fs';
import { ByteTokenizer, createEngine, DEFAULT_TRAIN_OPTIONS, tokenizeDocuments, Trainer } from '../../src/index.ts';
import { batchGradients } from '../../src/train/trainer.ts';
import { median } from '../measure.ts';
import { shippedConfig } from '../models.ts';
import type { Bench } from './device.ts';
import { Profiler } from './stamps.ts';

/** Prints, for full attention and for joint search: time of a step, and of each kernel in it. */
export async function trainingSteps(bench: Bench, quick: boolean): Promise<void> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 16, context: quick ? 64 : 1024 };
  const profiler = new Profiler(bench.device);
  for (const policy of ['full', 'nats']) {
    const engine = await createEngine({ gpu: 'wgsl', gpuDevice: bench.device });
    const config = shippedConfig('models/nats', policy);
    const trainer = new Trainer(engine, config, options, tokens, { source: batchGradients(config, options) });
    const times: number[] = [];
    for (let n = 0; n < (quick ? 2 : 12); n++) {
      const start = performance.now();
      await trainer.next();
      times.push(performance.now() - start);
    }
    const submitted = async (): Promise<void> => void await engine.read(engine.zeros([1]));
    await submitted();
    const profile = [...await profiler.watch(async () => {
      await trainer.next();
      await submitted();
    })].sort(([, a], [, b]) => b.us - a.us);
    const all = profile.reduce((sum, [, { us }]) => sum + us, 0);
    const dispatches = profile.reduce((sum, [, { count }]) => sum + count, 0);
    const step = median(times.slice(-9));
    console.log(`# ${policy}: ${step.toFixed(1)} ms a step, ${Math.round((options.batch * options.context * 1000) / step)} tokens/s; ${(all / 1000).toFixed(1)} ms in ${dispatches} dispatches`);
    for (const [name, { us, count }] of profile) {
      if (us * 200 > all || quick) console.log(`${us.toFixed(0).padStart(10)} us in ${String(count).padStart(3)}  ${name}`);
    }
    trainer.dispose();
    engine.dispose();
  }
}
