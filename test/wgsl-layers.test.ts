/**
 * Decoding by commands that are kept and recorded again gives what decoding layer by layer gives: the same tokens,
 * types and counts. Logits differ, since the parts of attention are put together in another order, and the factor of a
 * norm multiplies products instead of rows. Those of either way are within the budget of a whole model in float32, and
 * much nearer to each other than that.
 */
import { expect, it } from 'vitest';
import { openWgslEngine } from '../gpu/wgsl/open.ts';
import { NumericError } from '../src/core/errors.ts';
import { Model } from '../src/model/model.ts';
import type { Session } from '../src/model/session/session.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { bothWays } from './support/both-ways.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { type Decoder, ModelBudget } from './support/model-budget.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { type Bounded, expectWithin } from './support/tolerance.ts';
import { describeWebGPU } from './support/webgpu.ts';

/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: THOROUGH ? 900_000 : 300_000 };
const LONG = { max_position_embeddings: 400 };

/** Logits [V] after a sequence of tokens. */
interface After {
  readonly tokens: readonly number[];
  readonly logits: ArrayLike<number>;
}

/** The logits of each sequence of a session that has just taken a step; of all sequences, or of some. */
const after = (session: Session, logits: ArrayLike<number>, sequences: readonly number[]): After[] =>
  sequences.map((b) => ({ tokens: [...session.tokens[b]], logits: Array.from(logits).slice(b * 31, (b + 1) * 31) }));

/** Fails unless all logits are within their budgets, of which sequences that both ways have read share one. */
function expectLogits(found: readonly After[], model: Decoder, cache: 'f16' | 'f32', known: Map<string, Bounded[]>): void {
  for (const { tokens, logits } of found) {
    const key = tokens.join();
    if (!known.has(key)) {
      const made = new ModelBudget(model, tokens, { prompt: 0, cache: cache === 'f16' });
      known.set(key, made.row(tokens.length - 1, found.length * 31));
    }
    expectWithin(logits, known.get(key)!, `a logit after ${tokens.length} tokens`);
  }
}

async function all(tokens: AsyncIterable<Int32Array>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const each of tokens) found.push([...each]);
  return found;
}

/** The budget counts errors with their worst signs. Here they go through at most 16 sums of at most 64 terms each. */
function expectNear(found: ArrayLike<number>, other: ArrayLike<number>): void {
  expect(found.length).toBe(other.length);
  for (let n = 0; n < found.length; n++) {
    expect(Math.abs(found[n] - other[n])).toBeLessThanOrEqual(2 ** -24 * 16 * 64 * (1 + Math.abs(other[n])));
  }
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
    const config = livelyConfig('full', {}, { ...LONG, ...fields, ...(!THOROUGH && { num_hidden_layers: 1 }) });
    const [kept, single] = await bothWays(async (engine, taken) => {
      const model = livelyModel(engine, config);
      const session = model.session({ batch, policy: parsePolicy(policy), cache });
      await session.step(livelyIds(1, 61 * batch), { logits: 'none' });
      const first = livelyIds(2, batch);
      const everyone = Array.from({ length: batch }, (_, b) => b);
      const before = taken();
      const found: unknown[] = [await all(session.greedy(first, { steps, ahead }))];
      const count = taken() - before;
      const copy = session.fork();
      const logits = after(session, await session.step(first), everyone);
      if (!THOROUGH) return { found, logits, count };
      logits.push(...after(copy, await copy.step(first), everyone));
      // Not all take a token, and then they are at different positions.
      const counts = Array.from(first, (_, b) => Number(b === 0));
      logits.push(...after(session, await session.step(first, { counts, logits: 'last' }), [0]));
      found.push([...await session.next(first)], (await session.stats()).map(({ live, visiblePairs }) =>
        [[...live], [...visiblePairs]]));
      found.push(await all(copy.greedy(first, { steps: 3 })), session.tokens.map((ids) => [...ids]));
      const types: number[][] = [];
      await copy.step(first, { onTypes: (_, each) => types.push([...each]) });
      found.push(types);
      model.dispose();
      return { found, logits, count };
    });
    expect(kept.found).toEqual(single.found);
    const budgets = new Map<string, Bounded[]>();
    const decoder = { config, weights: livelyWeights(config, 1), policy: parsePolicy(policy) };
    for (const { logits } of [kept, single]) expectLogits(logits, decoder, cache, budgets);
    kept.logits.forEach(({ logits }, n) => expectNear(logits, single.logits[n].logits));
    expect(budgets.size).toBeGreaterThanOrEqual(batch);
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
