/** Fine-tuning: the gradient of the scorers, a base that does not change, steering, resuming bit for bit. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Engine, Tensor } from '../src/core/engine.ts';
import { createEngine } from '../src/engines.ts';
import { FileFormatError, StoppedError, ValueError } from '../src/core/errors.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { generator, gumbelNoise, Stream } from '../src/core/random.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { Finetuner, type FinetuneState } from '../src/train/finetune.ts';
import { loadFinetune, saveFinetune } from '../src/train/finetune-checkpoint.ts';
import { finetuneGradients, oneByOne, wholeBatch } from '../src/train/finetune-gradients.ts';
import { scorerNames } from '../src/model/config/names.ts';
import {
  DEFAULT_FINETUNE_OPTIONS, defaultContext, defaultWindow, type FinetuneOptions, type Price, steer,
} from '../src/train/finetune-options.ts';
import { denseLifetime } from './support/dense.ts';
import { denseHidden } from './support/dense-llama.ts';
import { centralDifferences } from './support/differences.ts';
import { some } from './support/thorough.ts';

const TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(4);
const tokens = tokenizeDocuments(new ByteTokenizer(), [TEXT]);
const NATS = { window: 3, chunk: 1, pooling: 'mean', lambda: 0, temperature: 1 } as const;

function configOf(extra: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 4,
    num_key_value_heads: 2, max_position_embeddings: 16, tie_word_embeddings: true, ...extra,
  });
}

/** Weights so large that attention is far from uniform, and scorers that have preferences. */
function weightsOf(config: ModelConfig, seed = 5): Map<string, NDArray> {
  const random = generator(seed, [Stream.WEIGHTS]);
  return new Map([...initialWeights(config, seed)].map(([name, { data, shape }]) => {
    const scale = shape.length === 1 ? 1 : 20;
    return [name, { shape, data: data.map((x) => scale * x + 0.3 * random.normal()) }];
  }));
}

function optionsOf(change: Partial<FinetuneOptions> = {}): FinetuneOptions {
  return { ...DEFAULT_FINETUNE_OPTIONS, steps: 6, batch: 2, context: 16, warmup: 2, seed: 11, keep: 0.4, ...change };
}

function baseOf(engine: Engine = createEngine()): Model {
  const config = configOf();
  return new Model(engine, config, weightsOf(config));
}

