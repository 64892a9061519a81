/** On every engine, no training continues with what is NaN or infinite. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NumericError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { DEFAULT_FINETUNE_OPTIONS } from '../src/train/finetune-options.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { tensorsOf } from '../src/train/state.ts';
import { localGradients, Trainer, type TrainingState } from '../src/train/trainer.ts';
import { forEachEngine, TRAINING } from './support/engines.ts';
import { configOf, DOWN, modelWith } from './support/spoiled-model.ts';

const TEXT = 'It was the best of times, it was the worst of times. ';
const tokens = tokenizeDocuments(new ByteTokenizer(), [TEXT.repeat(2)]);
const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 30, batch: 2, context: 8, warmup: 0 };
const finetune = { ...DEFAULT_FINETUNE_OPTIONS, context: 12, batch: 1, steps: 4, warmup: 0 };
const bits = (state: TrainingState): number[][] => [...tensorsOf(state)].map(([, { data }]) => [...data]);

forEachEngine('a step of training', ({ create }) => {
  let engine: TrainingEngine;
  beforeAll(async () => void (engine = await create()));
  afterAll(() => engine.dispose());

  it('stops at a learning rate of 1e30 with the step, the place and the rate', async () => {
    for (const policy of ['full', 'nats']) {
      const trainer = new Trainer(
        engine, configOf(policy), { ...options, learningRate: 1e30, minLearningRate: 1e30 }, tokens,
      );
      const message = /^step \d+: .*(loss|types|gradient|row).*learning rate of 1e\+30, which is probably too high/;
      await expect(trainer.run()).rejects.toThrow(message);
      await expect(trainer.run()).rejects.toThrow(NumericError);
    }
  });

  it.each([['loss', /the loss is NaN/], ['gradient', /the gradient of 'lm_head\.weight' is the first to hold Infinity/]])(
    'leaves weights and moments as they were before a step without a %s', async (which, message) => {
      const config = configOf('full');
      const local = localGradients(config, options);
      const trainer = new Trainer(engine, config, options, tokens, {
        source: {
          async compute(engine, weights, windows, step) {
            const found = await local.compute(engine, weights, windows, step);
            if (step < 3) return found;
            if (which === 'loss') return { ...found, loss: NaN };
            const name = 'lm_head.weight';
            const { shape } = weights.get(name)!;
            found.gradients.set(name, engine.tensor(new Float64Array(shape[0] * shape[1]).fill(Infinity), shape));
            return found;
          },
        },
      });
      await trainer.next();
      await trainer.next();
      const before = bits(await trainer.state());
      await expect(trainer.next()).rejects.toThrow(message);
      await expect(trainer.next()).rejects.toThrow(/^step 3: /);
      expect(trainer.step).toBe(2);
      expect(bits(await trainer.state())).toEqual(before);
    });

  it('stops fine-tuning of a base with NaN in a weight, and names it', async () => {
    const finetuner = new Finetuner(modelWith(DOWN, NaN, 'full', engine), { window: 2 }, finetune, tokens);
    await expect(finetuner.next()).rejects.toThrow(/^step 1: .*down_proj\.weight' holds NaN at element 3/);
    expect(finetuner.step).toBe(0);
  });

  it('stops fine-tuning if the final hidden states of the base are all 0, since no error can be relative to them', async () => {
    const weights = initialWeights(configOf('full'), 1);
    weights.get('model.norm.weight')!.data.fill(0);
    const finetuner = new Finetuner(new Model(engine, configOf('full'), weights), { window: 2 }, finetune, tokens);
    await expect(finetuner.next()).rejects.toThrow(/final hidden states are all 0/);
  });
}, TRAINING);
