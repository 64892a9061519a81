/** Forks and snapshots of sessions: they continue with the same bits, and no damaged snapshot is accepted. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import type { Engine } from '../src/core/engine.ts';
import { DisposedError, FileFormatError, isNamedError, NumericError, ValueError } from '../src/core/errors.ts';
import { decodeSealedArrays, encodeSealed } from '../src/formats/sealed.ts';
import type { WritableArray } from '../src/formats/safetensors.ts';
import { parsePolicy } from '../src/policies/index.ts';
import type { Model } from '../src/model/model.ts';
import type { Session } from '../src/model/session/session.ts';
import { SNAPSHOT } from './fixtures/session/snapshot.ts';
import { SAVED_CONFIG, SAVED_STEPS, savedStep } from './fixtures/session/steps.ts';
import { forEachEngine } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel, livelyWeights } from './support/lively-model.ts';
import { cases, THOROUGH } from './support/thorough.ts';
import { expectSameBits } from './support/tolerance.ts';

/** Sessions of all kinds: ragged, chunked, bounded, with and without types. */
const KINDS: [policy: string, nats: object, fields: object][] = [
  ['nats', {}, {}], ['nats', { chunk: 3 }, {}], ['nats', { chunk: 2, pooling: 'max', window: 0 }, {}],
  ['nats', { local_window: 4 }, {}], ['full', {}, {}], ['streaming:2+3', {}, {}],
  ['nats', { chunk: 2 }, { model_type: 'mistral', sliding_window: 5 }],
];
const COUNTS = [[5, 2, 0], [1, 1, 1], [3, 4, 1], [1, 1, 1], [0, 1, 2]] as const;

/** Feeds step n, and returns the logits of the last rows that count. */
async function feed(session: Session, n: number): Promise<number[]> {
  const counts = COUNTS[n % COUNTS.length];
  const T = Math.max(...counts);
  const logits = await session.step(livelyIds(n, 3 * T), { counts, logits: 'last' });
  const V = logits.length / 3;
  return [...logits].filter((_, at) => counts[Math.floor(at / V)] > 0);
}

forEachEngine('a session', ({ trains, create }) => {
  // gpu.js takes a second to build the kernels for each of these, and its caches have their own tests.
  const kinds = THOROUGH || trains ? KINDS : [KINDS[1], KINDS[6]];
  it.each(kinds)('of %s %j %j continues with the same bits in a fork and from its snapshot, after any step', async (policy, nats, fields) => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig(policy, nats, fields));
    const sessions = [model.session({ batch: 3, blockSize: 2 })];
    for (let n = 0; n < 12; n++) {
      if (n === 0 || n === 3 || n === 8) {
        sessions.push(sessions[0].fork(), await model.restore(await sessions[sessions.length - 1].snapshot()));
        const stray = sessions[0].fork(); // this must not affect the others
        await feed(stray, n + 1);
        stray.dispose();
      }
      const [first, ...others] = await Promise.all(sessions.map((session) => feed(session, n)));
      for (const other of others) expectSameBits(other, first, `step ${n}`);
      const [stats, ...same] = await Promise.all(sessions.map((session) => session.stats()));
      for (const each of same) expect(each).toEqual(stats);
    }
    for (const { lengths, tokens } of sessions) {
      expect(lengths).toEqual(sessions[0].lengths);
      expect(tokens).toEqual(sessions[0].tokens);
    }
    for (const session of sessions) session.dispose();
    engine.dispose();
  }, 30_000);

  it('continues from the snapshot of a float64 session, and the other from its own, within float32 rounding', async () => {
    const engine = await create();
    const exact = referenceEngine('float64');
    for (const [policy, nats, fields] of kinds) {
      const config = livelyConfig(policy, nats, fields);
      const [here, there] = [livelyModel(engine, config), livelyModel(exact, config)];
      expect(await here.hash()).toBe(await there.hash());
      const truth = there.session({ batch: 3 });
      let moving = here.session({ batch: 3 });
      for (let n = 0; n < 6; n++) {
        // For numbers of order 1 through two layers of width 12, a thousand roundings of float32 are far below this.
        const [expected, got] = [await feed(truth, n), await feed(moving, n)];
        got.forEach((x, at) => expect(Math.abs(x - expected[at])).toBeLessThan(1e-3));
        const next = await (n % 2 === 0 ? there : here).restore(await moving.snapshot());
        moving.dispose();
        moving = next;
      }
      expect((await moving.stats()).map(({ live, peakLive, visiblePairs }) => ({ live, peakLive, visiblePairs })))
        .toEqual((await truth.stats()).map(({ live, peakLive, visiblePairs }) => ({ live, peakLive, visiblePairs })));
    }
    engine.dispose();
  }, 30_000);

  it('throws a DisposedError if used after dispose(), which may be called twice, or by `using`', async () => {
    const engine = await create();
    const model = livelyModel(engine, livelyConfig('full'));
    const session = model.session();
    {
      using other = model.session();
      await other.step([1]);
    }
    session.dispose();
    session.dispose();
    const uses = [() => session.step([1]), () => session.stats(), () => session.snapshot(), async () => session.fork()];
    for (const use of uses) await expect(use()).rejects.toThrow(DisposedError);
    model.dispose();
    expect(() => model.session()).toThrow(DisposedError);
    await expect((async () => model.restore(new Uint8Array(0)))()).rejects.toThrow(DisposedError);
    await expect((async () => model.hash())()).rejects.toThrow(DisposedError);
    engine.dispose();
  });
});

