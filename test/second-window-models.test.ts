/**
 * A model whose LOCAL tokens live for a second window, on every engine: the types that it chooses, what its caches hold
 * while it decodes, and the gradients of a training step are those of the reference.
 */
import { expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { Engine } from '../src/core/engine.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { computeGradients } from '../src/train/gradients.ts';
import { denseLifetime } from './support/dense.ts';
import { describeEngines } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { configOf, optionsOf, tokens } from './support/train-setup.ts';

const [PROMPT, STEPS, WINDOW, SECOND] = [61, 300, 3, 40];
const decoder = livelyConfig('nats', { window: WINDOW, local_window: SECOND }, { max_position_embeddings: 400 });
const HEADS = decoder.layers * decoder.kvHeads;

/** The types of all tokens, by layer and KV head, and what the caches hold after a prompt and some decoded tokens. */
async function decoded(engine: Engine) {
  const model = livelyModel(engine, decoder);
  const session = model.session();
  const types: number[][] = Array.from({ length: HEADS }, () => []);
  const onTypes = (layer: number, each: ArrayLike<number>): void => {
    const T = each.length / decoder.kvHeads;
    Array.from(each).forEach((type, n) => types[layer * decoder.kvHeads + Math.floor(n / T)].push(type));
  };
  await session.step(livelyIds(1, PROMPT), { logits: 'none', onTypes });
  const fed = livelyIds(2, STEPS);
  for (let n = 0; n < STEPS; n++) await session.step(fed.subarray(n, n + 1), { logits: 'none', onTypes });
  const stats = await session.stats();
  model.dispose();
  return {
    types, live: stats.flatMap(({ live }) => [...live]), visiblePairs: stats.flatMap((each) => [...each.visiblePairs]),
  };
}

/** Gradients of a step of training by name, and how many tokens had each type. */
async function stepped(engine: TrainingEngine) {
  const config = configOf('nats', 0.1, { local_window: 9 });
  const options = optionsOf();
  const windows = [0, 1, 2].map((n) => tokens.subarray(n * 30, n * 30 + options.context + 1));
  const weights = initialWeights(config, 4);
  const { gradients, loss, kept, typeCounts } = await computeGradients(
    engine, config, options, uploadWeights(engine, weights), windows, { step: 1, sequences: [0, 1, 2] },
  );
  const read = await Promise.all([...gradients].map(async ([name, each]) => [name, await engine.read(each)] as const));
  return { gradients: new Map(read), loss, kept, typeCounts };
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.sqrt(Array.from(a).reduce((sum, x, n) => sum + (x - b[n]) ** 2, 0) / a.length);

/** By how many times an operation may have more roundings than one: see gpu-training.test.ts. */
const WORST_OPERATION = 6 + 4 * Math.log(258);

const truths = {
  decoded: decoded(referenceEngine()), stepped: stepped(referenceEngine()), rounded: stepped(referenceEngine('float32')),
};

describeEngines('a model with a second window', ({ engine }) => {
  it('chooses the types of the reference, and holds what they let live', async () => {
    const found = await decoded(engine());
    expect(found).toEqual(await truths.decoded);
    const N = PROMPT + STEPS;
    found.types.forEach((types, head) => {
      expect(types).toHaveLength(N);
      const life = { B: 1, G: 1, N, window: WINDOW, localWindow: SECOND, chunk: 1 };
      const last = denseLifetime(types, life);
      expect(found.live[head]).toBe(last.filter((end) => end >= N).length);
      // Some LOCAL tokens outlive the next GLOBAL one.
      const { localWindow: _, ...closing } = life;
      const closed = denseLifetime(types, closing);
      expect(last.some((end, j) => types[j] === 1 && end > closed[j])).toBe(true);
    });
  }, 120_000);

  it('has the gradients of the reference in a step of training, within the rounding of float32', async () => {
    const [found, truth, rounded] = [await stepped(engine()), await truths.stepped, await truths.rounded];
    expect(found.typeCounts).toEqual(truth.typeCounts);
    expect(Math.min(...truth.typeCounts)).toBeGreaterThan(0);
    expect([...found.gradients.keys()].sort()).toEqual([...truth.gradients.keys()].sort());
    for (const [name, expected] of truth.gradients) {
      const budget = WORST_OPERATION * distance(rounded.gradients.get(name)!, expected);
      expect(distance(found.gradients.get(name)!, expected), name).toBeLessThanOrEqual(budget);
    }
    expect(Math.hypot(...Array.from(truth.gradients.get('model.layers.0.self_attn.proj_layer.weight')!))).toBeGreaterThan(0);
  }, 120_000);
});
