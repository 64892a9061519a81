/** Greedy decoding with several steps in flight gives what single steps give. */
import { expect, it } from 'vitest';
import { NumericError } from '../src/core/errors.ts';
import { Model } from '../src/model/model.ts';
import type { Session } from '../src/model/session/session.ts';
import { forEachEngine, OPERATIONS } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { some } from './support/thorough.ts';

async function all(tokens: AsyncIterable<Int32Array>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const each of tokens) found.push([...each]);
  return found;
}

async function oneByOne(session: Session, first: readonly number[], steps: number): Promise<number[][]> {
  const found: number[][] = [];
  for (let fed = first; found.length < steps; found.push([...fed])) fed = [...await session.next(fed)];
  return found;
}

forEachEngine('session.greedy()', ({ create }) => {
  it.each(some(1, [
    { policy: 'nats', chunk: 2, ahead: 2 }, { policy: 'full', chunk: 1, ahead: 1 }, { policy: 'window:3', chunk: 1, ahead: 9 },
  ]))('finds what single steps find, and the session has read it: %o', async ({ policy, chunk, ahead }) => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig(policy, { chunk }));
    const [one, other] = [model.session({ batch: 2 }), model.session({ batch: 2 })];
    for (const session of [one, other]) await session.step(livelyIds(1, 10));
    const truth = await oneByOne(one, [3, 5], 7);
    expect(await all(other.greedy([3, 5], { steps: 7, ahead }))).toEqual(truth);
    expect(other.tokens).toEqual(one.tokens);
    expect(await other.next([1, 2])).toEqual(await one.next([1, 2]));
    expect(await all(other.greedy([1, 2], { steps: 0 }))).toEqual([]);
    engine.dispose();
  });

  it('tells the session what it has read, if the caller stops early', async () => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('nats'));
    const [one, other] = [model.session({ batch: 2 }), model.session({ batch: 2 })];
    for (const session of [one, other]) await session.step(livelyIds(1, 10));
    const found = await oneByOne(one, [3, 5], 4);
    for await (const first of other.greedy([3, 5], { steps: 9, ahead: 3 })) {
      expect([...first]).toEqual(found[0]);
      break;
    }
    expect(other.tokens).toEqual(one.tokens);
    expect(await other.next(found[3])).toEqual(await one.next(found[3]));
    engine.dispose();
  });

  it('ends with the error of the step that went wrong', async () => {
    const engine = await create();
    const config = livelyConfig('full');
    const weights = livelyWeights(config, 1);
    weights.get('model.embed_tokens.weight')!.data[12 * 9] = NaN; // of token 9, whose logit nobody can know
    const model = new Model(engine, config, weights);
    await expect(all(model.session().greedy([7], { steps: 5, ahead: 2 }))).rejects.toThrow(NumericError);
    await expect(all(model.session().greedy([7], { steps: 5 }))).rejects.toThrow('at position 0 of sequence 0');
    engine.dispose();
  });
}, OPERATIONS);
