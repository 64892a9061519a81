/** Traces against the caches whose books they copy: what is held, when and why it ends, and who used it. */
import { afterAll, describe, expect, it, vi } from 'vitest';
import { createEngine } from '../src/engines.ts';
import type { Cache } from '../src/core/engine.ts';
import { StoppedError, ValueError } from '../src/core/errors.ts';
import { FOREVER, TOKEN_TYPE_NAMES } from '../src/core/lifetime.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { endingOf } from '../src/evaluate/trace/ending.ts';
import { equalPolicies, meanLiveShare } from '../src/evaluate/trace/equal.ts';
import { markOf } from '../src/evaluate/trace/marks.ts';
import { recordTrace } from '../src/evaluate/trace/record.ts';
import {
  entriesOverTime, heldAt, markOverTime, NO_TYPE, type PolicyTrace, TOP_KEYS, TOP_QUERIES,
} from '../src/evaluate/trace/trace.ts';
import { lifetime, matchedPolicies, ndarray } from '../src/index.ts';
import { Model } from '../src/model/model.ts';
import { parsePolicy, policyKinds } from '../src/policies/index.ts';
import { tinyModel } from './support/tiny-model.ts';

const N = 26;
const tokens = Int32Array.from({ length: N }, (_, n) => (n === 0 ? 256 : 97 + (n * n * 7) % 23));

/** A policy of every kind that there is, small enough to forget within the text. */
const EVERY = policyKinds().map(({ grammar }) => grammar.replace(/(?<=[:+])[A-Z]/g, '3'));

/** Models with what a rule may depend on: chunks, a window of the model's own, and a second window. */
async function variant(chunk: number, slidingWindow?: number, localWindow?: number): Promise<Model> {
  const base = tinyModel(3);
  const weights = new Map<string, NDArray>();
  for (const [name, weight] of base.weights) {
    weights.set(name, ndarray(Float64Array.from(await base.engine.read(weight)), weight.shape));
  }
  const nats = { ...base.config.nats, chunk, ...(localWindow !== undefined && { localWindow }) };
  const config = { ...base.config, nats, ...(slidingWindow !== undefined && { slidingWindow }) };
  base.dispose();
  return new Model(createEngine(), config, weights);
}

const made: Model[] = [];
afterAll(() => made.forEach((model) => model.dispose()));
const models: readonly (readonly [string, () => Promise<Model>])[] = [
  ['token types', async () => tinyModel(3)], ['chunks of 3', () => variant(3)], ['a window of its own', () => variant(1, 7)],
  ['a second window', () => variant(1, undefined, 5)],
];

/** What is held after token `at`, by layer and head, and how many entries that is. */
interface Held {
  at: number;
  held: Int32Array[][];
  live: number;
}

/** What the caches of a session hold after each step of `step` tokens, asked of the engine without the recorder. */
async function replay(model: Model, policy: string, step: number): Promise<Held[]> {
  const caches: Cache[] = [];
  const { createCache } = Object.getPrototypeOf(model.engine) as typeof model.engine;
  const spy = vi.spyOn(model.engine, 'createCache').mockImplementation((options) => {
    const cache = createCache.call(model.engine, options);
    caches.push(cache);
    return cache;
  });
  const session = model.session({ policy: parsePolicy(policy) });
  spy.mockRestore();
  const found: Held[] = [];
  for (let at = 0; at < N; at += step) {
    await session.step(tokens.subarray(at, at + step), { logits: 'none' });
    const held = await Promise.all(caches.map((cache) =>
      Promise.all(Array.from({ length: model.config.kvHeads }, (_, g) => cache.positions(0, g)))));
    const live = (await session.stats()).flatMap((each) => [...each.live]).reduce((a, b) => a + b, 0);
    found.push({ at: Math.min(at + step, N) - 1, held, live });
  }
  session.dispose();
  return found;
}

