/** The list of policies: each is read as it is written, and says of a cache what the cache then holds. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KVCache } from '../reference/public/cache.ts';
import { ValueError } from '../src/core/errors.ts';
import { ndarray } from '../src/core/tensor.ts';
import { expectPolicy, formatPolicy, kindOf, parsePolicy, policyKinds } from '../src/policies/index.ts';

/** The grammar with numbers for its letters. */
const written = (grammar: string, numbers: readonly number[]): string => {
  let n = 0;
  return grammar.replace(/\b[A-Z]\b/g, () => String(numbers[n++]));
};
const numbers = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 3, maxLength: 3 });

describe('every policy of the list', () => {
  it('is called what its file calls it, and no other is', () => {
    const names = policyKinds().map(({ name }) => name);
    expect(names).toEqual(['full', 'nats', 'streaming', 'window']);
    for (const kind of policyKinds()) expect(kindOf({ kind: kind.name })).toBe(kind);
  });

  it.each(policyKinds().map((kind) => [kind.grammar, kind] as const))('%s is read as it is written', (grammar, kind) => {
    fc.assert(fc.property(numbers, (drawn) => {
      const text = written(grammar, drawn);
      const policy = parsePolicy(text);
      expect(policy.kind).toBe(kind.name);
      expect(formatPolicy(policy)).toBe(text);
      expectPolicy('the policy', policy);
    }));
  });

  it.each(policyKinds().filter((kind) => kind.type).map((kind) => [kind.grammar, kind] as const))(
    '%s says what a cache holds after any text, with and without a bound', (grammar, kind) => {
      const bounds = fc.option(fc.integer({ min: 0, max: 50 }), { nil: undefined });
      fc.assert(fc.property(numbers, fc.integer({ min: 1, max: 40 }), bounds, (drawn, N, bound) => {
        const policy = parsePolicy(written(grammar, drawn));
        const rule = kind.rule(policy, { window: 7, chunk: 5 });
        const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 1, ...rule, ...(bound !== undefined && { bound }) });
        const x = ndarray(new Float64Array(N), [1, 1, N, 1]);
        const types = ndarray(Int32Array.from({ length: N }, (_, n) => kind.type!(policy, n)), [1, 1, N]);
        cache.step({ q: x, k: x, v: x, types });
        expect(kind.entries(policy, N, bound ?? Infinity)).toBe(cache.stats().live[0]);
      }));
    });
});

describe('parsePolicy()', () => {
  it.each(['', 'Nats', 'windows:3', 'constructor', 'window '])('does not know %j', (text) => {
    expect(() => parsePolicy(text)).toThrow(ValueError);
    expect(() => parsePolicy(text)).toThrow(/is not known: use full, nats, streaming:S\+W or window:W/);
  });

  it.each(['window', 'window:-1', 'window:1.5', 'window:1234567890', 'streaming:4', 'streaming:4+', 'full:1'])('says how %j is to be written', (text) => {
    expect(() => parsePolicy(text)).toThrow(ValueError);
    const { grammar } = policyKinds().find(({ name }) => text.startsWith(name))!;
    expect(() => parsePolicy(text)).toThrow(`the policy '${text}' cannot be read: it is written ${grammar}, with numbers`);
  });
});

describe('formatPolicy()', () => {
  it.each([
    [null, 'must be an object'], [{ kind: 'most' }, 'kind is "most"'], [{ kind: 'window', window: 1.5 }, 'window is 1.5'],
    [{ kind: 'streaming', sink: -1, window: 2 }, 'sink is -1'], [{ kind: 'streaming', sink: 1 }, 'window is undefined'],
  ])('refuses %j', (policy, message) => {
    expect(() => formatPolicy(policy as never)).toThrow(ValueError);
    expect(() => formatPolicy(policy as never)).toThrow(message);
  });
});
