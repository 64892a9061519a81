/**
 * Fifty steps of training on a GPU, or by WebAssembly, follow the reference as closely as float32 allows: losses,
 * types, final weights.
 *
 * The budget. The truth is the reference in float64. How much rounding matters to this training is measured by the
 * same training of the reference in float32, which stores every result rounded: one rounding of u = 2^-24 per result.
 * As long as both make the same choices of types (asserted), the distance from the truth is, to first order, the sum
 * over all operations of the error of each times its effect on the weights. The second factor is the same for every
 * engine. The first is larger on a GPU, by as many times as its worst operation has more than one rounding error:
 *
 * - exp(x) may be wrong by 3 + 2|x| ulp (test/support/tolerance.ts): 6 + 4|x| roundings. In a softmax over n, terms
 *   count by their weight, and the mean of |x| = log(p_max / p) under p is at most log n: 6 + 4 log n.
 * - a sum of n terms, one after the other in float32, has n roundings where the reference has one. They have random
 *   signs, so together they amount to sqrt(n) of one; so do those of partial sums whose terms have random signs.
 *
 * n is at most the vocabulary. Only the norm of the gradient is a sum over more terms, all weights; but it scales
 * every gradient alike, which AdamW divides out. Distances are root mean squares over a tensor, since single elements
 * differ by chance: where a gradient is as small as its rounding error, AdamW turns that error into a full step.
 */
import { describe, expect, it } from 'vitest';
import type { DeviceMode } from '../gpu/gpujs/device.ts';
import { openEngine } from '../gpu/gpujs/open.ts';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import type { Engine } from '../src/core/engine.ts';
import { createEngine } from '../src/engines.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { DEFAULT_TRAIN_OPTIONS, type TrainOptions } from '../src/train/options.ts';
import { batchGradients, Trainer } from '../src/train/trainer.ts';
import { describeWebGPU } from './support/webgpu.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { wasmEngine } from '../wasm/index.ts';

const VOCABULARY = 258;
const WORST_OPERATION = Math.max(6 + 4 * Math.log(VOCABULARY), Math.sqrt(VOCABULARY)); // 28.2
/**
 * exp and log may be wrong in the same direction for every token. A mean over tokens does not average that out, as it
 * does the roundings of the reference: exp as above, log by 8 roundings of 1 and 6 of its result, here at most log n.
 */
const LOSS_BIAS = 2 ** -24 * (6 + 4 * Math.log(VOCABULARY) + 8 + 6 * Math.log(VOCABULARY)); // 4.1e-6

const text = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(3);
const tokens = tokenizeDocuments(new ByteTokenizer(), [text]);
const config: ModelConfig = parseConfig({
  vocab_size: VOCABULARY, hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
  num_key_value_heads: 2, max_position_embeddings: 32, tie_word_embeddings: true,
  nats: { policy: 'nats', window: 4, lambda: 0.1 },
});
const options: TrainOptions = {
  ...DEFAULT_TRAIN_OPTIONS, steps: 50, batch: 2, context: 32, warmup: 5, seed: 11,
  learningRate: 1e-2, minLearningRate: 1e-3,
};

interface Run {
  readonly losses: number[];
  /** The types of every layer and step, in order. */
  readonly types: Int32Array[];
  readonly weights: ReadonlyMap<string, ArrayLike<number>>;
}

async function trained(engine: Engine, change: Partial<TrainOptions> = {}): Promise<Run> {
  const types: Promise<Int32Array>[] = [];
  const watched = new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, target, args);
        if (name === 'tokenTypes') types.push(engine.readIntegers((result as ReturnType<Engine['tokenTypes']>).types));
        return result;
      };
    },
  });
  const used = { ...options, ...change };
  const trainer = new Trainer(watched, config, used, tokens, { source: batchGradients(config, used) });
  const losses: number[] = [];
  await trainer.run({ onStep: ({ loss }) => void losses.push(loss) });
  const { weights } = await trainer.state();
  const run = {
    losses, types: await Promise.all(types), weights: new Map([...weights].map(([name, { data }]) => [name, data])),
  };
  trainer.dispose();
  engine.dispose();
  return run;
}

/** The root mean square of the differences of two tensors. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return Math.sqrt(Array.from(a).reduce((sum, x, n) => sum + (x - b[n]) ** 2, 0) / a.length);
}

const lossDistance = (a: Run, b: Run): number => Math.max(...a.losses.map((loss, n) => Math.abs(loss - b.losses[n])));

/** The two runs with which the others are compared, computed when first needed. */
let reference: Promise<{ truth: Run; rounded: Run }> | undefined;
const references = (): typeof reference & {} => reference ??= (async () => ({
  truth: await trained(createEngine()), rounded: await trained(createEngine({ precision: 'float32' })),
}))();

/** The weights that are further from the truth than rounding explains, and by how much. */
function beyond(run: Run, { truth, rounded }: { truth: Run; rounded: Run }): string[] {
  return [...truth.weights].flatMap(([name, expected]) => {
    const budget = WORST_OPERATION * distance(rounded.weights.get(name)!, expected);
    const found = distance(run.weights.get(name)!, expected);
    return found <= budget ? [] : [`${name}: ${found} > ${budget}`]; // NaN counts as beyond the budget, too
  });
}

describe('the training to compare', () => {
  it('learns, chooses every type to the end, and makes no choice that depends on rounding', async () => {
    const { truth, rounded } = await references();
    expect(truth.losses[0]).toBeGreaterThan(5.5);
    expect(truth.losses.at(-1)).toBeLessThan(3);
    expect(truth.types).toHaveLength(options.steps * config.layers);
    const late = new Set(truth.types.slice(-10 * config.layers).flatMap((types) => [...types]));
    expect([...late].sort()).toEqual([0, 1, 2]);
    expect(rounded.types).toEqual(truth.types);
    for (const [name, data] of truth.weights) expect(distance(data, rounded.weights.get(name)!)).toBeGreaterThan(0);
  });

  it.each(some<[string, Partial<TrainOptions>]>(1, [
    ['a learning rate', { learningRate: 1.001 * options.learningRate }],
    ['a weight decay', { weightDecay: 1.01 * options.weightDecay }],
    ['a clipped norm', { clip: 1.001 * options.clip }],
    ['a beta2', { beta2: 1.001 * options.beta2 }],
  ]))('tells a run apart with %s that is off a little', async (_, change) => {
    const run = await trained(createEngine(), change);
    expect(beyond(run, await references())).not.toEqual([]);
  });
});

function follows(open: () => Promise<Engine>): void {
  it('draws the same types, and keeps losses and weights within the rounding of float32', async () => {
    const { truth, rounded } = await references();
    const run = await trained(await open());
    expect(run.types).toEqual(truth.types);
    expect(run.losses).toHaveLength(options.steps);
    expect(lossDistance(run, truth)).toBeLessThanOrEqual(WORST_OPERATION * lossDistance(rounded, truth) + LOSS_BIAS);
    expect(beyond(run, { truth, rounded })).toEqual([]);
  }, 120_000);
}

const gpuJs = (gpu: DeviceMode) => (): Promise<Engine> => openEngine({ gpu, testing: true });
describe('training on gpu.js webasm', () => follows(gpuJs('webasm')));
describe('training on wasm', () => follows(async () => wasmEngine({ testing: true })));
describeWebGPU('training on gpu.js webgpu', () => follows(gpuJs('webgpu')));
if (THOROUGH) describeWebGPU('training on WGSL', () => follows(() => openWgslEngine({ testing: true })));