describe.each(models)('a trace of a model with %s', (what, make) => {
  const policies = what === 'chunks of 3' ? EVERY.filter((policy) => !policy.startsWith('nats-rank')) : EVERY;

  it.each(policies)('holds under %s what the engine\'s caches hold after each step, for steps of 1 and 4 tokens', async (policy) => {
    const model = await make();
    made.push(model);
    const trace = await recordTrace(model, tokens, { policies: [parsePolicy(policy)] });
    const [own] = trace.policies;
    const entries = entriesOverTime(own);
    for (const step of [1, 4]) {
      for (const { at, held, live } of await replay(model, policy, step)) {
        expect(own.heads.map((layer) => layer.map((head) => heldAt(head, at)))).toEqual(held);
        expect(entries[at]).toBe(live);
      }
    }
    for (const head of own.heads.flat()) {
      if (own.lifetimes) {
        const { chunk } = own.lifetimes;
        const types = Int32Array.from({ length: Math.ceil(N / chunk) }, (_, c) => head.types[c * chunk]);
        const reach = own.reach ?? FOREVER;
        const { data } = lifetime(ndarray(types, [1, 1, types.length]), { ...own.lifetimes, length: N });
        const ends = Array.from(data, (last, j) => Math.min(last, j + reach));
        expect([...head.last]).toEqual(ends.map((last) => (last < N ? last : FOREVER)));
      } else expect(new Set(head.types)).toEqual(new Set([NO_TYPE]));
      for (let j = 0; j < N; j++) expectSound(own, head, j);
    }
  });
});

/** What ended an entry must agree with when it ended. */
function expectSound(policy: PolicyTrace, head: PolicyTrace['heads'][0][0], j: number): void {
  const ending = endingOf(policy, head, j);
  const last = head.last[j];
  expect(ending.after).toBe(last === FOREVER ? undefined : last);
  expect(ending.kind === 'held').toBe(last === FOREVER);
  if (ending.kind === 'closed') expect(TOKEN_TYPE_NAMES[head.types[ending.closedBy!]]).toBe('GLOBAL');
  if (ending.kind === 'reach') expect(last - j).toBe(policy.reach);
  if (ending.kind === 'window') {
    const { window, localWindow = window } = policy.lifetimes!;
    expect(last - j).toBeGreaterThanOrEqual(TOKEN_TYPE_NAMES[head.types[j]] === 'LOCAL' ? localWindow : window);
  }
  if (ending.kind === 'budget') expect(policy.budget).toBeDefined();
}

