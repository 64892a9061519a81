/**
 * Policies matched to another one keep as much as it does, measured on the cache, and differences have the right
 * errors.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { referenceEngine } from '../reference/index.ts';
import { withMatched } from '../src/cli/policies.ts';
import type { Engine } from '../src/core/engine.ts';
import { UnsupportedError, ValueError } from '../src/core/errors.ts';
import { generator } from '../src/core/random.ts';
import { matchingKinds } from '../src/evaluate/match.ts';
import {
  type Evaluation, evaluate, formatPolicy, type KeptOf, matchedPolicies, type MatchedPolicy, parsePolicy,
  perplexityDifference, type Policy,
} from '../src/index.ts';
import { kindOf } from '../src/policies/index.ts';
import { livelyConfig, livelyIds, livelyModel } from './support/lively-model.ts';
import { cases } from './support/thorough.ts';

const engine = referenceEngine();

/** Visible pairs and entries at the end that caches report for sequences of these lengths, summed over sequences. */
async function measured(policy: Policy, lengths: readonly number[]): Promise<{ pairs: number; end: number }> {
  const kind = kindOf(policy);
  let [pairs, end] = [0, 0];
  for (const length of lengths) {
    const rule = kind.rule(policy, { window: 0, chunk: 1 });
    const cache = engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, blockSize: 1, ...rule });
    const x = engine.zeros([1, 1, length, 1]);
    const types = Array.from({ length }, (_, n) => kind.type?.(policy, n) ?? 0);
    const ranks = kind.ranks && engine.zeros([1, 1, length, 3]);
    cache.append(x, x, kind.type ? engine.integers(types, [1, 1, length]) : ranks);
    cache.attend(x, 1);
    cache.evict();
    const { live, visiblePairs } = await cache.stats();
    pairs += visiblePairs[0];
    end += live[0];
    cache.dispose();
  }
  return { pairs, end };
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
const causal = (lengths: readonly number[]): number => sum(lengths.map((n) => n * (n + 1) / 2));
const keptOf = ({ pairs, end }: { pairs: number; end: number }, lengths: readonly number[]): KeptOf =>
  ({ lengths, meanLiveShare: pairs / causal(lengths), endShare: end / sum(lengths) });
const matchedBy = (by: MatchedPolicy['by'], all: readonly MatchedPolicy[]): MatchedPolicy[] =>
  all.filter((one) => one.by === by);

const anyLength = fc.integer({ min: 1, max: 60 });
/** Sequences of one length, or of several. */
const anyLengths = fc.oneof(
  fc.tuple(anyLength, fc.integer({ min: 1, max: 4 })).map(([n, times]) => Array<number>(times).fill(n)),
  fc.array(anyLength, { minLength: 1, maxLength: 4 }),
);
const shares = fc.record({
  meanLiveShare: fc.double({ min: 0, max: 1, noNaN: true }), endShare: fc.double({ min: 0, max: 1, noNaN: true }),
});

