/** An engine may lack training: models run on it as on any other, and training on it is refused by name. */
import { afterAll, describe, expect, it } from 'vitest';
import { report } from '../src/cli/errors.ts';
import type { Engine } from '../src/core/engine.ts';
import { UnsupportedError } from '../src/core/errors.ts';
import { Tape } from '../src/core/tape.ts';
import { requireTraining, type TrainingEngine } from '../src/core/training-engine.ts';
import {
  createEngine, DEFAULT_FINETUNE_OPTIONS, DEFAULT_TRAIN_OPTIONS, evaluate, Finetuner, type Model, Trainer,
} from '../src/index.ts';
import { makeCase, SUITES } from '../src/vectors.ts';
import { livelyConfig, livelyModel } from './support/lively-model.ts';

/** The part of `engine` that does not serve training, like an engine that can only run models. */
function inferenceOnly(engine: Engine): Engine {
  const names = [
    'tensor', 'integers', 'zeros', 'read', 'readIntegers', 'dispose', 'add', 'embedding', 'pickRows', 'linear', 'rmsNorm',
    'swiglu', 'splitHeads', 'mergeHeads', 'rope', 'argmax', 'poolChunks', 'createChunkPool', 'tokenTypes', 'lifetime',
    'attention', 'createCache',
  ] as const;
  const methods = names.map((name) => [name, (engine[name] as () => unknown).bind(engine)] as const);
  const { precision } = engine;
  return { name: 'run only', precision, [Symbol.dispose]: () => engine.dispose(), ...Object.fromEntries(methods) } as Engine;
}

const whole = createEngine();
const engine = inferenceOnly(whole);
/** Config fields of a byte-level vocabulary, for text. */
const BYTES = { vocab_size: 258, bos_token_id: 256, eos_token_id: 257 };
const tokens = Int32Array.from({ length: 40 }, (_, n) => (n * n) % 23);
afterAll(() => whole.dispose());

describe('an engine that lacks training', () => {
  it.each(['full', 'nats', 'streaming:1+4'])('runs sessions, generation and evaluation of %s like an engine with training', async (policy) => {
    const [some, all] = [engine, whole].map((on) => livelyModel(on, livelyConfig(policy, { chunk: 3 }, BYTES)));
    const logits = (model: Model): Promise<unknown> => model.session().step([...tokens.subarray(0, 9)]);
    expect(await logits(some)).toEqual(await logits(all));
    const text = async (model: Model): Promise<string> => {
      let all = '';
      for await (const piece of model.generate('To be', { maxNewTokens: 12, temperature: 0 })) all += piece;
      return all;
    };
    expect(await text(some)).toBe(await text(all));
    const measured = async (model: Model): Promise<object> => ({
      ...await evaluate(model, tokens, { context: 16 }), msPerToken: undefined,
    });
    expect(await measured(some)).toEqual(await measured(all));
  });

  const refused = /the engine 'run only' has no accumulate\(\), it only runs models: train on/;

  it('is refused for training and for fine-tuning before either starts', () => {
    const config = livelyConfig('nats');
    const training = { ...DEFAULT_TRAIN_OPTIONS, steps: 1, batch: 1, context: 8 };
    expect(() => new Trainer(engine, config, training, tokens)).toThrow(UnsupportedError);
    expect(() => new Trainer(engine, config, training, tokens)).toThrow(refused);
    const model = livelyModel(engine, livelyConfig('full'));
    const options = { ...DEFAULT_FINETUNE_OPTIONS, steps: 1, batch: 1, context: 8 };
    expect(() => new Finetuner(model, { window: 2 }, options, tokens)).toThrow(refused);
  });

  it('is refused for computing truths, since gradients are among them', async () => {
    await expect(makeCase(SUITES.small[0], { engine })).rejects.toThrow(UnsupportedError);
  });

  it('serves a tape that does not record, and is refused by one that does', () => {
    expect(new Tape(engine, false).engine).toBe(engine);
    expect(() => new Tape(engine, false).training).toThrow(UnsupportedError);
    expect(() => new Tape(engine)).toThrow(UnsupportedError);
  });

  it('is refused for each missing operation, by its name', () => {
    for (const name of ['adamW', 'attentionBackward', 'keptShare'] as const satisfies readonly (keyof TrainingEngine)[]) {
      const lacking = new Proxy(whole, {
        get: (target, key) => (key === name ? undefined : Reflect.get(target, key, target) as unknown),
      });
      expect(() => requireTraining(lacking)).toThrow(new UnsupportedError(
        `the engine 'reference float64' has no ${name}(), it only runs models: train on an engine of createEngine()`,
      ));
    }
    expect(requireTraining(whole)).toBe(whole);
  });

  it('ends a command with one line and exit code 1', () => {
    const lines: string[] = [];
    const code = report(new UnsupportedError('the engine has no adamW()'), (text) => lines.push(text));
    expect({ code, lines }).toEqual({ code: 1, lines: ['natsearch: the engine has no adamW()\n'] });
  });
});
