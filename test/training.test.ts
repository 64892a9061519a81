/**
 * Training: the bits do not depend on interruptions or on which thread computed what, and the search obeys its price.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { FileFormatError, StoppedError, ValueError } from '../src/core/errors.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { fingerprint, loadCheckpoint, readLog, resumed, saveCheckpoint } from '../src/train/checkpoint.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { computeGradients } from '../src/train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS, learningRateAt, type TrainOptions } from '../src/train/options.ts';
import { Trainer, type TrainingState } from '../src/train/trainer.ts';
import { some } from './support/thorough.ts';

const TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(3);
const tokens = tokenizeDocuments(new ByteTokenizer(), [TEXT]);

function configOf(policy: string, lambda = 0.1, extra: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, max_position_embeddings: 24, tie_word_embeddings: true,
    nats: { policy, window: 4, lambda, ...extra },
  });
}

function optionsOf(change: Partial<TrainOptions> = {}): TrainOptions {
  return { ...DEFAULT_TRAIN_OPTIONS, steps: 6, batch: 3, context: 24, warmup: 2, seed: 11, ...change };
}

/** All numbers of a state in one list, for comparison bit for bit. */
function bits(state: TrainingState): Float64Array {
  const parts = [state.weights, state.m, state.v];
  return Float64Array.from(parts.flatMap((part) => [...part.values()].flatMap(({ data }) => [...data])));
}

async function trained(config: ModelConfig, options: TrainOptions): Promise<TrainingState> {
  const trainer = new Trainer(createEngine(), config, options, tokens);
  await trainer.run();
  return trainer.state();
}

describe('training', () => {
  it.each(['nats', 'full', 'window:3', 'streaming:2+3'])('of %s gives the same bits across a resume from a file', async (policy) => {
    const [config, options] = [configOf(policy), optionsOf()];
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-training-'));
    try {
      const whole = await trained(config, options);
      const trainer = new Trainer(createEngine(), config, options, tokens);
      for (let n = 0; n < 3; n++) await trainer.next();
      await saveCheckpoint(folder, await trainer.state(), { config, options, textHash: fingerprint(tokens) });
      const { state, run } = await loadCheckpoint(folder);
      expect(run).toEqual({ config, options, textHash: fingerprint(tokens) });
      const resumed = new Trainer(createEngine(), run.config, run.options, tokens, { from: state });
      expect(resumed.step).toBe(3);
      await resumed.run();
      expect(bits(await resumed.state())).toEqual(bits(whole));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('depends on the seed', async () => {
    const config = configOf('nats');
    const first = bits(await trained(config, optionsOf({ steps: 1 })));
    expect(bits(await trained(config, optionsOf({ steps: 1 })))).toEqual(first);
    expect(bits(await trained(config, optionsOf({ steps: 1, seed: 12 })))).not.toEqual(first);
  });

  it('works with chunks of tokens and an untied output layer', async () => {
    const config = { ...configOf('nats', 0.1, { chunk: 5, pooling: 'max' }), tieWordEmbeddings: false };
    const trainer = new Trainer(createEngine(), config, optionsOf(), tokens);
    const report = await trainer.next();
    expect(report.loss).toBeGreaterThan(5);
    expect(report.typeShares.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect((await trainer.state()).weights.has('lm_head.weight')).toBe(true);
  });

  it('keeps less of the cache if memory costs more', async () => {
    const kept: number[] = []; // means over the last ten steps
    for (const lambda of some(2, [0, 0.001, 0.1])) {
      const shares: number[] = [];
      const options = optionsOf({ steps: 60, learningRate: 1e-2, warmup: 0 });
      await new Trainer(createEngine(), configOf('nats', lambda), options, tokens)
        .run({ onStep: (report) => void shares.push(report.kept) });
      kept.push(shares.slice(-10).reduce((a, b) => a + b) / 10);
    }
    for (let n = 1; n < kept.length; n++) expect(kept[n]).toBeLessThan(kept[n - 1] - 0.02);
  }, 60_000);

  it('sums the gradients of parts into the gradient of the whole batch', async () => {
    const [config, options] = [configOf('nats'), optionsOf()];
    const engine = createEngine();
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
    const trainer = new Trainer(createEngine(), configOf('full'), optionsOf(), tokens);
    const onStep = ({ step }: { step: number }) => void (step === 2 && controller.abort('lunch'));
    const run = trainer.run({ signal: controller.signal, onStep });
    await expect(run).rejects.toThrow(StoppedError);
    await expect(run).rejects.toMatchObject({ cause: 'lunch' });
    expect(trainer.step).toBe(2);
  });

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

describe('a checkpoint', () => {
  it('is refused by a run with other options, which it names', () => {
    const run = { config: configOf('nats'), options: optionsOf(), textHash: 'a' };
    expect(resumed(run, run, 1)).toEqual({ run });
    expect(() => resumed(run, { ...run, options: optionsOf({ seed: 12 }) }, 1)).toThrow(/seed = 11, not 12/);
    expect(() => resumed(run, { ...run, textHash: 'b' }, 1)).toThrow(/text \(tokens-fingerprint\) = "a", not "b"/);
    expect(() => resumed(run, { ...run, config: configOf('nats', 0.5) }, 1)).toThrow(ValueError);
  });

  it('whose file is damaged is refused by name, and a log is cut at its step', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-checkpoint-'));
    try {
      const [config, options] = [configOf('full'), optionsOf()];
      const trainer = new Trainer(createEngine(), config, options, tokens);
      await saveCheckpoint(folder, await trainer.state(), { config, options, textHash: '' });
      expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors', 'training-state.safetensors']);
      writeFileSync(join(folder, 'log.jsonl'), '{"step":1}\n{"step":2}\n{"step":3}\n{"ste');
      expect(await readLog(folder, 2)).toEqual([{ step: 1 }, { step: 2 }]);
      const path = join(folder, 'training-state.safetensors');
      writeFileSync(path, readFileSync(path).subarray(0, -100));
      await expect(loadCheckpoint(folder)).rejects.toThrow(FileFormatError);
      writeFileSync(path, readFileSync(join(folder, 'model.safetensors')));
      await expect(loadCheckpoint(folder)).rejects.toThrow(FileFormatError);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
