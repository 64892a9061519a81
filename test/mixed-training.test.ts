/**
 * Training with a scaled loss: the scale has no effect on the result, an overflow halves it and skips the step, and a
 * resumed run continues with it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NumericError, ValueError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine } from '../src/engines.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { fingerprint, loadCheckpoint, saveCheckpoint } from '../src/train/checkpoint.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { FIRST_SCALE, type LossScale, nextScale, parseScale } from '../src/train/loss-scale.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../src/train/options.ts';
import { type StepReport, Trainer, type TrainingState } from '../src/train/trainer.ts';

const tokens = tokenizeDocuments(new ByteTokenizer(), ['It was the best of times, it was the worst of times. '.repeat(3)]);
const config = parseConfig({
  vocab_size: 258, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
  num_key_value_heads: 2, max_position_embeddings: 24, tie_word_embeddings: true,
  nats: { policy: 'nats', window: 4, lambda: 0.1 },
});
const options: TrainOptions = {
  ...DEFAULT_TRAIN_OPTIONS, steps: 6, batch: 2, context: 24, warmup: 2, seed: 11, precision: 'mixed',
};
const { precision: _, ...plain } = options;

/** An engine whose gradients of logits overflow if they are scaled by more than `most`. */
function narrow(most: number): TrainingEngine {
  const engine = createEngine();
  return new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (name !== 'crossEntropyBackward') return typeof member === 'function' ? member.bind(target) : member;
      return (...[logits, targets, weight]: Parameters<TrainingEngine['crossEntropyBackward']>) => {
        const scale = weight * targets.shape.reduce((a, b) => a * b, 1) * (options.batch / targets.shape[0]);
        return target.crossEntropyBackward(logits, targets, scale > most ? Number.MAX_VALUE : weight);
      };
    },
  });
}

/** All numbers of a state in one list, for comparison bit for bit. */
function bits({ weights, m, v }: TrainingState): Float64Array {
  return Float64Array.from([weights, m, v].flatMap((part) => [...part.values()].flatMap(({ data }) => [...data])));
}

async function trained(
  engine: TrainingEngine, used: TrainOptions, from?: TrainingState,
): Promise<{ state: TrainingState; reports: StepReport[]; states: TrainingState[] }> {
  const trainer = new Trainer(engine, config, used, tokens, from && { from });
  const [reports, states]: [StepReport[], TrainingState[]] = [[], []];
  await trainer.run({ onStep: async (report) => {
    reports.push(report);
    states.push(await trainer.state());
  } });
  const state = await trainer.state();
  trainer.dispose();
  engine.dispose();
  return { state, reports, states };
}

describe('training with a scaled loss', () => {
  // Powers of two scale without rounding; a clipped gradient loses its scale together with its length.
  it('gives the same bits as without, while gradients are clipped', async () => {
    const clip = 1e-3;
    const without = await trained(createEngine(), { ...plain, clip });
    const scaled = await trained(createEngine(), { ...options, clip });
    expect(bits(scaled.state)).toEqual(bits(without.state));
    for (const [n, { lossScale, ...report }] of scaled.reports.entries()) {
      expect(lossScale).toBe(FIRST_SCALE.scale);
      expect(report).toEqual(without.reports[n]);
    }
    expect(without.state.lossScale).toBeUndefined();
  });

  it('gives the same gradients within rounding while they are not clipped', async () => {
    const once = { steps: 1, clip: 1e6 };
    const without = await trained(createEngine(), { ...plain, ...once });
    const scaled = await trained(createEngine(), { ...options, ...once });
    for (const [name, { data }] of without.state.m) {
      // A root, two quotients and a product, each rounded: 4 units of 2^-53, and as many for what is compared with.
      scaled.state.m.get(name)!.data.forEach((x, n) => {
        expect(Math.abs(x - data[n]), name).toBeLessThanOrEqual(8 * 2 ** -53 * Math.abs(data[n]));
      });
    }
  });

  it('halves the scale and changes nothing else when gradients overflow, and then trains on', async () => {
    const { reports, states, state } = await trained(narrow(2 ** 14), options);
    expect(reports.map(({ lossScale }) => lossScale)).toEqual([2 ** 16, 2 ** 15, 2 ** 14, 2 ** 14, 2 ** 14, 2 ** 14]);
    expect(reports.map(({ skipped }) => skipped ?? false)).toEqual([true, true, false, false, false, false]);
    const start = new Trainer(createEngine(), config, options, tokens);
    const first = bits(await start.state());
    expect(bits(states[0])).toEqual(first);
    expect(bits(states[1])).toEqual(first);
    expect(bits(states[2])).not.toEqual(first);
    expect(state.lossScale).toEqual({ scale: 2 ** 14, steady: 4, skipped: 2 });
    // The first step that counts is AdamW's first: its mean is (1 - beta1) times the gradient, and corrected to that.
    const [theta, moved] = [states[1].weights, states[2].weights].map((part) => part.get('model.norm.weight')!.data);
    const rate = reports[2].learningRate;
    moved.forEach((x, n) => expect(Math.abs(x - theta[n])).toBeLessThanOrEqual(rate * (1 + 1e-9)));
    expect(Math.max(...Array.from(moved, (x, n) => Math.abs(x - theta[n])))).toBeGreaterThan(0.99 * rate);
  });

  it('is an error if gradients overflow without a scale, too', async () => {
    await expect(trained(narrow(0.5), { ...options, steps: 20 })).rejects.toThrow(NumericError);
  });

  it('continues with the same bits from a file', async () => {
    const whole = await trained(narrow(2 ** 15), options);
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-mixed-'));
    try {
      const run = { config, options, textHash: fingerprint(tokens) };
      await saveCheckpoint(folder, whole.states[2], run);
      const { state, run: read } = await loadCheckpoint(folder);
      expect(read).toEqual(run);
      expect(state.lossScale).toEqual({ scale: 2 ** 15, steady: 2, skipped: 1 });
      const rest = await trained(narrow(2 ** 15), options, state);
      expect(bits(rest.state)).toEqual(bits(whole.state));
      expect(rest.state.lossScale).toEqual(whole.state.lossScale);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('doubles the scale after 2,000 steps without an overflow, up to 2^24', () => {
    let scale: LossScale = FIRST_SCALE;
    for (let step = 0; step < 1999; step++) scale = nextScale(scale, false);
    expect(scale.scale).toBe(2 ** 16);
    scale = nextScale(scale, false);
    expect(scale).toEqual({ scale: 2 ** 17, steady: 0, skipped: 0 });
    for (let step = 0; step < 2000 * 10; step++) scale = nextScale(scale, false);
    expect(scale.scale).toBe(2 ** 24);
  });

  it('refuses a precision that it does not know, and a scale that is none', () => {
    const wrong = { ...options, precision: 'half' } as unknown as TrainOptions;
    expect(() => new Trainer(createEngine(), config, wrong, tokens)).toThrow(ValueError);
    for (const text of ['{"scale":3,"steady":0,"skipped":0}', '{"scale":0.5,"steady":0,"skipped":0}', '{"scale":4,"steady":-1,"skipped":0}', '{}']) {
      expect(() => parseScale(text)).toThrow(ValueError);
    }
  });
});
