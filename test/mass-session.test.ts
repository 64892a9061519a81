/**
 * Sessions under a budget, on every exact engine and on WGSL: what they decode, what they hold, and how their forks and
 * snapshots continue.
 */
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { massAttention, MassCache } from '../reference/public/mass.ts';
import { UnsupportedError, ValueError } from '../src/core/errors.ts';
import type { MassOptions } from '../src/core/mass.ts';
import { type FloatArray, ndarray, type NDArray, type Tensor } from '../src/core/tensor.ts';
import { Tape } from '../src/core/tape.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { decode } from '../src/model/decoder.ts';
import type { Model } from '../src/model/model.ts';
import { typeScores } from '../src/model/scorer.ts';
import { planMemory } from '../src/model/plan.ts';
import { cacheRule } from '../src/model/policy.ts';
import type { Session } from '../src/model/session/session.ts';
import { formatPolicy, kindOf, parsePolicy, type Policy } from '../src/policies/index.ts';
import { ENGINES, EXACT } from './support/engines.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { cases, some } from './support/thorough.ts';
import { tinyModel } from './support/tiny-model.ts';
import { expectSameBits } from './support/tolerance.ts';

const engine = referenceEngine('float64');
const MISTRAL = { model_type: 'mistral', sliding_window: 6 };
const KINDS: [policy: string, fields: object][] = [
  ['h2o:2+2', {}], ['h2o:1+0.25n', {}], ['h2o-mean:4', {}], ['tova:3', {}], ['snapkv:5', {}], ['keynorm:4', {}],
  ['growing:1+1+0.25n', {}], ['nats-rank:5', {}], ['nats-rank:2+0.25n', MISTRAL], ['h2o:6', MISTRAL], ['tova:4', MISTRAL],
];

/** The logits [N,V] of the whole text at once, through massAttention(). */
async function wholeLogits({ config, weights }: Model, policy: Policy, ids: Int32Array): Promise<FloatArray> {
  const rule = cacheRule(policy, config) as MassOptions;
  // On the reference, whose tensors hold their numbers.
  const read = (x: Tensor): NDArray => (x as Tensor & { array: NDArray }).array;
  const tokens = engine.integers(ids, [1, ids.length]);
  const positions = ids.map((_, n) => n);
  const tape = new Tape(engine, false);
  return engine.read(decode(tape, config, weights, tokens, positions, (layer, { q, k, v, hidden }) => {
    const ranked = (): NDArray => read(typeScores(tape, hidden, weights, layer, config.kvHeads));
    const ranks = kindOf(policy).ranks && { typeScores: ranked() };
    const inputs = { q: read(q), k: read(k), v: read(v), scale: 1 / Math.sqrt(config.headDim) };
    const { out } = massAttention({ ...inputs, ...ranks, ...rule });
    return engine.tensor(out.data, out.shape);
  }));
}

/** Feeds the next tokens of each text, and calls `visit` with every row of logits. */
async function feed(
  session: Session, texts: readonly Int32Array[], counts: readonly number[],
  visit: (b: number, at: number, row: FloatArray) => void,
): Promise<void> {
  const T = Math.max(...counts);
  const done = session.lengths;
  const ids = new Int32Array(texts.length * T);
  counts.forEach((count, b) => ids.set(texts[b].subarray(done[b], done[b] + count), b * T));
  const logits = await session.step(ids, { counts });
  const V = logits.length / ids.length;
  counts.forEach((count, b) => {
    for (let t = 0; t < count; t++) visit(b, done[b] + t, logits.subarray((b * T + t) * V, (b * T + t + 1) * V));
  });
}

const USED = [...EXACT, ...ENGINES.filter(({ name, missing }) => name === 'wgsl' && !missing)];
const engines = await Promise.all(USED.map(async ({ name, create }) => [name, await create()] as const));
/**
 * How far numbers of order 1 may be from the truth: in float32, a thousand roundings through two layers of width 12. No
 * scores of these texts are that close, and whatever else is evicted shows.
 */
const OFF = { float64: 1e-10, float32: 1e-4 } as const;
afterAll(() => engines.forEach(([, each]) => each.dispose()));

const kinds = engines.flatMap(([name, on]) =>
  (on.precision === 'float64' ? KINDS : some(4, KINDS)).map(([text, fields]) => [text, fields, name, on] as const));