describe('matchedPolicies()', () => {
  it('finds the fixed budgets that are nearest in the mean and at the end: no other number of entries is nearer', async () => {
    await fc.assert(fc.asyncProperty(anyLengths, shares, async (lengths, { meanLiveShare, endShare }) => {
      const all = matchedPolicies({ lengths, meanLiveShare, endShare }, ['window']);
      const [pairs, end] = [meanLiveShare * causal(lengths), endShare * sum(lengths)];
      const [mean, atEnd] = await Promise.all(all.slice(0, 2).map(({ policy }) => measured(policy!, lengths)));
      for (let window = 0; window <= 60; window++) {
        const other = await measured({ kind: 'window', window }, lengths);
        expect(Math.abs(mean.pairs - pairs)).toBeLessThanOrEqual(Math.abs(other.pairs - pairs) + 1e-9);
        expect(Math.abs(atEnd.end - end)).toBeLessThanOrEqual(Math.abs(other.end - end) + 1e-9);
      }
    }), { numRuns: cases(12, 100) });
  });

  it('holds, whatever the kind, what caches report: the same pairs and ends for all kinds, within what sinks allow', async () => {
    await fc.assert(fc.asyncProperty(anyLengths, shares, async (lengths, given) => {
      const all = matchedPolicies({ lengths, ...given });
      expect(all.map(({ kind }) => kind)).toEqual([0, 1, 2].flatMap(() => matchingKinds()));
      const end = given.endShare * sum(lengths);
      for (const by of ['mean', 'end', 'both'] as const) {
        const found = matchedBy(by, all).filter(({ policy }) => policy);
        const kept = await Promise.all(found.map(({ policy }) => measured(policy!, lengths)));
        // Kinds that always hold some entries have a search of their own, because these may exceed a growing budget.
        const isFree = ({ kind }: MatchedPolicy): boolean => kindOf({ kind }).matching?.least === undefined;
        const alike = kept.filter((_, n) => by !== 'both' || isFree(found[n]));
        for (const one of alike) expect(one).toEqual(alike[0]);
        if (by !== 'both') continue;
        for (const one of kept) {
          expect(Math.abs(one.pairs - given.meanLiveShare * causal(lengths))).toBeLessThanOrEqual(sum(lengths) / 2);
          expect(Math.abs(one.end - end)).toBeLessThanOrEqual(lengths.length / 2 + 1e-6);
        }
      }
    }), { numRuns: cases(15, 150) });
  });

  it('finds for what a growing budget kept one with the same end, and as many pairs to half an entry per query', async () => {
    const growing = fc.record({
      base: fc.integer({ min: -10, max: 60 }), perToken: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const alike = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 3 }));
    await fc.assert(fc.asyncProperty(alike, growing, async ([length, times], budget) => {
      const lengths = Array<number>(times).fill(length);
      const wanted = await measured({ kind: 'growing', sink: 0, budget }, lengths);
      const found = matchedBy('both', matchedPolicies(keptOf(wanted, lengths), ['window', 'tova']));
      for (const { policy, misfit } of found) {
        expect(misfit).toBeUndefined();
        const kept = await measured(policy!, lengths);
        expect(kept.end).toBe(wanted.end);
        expect(Math.abs(kept.pairs - wanted.pairs)).toBeLessThanOrEqual(sum(lengths) / 2);
      }
    }), { numRuns: cases(60, 400) });
  });

  it('is far closer than that for long texts: to a thousandth of the pairs at 1,024 tokens', async () => {
    const lengths = [1024];
    for (const [base, perToken] of [[30, 0.07], [-20, 0.25], [120, 0.5]]) {
      const wanted = await measured({ kind: 'growing', sink: 0, budget: { base, perToken } }, lengths);
      const found = matchedBy('both', matchedPolicies(keptOf(wanted, lengths), ['window', 'streaming', 'keynorm']));
      for (const { policy } of found) {
        const kept = await measured(policy!, lengths);
        expect(kept.end).toBe(wanted.end);
        expect(Math.abs(kept.pairs / wanted.pairs - 1)).toBeLessThan(1e-3);
      }
    }
  });

  it('gives StreamingLLM as many entries as the others, including its sinks, and says so where they do not fit', () => {
    const names = (all: readonly MatchedPolicy[]): string[] =>
      all.map(({ policy, misfit }) => (policy ? formatPolicy(policy) : misfit!));
    expect(names(matchedPolicies({ lengths: [60], meanLiveShare: 0.4, endShare: 0.25 }, ['streaming', 'window']).slice(0, 4)))
      .toEqual(['streaming:4+9', 'window:13', 'streaming:4+11', 'window:15']);
    const small = matchedPolicies({ lengths: [100], meanLiveShare: 4 * 100 / 5050, endShare: 0.03 }, ['streaming', 'h2o']);
    const misfit = 'streaming always holds 4 entries, and 3 would be as much';
    expect(names(small)).toEqual([
      misfit, 'h2o:3', misfit, 'h2o:3',
      expect.stringMatching(/^streaming always holds 4 entries|^no growing budget/), expect.stringMatching(/^h2o:/),
    ]);
    const shrinking = matchedPolicies({ lengths: [100], meanLiveShare: 0.5, endShare: 0.1 }, ['window']);
    expect(names(shrinking).at(-1)).toBe('no growing budget lets queries see 25.3 entries in the mean and holds 10.0 at ' +
      'the end; the nearest has 10.4 and 10.0');
  });

  it.each<[string, Partial<KeptOf>, RegExp]>([
    ['a share below 0', { meanLiveShare: -0.1 }, /-0.1: it must lie between 0 and 1/],
    ['a share above 1', { endShare: 1.1 }, /1.1: it must lie/],
    ['a share that is no number', { endShare: NaN }, /endShare is NaN/],
    ['no sequences', { lengths: [] }, /no lengths of sequences/],
    ['a length of 0', { lengths: [4, 0] }, /lengths\[1\] is 0/],
  ])('refuses %s', (_, wrong, message) => {
    const kept = { lengths: [4], meanLiveShare: 0.5, endShare: 0.5, ...wrong };
    expect(() => matchedPolicies(kept)).toThrow(ValueError);
    expect(() => matchedPolicies(kept)).toThrow(message);
  });

  it('refuses kinds that have no budget', () => {
    expect(() => matchedPolicies({ lengths: [4], meanLiveShare: 0.5, endShare: 0.5 }, ['full'])).toThrow(ValueError);
  });
});

