/** Greedy decoding reads back tokens instead of logits, and is otherwise what it would be with logits. */
import { expect, it } from 'vitest';
import type { Engine } from '../src/core/engine.ts';
import { NumericError } from '../src/core/errors.ts';
import type { TrainingEngine } from '../src/core/training-engine.ts';
import type { GeneratedToken, GenerateOptions } from '../src/model/generate/generate-options.ts';
import { Model } from '../src/model/model.ts';
import { forEachEngine, OPERATIONS, TRAINING } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';

const BYTES = { vocab_size: 258, bos_token_id: 256, eos_token_id: 257 };

/** An engine that notes how many numbers each read brings to the host. */
function reading(engine: TrainingEngine): { engine: TrainingEngine; reads: number[] } {
  const reads: number[] = [];
  const view = new Proxy(engine, {
    get(target, name): unknown {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      if (name !== 'read' && name !== 'readIntegers') return member.bind(target) as unknown;
      return async (...args: unknown[]): Promise<unknown> => {
        const data = await (member.apply(target, args) as Promise<ArrayLike<number>>);
        reads.push(data.length);
        return data;
      };
    },
  });
  return { engine: view, reads };
}

/** The index of the largest number, the lowest if there are several. */
const largest = (row: ArrayLike<number>): number => Array.from(row).indexOf(Math.max(...Array.from(row)));

forEachEngine('session.next()', ({ create }) => {
  it('gives the token with the largest logit of step(), for ragged steps too', async () => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('nats', { chunk: 2 }));
    const [tokens, logits] = [model.session({ batch: 3 }), model.session({ batch: 3 })];
    for (const [n, counts] of [[4, 2, 1], [1, 1, 1], [2, 3, 0], [1, 0, 1]].entries()) {
      const ids = livelyIds(n, 3 * Math.max(...counts));
      const [found, rows] = [await tokens.next(ids, { counts }), await logits.step(ids, { counts, logits: 'last' })];
      expect(found).toHaveLength(3);
      const V = rows.length / 3;
      for (const [b, count] of counts.entries()) {
        if (count > 0) expect(found[b]).toBe(largest(rows.subarray(b * V, (b + 1) * V)));
      }
    }
    engine.dispose();
  });

  it('says where NaN first appears, as step() does, and ignores sequences that took nothing', async () => {
    const engine = await create();
    const config = livelyConfig('full');
    const weights = livelyWeights(config, 1);
    weights.get('model.embed_tokens.weight')!.data[12 * 7] = NaN; // token 7
    const model = new Model(engine, config, weights);
    const [next, step] = [model.session({ batch: 2 }), model.session({ batch: 2 })];
    const said = (work: Promise<unknown>): Promise<Error> =>
      work.then(() => expect.unreachable(), (error: Error) => error);
    const error = await said(next.next([3, 7], { counts: [1, 1] }));
    expect(error).toBeInstanceOf(NumericError);
    expect(error.message).toBe((await said(step.step([3, 7], { logits: 'last' }))).message);
    engine.dispose();
  });
}, OPERATIONS);

forEachEngine('generate() at temperature 0', ({ create }) => {
  const collect = async (model: Model, prompts: string[], options: GenerateOptions): Promise<number[][]> => {
    const told: number[][] = prompts.map(() => []);
    const onToken = ({ sequence, token }: GeneratedToken): void => void told[sequence].push(token);
    const all = { maxNewTokens: 9, temperature: 0, ...options, onToken };
    for await (const _ of model.generateBatch(prompts, all)) continue;
    return told;
  };
  const modelOn = (engine: Engine): Model => livelyModel(engine, livelyConfig('nats', {}, BYTES));

  it('reads back one number per sequence and token, unless log-probabilities or a penalty need all', async () => {
    const { engine, reads } = reading(await create());
    const model = modelOn(engine);
    await collect(model, ['ab', 'c'], { prefillStep: 2 });
    // The first reads are one hidden state each, at the end of a step of the prompt.
    expect(Math.max(...reads.slice(-8))).toBe(2);
    reads.length = 0;
    await collect(model, ['ab', 'c'], { logprobs: 0 });
    expect(Math.max(...reads.slice(-8))).toBe(2 * 258);
    reads.length = 0;
    await collect(model, ['ab', 'c'], { repetitionPenalty: 1.5 });
    expect(Math.max(...reads.slice(-8))).toBe(2 * 258);
  });

  it('gives the same tokens with and without logits', async () => {
    const model = modelOn(await create());
    for (const prompts of [['ab'], ['a longer prompt', 'b', 'cd']]) {
      expect(await collect(model, prompts, {})).toEqual(await collect(model, prompts, { logprobs: 0 }));
    }
  });

  it('leaves a session that continues with any options, as if logits had been read all along', async () => {
    const model = modelOn(await create());
    const texts = await Promise.all([{}, { logprobs: 0 }].map(async (more) => {
      const session = model.session({ batch: 2 });
      const parts = [await collect(model, ['ab', 'c'], { session, ...more, maxNewTokens: 3 })];
      parts.push(await collect(model, ['', ''], { session, temperature: 1, seed: 5, maxNewTokens: 4 }));
      parts.push(await collect(model, ['', ''], { session, ...more, maxNewTokens: 2 }));
      return parts;
    }));
    expect(texts[0]).toEqual(texts[1]);
  });
}, TRAINING);
