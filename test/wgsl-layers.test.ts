/**
 * Decoding by commands that are kept and recorded again gives what decoding layer by layer gives: the same tokens,
 * types and counts, and logits but for rounding, since the parts of attention are put together in another order.
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { NumericError } from '../src/core/errors.ts';
import type { Engine } from '../src/core/engine.ts';
import { Model } from '../src/model/model.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: 300_000 };
const LONG = { max_position_embeddings: 400 };

/** Calls `work` with an engine that takes all layers at once, and with the same one layer by layer. */
async function bothWays<T>(work: (engine: Engine, taken: () => number) => Promise<T>): Promise<[kept: T, single: T]> {
  const engine: Engine = await openWgslEngine({ testing: true, width: 64 });
  const { layers, ...others } = engine.forms!;
  let taken = 0;
  const counted: typeof layers = (inputs) => {
    const made = layers!(inputs);
    if (made) taken++;
    return made;
  };
  const set = (forms: Engine['forms']): object => Object.defineProperty(engine, 'forms', { value: forms, configurable: true });
  set({ ...others, layers: counted });
  const kept = await work(engine, () => taken);
  set(others);
  const single = await work(engine, () => taken);
  engine.dispose();
  return [kept, single];
}

/** Logits are not whole: they pass through at most 16 sums, of at most 64 terms each, which may be in another order. */
function expectSame(found: unknown, truth: unknown): void {
  if (Array.isArray(found) && Array.isArray(truth)) {
    expect(found.length).toBe(truth.length);
    found.forEach((each, n) => expectSame(each, truth[n]));
  } else if (typeof found === 'number' && typeof truth === 'number' && !Number.isInteger(truth)) {
    expect(Math.abs(found - truth)).toBeLessThanOrEqual(2 ** -24 * 16 * 64 * (1 + Math.abs(truth)));
  } else {
    expect(found).toEqual(truth);
  }
}

async function all(tokens: AsyncIterable<Int32Array>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const each of tokens) found.push([...each]);
  return found;
}

describeWebGPU('all layers of a decoder in one call', () => {
  it.each(some(1, [
    { policy: 'streaming:2+5', batch: 1, ahead: 2, cache: 'f16', fields: {} },
    { policy: 'full', batch: 1, ahead: 1, cache: 'f32', fields: { model_type: 'qwen2' } },
    { policy: 'window:9', batch: 3, ahead: 9, cache: 'f32', fields: {} },
    { policy: 'streaming:2+5', batch: 2, ahead: 2, cache: 'f16', fields: {} },
    { policy: 'full', batch: 1, ahead: 3, cache: 'f16', fields: { model_type: 'qwen3' } },
  ] as const))('gives what it gives layer by layer, as entries are dropped and memory grows: %o', PATIENCE, async (given) => {
    const { policy, batch, ahead, cache, fields } = given;
    const steps = THOROUGH ? 150 : 5; // dead entries are dropped after 64 tokens
    const [kept, single] = await bothWays(async (engine, taken) => {
      const model = livelyModel(engine, livelyConfig('full', {}, { ...LONG, ...fields, ...(!THOROUGH && { num_hidden_layers: 1 }) }));
      const session = model.session({ batch, policy: parsePolicy(policy), cache });
      await session.step(livelyIds(1, 61 * batch), { logits: 'none' });
      const first = livelyIds(2, batch);
      const before = taken();
      const found: unknown[] = [await all(session.greedy(first, { steps, ahead }))];
      const count = taken() - before;
      if (!THOROUGH) return { found, count };
      const copy = session.fork();
      found.push([...await session.step(first)], [...await copy.step(first)]);
      // Not all take a token, and then they are at different positions.
      const counts = Array.from(first, (_, b) => Number(b === 0));
      found.push([...await session.step(first, { counts, logits: 'last' })].slice(0, 31));
      found.push([...await session.next(first)], (await session.stats()).map(({ live, visiblePairs }) =>
        [[...live], [...visiblePairs]]));
      found.push(await all(copy.greedy(first, { steps: 3 })), session.tokens.map((ids) => [...ids]));
      const types: number[][] = [];
      await copy.step(first, { onTypes: (_, each) => types.push([...each]) });
      found.push(types);
      model.dispose();
      return { found, count };
    });
    expectSame(kept.found, single.found);
    expect([kept.count, single.count]).toEqual([ahead < 8 ? steps : expect.any(Number) as number, 0]);
    expect(kept.count).toBeGreaterThan(4);
  });

  // Each needs kernels that a software driver takes many seconds to compile.
  if (THOROUGH) it('says of a number that is not finite where it first appears', PATIENCE, async () => {
    const [kept, single] = await bothWays(async (engine) => {
      const config = livelyConfig('full');
      const weights = livelyWeights(config, 1);
      weights.get('model.embed_tokens.weight')!.data[12 * 9] = NaN;
      const session = new Model(engine, config, weights).session();
      await session.step([3], { logits: 'none' });
      const error: unknown = await session.step([9]).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(NumericError);
      return (error as NumericError).message;
    });
    expect(kept).toBe(single);
    expect(kept).toContain('layer 0');
  });

  if (THOROUGH) it('refuses what does not fit, and weights that were disposed of', PATIENCE, async () => {
    const engine = await openWgslEngine({ testing: true, width: 64 });
    const config = livelyConfig('full');
    const model = livelyModel(engine, config);
    const session = model.session();
    await session.next([3]);
    await session.next([4]);
    await expect(session.next([31])).rejects.toThrow('the vocabulary has 31 tokens');
    const token = await session.next([4]);
    expect(token.length).toBe(1);
    model.dispose();
    await expect(session.next([4])).rejects.toThrow('dispose');
    session.dispose();
    engine.dispose();
  });
});
