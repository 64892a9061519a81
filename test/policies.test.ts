/** The list of policies: each is read as it is written, and predicts what a cache holds. */
import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import { entriesUnder, expectPolicy, formatPolicy, kindOf, parsePolicy, policyKinds } from '../src/policies/index.ts';
import { describeEngines, ENGINES } from './support/engines.ts';

/** The files of src/policies, without their endings. */
const FILES = readdirSync(new URL('../src/policies', import.meta.url)).map((name) => name.replace('.ts', '')).sort();

/** The grammar with numbers for its letters. */
const written = (grammar: string, numbers: readonly number[]): string => {
  let n = 0;
  return grammar.replace(/\b[A-Z]\b/g, () => String(numbers[n++]));
};
const numbers = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 3, maxLength: 3 });

describe('every policy of the list', () => {
  it('is called what its file calls it, and no other is', () => {
    const names = policyKinds().map(({ name }) => name);
    const shared = ['budget', 'index', 'list', 'policy'];
    expect(names).toEqual(FILES.filter((name) => !shared.includes(name)));
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
});

describeEngines('a policy', ({ holds }) => {
  it.each(policyKinds().filter((kind) => !kind.learned).map((kind) => [kind.grammar, kind] as const))(
    '%s says what a cache holds after any text, with and without a reach', async (grammar, kind) => {
      const bounds = fc.option(fc.integer({ min: 0, max: 50 }), { nil: undefined });
      await holds(fc.tuple(numbers, fc.integer({ min: 1, max: 40 }), bounds), async ([drawn, N, reach], engine) => {
        const policy = parsePolicy(written(grammar, drawn));
        const rule = { ...kind.rule(policy, { window: 7, chunk: 5 }), ...(reach !== undefined && { reach }) };
        const cache = engine.createCache({ batch: 1, kvHeads: 1, headDim: 1, blockSize: 4, ...rule });
        const x = engine.zeros([1, 1, N, 1]);
        const types = Array.from({ length: N }, (_, n) => kind.type?.(policy, n) ?? 0);
        const ranks = kind.ranks && engine.zeros([1, 1, N, 3]);
        cache.append(x, x, kind.type ? engine.integers(types, [1, 1, N]) : ranks);
        cache.attend(x, 1);
        cache.evict();
        const { live } = await cache.stats();
        const most = entriesUnder(policy, N, reach ?? Infinity);
        // How much of a budget a reach ends early depends on which entries had high scores.
        if ('mass' in rule && reach !== undefined) expect(live[0]).toBeLessThanOrEqual(most);
        else expect(live[0]).toBe(most);
      }, 300);
    });
}, ENGINES.filter(({ trains }) => trains)); // gpu.js has no budgets

describe('parsePolicy()', () => {
  it.each(['', 'Nats', 'windows:3', 'constructor', 'window '])('does not know %j', (text) => {
    expect(() => parsePolicy(text)).toThrow(ValueError);
    expect(() => parsePolicy(text)).toThrow(/is not known: use full, growing:S\+K, .* or window:W, with numbers/);
  });

  const growing = ['20+0.1n', '20.5+0.125n', '-3+1n', '0+0n', '1e-7+1e-9n', '1e+21+1n'];
  it.each(growing)('reads the growing budget %s, and writes it again', (budget) => {
    const [base, perToken] = budget.replace('n', '').split(/(?<!e)\+/).map(Number);
    expect(parsePolicy(`tova:${budget}`)).toEqual({ kind: 'tova', budget: { base, perToken } });
    expect(parsePolicy(`growing:4+${budget}`)).toEqual({ kind: 'growing', sink: 4, budget: { base, perToken } });
    expect(formatPolicy(parsePolicy(`h2o:${budget}`))).toBe(`h2o:${budget}`);
  });

  it('halves the budget of H2O, unless the number of newest entries is given', () => {
    expect(parsePolicy('h2o:64+32')).toEqual({ kind: 'h2o', budget: 96, recent: 32 });
    expect(parsePolicy('h2o:64')).toEqual({ kind: 'h2o', budget: 64 });
    expect(formatPolicy({ kind: 'h2o', budget: 64 })).toBe('h2o:64');
  });

  it.each([
    'window', 'window:-1', 'window:1.5', 'window:1234567890', 'streaming:4', 'streaming:4+', 'full:1',
    'tova:', 'tova:1.5', 'tova:20+2n', 'tova:20+-0.1n', 'tova:64+64', 'h2o:1+2+3', 'growing:4', 'h2o-mean:x',
  ])('says how to write %j', (text) => {
    expect(() => parsePolicy(text)).toThrow(ValueError);
    const { grammar } = policyKinds().find(({ name }) => text.split(':')[0] === name)!;
    expect(() => parsePolicy(text)).toThrow(`the policy '${text}' cannot be read: it is written ${grammar}, with numbers`);
  });
});

describe('formatPolicy()', () => {
  it.each([
    [null, 'must be an object'], [{ kind: 'most' }, 'kind is "most"'], [{ kind: 'window', window: 1.5 }, 'window is 1.5'],
    [{ kind: 'streaming', sink: -1, window: 2 }, 'sink is -1'], [{ kind: 'streaming', sink: 1 }, 'window is undefined'],
    [{ kind: 'tova', budget: -1 }, 'budget is -1'], [{ kind: 'snapkv', budget: { base: 1, perToken: 2 } }, 'perToken is 2'],
    [{ kind: 'h2o', budget: 4, recent: 5 }, 'recent is 5'], [{ kind: 'growing', sink: 1 }, 'budget is undefined'],
  ])('refuses %j', (policy, message) => {
    expect(() => formatPolicy(policy as never)).toThrow(ValueError);
    expect(() => formatPolicy(policy as never)).toThrow(message);
  });
});
