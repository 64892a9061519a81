/** Fine-tuning, on every engine: a base that does not change, steering, resuming bit for bit. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine } from '../src/engines.ts';
import { StoppedError, ValueError } from '../src/core/errors.ts';
import { Model } from '../src/model/model.ts';
import { Finetuner, type FinetuneState } from '../src/train/finetune.ts';
import { scorerNames } from '../src/model/config/names.ts';
import {
  DEFAULT_FINETUNE_OPTIONS, defaultContext, defaultWindow, type FinetuneOptions, type Price, steer,
} from '../src/train/finetune-options.ts';
import { decodeState, encodeState } from '../src/train/state-file.ts';
import { forEachEngine, TRAINING } from './support/engines.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';
import { THOROUGH } from './support/thorough.ts';
import { expectSameBits } from './support/tolerance.ts';

/** All numbers of a state in one list, for comparison bit for bit. */
function bits(state: FinetuneState): Float64Array {
  const arrays = [state.weights, state.m, state.v].flatMap((part) => [...part.values()]);
  const { lambda, kept = NaN } = state.price;
  return Float64Array.of(state.step, lambda, kept, ...arrays.flatMap(({ data }) => [...data]));
}

forEachEngine('fine-tuning', ({ precision, trains, create }) => {
  let engine: TrainingEngine;
  beforeAll(async () => void (engine = await create()));
  afterAll(() => engine.dispose());

  function baseOf(on = engine): Model {
    const config = configOf();
    return new Model(on, config, weightsOf(config));
  }

  async function tuned(change: Partial<FinetuneOptions> = {}, nats: object = {}): Promise<Finetuner> {
    const finetuner = new Finetuner(baseOf(), { ...NATS, ...nats }, optionsOf(change), tokens);
    await finetuner.run();
    return finetuner;
  }

  /** An engine that records which operations are called, and how many elements their results have. */
  function watched(calls: string[]): TrainingEngine {
    return new Proxy(engine, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          calls.push(String(name));
          return value.apply(target, args) as unknown;
        };
      },
    });
  }

  it('does not change the base by a bit, and no gradient of its matrices is computed', async () => {
    const calls: string[] = [];
    const model = baseOf(watched(calls));
    const bytes = async (tensors: Iterable<Tensor>) => {
      const all: number[] = [];
      for (const tensor of tensors) all.push(...await model.engine.read(tensor));
      return Float64Array.from(all);
    };
    const before = await bytes(model.weights.values());
    const finetuner = new Finetuner(model, NATS, optionsOf(), tokens);
    calls.length = 0;
    await finetuner.next();
    const count = (name: string) => calls.filter((call) => call === name).length;
    expect(count('linearBackwardWeight')).toBe(2 * 2); // one per scorer and sequence
    expect(count('embeddingBackward')).toBe(0);
    expect(count('adamW')).toBe(2);
    await finetuner.run();
    expect(await bytes(model.weights.values())).toEqual(before);
    expect(model.weights.has(scorerNames(model.config)[0])).toBe(false);
    finetuner.dispose();
    expect(await bytes(model.weights.values())).toEqual(before); // still there
  });

  it('refuses a base that already has learned types', () => {
    const config = configOf({ nats: { ...NATS, policy: 'nats' } });
    const model = new Model(engine, config, weightsOf(config));
    expect(() => new Finetuner(model, NATS, optionsOf(), tokens)).toThrow(/already has learned types/);
  });

  it('gives the same bits across a resume from a file, the price included', async () => {
    const whole = bits(await (await tuned()).state());
    const finetuner = new Finetuner(baseOf(), NATS, optionsOf(), tokens);
    for (let n = 0; n < 3; n++) await finetuner.next();
    const { price, ...state } = await finetuner.state();
    const read = await decodeState(await encodeState(state, {}), 'the state', 'fine-tuning');
    const resumed = new Finetuner(baseOf(), NATS, optionsOf(), tokens, { from: { ...read, price } });
    expect(resumed.step).toBe(3);
    await resumed.run();
    expectSameBits(bits(await resumed.state()), whole, 'state');
  });

  it('depends on the seed', async () => {
    const first = bits(await (await tuned({ steps: 1 })).state());
    expect(bits(await (await tuned({ steps: 1 })).state())).toEqual(first);
    expect(bits(await (await tuned({ steps: 1, seed: 12 })).state())).not.toEqual(first);
  });

  // Sixty steps.
  if (trains && (THOROUGH || precision === 'float32')) it('brings the student closer to the teacher if memory is free', async () => {
    const losses: number[] = [];
    const finetuner = new Finetuner(baseOf(), NATS, optionsOf({ keep: 0, steps: 60, learningRate: 2e-2 }), tokens);
    await finetuner.run({ onStep: ({ relativeLoss }) => void losses.push(relativeLoss) });
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(mean(losses.slice(-10))).toBeLessThan(0.5 * mean(losses.slice(0, 10)));
  }, 60_000);

  // 200 steps take seconds, so only the thorough run takes them.
  if (THOROUGH && trains) it.each([0.3, 0.6])('is steered to a kept share of %d', async (keep) => {
    const kept: number[] = [];
    const options = optionsOf({ keep, steps: 200, context: 32, learningRate: 2e-2 });
    const finetuner = new Finetuner(baseOf(), NATS, options, tokens);
    await finetuner.run({ onStep: (report) => void kept.push(report.kept) });
    const mean = kept.slice(-40).reduce((a, b) => a + b) / 40;
    expect(Math.abs(mean - keep)).toBeLessThan(0.1);
    const layers = await finetuner.keptByLayer();
    expect(layers).toHaveLength(2);
    expect(layers.every((share) => share > 0 && share < 1)).toBe(true);
  }, 60_000);

  it('does not change a lambda that was given', async () => {
    const finetuner = await tuned({ keep: 0 }, { lambda: 0.25 });
    expect((await finetuner.state()).price).toEqual({ lambda: 0.25 });
  });

  it('stops at an abort with a state that can be resumed', async () => {
    const controller = new AbortController();
    const finetuner = new Finetuner(baseOf(), NATS, optionsOf(), tokens);
    const onStep = ({ step }: { step: number }) => void (step === 2 && controller.abort('lunch'));
    const run = finetuner.run({ signal: controller.signal, onStep });
    await expect(run).rejects.toThrow(StoppedError);
    await expect(run).rejects.toMatchObject({ cause: 'lunch' });
    expect(finetuner.step).toBe(2);
  });
}, TRAINING);

