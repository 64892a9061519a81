/** The gradients of low-rank changes of q and k, on every exact engine, against differences through a dense model. */
import { expect, it } from 'vitest';
import { gumbelNoise, Stream } from '../src/core/random.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { finetuneGradients, oneByOne, wholeBatch } from '../src/train/finetune-gradients.ts';
import { denseHidden } from './support/dense-llama.ts';
import { centralDifferences } from './support/differences.ts';
import { describeEngines, EXACT } from './support/engines.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';
import { lora, RANK, someChanges, sumOf } from './support/low-rank-setup.ts';
import { some } from './support/thorough.ts';

describeEngines('the gradient of changes of low rank', ({ engine: current }) => {
  it.each(some(1, [4, 2]))('equals central differences of the student\'s error, with alpha = %d', async (alpha) => {
    const config = configOf({ nats: { ...NATS, policy: 'nats', lambda: 0.7 } });
    const { kvHeads: G, hiddenSize: D, layers } = config;
    const N = 6;
    const scale = alpha / RANK;
    const [weights, changes] = [weightsOf(config), someChanges(config)];
    const ids = [...tokens.slice(3, 3 + N)];
    const options = optionsOf({ batch: 1, rule: 'exact', rank: RANK, alpha });
    const engine = current();
    const uploaded = uploadWeights(engine, new Map([...weights, ...changes]));
    const draw = { step: 4, sequences: [0] };
    const got = await finetuneGradients(engine, config, options, uploaded, [Int32Array.from(ids)], draw);

    const plain = (name: string) => weights.get(name)!.data;
    const teacher = denseHidden(config, plain, ids, () => {
      return Float64Array.from({ length: G * N * 3 }, (_, n) => (n % 3 === 0 ? 1 : 0));
    });
    const student = (all: ReadonlyMap<string, NDArray>) => {
      const merged = new Map([...weights].map(([name, weight]) => {
        const [, layer, target] = /layers\.(\d+)\.self_attn\.([qk]_proj)/.exec(name) ?? [];
        if (target === undefined) return [name, weight.data] as const;
        const [A, B] = (['A', 'B'] as const).map((part) => all.get(lora(Number(layer), target, part))!);
        return [name, sumOf(weight, A, B, scale)] as const;
      }));
      return (name: string) => merged.get(name)!;
    };
    // The types that the scorers choose with this noise. They do not depend on the changes by any gradient.
    const hard: Float64Array[] = [];
    denseHidden(config, student(changes), ids, (layer, normed) => {
      const scorer = plain(`model.layers.${layer}.self_attn.proj_layer.weight`);
      const noise = gumbelNoise(options.seed, [Stream.NOISE, 4, 0, layer], G * N * 3);
      const types = new Float64Array(G * N * 3);
      for (let g = 0; g < G; g++) {
        for (let c = 0; c < N; c++) {
          const z = [0, 1, 2].map((t) => {
            return normed[c].reduce((sum, x, n) => sum + x * scorer[(g * 3 + t) * D + n], noise[(g * N + c) * 3 + t]);
          });
          types[(g * N + c) * 3 + (c === 0 || c === N - 1 ? 0 : z.indexOf(Math.max(...z)))] = 1;
        }
      }
      hard.push(types);
      return types;
    });
    const loss = (all: ReadonlyMap<string, NDArray>) => {
      const states = denseHidden(config, student(all), ids, (layer) => hard[layer]);
      const squares = states.flatMap((row, i) => row.map((x, n) => (x - teacher[i][n]) ** 2));
      return squares.reduce((a, b) => a + b, 0) / (N * D);
    };
    const value = loss(changes);
    expect(value).toBeGreaterThan(1e-3);
    expect(Math.abs(got.loss / N - value)).toBeLessThan(1e-12);
    let [largest, compared] = [0, 0];
    for (const [name, { data, shape }] of changes) {
      const moved = (x: Float64Array) => loss(new Map([...changes, [name, { data: x, shape }] as const]));
      const differences = centralDifferences(moved, Float64Array.from(data), 1e-13);
      const gradient = await engine.read(got.gradients.get(name)!);
      differences.forEach((wanted, n) => {
        expect(Math.abs(gradient[n] - wanted.value), `${name} at ${n}`).toBeLessThanOrEqual(wanted.error + 1e-12);
        largest = Math.max(largest, Math.abs(wanted.value) / (wanted.error + 1e-12));
        compared += 1;
      });
    }
    expect(compared).toBe(layers * RANK * (8 + 8 + 8 + 4));
    expect(largest).toBeGreaterThan(1e3);
  });

  it('is the same for a whole batch as for its sequences one by one, up to rounding', async () => {
    const config = configOf({ nats: { ...NATS, policy: 'nats', lambda: 0.1 } });
    const engine = current();
    const changes = someChanges(config);
    const weights = uploadWeights(engine, new Map([...weightsOf(config), ...changes]));
    const windows = [0, 5].map((start) => tokens.slice(start, start + 16));
    const options = optionsOf({ rank: RANK, alpha: 3 });
    const [parts, whole] = [
      await oneByOne(engine, config, options, weights, windows, 3),
      await wholeBatch(engine, config, options, weights, windows, 3),
    ];
    for (const name of changes.keys()) {
      const [a, b] = [await engine.read(parts.gradients.get(name)!), await engine.read(whole.gradients.get(name)!)];
      const size = Math.max(...a.map(Math.abs));
      expect(size).toBeGreaterThan(0);
      a.forEach((x, n) => expect(Math.abs(x - b[n])).toBeLessThan(1e-12 * size));
    }
  });
}, EXACT);
