/** Ranks that fall with age: what a policy by learned scores keeps if a token is worth less the older it is. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { ConfigError } from '../src/core/errors.ts';
import { parseConfig, serializeConfig } from '../src/model/config/config.ts';
import { parsePolicy } from '../src/policies/index.ts';
import { wasmEngine } from '../wasm/index.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { expectSameBits } from './support/tolerance.ts';
import { some } from './support/thorough.ts';

const LENGTH = 24;
const ENGINES = { reference: () => referenceEngine('float64'), wasm: () => wasmEngine({ precision: 'float64' }) };
const recency = (...layers: [number, number][]): object => ({ recency: layers });

/** All logits [N,V] of a text that is fed in pieces of these sizes. */
async function read(nats: object, policy: string, pieces: readonly number[], engine = referenceEngine('float64')) {
  const model = livelyModel(engine, livelyConfig('nats', nats));
  const session = model.session({ policy: parsePolicy(policy) });
  const ids = livelyIds(3, LENGTH);
  const logits: number[] = [];
  for (let at = 0, n = 0; at < LENGTH; n++) {
    const size = Math.min(pieces[n % pieces.length], LENGTH - at);
    logits.push(...await session.step(ids.subarray(at, at + size)));
    at += size;
  }
  session.dispose();
  model.dispose();
  return Float64Array.from(logits);
}

describe.each(some(1, Object.keys(ENGINES) as (keyof typeof ENGINES)[]))('on the engine %s', (name) => {
  it('ranks that only age decides keep the first token and the newest, as StreamingLLM does', async () => {
    const engine = ENGINES[name]();
    const old = recency([1e6, 1e6], [1e6, 1e6]);
    for (const K of [4, 7]) {
      const window = await read({}, `growing:1+${K - 1}`, [LENGTH], engine);
      expectSameBits(await read(old, `nats-rank:${K}`, [LENGTH], engine), window, `nats-rank:${K}`);
    }
    engine.dispose();
  });

  it('no recency is a recency of 0, bit for bit', async () => {
    const engine = ENGINES[name]();
    const none = await read({}, 'nats-rank:6', [5], engine);
    expectSameBits(await read(recency([0, 0], [0, 0]), 'nats-rank:6', [5], engine), none, 'the logits');
    engine.dispose();
  });
});

it('each head has its own: one by age alone and one by content differ from both', async () => {
  const [old, mixed, none] = await Promise.all([recency([1e6, 1e6], [1e6, 1e6]), recency([0, 1e6], [1e6, 0]), {}]
    .map((nats) => read(nats, 'nats-rank:6', [LENGTH])));
  expect(mixed).not.toEqual(old);
  expect(mixed).not.toEqual(none);
});

it('what is kept does not depend on how a text is fed', () => fc.assert(fc.asyncProperty(
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }), async (pieces) => {
    const nats = recency([0.3, 0], [2, 0.05]);
    const [whole, parts] = [await read(nats, 'nats-rank:6', [LENGTH]), await read(nats, 'nats-rank:6', pieces)];
    for (let n = 0; n < whole.length; n++) expect(Math.abs(whole[n] - parts[n])).toBeLessThan(1e-9);
  }), { numRuns: 10 }));

describe('in a config', () => {
  it('is written and read', () => {
    const config = livelyConfig('nats', recency([0.1, 0], [3, 0.01]));
    expect(config.nats.recency).toEqual([[0.1, 0], [3, 0.01]]);
    expect(parseConfig(JSON.parse(serializeConfig(config))).nats).toEqual(config.nats);
  });

  it.each([[[[0.1, 0]]], [[[0.1], [0.1]]], [[[0.1, -1], [0, 0]]], [[['1', 0], [0, 0]]], [0.1]])('%j is refused', (wrong) => {
    expect(() => livelyConfig('nats', { recency: wrong })).toThrow(ConfigError);
  });
});
