/**
 * The whole model on every exact engine: its gradient compared with differences, its decoding with its training pass.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { decode, uploadWeights } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { linear, splitHeads } from '../src/core/layers.ts';
import { Model } from '../src/model/model.ts';
import { lifetimeOptions } from '../src/model/policy.ts';
import { kindOf, parsePolicy } from '../src/policies/index.ts';
import { generator } from '../src/core/random.ts';
import { Tape } from '../src/core/tape.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { computeGradients } from '../src/train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { EXACT } from './support/engines.ts';

const engines = await Promise.all(EXACT.map(async ({ name, create }) => [name, await create()] as const));
afterAll(() => engines.forEach(([, engine]) => engine.dispose()));

function configOf(policy: string, nats: object = {}, fields: object = {}): ModelConfig {
  return parseConfig({
    vocab_size: 258, hidden_size: 12, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 3,
    num_key_value_heads: 1, head_dim: 4, max_position_embeddings: 16, tie_word_embeddings: true,
    nats: { policy, window: 3, lambda: 0, ...nats }, ...fields,
  });
}

/** Weights, including scorers, so large that attention is not uniform and types differ. */
function livelyWeights(config: ModelConfig, seed: number): Map<string, NDArray> {
  const random = generator(seed, [99]);
  const weights = initialWeights(config, seed);
  for (const [name, { data, shape }] of weights) {
    if (shape.length > 1) data.forEach((_, n) => (data[n] = 0.4 * random.normal()));
    else data.forEach((_, n) => (data[n] = 1 + 0.1 * random.normal()));
    if (name.endsWith('proj_layer.weight')) data.forEach((_, n) => (data[n] = 2 * random.normal()));
  }
  return weights;
}

function idsOf(seed: number, length: number): Int32Array {
  const random = generator(seed, [7]);
  return Int32Array.from({ length }, () => random.below(258));
}

describe.each(engines)('the gradient of the whole model [%s]', (_, engine) => {
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 2, context: 9, seed: 3 };

  it.each([
    ['full', {}, {}], ['window:2', {}, {}], ['streaming:1+2', {}, { tie_word_embeddings: false }],
    ['nats', {}, {}], ['nats', { chunk: 2 }, { num_attention_heads: 4, num_key_value_heads: 2 }],
  ])('of %s %j %j equals central differences along random directions, types held fixed', async (policy, nats, fields) => {
    const config = configOf(policy, nats, fields);
    const weights = livelyWeights(config, 5);
    const windows = [idsOf(1, 10), idsOf(2, 10)];
    const run = async (moved: ReadonlyMap<string, NDArray>) => {
      const uploaded = uploadWeights(engine, moved);
      const result = await computeGradients(engine, config, options, uploaded, windows, { step: 1, sequences: [0, 1] });
      const gradients = new Map<string, ArrayLike<number>>();
      for (const [name, gradient] of result.gradients) gradients.set(name, await engine.read(gradient));
      return { ...result, gradients, mean: result.loss / (options.batch * options.context) };
    };
    const base = await run(weights);
    for (const direction of [1, 2, 3]) {
      const random = generator(direction, [8]);
      const along = new Map([...weights].map(([name, { data }]) => {
        // The scorer is not moved, since its straight-through gradient is not a derivative.
        return [name, Float64Array.from(data, () => (name.endsWith('proj_layer.weight') ? 0 : random.normal()))];
      }));
      const slope = [...along].reduce((sum, [name, d]) => {
        return sum + d.reduce((s, x, n) => s + x * base.gradients.get(name)![n], 0);
      }, 0);
      const difference = async (h: number) => {
        const at = async (step: number) => {
          const result = await run(new Map([...weights].map(([name, { data, shape }]) => {
            return [name, { shape, data: Float64Array.from(data, (x, n) => x + step * along.get(name)![n]) }];
          })));
          expect(result.typeCounts, 'the step is too small to flip a type').toEqual(base.typeCounts);
          return result.mean;
        };
        return ((await at(h)) - (await at(-h))) / (2 * h);
      };
      // Richardson extrapolation: the error of the better estimate is below the distance of the two.
      const [coarse, fine] = [await difference(2e-5), await difference(1e-5)];
      const bound = Math.abs(coarse - fine) + 1e-9 * (1 + Math.abs(slope)); // 1e-16 * loss / h, with room for its sums
      expect(Math.abs((4 * fine - coarse) / 3 - slope)).toBeLessThanOrEqual(bound);
      expect(Math.abs(slope)).toBeGreaterThan(1e-3);
    }
  });

  it('does not pass through the scorer into the layers below', async () => {
    const config = configOf('nats', { lambda: 5 }); // a price with a strong effect
    const weights = livelyWeights(config, 6);
    const windows = [idsOf(1, 10)];
    const run = async (lambda: number) => {
      const priced = { ...config, nats: { ...config.nats, lambda } };
      const uploaded = uploadWeights(engine, weights);
      const draw = { step: 1, sequences: [0] };
      const { gradients } = await computeGradients(engine, priced, options, uploaded, windows, draw);
      return new Map(await Promise.all([...gradients].map(async ([name, g]) => [name, await engine.read(g)] as const)));
    };
    const [free, dear] = [await run(0), await run(5)];
    for (const [name, gradient] of free) {
      if (name.endsWith('proj_layer.weight')) expect(dear.get(name)).not.toEqual(gradient);
      else expect(dear.get(name)).toEqual(gradient);
    }
  });
});

