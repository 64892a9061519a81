/**
 * Fine-tuning of a model with a sliding window, over every engine: the scorers' gradient is that of the float64
 * reference, as closely as float32 can be.
 *
 * The budget is that of test/gpu-training.test.ts: the distance of the float32 reference, times what the worst
 * operation may be off by in roundings: exp in a softmax over n, 6 + 4 log n, and a sum of n terms, sqrt(n).
 */
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { initialWeights } from '../src/model/init.ts';
import { generator, Stream } from '../src/core/random.ts';
import { finetuneGradients } from '../src/train/finetune-gradients.ts';
import { scorerNames } from '../src/model/config/names.ts';
import { DEFAULT_FINETUNE_OPTIONS } from '../src/train/finetune-options.ts';
import { ENGINES } from './support/engines.ts';

const [B, N, VOCABULARY] = [2, 40, 31];
/** The errors of exp and of sums. No sum has more terms than there are tokens. */
const WORST_OPERATION = Math.max(6 + 4 * Math.log(B * N), Math.sqrt(B * N)); // 23.5

const fields = {
  model_type: 'mistral', vocab_size: VOCABULARY, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: N, tie_word_embeddings: true,
};
const random = generator(5, [Stream.WEIGHTS]);
const windows = Array.from({ length: B }, () => Int32Array.from({ length: N }, () => random.below(VOCABULARY)));

interface Found {
  readonly typeCounts: readonly number[];
  readonly kept: number;
  readonly scorers: readonly ArrayLike<number>[];
}

async function gradientOf(engine: TrainingEngine, chunk: number, sliding: number | null): Promise<Found> {
  const nats = { policy: 'nats', window: 1, chunk, lambda: 0.5 };
  const config = parseConfig({ ...fields, sliding_window: sliding, nats });
  const noise = generator(7, [Stream.WEIGHTS]);
  const weights = new Map([...initialWeights(config, 5)].map(([name, { data, shape }]) => {
    const scale = shape.length === 1 ? 1 : 20; // attention is far from uniform, and scorers have preferences
    return [name, { shape, data: data.map((x) => scale * x + 0.3 * noise.normal()) }];
  }));
  const options = { ...DEFAULT_FINETUNE_OPTIONS, batch: B, context: N, seed: 11 };
  const draw = { step: 1, sequences: [0, 1] };
  try {
    const found = await finetuneGradients(engine, config, options, uploadWeights(engine, weights), windows, draw);
    const scorers: ArrayLike<number>[] = [];
    for (const name of scorerNames(config)) scorers.push(await engine.read(found.gradients.get(name)!));
    return { typeCounts: found.typeCounts, kept: found.kept, scorers };
  } finally {
    engine.dispose();
  }
}

/** The root mean square of the differences of two tensors. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Math.sqrt(Array.from(a).reduce((sum, x, n) => sum + (x - b[n]) ** 2, 0) / a.length);
}

/** Layers whose scorer's gradient lies further from the truth than rounding explains. */
function beyond(found: Found, truth: Found, rounded: Found): number[] {
  return truth.scorers.flatMap((expected, layer) => {
    const budget = WORST_OPERATION * distance(rounded.scorers[layer], expected);
    return distance(found.scorers[layer], expected) <= budget ? [] : [layer]; // NaN counts as beyond the budget, too
  });
}

describe.each([[1, 6], [3, 6], [5, 4]])('chunks of %d tokens under a window of %d', (chunk, sliding) => {
  const of = (engine: TrainingEngine, window: number | null = sliding): Promise<Found> =>
    gradientOf(engine, chunk, window);

  it('is distinguished from a window that is one token wider, and from no window', async () => {
    const [truth, rounded] = [await of(referenceEngine()), await of(referenceEngine('float32'))];
    expect(rounded.typeCounts).toEqual(truth.typeCounts);
    expect(Math.min(...truth.typeCounts)).toBeGreaterThan(0);
    for (const other of [sliding + 1, null]) {
      expect(beyond(await of(referenceEngine('float32'), other), truth, rounded)).toEqual([0, 1]);
    }
  });

  for (const use of ENGINES.filter(({ precision }) => precision === 'float32')) {
    it.skipIf(use.missing)(`gives scorers the gradient of the reference, within the rounding of float32 [${use.name}]`, async () => {
      const [truth, rounded] = [await of(referenceEngine()), await of(referenceEngine('float32'))];
      const found = await of(await use.create());
      expect(found.typeCounts).toEqual(truth.typeCounts);
      expect(found.kept).toBeCloseTo(truth.kept, 5);
      expect(beyond(found, truth, rounded)).toEqual([]);
    }, 120_000);
  }
});