describe('recordTrace()', () => {
  const model = tinyModel(5);
  made.push(model);

  it('adds up the attention that the engine itself adds up for H2O', async () => {
    const caches: Cache[] = [];
    const { createCache } = Object.getPrototypeOf(model.engine) as typeof model.engine;
    const spy = vi.spyOn(model.engine, 'createCache').mockImplementation((options) => {
      caches.push(createCache.call(model.engine, options));
      return caches.at(-1)!;
    });
    const session = model.session({ policy: parsePolicy('h2o:99') });
    spy.mockRestore();
    await session.step(tokens, { logits: 'none' });
    const { policies: [own] } = await recordTrace(model, tokens, { policies: [parsePolicy('h2o:99')] });
    const group = model.config.heads / model.config.kvHeads;
    for (const [layer, cache] of caches.entries()) {
      const { scores } = await cache.snapshot();
      own.heads[layer].forEach(({ received }, g) => received.forEach((sum, j) => {
        expect(Math.abs(group * sum - scores![g * N + j])).toBeLessThan(1e-5); // `received` is float32
      }));
    }
    session.dispose();
  });

  it('names for every entry and every query those with the largest weights, in their order', async () => {
    const { policies } = await recordTrace(model, tokens, { policies: [parsePolicy('nats'), parsePolicy('tova:5')] });
    for (const { heads } of policies) {
      for (const { users, userWeights, used, usedWeights, last, received } of heads.flat()) {
        expect(received.reduce((a, b) => a + b, 0)).toBeCloseTo(N, 4); // the weights of each query add up to 1
        for (let n = 0; n < N * TOP_QUERIES; n++) {
          const j = Math.floor(n / TOP_QUERIES);
          if (users[n] < 0) continue;
          expect(users[n] >= j && users[n] <= last[j]).toBe(true);
          if (n % TOP_QUERIES > 0) expect(userWeights[n - 1]).toBeGreaterThanOrEqual(userWeights[n]);
        }
        for (let i = 0; i < N; i++) {
          const seen = Array.from({ length: i + 1 }, (_, j) => j).filter((j) => last[j] >= i).length;
          const named = used.subarray(i * TOP_KEYS, (i + 1) * TOP_KEYS).filter((j) => j >= 0);
          expect(named.length).toBe(Math.min(seen, TOP_KEYS));
          expect(new Set(named).size).toBe(named.length);
          const weights = usedWeights.subarray(i * TOP_KEYS, (i + 1) * TOP_KEYS);
          if (seen <= TOP_KEYS) expect(weights.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
        }
      }
    }
  });

  it('has the losses and scores of a session without a recorder', async () => {
    const { policies: [own] } = await recordTrace(model, tokens);
    const session = model.session();
    const logits = await session.step(tokens);
    const V = model.config.vocabSize;
    for (let i = 0; i + 1 < N; i++) {
      const row = logits.subarray(i * V, (i + 1) * V);
      const z = Float64Array.from(row, Math.exp).reduce((a, b) => a + b, 0);
      expect(own.loss[i]).toBeCloseTo(Math.log(z) - row[tokens[i + 1]], 4);
      expect(row[own.predicted[i]]).toBe(Math.max(...row));
    }
    session.dispose();
    for (const { scores, types } of own.heads.flat()) {
      for (let j = 1; j < N; j++) expect(scores[3 * j + types[j]]).toBe(Math.max(...scores.subarray(3 * j, 3 * j + 3)));
    }
  });

  it('has the text of every token, where a character has several tokens at the last of them', async () => {
    const { pieces, texts } = await recordTrace(model, model.tokenizer.encode('a–b'));
    expect(pieces).toEqual(['a', '', '', '–', 'b']);
    expect([texts[97], texts[0xe2]]).toEqual(['a', '<E2>']);
  });

  it('records only the layers that were asked for', async () => {
    const [all, one] = [await recordTrace(model, tokens), await recordTrace(model, tokens, { layers: [1] })];
    expect(one.layers).toEqual([1]);
    expect(one.policies[0].heads).toEqual([all.policies[0].heads[1]]);
  });

  it.each<[string, Parameters<typeof recordTrace>[2], RegExp]>([
    ['a layer that is not there', { layers: [2] }, /layer 2: the model has layers 0 to 1/],
    ['a mark beyond the text', { marks: [{ name: 'x', begin: 3, end: 99 }] }, /the mark 'x' is tokens 3 to 99/],
    ['an option it does not know', { layer: [0] } as object, /layer/],
  ])('refuses %s', async (_, options, message) => {
    await expect(recordTrace(model, tokens, options)).rejects.toThrow(message);
  });

  it('refuses no tokens at all, and stops when it is told to', async () => {
    await expect(recordTrace(model, new Int32Array(0))).rejects.toThrow(ValueError);
    const signal = AbortSignal.abort();
    await expect(recordTrace(model, tokens, { signal })).rejects.toThrow(StoppedError);
  });
});

describe('what is said of a trace', () => {
  const ever = FOREVER;
  const head = { types: Uint8Array.of(0, 1, 2, 0, 1, 2), last: Int32Array.of(ever, 3, 4, ever, ever, ever) };
  const nats = { policy: 'nats', lifetimes: { window: 2, chunk: 1 } };

  it.each([
    [0, 'GLOBAL, never forgotten'], [1, 'LOCAL, closed by the GLOBAL at 3'], [2, 'WINDOW, out of reach after 2 queries'],
    [4, 'LOCAL, and no GLOBAL has closed it'], [5, 'WINDOW, still within reach'],
  ])('says how entry %d ends', (j, words) => {
    expect(endingOf(nats, head, j).words).toBe(words);
  });

  it('says that a LOCAL entry ends with its second window, if there is one, and not with a GLOBAL', () => {
    const second = { ...nats, lifetimes: { window: 1, localWindow: 2, chunk: 1 } };
    expect(endingOf(second, head, 1)).toEqual({ kind: 'window', after: 3, words: 'LOCAL, out of its second window after 2 queries' });
    expect(endingOf(second, head, 4)).toEqual({ kind: 'held', words: 'LOCAL, still within its second window' });
    const own = { types: Uint8Array.of(0, 1, 0), last: Int32Array.of(ever, 2, ever) };
    const once = { ...nats, lifetimes: { window: 0, localWindow: 1, chunk: 1 } };
    expect(endingOf(once, own, 1).words).toBe('LOCAL, out of its second window after 1 query');
    expect(endingOf({ ...once, reach: 1 }, own, 1).kind).toBe('window'); // both end it: the type's own comes first
  });

  it('tells a window of the model from that of the type, and a budget from both', () => {
    const ended = { types: Uint8Array.of(0, 2, 0, 0, 0, 0), last: Int32Array.of(3, 3, ever, ever, ever, ever) };
    expect(endingOf({ ...nats, reach: 3 }, ended, 0)).toEqual({ kind: 'reach', after: 3, words: 'GLOBAL, out of the model\'s own window after 3 queries' });
    expect(endingOf({ ...nats, reach: 3 }, ended, 1).kind).toBe('window');
    const budget = { types: new Uint8Array(2).fill(NO_TYPE), last: Int32Array.of(1, FOREVER) };
    expect(endingOf({ policy: 'h2o:1' }, budget, 0).words).toBe('evicted by H2O: least attention');
  });

  it.each([
    ['h2o:1', 'evicted by H2O: least attention'], ['h2o-mean:1', 'evicted by H2O by the mean: least attention per query'],
    ['tova:1', 'evicted by TOVA: least attention from the newest query'], ['keynorm:1', 'evicted by keynorm: the largest key'],
    ['snapkv:1', 'evicted by SnapKV: least attention from the newest 32 queries, with its neighbours'],
    ['growing:1+1', 'evicted by growing: the oldest'], ['nats-rank:1', 'evicted by nats-rank: the lowest score as GLOBAL'],
  ])('says what %s evicts', (policy, words) => {
    const budget = { types: new Uint8Array(2).fill(NO_TYPE), last: Int32Array.of(1, FOREVER) };
    expect(endingOf({ policy }, budget, 0).words).toBe(words);
  });

  it('counts what is held of a mark over its tokens so far', async () => {
    const model = tinyModel(5);
    made.push(model);
    const mark = { name: 'x', begin: 4, end: 7 };
    const { policies: [own] } = await recordTrace(model, tokens, { policies: [parsePolicy('window:3')], marks: [mark] });
    const over = markOverTime(own, mark);
    expect([...over.subarray(3, 11)]).toEqual([NaN, 1, 1, 1, 2 / 3, 1 / 3, 0, 0]);
  });

  it('finds a passage among tokens, also where one token has several characters', () => {
    const { tokenizer } = tinyModel(1);
    const text = tokenizer.encode('say 54 – and 54');
    expect(markOf(tokenizer, text, '54')).toEqual({ name: '54', begin: 4, end: 6 });
    const dash = markOf(tokenizer, text, '–');
    expect(tokenizer.decode(text.slice(dash.begin, dash.end))).toBe('–');
    expect(markOf(tokenizer, Int32Array.of(256, ...text), 'say')).toEqual({ name: 'say', begin: 1, end: 4 });
    expect(() => markOf(tokenizer, text, '99')).toThrow(/17 tokens .* do not contain "99"/);
  });
});

describe('equalPolicies()', () => {
  it('holds as many bytes as learned types did, in the mean', async () => {
    const model = tinyModel(5);
    made.push(model);
    const { policies: [own] } = await recordTrace(model, tokens);
    const share = meanLiveShare(own);
    const [window, h2o] = await equalPolicies(own, ['window', 'h2o'], model.engine, model.config);
    const { policies } = await recordTrace(model, tokens, { policies: [window, h2o] });
    for (const each of policies) {
      const off = Math.abs(meanLiveShare(each) * each.entryBytes - share * own.entryBytes) * N * (N + 1) / 2;
      expect(off / own.entryBytes).toBeLessThan(N / 2 + 1); // half an entry per query
    }
    const [same] = matchedPolicies({ lengths: [N], meanLiveShare: share, endShare: share }, ['window']);
    expect(window).toEqual(same.policy);
  });
});