const engine: Engine = referenceEngine('float64');

/** A session with entries of every kind, and its snapshot. */
async function saved(config = livelyConfig('nats', { chunk: 2 })): Promise<{ model: Model; file: Uint8Array }> {
  const model = livelyModel(engine, config);
  const session = model.session({ batch: 3 });
  for (const n of [0, 1, 2]) await feed(session, n);
  return { model, file: await session.snapshot() };
}

/** The snapshot with a change, and a checksum that fits again. */
async function changed(
  file: Uint8Array, change: (tensors: Map<string, WritableArray>, metadata: Record<string, string>) => void,
): Promise<Uint8Array> {
  const { tensors, metadata } = await decodeSealedArrays(file, 'the file', '');
  const { sha256: _sha256, sealed: _sealed, ...rest } = metadata;
  const writable = new Map(tensors) as Map<string, WritableArray>;
  change(writable, rest);
  return encodeSealed(writable, rest);
}

describe('the snapshot of a session', () => {
  it('is the same file for the same session, in the precision of its engine', async () => {
    const { model, file } = await saved();
    const again = await model.restore(file);
    expect(await again.snapshot()).toEqual(file);
    expect(await (await model.restore(file.buffer.slice(0) as ArrayBuffer)).snapshot()).toEqual(file);
    const narrow = livelyModel(referenceEngine('float32'), model.config);
    const { tensors } = await decodeSealedArrays(await (await narrow.restore(file)).snapshot(), 'the file', '');
    expect(tensors.get('layers.0.keys')!.dtype).toBe('F32');
    expect((await decodeSealedArrays(file, 'the file', '')).tensors.get('layers.0.keys')!.dtype).toBe('F64');
  });

  it('that Node saved is restored bit for bit in every runtime, and continues like a session that was never saved', async () => {
    const model = livelyModel(engine, SAVED_CONFIG);
    const file = Uint8Array.from(atob(SNAPSHOT), (digit) => digit.charCodeAt(0));
    const [restored, again] = [await model.restore(file), await model.restore(file)];
    const whole = model.session({ batch: 2 });
    expect(await restored.snapshot()).toEqual(file);
    for (let n = 0; n < SAVED_STEPS; n++) await savedStep(whole, n);
    expect(restored.tokens).toEqual(whole.tokens);
    expect(await restored.stats()).toEqual(await whole.stats());
    for (let n = SAVED_STEPS; n < 12; n++) {
      const [got, expected] = [await savedStep(restored, n), await savedStep(whole, n)];
      expectSameBits(got, await savedStep(again, n), `step ${n}`);
      expectSameBits(got, expected, `step ${n} of a session that was never saved`);
    }
  });

  it('does not depend on the config\'s end tokens and training options', async () => {
    const { model, file } = await saved();
    const other = livelyConfig('nats', { chunk: 2, lambda: 3 }, { eos_token_id: 7, max_position_embeddings: 128 });
    const same = new (model.constructor as typeof Model)(engine, other, livelyWeights(model.config, 1));
    expect((await same.restore(file)).lengths).toEqual([9, 7, 2]);
  });

  it('is refused by a model with other weights, or with another number in its config', async () => {
    const { model, file } = await saved();
    const others = [
      livelyModel(engine, model.config, 2),
      ...[{ rope_theta: 500 }, { rms_norm_eps: 1e-5 }].map((fields) => livelyModel(engine, livelyConfig('nats', { chunk: 2 }, fields))),
      livelyModel(engine, livelyConfig('nats', { chunk: 2, window: 4 })),
      livelyModel(engine, livelyConfig('nats', { chunk: 2, local_window: 4 })),
      livelyModel(engine, livelyConfig('nats', { chunk: 1 })),
    ];
    for (const other of others) await expect(other.restore(file)).rejects.toThrow(/taken of another model/);
  });

  it('is refused if it is truncated anywhere, or if one bit of it has changed', async () => {
    const { model, file } = await saved();
    for (const length of [0, 1, 7, 8, 20, 33, 60, 100, 1000, file.length - 1]) {
      await expect(model.restore(file.subarray(0, length))).rejects.toThrow(FileFormatError);
    }
    await expect(model.restore(Uint8Array.of(...file, 0))).rejects.toThrow(FileFormatError);
    for (let n = 0; n < cases(60, 600); n++) {
      const damaged = file.slice();
      const bit = (n * 7919) % (file.length * 8);
      damaged[bit >> 3] ^= 1 << (bit & 7);
      await expect(model.restore(damaged), `bit ${bit}`).rejects.toThrow(FileFormatError);
    }
  });

  it.each<[string, (tensors: Map<string, WritableArray>, metadata: Record<string, string>) => void, RegExp]>([
    ['another format', (_, m) => (m['format'] = 'pt'), /format is 'pt'/],
    ['no format', (_, m) => delete m['format'], /format is missing/],
    ['a version of the future', (_, m) => (m['version'] = '2'), /version '2'.*reads version 1/],
    ['a policy that is none', (_, m) => (m['policy'] = 'most'), /policy 'most' is not known/],
    ['another policy', (_, m) => (m['policy'] = 'window:0'), /holds 'layers.0.pool'|lives until/],
    ['no block size', (_, m) => delete m['block_size'], /block_size is missing/],
    ['blocks beyond all memory', (_, m) => (m['block_size'] = '99999999'), /block_size is 99999999.*at most 65536/],
    ['another batch', (_, m) => (m['batch'] = '2'), /seen|live/],
    ['a batch beyond all memory', (_, m) => (m['batch'] = '999999999'), /lacks 'tokens.3'/],
    ['fewer layers', (_, m) => (m['layers'] = '1'), /1 layers, but the model has 2/],
    ['no values', (t) => t.delete('layers.1.values'), /lacks 'layers.1.values'/],
    ['one tensor more', (t) => t.set('x', { data: new Int32Array(1), shape: [1], dtype: 'I32' }), /holds 'x'/],
    ['NaN in a key', (t) => (t.get('layers.0.keys')!.data[3] = NaN), /layers.0.keys' holds NaN at element 3/],
    ['an infinite pool', (t) => (t.get('layers.1.pool')!.data[0] = -Infinity), /layers.1.pool' holds -Infinity/],
    ['whole keys', (t) => t.set('layers.0.keys', { data: new Int32Array(4), shape: [4], dtype: 'I32' }), /holds integers, but floats are expected/],
    ['real positions', (t) => t.set('layers.0.positions', { data: new Float64Array(4), shape: [4], dtype: 'F64' }), /holds floats, but integers are expected/],
    ['fewer positions', (t) => t.set('layers.0.positions', { data: new Int32Array(4), shape: [4], dtype: 'I32' }), /positions has 4 elements/],
    ['a position beyond the text', (t) => (t.get('layers.0.positions')!.data[0] = 99), /position 99/],
    ['a token beyond the vocabulary', (t) => (t.get('tokens.0')!.data[0] = 31), /has read token 31/],
  ])('is refused with %s, although its checksum is right', async (_, change, message) => {
    const { model, file } = await saved();
    const wrong = await changed(file, (tensors, metadata) => void change(tensors, metadata));
    await expect(model.restore(wrong)).rejects.toThrow(FileFormatError);
    await expect(model.restore(wrong)).rejects.toThrow(message);
  });

  it('is refused by a named error, whatever is changed under a valid checksum', async () => {
    const { model, file } = await saved();
    const { tensors, metadata } = await decodeSealedArrays(file, 'the file', '');
    const tensor = fc.constantFrom(...tensors.keys());
    const value = fc.constantFrom(-1, 0, 1, 2, 2 ** 31 - 1, -(2 ** 31));
    const text = fc.oneof(fc.string(), fc.nat().map(String), fc.constant('full'));
    const wild = fc.oneof(
      fc.record({ tensor, at: fc.nat(), value }), fc.record({ tensor, length: fc.nat({ max: 40 }) }),
      fc.record({ key: fc.constantFrom(...Object.keys(metadata)), text }),
    );
    await fc.assert(fc.asyncProperty(fc.array(wild, { minLength: 1, maxLength: 3 }), async (changes) => {
      const wrong = await changed(file, (all, words) => {
        for (const each of changes) {
          if ('key' in each) {
            if (each.key !== 'sha256' && each.key !== 'sealed') words[each.key] = each.text;
            continue;
          }
          const { data, dtype } = all.get(each.tensor)!;
          const copy = 'length' in each ? data.slice(0, each.length) : data.slice();
          if ('at' in each && copy.length > 0) copy[each.at % copy.length] = dtype === 'U8' ? each.value & 255 : each.value;
          all.set(each.tensor, { data: copy, shape: [copy.length], dtype } as WritableArray);
        }
      });
      try {
        const session = await model.restore(wrong);
        await feed(session, 3); // if it is accepted, it works
        session.dispose();
      } catch (error) {
        expect(isNamedError(error), String(error)).toBe(true);
      }
    }), { numRuns: cases(80, 1500) });
  });

  it('is refused if it is not a snapshot at all', async () => {
    const { model } = await saved();
    for (const wrong of [null, undefined, 'text', [1, 2], {}]) {
      await expect((async () => model.restore(wrong as unknown as Uint8Array))()).rejects.toThrow(ValueError);
    }
    const weights = await encodeSealed([['w', { data: new Float32Array(1), shape: [1], dtype: 'F32' }]], { format: 'pt' });
    await expect(model.restore(weights)).rejects.toThrow(/pass what session.snapshot\(\) returned/);
  });

  it('is not made if a cache holds NaN', async () => {
    const config = livelyConfig('full');
    const weights = livelyWeights(config, 1);
    weights.get('model.layers.1.self_attn.v_proj.weight')!.data[0] = NaN;
    const model = new (livelyModel(engine, config).constructor as typeof Model)(engine, config, weights);
    const session = model.session();
    await session.step([1], { logits: 'none' }).catch(() => {});
    await expect(session.snapshot()).rejects.toThrow(NumericError);
  });

  it('of a model without learned types is refused with the policy nats', async () => {
    const model = livelyModel(engine, livelyConfig('full'));
    const session = model.session({ policy: parsePolicy('window:2') });
    await session.step([1, 2, 3]);
    const wrong = await changed(await session.snapshot(), (_, metadata) => void (metadata['policy'] = 'nats'));
    await expect(model.restore(wrong)).rejects.toThrow(ValueError);
  });
});
