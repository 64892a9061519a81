/**
 * Training with a scaled loss: the scale has no effect on the result, an overflow halves it and skips the step, and a
 * resumed run continues with it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { type HostArray, referenceKernels } from '../reference/index.ts';
import { checked } from '../src/core/checked/index.ts';
import { NumericError, ValueError } from '../src/core/errors.ts';
import { fromFloat16, toFloat16 } from '../src/core/float16.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { createEngine } from '../src/engines.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { fingerprint, loadCheckpoint, saveCheckpoint } from '../src/train/checkpoint.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { FIRST_SCALE, type LossScale, nextScale, parseScale } from '../src/train/loss-scale.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../src/train/options.ts';
import { batchGradients, type StepReport, Trainer, type TrainingState } from '../src/train/trainer.ts';
import { draw } from './support/draw.ts';
import { forEachEngine, TRAINING } from './support/engines.ts';
import { describeWebGPU } from './support/webgpu.ts';

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
function narrow(engine: TrainingEngine, most: number): TrainingEngine {
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

forEachEngine('training with a scaled loss', ({ precision, create }) => {
  const u = precision === 'float64' ? 2 ** -53 : 2 ** -24;

  // Powers of two scale without rounding; a clipped gradient loses its scale together with its length.
  it('gives the same bits as without, while gradients are clipped', async () => {
    const clip = 1e-3;
    const without = await trained(await create(), { ...plain, clip });
    const scaled = await trained(await create(), { ...options, clip });
    expect(bits(scaled.state)).toEqual(bits(without.state));
    for (const [n, { lossScale, ...report }] of scaled.reports.entries()) {
      expect(lossScale).toBe(FIRST_SCALE.scale);
      expect(report).toEqual(without.reports[n]);
    }
    expect(without.state.lossScale).toBeUndefined();
  });

  it('gives the same gradients within rounding while they are not clipped', async () => {
    const once = { steps: 1, clip: 1e6 };
    const without = await trained(await create(), { ...plain, ...once });
    const scaled = await trained(await create(), { ...options, ...once });
    for (const [name, { data }] of without.state.m) {
      // A root, two quotients and a product, each rounded: 4 units, and as many for what is compared with.
      scaled.state.m.get(name)!.data.forEach((x, n) => {
        expect(Math.abs(x - data[n]), name).toBeLessThanOrEqual(8 * u * Math.abs(data[n]));
      });
    }
  });

  it('halves the scale and changes nothing else when gradients overflow, and then trains on', async () => {
    const { reports, states, state } = await trained(narrow(await create(), 2 ** 14), options);
    expect(reports.map(({ lossScale }) => lossScale)).toEqual([2 ** 16, 2 ** 15, 2 ** 14, 2 ** 14, 2 ** 14, 2 ** 14]);
    expect(reports.map(({ skipped }) => skipped ?? false)).toEqual([true, true, false, false, false, false]);
    const engine = await create();
    const start = new Trainer(engine, config, options, tokens);
    const first = bits(await start.state());
    engine.dispose();
    expect(bits(states[0])).toEqual(first);
    expect(bits(states[1])).toEqual(first);
    expect(bits(states[2])).not.toEqual(first);
    expect(state.lossScale).toEqual({ scale: 2 ** 14, steady: 4, skipped: 2 });
    // The first step that counts is AdamW's first: its mean is (1 - beta1) times the gradient, and corrected to that.
    const [theta, moved] = [states[1].weights, states[2].weights].map((part) => part.get('model.norm.weight')!.data);
    const rate = reports[2].learningRate;
    // A dozen roundings of the quotient of mean and root, and one of the sum.
    moved.forEach((x, n) => expect(Math.abs(x - theta[n])).toBeLessThanOrEqual(rate * (1 + 12 * u) + u * Math.abs(x)));
    expect(Math.max(...Array.from(moved, (x, n) => Math.abs(x - theta[n])))).toBeGreaterThan(0.99 * rate);
  });

  it('is an error if gradients overflow without a scale, too', async () => {
    await expect(trained(narrow(await create(), 0.5), { ...options, steps: 20 })).rejects.toThrow(NumericError);
  });
}, TRAINING);

describe('training with a scaled loss', () => {
  it('continues with the same bits from a file', async () => {
    const whole = await trained(narrow(createEngine(), 2 ** 15), options);
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-mixed-'));
    try {
      const run = { config, options, textHash: fingerprint(tokens) };
      await saveCheckpoint(folder, whole.states[2], run);
      const { state, run: read } = await loadCheckpoint(folder);
      expect(read).toEqual(run);
      expect(state.lossScale).toEqual({ scale: 2 ** 15, steady: 2, skipped: 1 });
      const rest = await trained(narrow(createEngine(), 2 ** 15), options, state);
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

const U16 = 2 ** -11;

describeWebGPU('products in mixed precision', () => {
  it('round their factors to float16, in every form that training needs', async () => {
    const engine = await openWgslEngine({ testing: true, compute: 'f16' });
    const [rows, K, M] = [24, 16, 40];
    const numbers = draw(4, 'float32');
    const [x, w, dy] = [rows * K, M * K, rows * M].map((length) => numbers.real(length));
    const [a, b, c] = [engine.tensor(x, [rows, K]), engine.tensor(w, [M, K]), engine.tensor(dy, [rows, M])];
    const found = [engine.linear(a, b), engine.linearBackwardInput(c, b), engine.linearBackwardWeight(c, a)];
    const terms = [
      [rows, M, K, (i: number, j: number, k: number) => [x[i * K + k], w[j * K + k]]],
      [rows, K, M, (i: number, j: number, k: number) => [dy[i * M + k], w[k * K + j]]],
      [M, K, rows, (i: number, j: number, k: number) => [dy[k * M + i], x[k * K + j]]],
    ] as const;
    let off = 0;
    for (const [n, [I, J, depth, of]] of terms.entries()) {
      const got = await engine.read(found[n]);
      for (let i = 0; i < I; i++) {
        for (let j = 0; j < J; j++) {
          const products = Array.from({ length: depth }, (_, k) => of(i, j, k));
          const sum = products.reduce((all, [p, q]) => all + p * q, 0);
          const size = products.reduce((all, [p, q]) => all + Math.abs(p * q), 0);
          // Each factor is off by half a unit of float16, or by 2^-25 below its smallest normal number; then there are
          // depth roundings of float32.
          const tiny = products.reduce((all, [p, q]) => all + (Math.abs(p) + Math.abs(q) + 1) * 2 ** -25, 0);
          const error = Math.abs(got[i * J + j] - sum);
          expect(error, `form ${n}`).toBeLessThanOrEqual(size * (2 * U16 + U16 ** 2 + depth * 2 ** -24) + tiny);
          off = Math.max(off, error / size);
        }
      }
    }
    expect(off).toBeGreaterThan(depthOnly(40)); // float32 alone would not be off by so much
    engine.dispose();
  }, 60_000);

  /**
   * The budget. How much these roundings matter is measured by the reference, with the factors of the same products
   * rounded to float16. The two runs have as many roundings of the same size, some of which fall differently, since
   * float32 already differs a little before them. So by the size of errors they are two draws of one distribution;
   * twice as far is beyond chance for tensors of 16 numbers or more.
   */
  it('train as the reference does with factors in float16', async () => {
    const wide = parseConfig({
      vocab_size: 264, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
      num_key_value_heads: 2, max_position_embeddings: 24, tie_word_embeddings: true, nats: { policy: 'window:6', window: 6 },
    });
    const used = { ...plain, steps: 12, learningRate: 1e-2 };
    const run = async (engine: TrainingEngine, change: Partial<TrainOptions> = {}) => {
      const how = { ...used, ...change };
      const trainer = new Trainer(engine, wide, how, tokens, { source: batchGradients(wide, how) });
      const losses: number[] = [];
      await trainer.run({ onStep: ({ loss }) => void losses.push(loss) });
      const { weights } = await trainer.state();
      trainer.dispose();
      engine.dispose();
      return { losses, weights };
    };
    const [truth, rounded] = [await run(createEngine()), await run(halves())];
    const mixed = await run(await openWgslEngine({ testing: true, compute: 'f16' }), { precision: 'mixed' });
    expect(truth.losses[0] - truth.losses.at(-1)!).toBeGreaterThan(0.5);
    const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
      Math.sqrt(Array.from(a).reduce((sum, x, n) => sum + (x - b[n]) ** 2, 0) / a.length);
    for (const [name, { data }] of truth.weights) {
      const budget = 2 * distance(rounded.weights.get(name)!.data, data);
      expect(distance(mixed.weights.get(name)!.data, data), name).toBeLessThanOrEqual(budget);
    }
    expect(distance(mixed.losses, truth.losses)).toBeLessThanOrEqual(2 * distance(rounded.losses, truth.losses));
    expect(distance(mixed.losses, rounded.losses)).toBeLessThan(distance(rounded.losses, truth.losses)); // it did round
  }, 120_000);
});

/** The reference in float32, with factors of products rounded to float16. All rows here are multiples of 8. */
function halves(): TrainingEngine {
  const kernels = referenceKernels('float32');
  const half = ({ data, shape }: HostArray): HostArray =>
    ({ data: Float32Array.from(data, (x) => fromFloat16(toFloat16(x))), shape });
  return checked<HostArray>({
    ...kernels,
    linear: (x, w, bias, sizes) => kernels.linear(half(x), half(w), bias, sizes),
    linearBackwardInput: (dy, w, sizes) => kernels.linearBackwardInput(half(dy), half(w), sizes),
    linearBackwardWeight: (dy, x, sizes) => kernels.linearBackwardWeight(half(dy), half(x), sizes),
  });
}

/** The largest relative error that sums of so many float32 products have. */
const depthOnly = (depth: number): number => depth * 2 ** -24;