/** The logits [N,V] of the full masked pass, with types as at inference. */
async function maskedLogits(
  engine: TrainingEngine, config: ModelConfig, weights: Map<string, NDArray>, ids: Int32Array,
): Promise<ArrayLike<number>> {
  const tape = new Tape(engine, false);
  const uploaded = uploadWeights(engine, weights);
  const policy = parsePolicy(config.nats.policy);
  const lifetimes = lifetimeOptions(policy, config);
  const N = ids.length;
  const positions = Int32Array.from(ids.keys());
  const logits = decode(tape, config, uploaded, engine.integers(ids, [1, N]), positions, (n, { q, k, v, hidden }) => {
    let types: Tensor;
    if (policy.kind === 'nats') {
      const pooled = engine.poolChunks(hidden, lifetimes.chunk, config.nats.pooling);
      const scorer = uploaded.get(`model.layers.${n}.self_attn.proj_layer.weight`)!;
      const scores = splitHeads(tape, linear(tape, pooled, scorer), config.kvHeads);
      const force = Int32Array.from({ length: pooled.shape[1] }, (_, c) => (c === 0 ? 1 : 0));
      const forceGlobal = engine.integers(force, [1, force.length]);
      ({ types } = engine.tokenTypes(scores, { temperature: 1, forceGlobal }));
    } else {
      const fixed = Int32Array.from({ length: config.kvHeads * N }, (_, at) => kindOf(policy).type!(policy, at % N));
      types = engine.integers(fixed, [1, config.kvHeads, N]);
    }
    const last = engine.lifetime(types, N, lifetimes);
    return engine.attention({ q, k, v, last, scale: 1 / Math.sqrt(config.headDim) }).out;
  });
  return engine.read(logits);
}

