/**
 * Learned types are chosen by commands that are kept and recorded again, and all that follows has the bits that it has
 * layer by layer: types, logits, tokens, and what the caches hold. The types are those of the reference.
 */
import { expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import type { Engine } from '../src/core/engine.ts';
import { NumericError } from '../src/core/errors.ts';
import { evaluateShuffled } from '../src/evaluate/shuffled.ts';
import { recordTrace } from '../src/evaluate/trace/record.ts';
import type { ModelConfig } from '../src/model/config/config.ts';
import { Model } from '../src/model/model.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { bothWays } from './support/both-ways.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { some, THOROUGH } from './support/thorough.ts';
import { describeWebGPU } from './support/webgpu.ts';

/** Software drivers take seconds to compile a kernel. */
const PATIENCE = { timeout: THOROUGH ? 900_000 : 300_000 };
const PROMPT = 61;

interface Given {
  readonly batch: number;
  readonly ahead: number;
  readonly cache: 'f16' | 'f32';
  readonly nats: object;
  readonly fields: object;
}

async function all(tokens: AsyncIterable<Int32Array>): Promise<number[][]> {
  const found: number[][] = [];
  for await (const each of tokens) found.push([...each]);
  return found;
}

/** Types [B,G,T] of some steps, each of all layers. */
type Types = number[][];

/** The types that the reference gives to the same tokens, step by step. */
async function referenceTypes(
  config: ModelConfig, { batch, cache }: Given, steps: readonly Int32Array[],
): Promise<Types> {
  const engine = createEngine({ engine: 'reference' });
  const session = livelyModel(engine, config).session({ batch, cache });
  const types: Types = [];
  for (const ids of steps) await session.step(ids, { logits: 'none', onTypes: (_, each) => types.push([...each]) });
  engine.dispose();
  return types;
}

describeWebGPU('learned types of all layers in one call', () => {
  it.each(some(1, [
    { batch: 1, ahead: 2, cache: 'f32', nats: {}, fields: {} },
    { batch: 3, ahead: 1, cache: 'f16', nats: { window: 9, local_window: 30 }, fields: { sliding_window: 40, model_type: 'mistral' } },
    { batch: 2, ahead: 9, cache: 'f32', nats: { window: 0 }, fields: { model_type: 'qwen2' } },
    { batch: 1, ahead: 3, cache: 'f16', nats: { window: 20, local_window: 5 }, fields: { model_type: 'qwen3', hidden_size: 14 } },
  ] satisfies Given[]))('have the bits of single layers, and are those of the reference: %o', PATIENCE, async (given) => {
    const { batch, ahead, cache, nats, fields } = given;
    const steps = THOROUGH ? 100 : 6; // dead entries are dropped after 64 tokens
    const config = livelyConfig('nats', nats, { max_position_embeddings: 512, ...fields });
    const fed = [livelyIds(1, PROMPT * batch), ...Array.from({ length: steps }, (_, n) => livelyIds(n + 2, batch))];
    const [kept, single] = await bothWays(async (engine: Engine, taken) => {
      const model = livelyModel(engine, config);
      const session = model.session({ batch, cache });
      const [types, found]: [Types, unknown[]] = [[], []];
      for (const ids of fed) {
        found.push([...await session.step(ids, { logits: 'last', onTypes: (_, each) => types.push([...each]) })]);
      }
      const kept = [taken()];
      found.push([...await session.snapshot()], await session.stats());
      const first = livelyIds(99, batch);
      const copy = session.fork();
      found.push(await all(session.greedy(first, { steps, ahead })), await session.stats());
      kept.push(taken());
      if (!THOROUGH) return { types, found, kept };
      const restored = await model.restore(await copy.snapshot());
      for (const each of [copy, restored]) found.push([...await each.step(first)], [...await each.step(first)]);
      // Not all take a token, and then they are at different positions.
      const counts = Array.from(first, (_, b) => Number(b === 0));
      found.push([...await copy.step(first, { counts, logits: 'last' })].slice(0, 31), [...await copy.next(first)]);
      found.push(await copy.stats(), [...await copy.snapshot()], session.tokens.map((ids) => [...ids]));
      kept.push(taken());
      model.dispose();
      return { types, found, kept };
    });
    expect(kept.types).toEqual(single.types);
    expect(kept.found).toEqual(single.found);
    // At most eight may be in flight.
    expect(kept.kept.slice(0, 2)).toEqual([steps, ahead < 8 ? 2 * steps : expect.any(Number) as number]);
    expect(kept.kept.at(-1)).toBeGreaterThan(steps + 4);
    expect(new Set(single.kept)).toEqual(new Set([kept.kept.at(-1)])); // none since
    expect(kept.types).toEqual(await referenceTypes(config, given, fed));
    expect(new Set(kept.types.slice(config.layers).flat())).toEqual(new Set([0, 1, 2]));
  });

  // Each needs kernels that a software driver takes many seconds to compile.
  if (THOROUGH) it('are watched, and replaced by others, layer by layer', PATIENCE, async () => {
    const config = livelyConfig('nats', {}, { vocab_size: 258 }); // a byte tokenizer's
    const text = livelyIds(5, 20);
    const [kept, single] = await bothWays(async (engine, taken) => {
      const model = livelyModel(engine, config);
      const before = taken();
      const { engine: _, ...trace } = await recordTrace(model, text, { policies: ['nats', 'streaming:1+4'].map(parsePolicy) });
      const watched = taken() - before;
      const { learned, shuffled } = await evaluateShuffled(model, text, { step: 1 });
      return { found: [trace, learned.contexts, shuffled.contexts], watched, count: taken() - before };
    });
    expect(kept.found).toEqual(single.found);
    expect(kept.found[2]).not.toEqual(kept.found[1]);
    expect([kept.watched, single.count]).toEqual([0, 0]);
    expect(kept.count).toBeGreaterThan(4); // of what was learned
  });

  if (THOROUGH) it('of scores that are NaN are errors that say where it first appears', PATIENCE, async () => {
    const config = livelyConfig('nats');
    const weights = livelyWeights(config, 1);
    weights.get('model.embed_tokens.weight')!.data[12 * 9] = NaN;
    const [kept, single] = await bothWays(async (engine) => {
      const said: string[] = [];
      for (const onTypes of [undefined, () => {}]) {
        const session = new Model(engine, config, weights).session();
        await session.step([3], { logits: 'none' });
        await session.step([4], { logits: 'none' });
        const error: unknown = await session.next([9], onTypes && { onTypes }).catch((caught: unknown) => caught);
        expect(error).toBeInstanceOf(NumericError);
        said.push((error as NumericError).message);
      }
      return said;
    });
    expect(kept).toEqual(single);
    for (const message of kept) expect(message).toContain('layer 0');
  });
});