describe('the gradient of the scorers', () => {
  const cases = [
    { name: 'token by token', nats: NATS, N: 7 },
    { name: 'for chunks, the last one unfinished', nats: { ...NATS, chunk: 2, window: 1 }, N: 7 },
    { name: 'with a price and a temperature', nats: { ...NATS, lambda: 0.7, temperature: 0.6 }, N: 6 },
    { name: 'of a model with a sliding window', nats: { ...NATS, lambda: 0.7 }, N: 7, sliding: 3 },
    { name: 'of a sliding window shorter than a chunk', nats: { ...NATS, chunk: 3, window: 0 }, N: 8, sliding: 3 },
  ];
  const title = 'equals central differences of the relaxed mask through the rest of the model, $name';
  it.each(cases)(title, async ({ nats, N, sliding }) => {
    const own = sliding === undefined ? {} : { model_type: 'mistral', sliding_window: sliding };
    const config = configOf({ ...own, nats: { ...nats, policy: 'nats' } });
    const { kvHeads: G, hiddenSize: D, layers } = config;
    const { window, chunk, lambda, temperature } = nats;
    const weights = weightsOf(config);
    const ids = [...tokens.slice(3, 3 + N)];
    const options = optionsOf({ batch: 1, rule: 'exact' });
    const engine = createEngine();
    const [uploaded, draw] = [uploadWeights(engine, weights), { step: 4, sequences: [0] }];
    const got = await finetuneGradients(engine, config, options, uploaded, [Int32Array.from(ids)], draw);

    const chunks = Math.ceil(N / chunk);
    const dense = (name: string) => weights.get(name)!.data;
    const forced = (c: number) => c === 0 || c === chunks - 1;
    const all = (type: number) => Float64Array.from({ length: G * chunks * 3 }, (_, n) => (n % 3 === type ? 1 : 0));
    const teacher = denseHidden(config, dense, ids, () => all(0));
    // Scores, noise and choice of each layer, by §6.
    const inputs: number[][][] = [];
    const y: Float64Array[] = [];
    const hard: Float64Array[] = [];
    denseHidden(config, dense, ids, (layer, normed) => {
      const pooled = Array.from({ length: chunks }, (_, c) => {
        const rows = normed.slice(c * chunk, (c + 1) * chunk);
        return rows[0].map((_, n) => rows.reduce((sum, row) => sum + row[n], 0) / rows.length);
      });
      const scorer = dense(`model.layers.${layer}.self_attn.proj_layer.weight`);
      const noise = gumbelNoise(options.seed, [Stream.NOISE, 4, 0, layer], G * chunks * 3);
      const probabilities = new Float64Array(G * chunks * 3);
      const types = new Float64Array(G * chunks * 3);
      for (let g = 0; g < G; g++) {
        for (let c = 0; c < chunks; c++) {
          const at = (g * chunks + c) * 3;
          const z = [0, 1, 2].map((t) => {
            const score = pooled[c].reduce((sum, x, n) => sum + x * scorer[(g * 3 + t) * D + n], 0);
            return Math.exp((score + noise[at + t]) / temperature);
          });
          const total = z[0] + z[1] + z[2];
          z.forEach((value, t) => (probabilities[at + t] = value / total));
          types[at + (forced(c) ? 0 : z.indexOf(Math.max(...z)))] = 1;
        }
      }
      inputs.push(pooled);
      y.push(probabilities);
      hard.push(types);
      return types;
    });
    const loss = (layer: number, soft: Float64Array) => {
      const student = denseHidden(config, dense, ids, (n) => (n === layer ? soft : hard[n]));
      const squares = student.flatMap((row, i) => row.map((x, n) => (x - teacher[i][n]) ** 2));
      return squares.reduce((a, b) => a + b, 0) / (N * D);
    };
    const value = loss(0, hard[0]);
    expect(value).toBeGreaterThan(1e-3); // the types matter
    expect(Math.abs(got.loss / N - value)).toBeLessThan(1e-12);
    let largest = 0;
    for (let layer = 0; layer < layers; layer++) {
      const differences = centralDifferences((soft) => loss(layer, soft), hard[layer], 1e-13);
      const life = { window, chunk, reach: (sliding ?? Infinity) - 1 };
      const price = priceOf(hard[layer], { G, N, chunks, ...life }, lambda / layers);
      const dt = differences.map((d, n) => ({ value: d.value + price[n], error: d.error }));
      const scorer = await engine.read(got.gradients.get(`model.layers.${layer}.self_attn.proj_layer.weight`)!);
      for (let row = 0; row < 3 * G; row++) {
        for (let n = 0; n < D; n++) {
          const [g, t] = [Math.floor(row / 3), row % 3];
          let [expected, error] = [0, 1e-12];
          for (let c = 0; c < chunks; c++) {
            if (forced(c)) continue;
            const at = (g * chunks + c) * 3;
            const mean = [0, 1, 2].reduce((sum, u) => sum + y[layer][at + u] * dt[at + u].value, 0);
            const factor = (y[layer][at + t] * inputs[layer][c][n]) / temperature;
            expected += factor * (dt[at + t].value - mean);
            error += 2 * Math.abs(factor) * Math.max(...[0, 1, 2].map((u) => dt[at + u].error));
          }
          expect(Math.abs(scorer[row * D + n] - expected), `layer ${layer} [${row},${n}]`).toBeLessThanOrEqual(error);
          largest = Math.max(largest, Math.abs(expected) / error);
        }
      }
    }
    expect(largest).toBeGreaterThan(1e3); // the gradients compared are far above the uncertainty of the differences
  });

  it('is the same for a whole batch as for its sequences one by one, up to rounding', async () => {
    const config = configOf({ nats: { ...NATS, policy: 'nats', lambda: 0.1 } });
    const engine = createEngine();
    const weights = uploadWeights(engine, weightsOf(config));
    const windows = [0, 5].map((start) => tokens.slice(start, start + 16));
    const [parts, whole] = [
      await oneByOne(engine, config, optionsOf(), weights, windows, 3),
      await wholeBatch(engine, config, optionsOf(), weights, windows, 3),
    ];
    for (const field of ['loss', 'signal', 'kept'] as const) expect(parts[field]).toBeCloseTo(whole[field], 10);
    expect(parts.typeCounts).toEqual(whole.typeCounts);
    parts.keptByLayer.forEach((share, n) => expect(share).toBeCloseTo(whole.keptByLayer[n], 10));
    for (const name of scorerNames(config)) {
      const [a, b] = [await engine.read(parts.gradients.get(name)!), await engine.read(whole.gradients.get(name)!)];
      const size = Math.max(...a.map(Math.abs));
      expect(size).toBeGreaterThan(0);
      a.forEach((x, n) => expect(Math.abs(x - b[n])).toBeLessThan(1e-12 * size));
    }
  });
});