describe.each(engines)('a session [%s]', (_, engine) => {
  const cases: [string, object][] = [
    ['nats', {}], ['nats', { local_window: 2, window: 1 }], ['nats', { chunk: 3, local_window: 1 }], ['nats', { chunk: 3 }], ['nats', { chunk: 2, pooling: 'max', window: 0 }],
    ['full', {}], ['window:2', {}], ['streaming:2+1', {}],
  ];
  it.each(cases)('of %s %j gives the results of the masked pass, in any split and beside other sequences', async (policy, nats) => {
    const config = configOf(policy, nats, { num_attention_heads: 4, num_key_value_heads: 2 });
    const weights = livelyWeights(config, 8);
    const model = new Model(engine, config, weights);
    const lengths = [11, 7, 1];
    const texts = lengths.map((length, n) => idsOf(20 + n, length));
    const truths = await Promise.all(texts.map((ids) => maskedLogits(engine, config, weights, ids)));
    const V = config.vocabSize;
    const plans = fc.array(fc.tuple(fc.nat(4), fc.nat(4), fc.nat(4)), { maxLength: 6 });
    await fc.assert(fc.asyncProperty(plans, async (plan) => {
      const session = model.session({ batch: 3, blockSize: 2 });
      try {
        const done = [0, 0, 0];
        // First by the plan, then one token at a time until the end of every text.
        const rest = Array.from({ length: 11 }, () => [1, 1, 1]);
        for (const wanted of [...plan, ...rest]) {
          const counts = wanted.map((n, b) => Math.min(n, lengths[b] - done[b]));
          const T = Math.max(...counts);
          if (T === 0) continue;
          const ids = new Int32Array(3 * T);
          counts.forEach((count, b) => ids.set(texts[b].subarray(done[b], done[b] + count), b * T));
          const logits = await session.step(ids, { counts });
          counts.forEach((count, b) => {
            for (let t = 0; t < count; t++) {
              for (let v = 0; v < V; v++) {
                const [truth, got] = [truths[b][(done[b] + t) * V + v], logits[(b * T + t) * V + v]];
                if (!(Math.abs(truth - got) <= 1e-10 * (1 + Math.abs(truth)))) expect(got, `${b} ${done[b] + t}`).toBe(truth);
              }
            }
            done[b] = done[b] + count;
          });
        }
        expect(session.lengths).toEqual(lengths);
      } finally {
        session.dispose();
      }
    }), { numRuns: 12 });
  });

  it('computes the logits of only the last rows, with the same bits, or none at all', async () => {
    const model = new Model(engine, configOf('nats', { chunk: 2 }), livelyWeights(configOf('nats', { chunk: 2 }), 4));
    const V = model.config.vocabSize;
    const sessions = (['all', 'last', 'none'] as const).map((logits) => ({ logits, session: model.session({ batch: 3 }) }));
    for (const [n, counts] of [[5, 1, 0], [2, 4, 1], [1, 1, 1], [0, 3, 6]].entries()) {
      const T = Math.max(...counts);
      const ids = idsOf(n, 3 * T);
      const read = await Promise.all(sessions.map(({ logits, session }) => session.step(ids, { counts, logits })));
      expect(read.map((each) => each.length)).toEqual([3 * T * V, 3 * V, 0]);
      for (const [b, count] of counts.entries()) {
        if (count === 0) continue;
        const row = (b * T + count - 1) * V;
        expect(read[1].subarray(b * V, (b + 1) * V)).toEqual(read[0].subarray(row, row + V));
      }
    }
    const stats = await Promise.all(sessions.map(({ session }) => session.stats()));
    expect(stats[1]).toEqual(stats[0]);
    expect(stats[2]).toEqual(stats[0]);
    for (const { session } of sessions) session.dispose();
  });

  it('refuses an unknown value for logits', async () => {
    const model = new Model(engine, configOf('full'), livelyWeights(configOf('full'), 1));
    await expect(model.session().step([1], { logits: 'first' as 'last' })).rejects.toThrow(ValueError);
  });

  it('refuses rows of unequal length and a nats policy without scorers', async () => {
    const model = new Model(engine, configOf('full'), livelyWeights(configOf('full'), 1));
    await expect(model.session({ batch: 2 }).step([1, 2, 3])).rejects.toThrow(ShapeError);
    expect(() => model.session({ policy: { kind: 'nats' } })).toThrow(ValueError);
  });
});