describe.each(kinds)('a session under %s %j [%s]', (text, fields, _, on) => {
  const policy = parsePolicy(text);
  const config = livelyConfig(kindOf(policy).ranks ? 'nats' : 'full', {}, fields);
  const [ruler, model] = [livelyModel(engine, config), livelyModel(on, config)];
  const lengths = [17, 9, 1];
  const texts = lengths.map((length, n) => livelyIds(n, length));

  it('decodes, in any split and beside other sequences, the same as for the whole text at once', async () => {
    const truths = await Promise.all(texts.map((ids) => wholeLogits(ruler, policy, ids)));
    const plans = fc.array(fc.tuple(fc.nat(6), fc.nat(6), fc.nat(6)), { maxLength: 5 });
    await fc.assert(fc.asyncProperty(plans, async (plan) => {
      const session = model.session({ batch: 3, blockSize: 2, policy });
      for (const wanted of [...plan, ...lengths.flatMap((length) => Array<number[]>(length).fill([1, 1, 1]))]) {
        const counts = wanted.map((n, b) => Math.min(n, lengths[b] - session.lengths[b]));
        if (Math.max(...counts) === 0) continue;
        await feed(session, texts, counts, (b, at, row) => row.forEach((got, v) => {
          const truth = truths[b][at * row.length + v];
          if (!(Math.abs(truth - got) <= OFF[on.precision] * (1 + Math.abs(truth)))) expect(got, `${b} ${at}`).toBe(truth);
        }));
      }
      expect(session.lengths).toEqual(lengths);
      session.dispose();
    }), { numRuns: on.precision === 'float64' ? 8 : cases(2, 8) });
  }, 120_000);

  it('continues with the same bits in a fork and from its snapshot, and reports what it holds', async () => {
    const session = model.session({ batch: 3, blockSize: 2, policy });
    await feed(session, texts, [7, 3, 0], () => undefined);
    const others = [session.fork(), await model.restore(await session.snapshot())];
    await feed(session.fork(), texts, [3, 3, 1], () => undefined); // this must not affect the others
    for (const counts of [[1, 1, 1], [5, 0, 0], [1, 2, 0]]) {
      const rows: FloatArray[] = [];
      await feed(session, texts, counts, (_, __, row) => void rows.push(row));
      for (const other of others) {
        let n = 0;
        await feed(other, texts, counts, (_, __, row) => expectSameBits(row, rows[n++], 'logits'));
        expect(await other.stats()).toEqual(await session.stats());
      }
    }
    expect(others.map((each) => formatPolicy(each.policy))).toEqual([text, text]);
    for (const { bytes, entryBytes, live } of await session.stats()) {
      expect([...bytes]).toEqual([...live].map((n) => Math.ceil(n / 2) * 2 * entryBytes));
    }
    const planned = { policies: [policy], contexts: [14], blockSize: 2, engine: on.precision === 'float64' ? 'reference' : 'gpu' } as const;
    const { policies } = planMemory(model.config, planned);
    const own = (await session.stats()).reduce((sum, { bytes }) => sum + bytes[0] + bytes[1], 0);
    if (model.config.slidingWindow === undefined) expect(own).toBe(policies[0].caches[0].bytes);
    else expect(own).toBeLessThanOrEqual(policies[0].caches[0].bytes);
  }, 120_000);
});

describe('a budget', () => {
  it('sees, if it is fixed, as much as a window of as many entries, and evaluate() compares with the bytes of a full cache', async () => {
    const model = tinyModel(3, 'full');
    const text = model.tokenizer.encode('We the people of the United States');
    const measure = (policy: string) => evaluate(model, text, { policy: parsePolicy(policy), context: 20 });
    const [full, window, h2o] = [await measure('full'), await measure('window:6'), await measure('h2o:6')];
    expect(h2o.meanLiveShare).toBe(window.meanLiveShare);
    expect(h2o.live).toEqual(window.live);
    expect(h2o.perplexity).not.toBe(window.perplexity);
    expect(h2o.fullBytes).toBe(full.fullBytes);
    expect(h2o.residentBytes).toBeGreaterThan(window.residentBytes); // a window keeps no scores
  });

  it('that ranks by learned scores needs scorers, and types of single tokens', () => {
    const [policy, chunked] = [parsePolicy('nats-rank:4'), livelyModel(engine, livelyConfig('nats', { chunk: 3 }))];
    const bare = livelyModel(engine, livelyConfig('full'));
    expect(() => bare.session({ policy })).toThrow(/needs token-type scorers.* use full, growing:S\+K, .*h2o/);
    expect(() => chunked.session({ policy })).toThrow(UnsupportedError);
    expect(() => chunked.session({ policy })).toThrow(/ranks single tokens, but .* those of chunks of 3/);
  });

  it('that ranks by learned scores keeps the first token, the newest, and the most GLOBAL', () => {
    const N = 9;
    const x = ndarray(new Float64Array(N), [1, 1, N, 1]);
    const ranks = [0, 5, 1, 7, 2, 3, 0, 0, 0];
    const scores = ranks.flatMap((rank) => [rank, 0, 0]);
    const typeScores = ndarray(Float64Array.from(scores), [1, 1, N, 3]);
    const policy = parsePolicy('nats-rank:5');
    const { mass } = kindOf(policy).rule(policy, { window: 32, chunk: 1 }) as MassOptions;
    const { last } = massAttention({ q: x, k: x, v: x, typeScores, mass });
    expect([...last.data].flatMap((n, j) => (n >= N ? [j] : []))).toEqual([0, 1, 3, 7, 8]);
    const cache = new MassCache({ batch: 1, kvHeads: 1, headDim: 1, mass });
    cache.step({ q: x, k: x, v: x, typeScores });
    expect([...cache.positions(0, 0)]).toEqual([0, 1, 3, 7, 8]);
    expect(() => cache.append({ k: x, v: x })).toThrow(/typeScores is undefined/);
    const two = ndarray(new Float64Array(2), [1, 1, 1, 2]);
    expect(() => cache.append({ k: x, v: x, typeScores: two })).toThrow(/typeScores is \[1,1,1,2\].*\[1,1,9,3\]/);
    const h2o = { ...mass, score: { by: 'attention', heads: 'group' } } as const;
    const given = { q: x, k: x, v: x, typeScores, mass: h2o };
    expect(() => massAttention(given)).toThrow(/scores by attention: leave them out/);
    const raw = engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, blockSize: 1, mass });
    const [one, wrong] = [engine.zeros([1, 1, N, 1]), engine.zeros([1, 1, N, 2])];
    expect(() => raw.append(one, one, undefined)).toThrow(ValueError);
    expect(() => raw.append(one, one, wrong)).toThrow(/typeScores is \[1,1,9,2\] but must be \[1,1,9,3\]/);
  });

  it('is refused for training', () => {
    expect(() => livelyConfig('h2o:2+2')).toThrow(/nats\.policy is "h2o:2\+2": models cannot be trained with it; it must be full, nats/);
    expect(() => parseConfig({ nats: { policy: 'tova:3' } })).toThrow();
  });
});