/** §7 per type of one layer: `lambda` is the layer's own share of the price. */
function priceOf(
  types: Float64Array,
  { G, N, chunks, window, chunk, reach }: Record<'G' | 'N' | 'chunks' | 'window' | 'chunk' | 'reach', number>,
  lambda: number,
): Float64Array {
  const price = new Float64Array(types.length);
  for (let g = 0; g < G; g++) {
    for (let c = 0; c < chunks; c++) {
      for (const type of [0, 1, 2]) {
        const chosen = Int32Array.from({ length: chunks }, (_, n) => {
          const at = (g * chunks + n) * 3;
          return n === c ? type : types.subarray(at, at + 3).indexOf(1);
        });
        const last = denseLifetime(chosen, { B: 1, G: 1, N, window, chunk, reach });
        for (let j = c * chunk; j < Math.min(N, (c + 1) * chunk); j++) {
          price[(g * chunks + c) * 3 + type] += (lambda * 2 * (Math.min(last[j], N - 1) - j)) / (G * N * N);
        }
      }
    }
  }
  return price;
}

describe('the base', () => {
  /** An engine that records which operations are called, and how many elements their results have. */
  function watched(calls: string[]): Engine {
    const engine = createEngine();
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

  it('does not change by a bit, and no gradient of its matrices is computed', async () => {
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

  it('is refused if it already has learned types', () => {
    const config = configOf({ nats: { ...NATS, policy: 'nats' } });
    const model = new Model(createEngine(), config, weightsOf(config));
    expect(() => new Finetuner(model, NATS, optionsOf(), tokens)).toThrow(/already has learned types/);
  });
});

/** All numbers of a state in one list, for comparison bit for bit. */
function bits(state: FinetuneState): Float64Array {
  const arrays = [state.weights, state.m, state.v].flatMap((part) => [...part.values()]);
  const { lambda, kept = NaN } = state.price;
  return Float64Array.of(state.step, lambda, kept, ...arrays.flatMap(({ data }) => [...data]));
}

async function tuned(change: Partial<FinetuneOptions> = {}, nats: object = {}): Promise<Finetuner> {
  const finetuner = new Finetuner(baseOf(), { ...NATS, ...nats }, optionsOf(change), tokens);
  await finetuner.run();
  return finetuner;
}

describe('fine-tuning', () => {
  it('gives the same bits across a resume from a file, the price included', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-finetune-'));
    try {
      const whole = bits(await (await tuned()).state());
      const finetuner = new Finetuner(baseOf(), NATS, optionsOf(), tokens);
      for (let n = 0; n < 3; n++) await finetuner.next();
      const { config, options } = finetuner;
      const record = { baseModel: 'base', config, options, textHash: 'x', packageVersion: '1' };
      await saveFinetune(folder, finetuner, record);
      const { state, run } = await loadFinetune(folder);
      expect(run).toEqual(record);
      expect(bits(state)).toEqual(bits(await finetuner.state()));
      const resumed = new Finetuner(baseOf(), NATS, run.options, tokens, { from: state });
      expect(resumed.step).toBe(3);
      await resumed.run();
      expect(bits(await resumed.state())).toEqual(whole);
      const path = join(folder, 'finetune-state.safetensors');
      writeFileSync(path, readFileSync(path).subarray(0, -8));
      await expect(loadFinetune(folder)).rejects.toThrow(FileFormatError);
      writeFileSync(path, readFileSync(join(folder, 'adapter_model.safetensors')));
      await expect(loadFinetune(folder)).rejects.toThrow(/not a state of fine-tuning/);
      const files = ['adapter_config.json', 'adapter_model.safetensors', 'finetune-state.safetensors'];
      expect(readdirSync(folder).sort()).toEqual(files);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('depends on the seed', async () => {
    const first = bits(await (await tuned({ steps: 1 })).state());
    expect(bits(await (await tuned({ steps: 1 })).state())).toEqual(first);
    expect(bits(await (await tuned({ steps: 1, seed: 12 })).state())).not.toEqual(first);
  });

  it('brings the student closer to the teacher if memory is free', async () => {
    const losses: number[] = [];
    const finetuner = new Finetuner(baseOf(), NATS, optionsOf({ keep: 0, steps: 60, learningRate: 2e-2 }), tokens);
    await finetuner.run({ onStep: ({ relativeLoss }) => void losses.push(relativeLoss) });
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    expect(mean(losses.slice(-10))).toBeLessThan(0.5 * mean(losses.slice(0, 10)));
  }, 60_000);

  it.each(some(1, [0.3, 0.6]))('is steered to a kept share of %d', async (keep) => {
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

  it('refuses text and numbers that no run can use', () => {
    const make = (change: Partial<FinetuneOptions>, nats: object = {}, text: Int32Array = tokens) => () => {
      return new Finetuner(baseOf(), { ...NATS, ...nats }, optionsOf(change), text);
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
