/**
 * Steps that do not wait for their results: the same bits and reports as steps that do, on every engine; and nothing is
 * changed by a step whose loss or gradient is not finite.
 */
import { expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { NumericError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { tensorsOf } from '../src/train/state.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../src/train/options.ts';
import { batchGradients, type GradientSource, type StepReport, Trainer, type TrainingState } from '../src/train/trainer.ts';
import { describeEngines } from './support/engines.ts';

const tokens = Int32Array.from({ length: 90 }, (_, n) => (n * n + 3 * n) % 23);
const config = parseConfig({
  vocab_size: 24, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 12, tie_word_embeddings: true,
  nats: { policy: 'nats', window: 3, lambda: 0.1 },
});
const options: TrainOptions = { ...DEFAULT_TRAIN_OPTIONS, steps: 4, batch: 2, context: 12, warmup: 1, seed: 5 };
const bits = (state: TrainingState): number[][] => [...tensorsOf(state)].map(([, { data }]) => [...data]);

/** Runs all steps, and reads the state after each of them. */
async function trained(
  engine: TrainingEngine, used: TrainOptions, source: GradientSource,
): Promise<{ reports: StepReport[]; states: number[][][] }> {
  const trainer = new Trainer(engine, config, used, tokens, { source });
  const [reports, states]: [StepReport[], number[][][]] = [[], []];
  await trainer.run({ onStep: async (report) => {
    reports.push(report);
    states.push(bits(await trainer.state()));
  } });
  trainer.dispose();
  return { reports, states };
}

describeEngines('a step that does not wait', ({ engine: opened }) => {
  it('gives the bits and the report of one that does', async () => {
    const engine = opened();
    for (const change of [{}, { precision: 'mixed' }] as const) {
      const used = { ...options, ...change };
      const { compute, ...ahead } = batchGradients(config, used);
      expect(ahead.begin).toBeDefined();
      const waiting = await trained(engine, used, { compute });
      expect(await trained(engine, used, { compute, ...ahead })).toEqual(waiting);
      // All of them learn.
      expect(new Set(waiting.states.map((state) => JSON.stringify(state))).size).toBe(options.steps);
    }
  });

  const whats = ['gradient', 'loss'] as const;
  it.each(whats)('leaves weights and moments as they were if a %s is not finite, and says why', async (what) => {
    const engine = opened();
    const good = batchGradients(config, options);
    const spoiled = (x: Map<string, { dispose(): void }>, at: TrainingEngine): void => {
      x.get('model.norm.weight')!.dispose();
      x.set('model.norm.weight', at.tensor(new Float64Array(8).fill(Infinity), [8]));
    };
    const source: GradientSource = {
      async compute(on, weights, windows, step, scale) {
        const found = await good.compute(on, weights, windows, step, scale);
        if (step < 3) return found;
        if (what === 'loss') return { ...found, loss: NaN };
        spoiled(found.gradients, on);
        return found;
      },
      begin(on, weights, windows, step, scale) {
        const found = good.begin!(on, weights, windows, step, scale);
        if (step < 3) return found;
        if (what === 'loss') return { ...found, squaredLoss: on.tensor([NaN], [1]) };
        spoiled(found.gradients, on);
        return found;
      },
    };
    const trainer = new Trainer(engine, config, options, tokens, { source });
    await trainer.next();
    await trainer.next();
    const before = bits(await trainer.state());
    const message = what === 'loss' ? /^step 3: the loss is NaN/
      : /^step 3: .*'model\.norm\.weight' is the first to hold Infinity/;
    for (let n = 0; n < 2; n++) {
      const failure = await trainer.next().then(() => undefined, (error: unknown) => error as Error);
      expect(failure).toBeInstanceOf(NumericError);
      expect(failure!.message).toMatch(message);
      expect(trainer.step).toBe(2);
      expect(bits(await trainer.state())).toEqual(before);
    }
    trainer.dispose();
  });
});

it('a step is no failure because the next one cannot begin, which then is one', async () => {
  let allowed = 2 * options.batch;
  const source = { length: tokens.length, slice: (from: number, to: number) => {
    if (allowed-- <= 0) throw new RangeError('the text is gone');
    return tokens.slice(from, to);
  } };
  const trainer = new Trainer(createEngine(), config, options, source, { source: batchGradients(config, options) });
  await trainer.next();
  await trainer.next();
  expect(trainer.step).toBe(2);
  await expect(trainer.next()).rejects.toThrow('the text is gone');
  allowed = Infinity;
  expect((await trainer.next()).step).toBe(3);
  trainer.dispose();
});

it('a step that overflows because of the scale halves it for the next one, too', async () => {
  const used = { ...options, precision: 'mixed' as const, steps: 6 };
  const good = batchGradients(config, used);
  const scales: (number | undefined)[] = [];
  type Found = { gradients: Map<string, { dispose(): void }> };
  const narrow = <T extends Found>(on: TrainingEngine, scale = 1, found: T): T => {
    if (scale > 2 ** 14) found.gradients.set('model.norm.weight', on.tensor(new Float64Array(8).fill(Infinity), [8]));
    return found;
  };
  const source: GradientSource = {
    compute: async (on, weights, windows, step, scale) =>
      narrow(on, scale, await good.compute(on, weights, windows, step, scale)),
    begin(on, weights, windows, step, scale) {
      scales.push(scale);
      return narrow(on, scale, good.begin!(on, weights, windows, step, scale));
    },
  };
  const { reports, states } = await trained(createEngine(), used, source);
  expect(reports.map(({ lossScale }) => lossScale)).toEqual([16, 15, 14, 14, 14, 14].map((n) => 2 ** n));
  expect(reports.map(({ skipped }) => skipped ?? false)).toEqual([true, true, false, false, false, false]);
  // Steps 1 and 2 were skipped, so what was begun ahead of its time, with the old scale, was begun again.
  expect(scales).toEqual([16, 16, 15, 15, 14, 14, 14, 14].map((n) => 2 ** n));
  const { compute } = source;
  const waiting = await trained(createEngine(), used, { compute });
  expect(waiting).toEqual({ reports, states });
});