describe('perplexityDifference()', () => {
  const context = (loss: number, scored: number) => ({ loss, scored });

  it('is the paired t statistic\'s mean and standard error for contexts of equal length', () => {
    const [ours, theirs] = [[3, 5, 4, 9], [2, 5.5, 3, 8.5]];
    const [a, b] = [ours, theirs].map((losses) => losses.map((x) => context(x, 2)));
    const { percent, standardError } = perplexityDifference(a, b);
    const d = ours.map((x, c) => (x - theirs[c]) / 2); // 0.5, -0.25, 0.5, 0.25, whose mean is 0.25
    const deviation = Math.sqrt(sum(d.map((x) => (x - 0.25) ** 2)) / 3);
    expect(percent).toBeCloseTo(100 * (Math.exp(0.25) - 1), 12);
    expect(standardError).toBeCloseTo(100 * Math.exp(0.25) * deviation / Math.sqrt(4), 12);
  });

  it('has as standard error the spread of the difference over samples, for contexts of unequal length', () => {
    // The loss of context c differs by n_c (mean + noise), and both policies share a much larger difference of texts.
    const [SAMPLES, C] = [400, 40];
    const found = Array.from({ length: SAMPLES }, (_, s) => {
      const random = generator(5, [s]);
      const pairs = Array.from({ length: C }, () => {
        const [n, text] = [10 + random.below(90), 3 * random.normal()];
        return [context(n * (5 + text + 0.02 + 0.1 * random.normal()), n), context(n * (5 + text), n)];
      });
      return perplexityDifference(pairs.map(([a]) => a), pairs.map(([, b]) => b));
    });
    const percents = found.map(({ percent }) => percent);
    const mean = sum(percents) / SAMPLES;
    const spread = Math.sqrt(sum(percents.map((x) => (x - mean) ** 2)) / (SAMPLES - 1));
    const error = sum(found.map(({ standardError }) => standardError!)) / SAMPLES;
    // A spread of 400 samples is itself known to 1 / sqrt(800), 3.5%, and the seed is fixed: this is four times that.
    expect(Math.abs(error / spread - 1)).toBeLessThan(4 / Math.sqrt(2 * SAMPLES));
    expect(Math.abs(mean - 100 * Math.expm1(0.02))).toBeLessThan(4 * spread / Math.sqrt(SAMPLES));
  });

  it('is 0 for a policy and itself, and has no error for a single context', () => {
    const one = [context(3, 4), context(1, 2)];
    expect(perplexityDifference(one, one)).toEqual({ percent: 0, standardError: 0 });
    expect(perplexityDifference(one.slice(1), one.slice(1))).toEqual({ percent: 0, standardError: null });
  });

  it.each<[string, [number, number][], RegExp]>([
    ['no contexts', [], /no contexts/],
    ['more contexts', [[1, 2], [1, 3], [1, 4]], /2 contexts cannot be compared with 3/],
    ['other tokens', [[1, 2], [1, 4]], /split in the same way/], ['a loss that is none', [[1, 2], [NaN, 3]], /loss is NaN/],
  ])('refuses %s', (_, others, message) => {
    const ours = others.length === 0 ? [] : [context(1, 2), context(1, 3)];
    expect(() => perplexityDifference(ours, others.map(([loss, scored]) => context(loss, scored)))).toThrow(message);
  });
});

