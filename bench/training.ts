/**
 * Training speed of the shipped configuration on one thread, everything kept and joint search; and of a model with 110
 * million weights on a GPU.
 * @module
 */
import { readFileSync } from 'node:fs';
import {
  ByteTokenizer, DEFAULT_TRAIN_OPTIONS, type ModelConfig, type NDArray, parseConfig, tokenizeDocuments, Trainer,
  type TrainingState,
} from '../src/index.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import { expectedWeights } from '../src/model/config/config.ts';
import { batchGradients } from '../src/train/trainer.ts';
import { median, type Measurement, type Settings, timeInTurns } from './measure.ts';
import { shippedConfig } from './models.ts';

/**
 * The engine of WebAssembly beside the reference, on one thread: the first steps, in turns, in CPU time of this
 * process, to which other load on the machine does not add.
 */
export async function hostTrainingCase(
  { quick, repeats, model, createEngine, openEngine }: Settings,
): Promise<Measurement[]> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 2 };
  const engines = [createEngine(), await openEngine!()];
  const found: Measurement[] = [];
  for (const policy of ['full', 'nats']) {
    const trainers = engines.map((engine) => new Trainer(engine, shippedConfig(model, policy), options, tokens));
    const all = trainers.map((): number[] => []);
    for (let round = -1; round < repeats; round++) {
      for (const [n, trainer] of trainers.entries()) {
        const before = process.cpuUsage();
        await trainer.next();
        const { user, system } = process.cpuUsage(before);
        if (round >= 0) all[n].push((user + system) / 1000);
      }
    }
    const times = all.map(median);
    trainers.forEach((trainer) => trainer.dispose());
    engines.forEach(({ name }, n) => found.push({
      what: `training ${policy}, context ${options.context}: ${name}`, unit: 'tokens/s of CPU time',
      value: (options.batch * options.context * 1000) / times[n],
    }));
    found.push({ what: `training ${policy}: wasm / reference`, value: times[0] / times[1], unit: 'x as fast' });
  }
  engines.forEach((engine) => engine.dispose());
  return found;
}

/** Times the first steps from fresh weights. The two trainings take turns. */
export async function trainingCase({ quick, repeats, model, createEngine }: Settings): Promise<Measurement[]> {
  const tokens = tokenizeDocuments(new ByteTokenizer(), [readFileSync('examples/moby-dick.txt', 'utf8')]);
  const options = { ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 2 };
  const runs = ['full', 'nats'].map((policy) => {
    const engine = createEngine();
    return { policy, engine, trainer: new Trainer(engine, shippedConfig(model, policy), options, tokens), kept: 0 };
  });
  const times = await timeInTurns(runs.map((run) => async () => {
    run.kept = (await run.trainer.next()).kept;
  }), { rounds: repeats });
  return runs.flatMap(({ policy, engine, trainer, kept }, n) => {
    trainer.dispose();
    engine.dispose();
    return [
      { what: `${policy}: context ${options.context}, one thread`, value: (options.batch * options.context * 1000) / times[n], unit: 'tokens/s' },
      { what: `${policy}: kept share in the last of these steps`, value: 100 * kept, unit: '%' },
    ];
  });
}

/** The shape of GPT-2's small model in Llama's architecture, which bench/peers/training.py trains in PyTorch. */
const LARGE = {
  vocab_size: 32000, hidden_size: 768, intermediate_size: 2048, num_hidden_layers: 12, num_attention_heads: 12,
  num_key_value_heads: 12, max_position_embeddings: 1024, tie_word_embeddings: true,
  nats: { policy: 'full', window: 256, lambda: 0 },
};

/** Times training of 110 million weights, 8 x 1,024 tokens a step, in what --compute says. */
export async function gpuLargeTrainingCase(
  { quick, repeats, compute, openEngine }: Settings,
): Promise<Measurement[]> {
  if (!openEngine) return [];
  const trainer = largeTrainer(await openEngine(), compute, quick);
  const { engine, options } = trainer;
  let [skipped, loss] = [0, 0];
  const [time] = await timeInTurns([async () => {
    const report = await trainer.next();
    loss = report.loss;
    if (report.skipped) skipped++;
  }], { rounds: 2 * repeats, warmUp: 3 }) as [number];
  trainer.dispose();
  engine.dispose();
  const what = `${options.batch} x ${options.context} tokens a step, 110 M weights${compute === 'f16' ? ', mixed precision' : ''}`;
  return [
    { what, value: (options.batch * options.context * 1000) / time, unit: 'tokens/s' },
    { what: `loss of step ${trainer.step}`, value: loss, unit: 'nats' },
    { what: 'steps that overflowed', value: skipped, unit: '' },
  ];
}

/** Training of 110 million weights, in mixed precision if the engine computes in float16. */
export function largeTrainer(engine: TrainingEngine, compute: 'f32' | 'f16' | undefined, quick: boolean): Trainer {
  const small = { hidden_size: 96, intermediate_size: 128, num_hidden_layers: 2 };
  const config = parseConfig({ ...LARGE, ...(quick && small) });
  const options = {
    ...DEFAULT_TRAIN_OPTIONS, batch: quick ? 1 : 8, context: quick ? 64 : 1024,
    ...(compute === 'f16' && { precision: 'mixed' as const }),
  };
  const tokens = Int32Array.from({ length: 2 ** 16 }, (_, n) => (n * 7919) % config.vocabSize);
  const from = startOf(config);
  return new Trainer(engine, config, options, tokens, { from, source: batchGradients(config, options) });
}

/** Random weights that are drawn fast: their values do not matter. */
function startOf(config: ModelConfig): TrainingState {
  let seed = 1;
  const part = (number: (shape: readonly number[]) => number): Map<string, NDArray> =>
    new Map([...expectedWeights(config)].map(([name, shape]) => {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
      for (let n = 0; n < data.length; n++) data[n] = number(shape);
      return [name, { data, shape }];
    }));
  const zero = (): number => 0;
  const weight = (shape: readonly number[]): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    return shape.length === 1 ? 1 : (seed / 2 ** 31) * 0.035; // a deviation of 0.02
  };
  return { step: 0, weights: part(weight), m: part(zero), v: part(zero) };
}
