/**
 * What `natsearch train` refuses before it reads anything: its messages name the flags that the user typed.
 * @module
 */
import { describe, expect, it } from 'vitest';
import { type TrainFlags, trainSettings } from '../src/cli/train-plan.ts';

/** The flags of `natsearch train` without options. */
const FLAGS = {
  text: ['book.txt'], out: 'model', resume: false, force: false, bos: true, json: false, types: 'nats', window: 16,
  layers: 2, hidden: 32, intermediate: 64, heads: 4, kvHeads: 2, context: 64, chunk: 1, temperature: 1, batch: 1,
  steps: 1, lr: 0.01, minLr: 0.001, warmup: 0, clip: 1, weightDecay: 0, maskGradient: 'bounded', seed: 0, saveEvery: 1,
  threads: 1,
} as unknown as TrainFlags;

describe('natsearch train', () => {
  it('accepts these flags', () => {
    expect(trainSettings(FLAGS).config).toMatchObject({ hiddenSize: 32, headDim: 8, nats: { policy: 'nats' } });
  });

  it('gives learned types a second window, also in a model with a window of its own', () => {
    const flags = { ...FLAGS, localWindow: 9 };
    const { config } = trainSettings(flags);
    expect(config.nats).toMatchObject({ window: 16, localWindow: 9 });
    expect(FLAGS).not.toHaveProperty('localWindow');
    expect(trainSettings(FLAGS).config.nats).not.toHaveProperty('localWindow');
    const like = { ...config, modelType: 'mistral', slidingWindow: 8 } as const;
    const continued = trainSettings({ ...flags, from: 'mistral' }, 0.1, like).config;
    expect(continued).toMatchObject({ slidingWindow: 8, nats: { window: 16, localWindow: 9 } });
    expect(continued.nats).not.toHaveProperty('reach');
  });

  it.each<[Partial<TrainFlags>, string]>([
    [{ hidden: 10 }, '--hidden (10) must be a multiple of --heads (4)'],
    [{ hidden: 12 }, '--hidden (12) divided by --heads (4) is 3: it must be even, since rotary embedding rotates pairs'],
    [{ kvHeads: 3 }, '--heads (4) must be a multiple of --kv-heads (3)'],
    [{ context: 4e9 }, '--context is 4000000000: it must be a whole number from 1 to 2147483647'],
    [{ window: 4e9 }, '--window is 4000000000: it must be a whole number from 0 to 2147483647'],
    [{ localWindow: 4e9 }, '--local-window is 4000000000: it must be a whole number from 0 to 2147483647'],
    [{ types: 'window:3', localWindow: 4 }, '--local-window is for learned types, but --types is "window:3": leave it out'],
    [{ layers: 20_000 }, '--layers is 20000: it must be a whole number from 1 to 10000'],
    [{ intermediate: 4e9 }, '--intermediate is 4000000000: it must be a whole number from 1 to 2147483647'],
    [{ types: 'window:3', lambda: 0.1 },
      '--lambda 0.1 has no effect with --types window:3, under which no types are learned: leave it out'],
  ])('refuses %o in terms of its flags', (change, message) => {
    expect(() => trainSettings({ ...FLAGS, ...change })).toThrow(expect.objectContaining({ name: 'UsageError', message }));
  });
});
