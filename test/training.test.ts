/**
 * Training, on every engine: the bits do not depend on interruptions or on which sequences were computed together, and
 * the search obeys its price.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { StoppedError, ValueError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import type { ModelConfig } from '../src/model/config/config.ts';
import { computeGradients } from '../src/train/gradients.ts';
import { learningRateAt, type TrainOptions } from '../src/train/options.ts';
import { decodeState, encodeState } from '../src/train/state-file.ts';
import { Trainer, type TrainingState } from '../src/train/trainer.ts';
import { forEachEngine, TRAINING } from './support/engines.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { expectSameBits } from './support/tolerance.ts';
import { bits, configOf, optionsOf, tokens } from './support/train-setup.ts';

/** A state as the file of a checkpoint holds it. */
async function thawed(state: TrainingState): Promise<TrainingState> {
  return decodeState(await encodeState(state, {}), 'the state', 'training');
}

forEachEngine('training', ({ precision, trains, create }) => {
  let engine: TrainingEngine;
  beforeAll(async () => void (engine = await create()));
  afterAll(() => engine.dispose());

  async function trained(config: ModelConfig, options: TrainOptions): Promise<TrainingState> {
    const trainer = new Trainer(engine, config, options, tokens);
    await trainer.run();
    const state = await trainer.state();
    trainer.dispose();
    return state;
  }

  it.each(['nats', 'full', 'window:3', 'streaming:2+3'])('of %s gives the same bits across a resume from a file', async (policy) => {
    const [config, options] = [configOf(policy), optionsOf()];
    const whole = await trained(config, options);
    const trainer = new Trainer(engine, config, options, tokens);
    for (let n = 0; n < 3; n++) await trainer.next();
    const resumed = new Trainer(engine, config, options, tokens, { from: await thawed(await trainer.state()) });
    expect(resumed.step).toBe(3);
    await resumed.run();
    expectSameBits(bits(await resumed.state()), bits(whole), 'state');
  });

  it('depends on the seed', async () => {
    const config = configOf('nats');
    const first = bits(await trained(config, optionsOf({ steps: 1 })));
    expect(bits(await trained(config, optionsOf({ steps: 1 })))).toEqual(first);
    expect(bits(await trained(config, optionsOf({ steps: 1, seed: 12 })))).not.toEqual(first);
  });

  it('works with chunks of tokens and an untied output layer', async () => {
    const config = { ...configOf('nats', 0.1, { chunk: 5, pooling: 'max' }), tieWordEmbeddings: false };
    const trainer = new Trainer(engine, config, optionsOf(), tokens);
    const report = await trainer.next();
    expect(report.loss).toBeGreaterThan(5);
    expect(report.typeShares.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect((await trainer.state()).weights.has('lm_head.weight')).toBe(true);
  });

  // A hundred steps and more.
  if (trains && (THOROUGH || precision === 'float32')) it('keeps less of the cache if memory costs more', async () => {
    const kept: number[] = []; // means over the last ten steps
    for (const lambda of some(2, [0, 0.001, 0.1])) {
      const shares: number[] = [];
      const options = optionsOf({ steps: 60, learningRate: 1e-2, warmup: 0 });
      await new Trainer(engine, configOf('nats', lambda), options, tokens)
        .run({ onStep: (report) => void shares.push(report.kept) });
      kept.push(shares.slice(-10).reduce((a, b) => a + b) / 10);
    }
    for (let n = 1; n < kept.length; n++) expect(kept[n]).toBeLessThan(kept[n - 1] - 0.02);
  }, 60_000);

  // In float32, a gradient may be as small as what is rounded off the terms of its sum.
  if (precision === 'float64') it('sums the gradients of parts into the gradient of the whole batch', async () => {
    const [config, options] = [configOf('nats'), optionsOf()];
    const state = await new Trainer(engine, config, options, tokens).state();
    const weights = new Map([...state.weights].map(([name, { data, shape }]) => [name, engine.tensor(data, shape)]));
    const windows = [0, 1, 2].map((n) => tokens.slice(7 * n, 7 * n + 25));
    const whole = await computeGradients(engine, config, options, weights, windows, { step: 1, sequences: [0, 1, 2] });
    const parts = await Promise.all(windows.map((window, n) => {
      return computeGradients(engine, config, options, weights, [window], { step: 1, sequences: [n] });
    }));
    expect(parts.reduce((sum, { loss }) => sum + loss, 0)).toBeCloseTo(whole.loss, 9);
    for (const [name, gradient] of whole.gradients) {
      const expected = await engine.read(gradient);
      const read = await Promise.all(parts.map(({ gradients }) => engine.read(gradients.get(name)!)));
      expected.forEach((x, n) => {
        const size = read.reduce((sum, part) => sum + Math.abs(part[n]), 0);
        expect(Math.abs(read.reduce((sum, part) => sum + part[n], 0) - x)).toBeLessThanOrEqual(1e-10 * (size + 1e-6));
      });
    }
  });

  it('stops at an abort with a state that can be resumed', async () => {
    const controller = new AbortController();
    const trainer = new Trainer(engine, configOf('full'), optionsOf(), tokens);
    const onStep = ({ step }: { step: number }) => void (step === 2 && controller.abort('lunch'));
    const run = trainer.run({ signal: controller.signal, onStep });
    await expect(run).rejects.toThrow(StoppedError);
    await expect(run).rejects.toMatchObject({ cause: 'lunch' });
    expect(trainer.step).toBe(2);
  });
}, TRAINING);

describe('a run', () => {
  it('refuses text and options that no run can use', () => {
    const make = (change: Partial<TrainOptions>, text: Int32Array = tokens) => () => {
      return new Trainer(createEngine(), configOf('nats'), optionsOf(change), text);
    };
    expect(make({}, new Int32Array(0))).toThrow(/empty/);
    expect(make({ context: 24 }, tokens.slice(0, 24))).toThrow(/24 tokens but a context of 24 needs 25/);
    expect(make({ context: 24 }, tokens.slice(0, 25))).not.toThrow();
    for (const change of [
      { steps: 0 }, { batch: 1.5 }, { context: 0 }, { learningRate: 0 }, { learningRate: NaN },
      { clip: 0 }, { beta1: 1 },
      { weightDecay: -1 }, { warmup: -1 }, { seed: 0.5 }, { rule: 'other' as 'exact' },
    ]) expect(make(change), JSON.stringify(change)).toThrow(ValueError);
  });

  it('warms up linearly and decays along a cosine', () => {
    const options = optionsOf({ steps: 110, warmup: 10, learningRate: 1, minLearningRate: 0.1 });
    const rates = [1, 5, 10, 60, 110].map((step) => learningRateAt(step, options));
    expect(rates).toEqual([0.1, 0.5, 1, expect.closeTo(0.55, 12), 0.1]);
  });
});