describe('a run', () => {
  it('refuses text and numbers that no run can use', () => {
    const base = new Model(createEngine(), configOf(), weightsOf(configOf()));
    const make = (change: Partial<FinetuneOptions>, nats: object = {}, text: Int32Array = tokens) => () => {
      return new Finetuner(base, { ...NATS, ...nats }, optionsOf(change), text);
    };
    expect(make({}, {}, tokens.slice(0, 16))).toThrow(/16 tokens but a context of 16 needs 17/);
    for (const change of [{ keep: 1 }, { keep: -0.1 }, { keep: NaN }, { steps: 0 }, { learningRate: 0 }]) {
      expect(make(change), JSON.stringify(change)).toThrow(ValueError);
    }
    for (const nats of [
      { window: -1 }, { chunk: 0 }, { temperature: 0 }, { lambda: -1 }, { lambda: NaN }, { pooling: 'min' },
    ]) {
      expect(make({}, nats), JSON.stringify(nats)).toThrow(ValueError);
    }
  });
});

describe('the price', () => {
  it('rises while too much is kept, falls while too little is, and starts at a tenth of the loss', () => {
    expect(steer({ lambda: 0 }, 0.2, 3, 0.2)).toEqual({ lambda: expect.closeTo(0.3, 12), kept: 0.2 });
    const after = (kept: number) => {
      return Array.from({ length: 10 }).reduce<Price>((price) => steer(price, kept, 1, 0.2), { lambda: 1 }).lambda;
    };
    expect(after(0.2)).toBe(1);
    expect(after(0.25)).toBeGreaterThan(1.05);
    expect(after(0.4)).toBeGreaterThan(after(0.25));
    expect(after(1 / 3) * after(1 / 9)).toBeCloseTo(1, 9); // twice and half the odds are opposite
    expect(after(1e-9)).toBeCloseTo(Math.exp(-0.7), 9); // an error counts as a factor e at most, so there are no leaps
    expect(after(1)).toBeCloseTo(Math.exp(0.7), 9);
  });

  it('is fixed without a target', () => {
    const price = { lambda: 2 };
    expect(steer(price, 0.9, 1, 0)).toBe(price);
  });
});

describe('the defaults', () => {
  it('are those of the paper for long contexts, and scale to short ones', () => {
    const { steps, batch, learningRate } = DEFAULT_FINETUNE_OPTIONS;
    expect([steps * batch, learningRate]).toEqual([7000, 2e-3]);
    const contexts = [1024, 16_384, 131_072].map((maxPositions) => defaultContext({ ...configOf(), maxPositions }));
    expect(contexts).toEqual([1024, 16_384, 16_384]);
    expect([8, 512, 1024, 4096, 16_384].map(defaultWindow)).toEqual([1, 32, 64, 256, 256]);
  });
});