describe.each(engines)('evaluate() [%s]', (_, engine) => {
  const config = configOf('nats', {}, { num_attention_heads: 4, num_key_value_heads: 2 });
  const weights = livelyWeights(config, 9);
  const model = new Model(engine, config, weights);
  const text = Int32Array.from(idsOf(30, 21), (id) => id % 256);

  it('measures the perplexity of the masked pass, context by context', async () => {
    let loss = 0;
    for (let start = 0; start < text.length; start += 8) {
      const targets = text.slice(start, start + 8);
      const logits = await maskedLogits(engine, config, weights, Int32Array.of(256, ...targets.slice(0, -1)));
      targets.forEach((target, n) => {
        const row = Array.from({ length: 258 }, (_, v) => logits[n * 258 + v]);
        loss += Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0)) - row[target];
      });
    }
    for (const step of [1, 3, 8]) {
      const result = await evaluate(model, text, { context: 8, step });
      expect(result.perplexity).toBeCloseTo(Math.exp(loss / text.length), 9);
      expect(result.bitsPerByte).toBeCloseTo(loss / text.length / Math.LN2, 9); // one byte per token here
      expect(result.tokens).toBe(21);
    }
  });

  it('counts a full cache as 1 and a window by its closed form', async () => {
    const full = await evaluate(model, text, { policy: { kind: 'full' }, context: 21 });
    expect([full.meanLiveShare, full.peakLiveShare]).toEqual([1, 1]);
    expect(full.live.flat()).toEqual([21, 21, 21, 21]);
    expect(full.residentBytes).toBe(full.bytes.flat().reduce((a, b) => a + b));
    const window = await evaluate(model, text, { policy: { kind: 'window', window: 3 }, context: 21 });
    const pairs = Array.from(text, (_, i) => Math.min(i, 3) + 1).reduce((a, b) => a + b);
    expect(window.meanLiveShare).toBeCloseTo(pairs / ((21 * 22) / 2), 14);
    expect(window.peakLiveShare).toBeCloseTo(4 / 21, 14);
    expect(window.live.flat()).toEqual([3, 3, 3, 3]); // what the next query can still see
  });

  it('refuses an empty text and stops at an abort', async () => {
    await expect(evaluate(model, new Int32Array(0))).rejects.toThrow(ValueError);
    await expect(evaluate(model, text, { signal: AbortSignal.abort() })).rejects.toThrow(/stopped after 0 of 21/);
  });
});

describe.each(engines)('generate() [%s]', (_, engine) => {
  const config = configOf('nats', { chunk: 2 }, { num_attention_heads: 4, num_key_value_heads: 2 });
  const model = new Model(engine, config, livelyWeights(config, 10));
  const whole = async (prompt: string, options: object) => {
    let text = '';
    for await (const piece of model.generate(prompt, { maxNewTokens: 12, ...options })) text += piece;
    return text;
  };

  it('gives the same text for the same seed, however the prompt is fed', async () => {
    const text = await whole('Höhle', { seed: 4 });
    expect(text.length).toBeGreaterThan(0);
    for (const prefillStep of [1, 2, 64]) expect(await whole('Höhle', { seed: 4, prefillStep })).toBe(text);
    expect(await whole('Höhle', { seed: 5 })).not.toBe(text);
    expect(await whole('Höhle', { topK: 1 })).toBe(await whole('Höhle', { temperature: 0 }));
  });

  it('continues several prompts together as it does each alone', async () => {
    const prompts = ['a', 'a long prompt', 'xyz'];
    const texts = ['', '', ''];
    const options = { maxNewTokens: 9, temperature: 0 };
    for await (const { sequence, text } of model.generateBatch(prompts, options)) texts[sequence] += text;
    for (const [n, prompt] of prompts.entries()) expect(texts[n]).toBe(await whole(prompt, options));
  });

  it('refuses an empty prompt and options out of range, and stops at an abort', async () => {
    await expect(whole('', {})).rejects.toThrow(/has no tokens/);
    for (const wrong of [{ temperature: -1 }, { temperature: NaN }, { topK: 0 }, { maxNewTokens: 1.5 }]) {
      await expect(whole('a', wrong), JSON.stringify(wrong)).rejects.toThrow(ValueError);
    }
    const controller = new AbortController();
    const onStep = () => controller.abort();
    await expect(whole('a', { signal: controller.signal, onStep })).rejects.toThrow(/was stopped after/);
  });
});
