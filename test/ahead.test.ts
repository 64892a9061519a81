/** generate() with steps in flight gives what it gives step by step, whoever chooses the tokens. */
import { expect, it } from 'vitest';
import type { GeneratedToken, GenerateOptions } from '../src/model/generate/generate-options.ts';
import type { Model } from '../src/model/model.ts';
import { forEachEngine, OPERATIONS } from './support/engines.ts';
import { livelyConfig, livelyModel } from './support/lively-model.ts';
import { some } from './support/thorough.ts';

const BYTES = { vocab_size: 258, bos_token_id: 256, eos_token_id: 257 };

/**
 * The tokens of each prompt. With `stepwise` nothing is in flight, since a callback looks at the session after
 * every step.
 */
async function generated(
  model: Model, prompts: readonly string[], options: GenerateOptions, stepwise: boolean, most = Infinity,
): Promise<{ tokens: number[][]; text: string }> {
  const tokens: number[][] = prompts.map(() => []);
  const onToken = ({ sequence, token }: GeneratedToken): void => void tokens[sequence].push(token);
  let text = '';
  const all = { maxNewTokens: 7, ...options, onToken, ...(stepwise && { onStep: () => {} }) };
  for await (const piece of model.generateBatch(prompts, all)) {
    text += `${piece.sequence}:${piece.text}${piece.finish ?? ''};`;
    if (tokens[0].length >= most) break;
  }
  return { tokens, text };
}

const WAYS = [
  { temperature: 0 }, { temperature: 0.8, seed: 3 }, { temperature: 1.2, topK: 20, topP: 0.9, seed: 4 },
  { temperature: 0.7, minP: 0.02, seed: 5 },
];

forEachEngine('generate() with steps in flight', ({ create }) => {
  it.each(some(2, WAYS))('gives the tokens of single steps, for prompts that end at different tokens: %o', async (way) => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('nats', {}, BYTES));
    const prompts = ['ab', 'c', 'defg'];
    const { tokens } = await generated(model, prompts, way, true);
    // A stop at what one of them generates ends it early.
    const [, , token] = tokens[1];
    const stop = token < 256 && token >= 32 && token < 127 ? [String.fromCharCode(token)] : ['\u0001'];
    for (const more of [way, { ...way, stop }]) {
      expect(await generated(model, prompts, more, false)).toEqual(await generated(model, prompts, more, true));
    }
    engine.dispose();
  });

  it.each(some(1, WAYS))('leaves a given session as single steps do, also if its caller stops early: %o', async (way) => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('window:6', {}, BYTES));
    const stories = await Promise.all([false, true].map(async (stepwise) => {
      const session = model.session({ batch: 2 });
      const told: unknown[] = [];
      told.push(await generated(model, ['ab', 'cde'], { ...way, session }, stepwise), session.tokens);
      told.push(await generated(model, ['f', 'g'], { ...way, session }, stepwise, 3), session.tokens);
      const copies = [session.fork(), await model.restore(await session.snapshot())];
      for (const each of [session, ...copies]) {
        const more = { ...way, session: each, maxNewTokens: 3 };
        told.push(await generated(model, ['h', 'i'], more, stepwise), each.tokens);
      }
      told.push(await generated(model, ['', ''], { ...way, session, maxNewTokens: 2 }, stepwise), session.tokens);
      return told;
    }));
    expect(stories[0]).toEqual(stories[1]);
    engine.dispose();
  });

  it('refuses a session that something else feeds in between', async () => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('full', {}, BYTES));
    const session = model.session();
    const run = async (): Promise<void> => {
      for await (const _ of model.generate('ab', { session, temperature: 0 })) await session.next([5]);
    };
    await expect(run()).rejects.toThrow('something else feeds it at the same time');
    engine.dispose();
  });
}, OPERATIONS);