describe('evaluate()', () => {
  const model = livelyModel(engine, livelyConfig('nats', {}, { vocab_size: 258, bos_token_id: 256, eos_token_id: 257 }));
  const text = livelyIds(4, 47);
  const whole = (policy: string): Promise<Evaluation> =>
    evaluate(model, text, { policy: parsePolicy(policy), context: 20 });

  it.each(['nats', 'h2o:3', 'window:4'])('reports each context under %s as if it were alone, and shares over all of them', async (policy) => {
    const { contexts, ...all } = await whole(policy);
    expect(contexts.map(({ scored }) => scored)).toEqual([20, 20, 7]);
    const alone = await Promise.all([0, 20, 40].map((from) =>
      evaluate(model, text.subarray(from, from + 20), { policy: parsePolicy(policy), context: 20 })));
    contexts.forEach((one, c) => expect([one]).toEqual(alone[c].contexts));
    const over = (of: (n: number) => number): number => sum(contexts.map(({ inputs }) => of(inputs)));
    const entries = alone.map(({ live }) => sum(live.flat()) / live.flat().length);
    expect(all.endLiveShare).toBeCloseTo(sum(entries) / over((n) => n), 12);
    const pairs = alone.map((one, c) => one.meanLiveShare * causal([contexts[c].inputs]));
    expect(all.meanLiveShare).toBeCloseTo(sum(pairs) / over((n) => causal([n])), 12);
    expect(all.perplexity).toBeCloseTo(Math.exp(sum(contexts.map(({ loss }) => loss)) / 47), 12);
  });

  const kept = ({ contexts, meanLiveShare, endLiveShare }: Evaluation): KeptOf =>
    ({ lengths: contexts.map(({ inputs }) => inputs), meanLiveShare, endShare: endLiveShare });

  it('measures matched policies that keep what learned types keep', async () => {
    const [nats, full] = [parsePolicy('nats'), parsePolicy('full')];
    const order: string[] = [];
    const { results, matched } = await withMatched([full, nats], true, (policy) => {
      order.push(formatPolicy(policy));
      return whole(formatPolicy(policy));
    }, kept);
    expect(results.map(({ policy }) => policy)).toEqual(order);
    expect(new Set(order).size).toBe(order.length);
    const { contexts } = results[1];
    const live = sum(contexts.map((one) => one.live));
    for (const { by, result } of matched.filter(({ by, result }) => by !== 'mean' && result)) {
      expect(Math.abs(sum(result!.contexts.map((one) => one.live)) - live), `${result!.policy} ${by}`).toBeLessThanOrEqual(contexts.length / 2 + 1e-6);
    }
  });

  it('says which policies a model with chunks cannot take, and never holds more than a model\'s own window', async () => {
    const fields = { vocab_size: 258, bos_token_id: 256, eos_token_id: 257, model_type: 'mistral', sliding_window: 7 };
    const on = livelyModel(engine, livelyConfig('nats', { chunk: 3 }, fields));
    const { results, matched } = await withMatched([parsePolicy('nats')], ['h2o', 'nats-rank'], (policy) =>
      evaluate(on, text, { policy, context: 20 }), kept);
    for (const { contexts } of results) for (const { live } of contexts) expect(live).toBeLessThanOrEqual(6);
    expect(matched.filter(({ kind, result }) => kind === 'h2o' && result).length).toBeGreaterThan(0);
    const ranked = matched.filter(({ kind }) => kind === 'nats-rank').map(({ absent }) => absent);
    expect(ranked).toEqual([0, 1, 2].map(() => expect.stringMatching(/ranks single tokens, but|^no growing budget/)));
    expect(ranked[0]).toMatch(/those of chunks of 3/);
  });

  it('compares only with patterns on an engine without budgets, and says why', async () => {
    const createCache: Engine['createCache'] = (options) => {
      if ('mass' in options) throw new UnsupportedError('the engine has no caches under a budget');
      return engine.createCache(options);
    };
    const poor = new Proxy(engine, {
      get(_, name: keyof Engine) {
        if (name === 'createCache') return createCache;
        return typeof engine[name] === 'function' ? (engine[name] as () => unknown).bind(engine) : engine[name];
      },
    });
    const names = ['window', 'h2o', 'snapkv'];
    const on = livelyModel(poor, model.config);
    const { results, matched } = await withMatched([parsePolicy('nats')], names, (policy) => evaluate(on, text, { policy, context: 20 }), kept);
    expect(results.every(({ policy }) => /^(nats|window:\d+)$/.test(policy))).toBe(true);
    const said = matched.map(({ kind, by, absent }) => [kind, by, absent]);
    const why = 'the engine has no caches under a budget';
    expect(said).toEqual([
      ['window', 'mean', undefined], ['h2o', 'mean', why], ['snapkv', 'mean', why], ['window', 'end', undefined], ['h2o', 'end', why],
      ['snapkv', 'end', why], ['window', 'both', expect.stringMatching(/no caches|no growing/)],
      ['h2o', 'both', expect.stringMatching(/no caches|no growing/)], ['snapkv', 'both', expect.stringMatching(/no caches|no growing/)],
    ]);
    await expect(withMatched([parsePolicy('h2o:3')], false, (policy) => evaluate(on, text, { policy }), kept)).rejects.toThrow(UnsupportedError);
  });
});
