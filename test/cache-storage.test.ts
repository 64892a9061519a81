/** How sessions store keys and values, if that was chosen: in the session, in what follows from it, and in plans. */
import { describe, expect, it } from 'vitest';
import { gpuEngine } from '../gpu/gpujs/index.ts';
import { HostDevice } from '../gpu/gpujs/host.ts';
import { TEST_TUNING } from '../gpu/gpujs/device.ts';
import { loadLibrary } from '../gpu/gpujs/library.ts';
import { referenceEngine } from '../reference/index.ts';
import { CACHE_DTYPES, entryBytes } from '../src/core/cache.ts';
import { FileFormatError, UnsupportedError, ValueError } from '../src/core/errors.ts';
import { decodeSealedArrays, encodeSealed } from '../src/formats/sealed.ts';
import type { WritableArray } from '../src/formats/safetensors.ts';
import { planMemory } from '../src/model/plan.ts';
import type { Session } from '../src/model/session/session.ts';
import { forEachEngine } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { expectSameBits } from './support/tolerance.ts';

const BYTES = { vocab_size: 258, bos_token_id: 256, eos_token_id: 257 };
const config = livelyConfig('nats', { chunk: 2 });
const entryBytesOf = async (session: Session) => (await session.stats()).map((layer) => layer.entryBytes);

forEachEngine('a session whose cache has a dtype of its own', ({ create }) => {
  it('stores every entry in that dtype, and so do its forks and what is restored from it', async () => {
    const engine = await create();
    const model = livelyModel(engine, config);
    for (const cache of engine.stores.cache) {
      const session = model.session({ cache });
      await session.step(livelyIds(1, 9), { logits: 'none' });
      const file = await session.snapshot();
      const all = [session, session.fork(), await model.restore(file)];
      const logits = await Promise.all(all.map((each) => each.step([5, 6], { logits: 'last' })));
      for (const [n, each] of all.entries()) {
        expect(each.cache).toBe(cache);
        expect(await entryBytesOf(each)).toEqual([entryBytes(4, cache), entryBytes(4, cache)]);
        expectSameBits(logits[n], logits[0], `session ${n}`);
        each.dispose();
      }
    }
    engine.dispose();
  });

  it('is refused if the engine does not store that dtype', async () => {
    const engine = await create();
    const model = livelyModel(engine, config);
    for (const cache of CACHE_DTYPES.filter((each) => !engine.stores.cache.includes(each))) {
      expect(() => model.session({ cache })).toThrow(UnsupportedError);
      expect(() => model.session({ cache })).toThrow(`the cache's storage is ${cache}, but the engine '${engine.name}' stores`);
    }
    engine.dispose();
  });
});

describe('the option cache', () => {
  const reference = referenceEngine();

  it('changes what attention sees only as much as the dtype rounds', async () => {
    const model = livelyModel(reference, config);
    const logits = await Promise.all(CACHE_DTYPES.map(async (cache) => {
      const session = model.session({ cache });
      await session.step(livelyIds(1, 30), { logits: 'none' });
      return session.step([7], { logits: 'last' });
    }));
    const farthest = logits.map((each) => Math.max(...each.map((x, n) => Math.abs(x - logits[0][n]))));
    expect(farthest[0]).toBe(0);
    expect(farthest[1]).toBeGreaterThan(0);
    // Half precision has 13 bits fewer: less than that, but more than none, arrives at the logits.
    expect(farthest[2]).toBeGreaterThan(farthest[1] * 2 ** 6);
    expect(farthest[2]).toBeLessThan(farthest[1] * 2 ** 20);
  });

  it('reaches the session that generate() makes, and has to agree with one that is given', async () => {
    const model = livelyModel(reference, livelyConfig('full', {}, BYTES));
    const seen = new Set<string | undefined>();
    const options = { maxNewTokens: 2, temperature: 0, onStep: ({ cache }: Session) => void seen.add(cache) };
    const run = async (more: object): Promise<void> => {
      for await (const _ of model.generate('ab', { ...options, ...more })) continue;
    };
    await run({ cache: 'f16' });
    expect([...seen]).toEqual(['f16']);
    const session = model.session();
    await run({ session, cache: 'f64' });
    await expect(run({ session, cache: 'f16' })).rejects.toThrow('the cache is f16 but the session was made with f64: leave cache out');
    await expect(run({ cache: 'f8' })).rejects.toThrow(ValueError);
    session.dispose();
  });

  it('is in a snapshot, which another engine reads in its own dtype, and which is refused if it holds another word', async () => {
    const session = livelyModel(reference, config).session({ cache: 'f16' });
    await session.step(livelyIds(1, 9), { logits: 'none' });
    const file = await session.snapshot();
    const engine = gpuEngine(new HostDevice(await loadLibrary(), 'cpu', { poison: true, tuning: TEST_TUNING }));
    const there = await livelyModel(engine, config).restore(file);
    expect(await entryBytesOf(there)).toEqual([entryBytes(4, 'f32'), entryBytes(4, 'f32')]);
    const { tensors, metadata } = await decodeSealedArrays(file, 'the file', '');
    const { sha256: _sha256, sealed: _sealed, ...rest } = metadata;
    const wrong = await encodeSealed(new Map(tensors) as Map<string, WritableArray>, { ...rest, cache: 'f8' });
    await expect(livelyModel(reference, config).restore(wrong)).rejects.toThrow(FileFormatError);
    await expect(livelyModel(reference, config).restore(wrong)).rejects.toThrow('its cache is \'f8\': it must be f64, f32, f16 or missing');
    engine.dispose();
  });
});

describe('planMemory() with a dtype for the cache', () => {
  it.each(CACHE_DTYPES)('gives what a session with a cache of %s holds, under types and under a budget', async (cache) => {
    const model = livelyModel(referenceEngine(), livelyConfig('full'));
    const policies = [{ kind: 'full' }, { kind: 'h2o', budget: 8 }] as const;
    const plan = planMemory(model.config, { policies, cache, contexts: [20] });
    for (const [n, policy] of policies.entries()) {
      const session = model.session({ policy, cache });
      await session.step(livelyIds(1, 20), { logits: 'none' });
      const stats = await session.stats();
      expect(plan.policies[n].caches[0].bytes).toBe(stats.flatMap(({ bytes }) => [...bytes]).reduce((a, b) => a + b));
      session.dispose();
    }
    expect([plan.cache, plan.entryBytes]).toEqual([cache, entryBytes(4, cache)]);
  });

  it('counts weights as an engine says that it stores them', () => {
    const bytes = (stores: object, storedBytes: number) =>
      planMemory(livelyConfig('full'), { engine: 'gpu', storedBytes, ...stores }).weights;
    const half = { stores: { weights: ['f32', 'f16', 'bf16'], cache: ['f32', 'f16'] } };
    expect(bytes(half, 2) * 2).toBe(bytes({}, 2));
    expect([bytes(half, 4), bytes(half, 8), bytes({}, 8)]).toEqual(new Array(3).fill(bytes({}, 4)));
  });

  it('refuses a dtype that the engine does not store', () => {
    const plan = () => planMemory(livelyConfig('full'), { engine: 'gpu', cache: 'f16' });
    expect(plan).toThrow(ValueError);
    expect(plan).toThrow('cache is f16, but this engine stores keys and values as f32: choose one of these');
  });
});
