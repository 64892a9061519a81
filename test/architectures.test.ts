/** Training of what is particular to each architecture: biases, norms of heads, windows, scaled rotary embedding. */
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { ARCHITECTURES } from '../src/model/arch/index.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { generator, Stream } from '../src/core/random.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { computeGradients } from '../src/train/gradients.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { ENGINES } from './support/engines.ts';

const YARN = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64, attention_factor: 1.3 };
const OF_TYPE: Readonly<Record<string, object>> = {
  llama: { rope_scaling: { type: 'linear', factor: 3 }, tie_word_embeddings: true },
  mistral: { sliding_window: 4 },
  qwen2: { rope_theta: 100, rope_scaling: YARN, eos_token_id: 2 },
  qwen3: { rope_theta: 100, rope_scaling: YARN, eos_token_id: 2, head_dim: 6 },
};
const options = { ...DEFAULT_TRAIN_OPTIONS, batch: 2, context: 7, steps: 1 };
const windows = [[5, 3, 8, 1, 0, 2, 9, 4], [7, 7, 6, 2, 10, 3, 1, 5]].map((ids) => Int32Array.from(ids));

/** A model whose norms and biases differ from 1 and 0. */
function modelOf(type: string): { config: ModelConfig; weights: Map<string, NDArray> } {
  const config = parseConfig({
    model_type: type, vocab_size: 11, hidden_size: 8, intermediate_size: 10, num_hidden_layers: 2,
    num_attention_heads: 4, num_key_value_heads: 2, ...OF_TYPE[type],
  });
  const random = generator(1, [Stream.WEIGHTS, 999]);
  const weights = [...initialWeights(config, 2)].map(([name, { data, shape }]) => {
    return [name, { data: data.map((x) => 3 * x + 0.3 * random.normal()), shape }] as const;
  });
  return { config, weights: new Map(weights) };
}

/** The mean loss, and its gradient by each weight. */
async function lossAndGradients(
  engine: TrainingEngine, config: ModelConfig, weights: ReadonlyMap<string, NDArray>,
): Promise<{ loss: number; gradients: Map<string, ArrayLike<number>> }> {
  const tensors = uploadWeights(engine, weights);
  const found = await computeGradients(engine, config, options, tensors, windows, { step: 0, sequences: [0, 1] });
  const gradients = new Map<string, ArrayLike<number>>();
  for (const [name, gradient] of found.gradients) gradients.set(name, await engine.read(gradient));
  for (const tensor of [...tensors.values(), ...found.gradients.values()]) tensor.dispose();
  return { loss: found.loss / (options.batch * options.context), gradients };
}

describe.each(Object.keys(ARCHITECTURES))('a model of type %s', (type) => {
  const { config, weights } = modelOf(type);
  const exact = lossAndGradients(referenceEngine(), config, weights);

  it('has gradients that equal central differences of its loss, for every weight', async () => {
    const { gradients } = await exact;
    expect([...gradients.keys()].sort()).toEqual([...weights.keys()].sort());
    for (const [name, { data, shape }] of weights) {
      const at = (7 * name.length) % data.length;
      const moved = async (by: number): Promise<number> => {
        const one = new Map([...weights, [name, { data: data.map((x, n) => (n === at ? x + by : x)), shape }]]);
        return (await lossAndGradients(referenceEngine(), config, one)).loss;
      };
      const h = 2e-5; // the error is h⁴ times a fifth derivative, which norms of heads make large, and 1e-16 / h
      const slope = async (by: number): Promise<number> => (await moved(by) - await moved(-by)) / (2 * by);
      const difference = (4 * await slope(h) - await slope(2 * h)) / 3;
      expect(Math.abs(gradients.get(name)![at] - difference), name).toBeLessThan(1e-7);
    }
  });

  it('has gradients in all of its norms and biases', async () => {
    const { gradients } = await exact;
    for (const [name, { shape }] of weights) {
      if (shape.length > 1 || name.endsWith('k_proj.bias')) continue; // it moves all scores of a query alike
      expect(Array.from(gradients.get(name)!).some((x) => Math.abs(x) > 1e-4), name).toBe(true);
    }
  });

  for (const use of ENGINES) {
    it.skipIf(use.missing)(`has the same gradients on every engine [${use.name}]`, async () => {
      const engine = await use.create();
      const { gradients } = await lossAndGradients(engine, config, weights);
      const { gradients: wanted } = await exact;
      for (const [name, want] of wanted) {
        const got = gradients.get(name)!;
        const size = Math.max(...Array.from(want, Math.abs));
        const gap = Math.max(...Array.from(want, (x, n) => Math.abs(got[n] - x)));
        expect(gap, name).toBeLessThan(1e-4 * size + 1e-7);
      }
      engine.dispose();
    });
  }
});
