/**
 * Learned types are chosen by commands that are kept and recorded again, and all that follows has the bits that it has
 * layer by layer: types, logits, tokens, and what the caches hold. The types are those of the reference.
 */
import { expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import type { Engine } from '../src/core/engine.ts';
import type { ModelConfig } from '../src/model/config/config.ts';
import { bothWays } from './support/both-ways.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
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
    { batch: 3, ahead: 1, cache: 'f16', nats: { window: 9 }, fields: { sliding_window: 40, model_type: 'mistral' } },
    { batch: 2, ahead: 9, cache: 'f32', nats: { window: 0 }, fields: { model_type: 'qwen2' } },
    { batch: 1, ahead: 3, cache: 'f16', nats: { window: 20 }, fields: { model_type: 'qwen3', hidden_size: 14 } },
  ] satisfies Given[]))('have the bits of single layers, and are those of the reference: %o', PATIENCE, async (given) => {
    const { batch, ahead, cache, nats, fields } = given;
    const steps = THOROUGH ? 150 : 6; // dead entries are dropped after 64 tokens
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
});
