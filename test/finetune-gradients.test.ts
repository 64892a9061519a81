/** The gradient of the scorers in fine-tuning on every exact engine, against differences through a dense model. */
import { expect, it } from 'vitest';
import { uploadWeights } from '../src/model/decoder.ts';
import { gumbelNoise, Stream } from '../src/core/random.ts';
import { finetuneGradients, oneByOne, wholeBatch } from '../src/train/finetune-gradients.ts';
import { scorerNames } from '../src/model/config/names.ts';
import type { LifetimeOptions } from '../src/core/lifetime.ts';
import { denseLifetime } from './support/dense.ts';
import { denseHidden } from './support/dense-llama.ts';
import { centralDifferences } from './support/differences.ts';
import { describeEngines, EXACT } from './support/engines.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';
import { some } from './support/thorough.ts';

describeEngines('the gradient of the scorers', ({ engine: current }) => {
  const cases = [
    { name: 'token by token', nats: NATS, N: 7 },
    { name: 'with LOCAL as a second window', nats: { ...NATS, lambda: 0.7, window: 1, local_window: 2 }, N: 7 },
    { name: 'for chunks, the last one unfinished', nats: { ...NATS, chunk: 2, window: 1 }, N: 7 },
    { name: 'with a price and a temperature', nats: { ...NATS, lambda: 0.7, temperature: 0.6 }, N: 6 },
    { name: 'of a model with a sliding window', nats: { ...NATS, lambda: 0.7 }, N: 7, sliding: 3 },
    { name: 'of a sliding window shorter than a chunk', nats: { ...NATS, chunk: 3, window: 0 }, N: 8, sliding: 3 },
  ];
  const title = 'equals central differences of the relaxed mask through the rest of the model, $name';
  it.each(some(4, cases))(title, async ({ nats, N, sliding }) => {
    const own = sliding === undefined ? {} : { model_type: 'mistral', sliding_window: sliding };
    const config = configOf({ ...own, nats: { ...nats, policy: 'nats' } });
    const { kvHeads: G, hiddenSize: D, layers } = config;
    const { window, localWindow, chunk, lambda, temperature } = config.nats;
    const weights = weightsOf(config);
    const ids = [...tokens.slice(3, 3 + N)];
    const options = optionsOf({ batch: 1, rule: 'exact' });
    const engine = current();
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
      const life = { window, localWindow, chunk, reach: (sliding ?? Infinity) - 1 };
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
    const engine = current();
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
}, EXACT);

/** §7 per type of one layer: `lambda` is the layer's own share of the price. */
function priceOf(
  types: Float64Array,
  { G, N, chunks, window, localWindow, chunk, reach }: Record<'G' | 'N' | 'chunks', number> & LifetimeOptions,
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
        const last = denseLifetime(chosen, { B: 1, G: 1, N, window, localWindow, chunk, reach });
        for (let j = c * chunk; j < Math.min(N, (c + 1) * chunk); j++) {
          price[(g * chunks + c) * 3 + type] += (lambda * 2 * (Math.min(last[j], N - 1) - j)) / (G * N * N);
        }
      }
    }
  }
  return price;
}
