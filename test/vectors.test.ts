/** The oracle's cases: the suite covers what it must, and cases can be made and checked. */
import { beforeAll, describe, expect, it } from 'vitest';
import { ShapeError, ValueError } from '../src/index.ts';
import { roundTo } from '../src/formats/rounding.ts';
import { apart, FACTORS, pairsOf } from '../src/oracle/cases/coverage.ts';
import { inputShapes, outputShapes } from '../src/oracle/cases/shapes.ts';
import { OUTPUT_ORDER } from '../src/oracle/types.ts';
import { caseOf, makeCase, type OracleCase, type Recipe, smallSuite, SUITES } from '../src/vectors.ts';
import { closers, problemOf, tensorsOf, typesOf } from './support/oracle-truths.ts';

const cases = new Map<string, OracleCase>();
beforeAll(async () => {
  for (const each of await smallSuite()) cases.set(each.name, each);
});
const named = (name: string): OracleCase => cases.get(name)!;
const names = SUITES.small.map(({ name }) => name);

describe('the small suite', () => {
  /** The types of each KV head, as strings of letters. */
  const words = (each: OracleCase): string[] => {
    const letters = Array.from(typesOf(each), (type) => 'GLW'[type]).join('');
    const chunks = Math.ceil(each.parameters.tokens / each.parameters.chunk);
    return letters.match(new RegExp(`.{${chunks}}`, 'g'))!;
  };
  const word = (pattern: RegExp) => (each: OracleCase): boolean => words(each).some((text) => pattern.test(text));
  const scores = (each: OracleCase): number[] => {
    const p = problemOf(each);
    return Array.from(each.expected.lse.data).map(Math.abs).concat(p.scale);
  };
  const cuts = ({ parameters: { steps } }: OracleCase): number[] => {
    let at = 0;
    return steps.slice(0, -1).map((T) => (at += T)); // the first token of each later step
  };
  const groups = ({ parameters: { queryHeads, kvHeads } }: OracleCase): number => queryHeads / kvHeads;
  const sums = (each: OracleCase): number[][] => {
    const { scores: s, noise } = each.inputs;
    if (!s) return [];
    const z = Array.from(s.data, (x, n) => x + (noise?.data[n] ?? 0));
    return Array.from({ length: z.length / 3 }, (_, t) => z.slice(3 * t, 3 * t + 3).sort((a, b) => b - a));
  };

  it.each<[string, (each: OracleCase) => boolean]>([
    ['N = 1', ({ parameters }) => parameters.tokens === 1],
    ['an odd N', ({ parameters: { tokens } }) => tokens > 1 && tokens % 2 === 1],
    ...[63, 64, 65, 127, 129, 257].map((N): [string, (each: OracleCase) => boolean] =>
      [`N = ${N}`, ({ parameters }) => parameters.tokens === N]),
    ...[1, 3, 8].map((n): [string, (each: OracleCase) => boolean] => [`H / G = ${n}`, (each) => groups(each) === n]),
    ['H / G > 1 with G > 1', (each) => groups(each) > 1 && each.parameters.kvHeads > 1],
    ['B > 1', ({ parameters }) => parameters.batch > 1],
    ['W = 0', ({ parameters }) => parameters.window === 0],
    ['W = 1', ({ parameters }) => parameters.window === 1],
    ['W > N', ({ parameters: { window, tokens } }) => window > tokens],
    ['an unfinished last chunk', ({ parameters: { chunk, tokens } }) => chunk > 1 && tokens % chunk !== 0],
    ['a last chunk that is full', ({ parameters: { chunk, tokens } }) => chunk > 1 && tokens % chunk === 0],
    ['nothing but GLOBAL', word(/^G{2,}$/)],
    ['nothing but LOCAL', word(/^L{2,}$/)],
    ['nothing but WINDOW', word(/^W{2,}$/)],
    ['GLOBAL first and nowhere else', word(/^G[^G]+$/)],
    ['GLOBAL last and nowhere else', word(/^[^G]*L[^G]*G$/)],
    ['GLOBAL beside GLOBAL after LOCAL', word(/LGG/)],
    ['no GLOBAL among LOCAL and WINDOW', word(/^(?=.*L)(?=.*W)[^G]+$/)],
    ['tied scores', (each) => sums(each).some(([a, b]) => a === b)],
    ['scores apart whose float32 probabilities tie', (each) => typesOf(each).some((type, t) => {
      const [a, b] = sums(each)[t] ?? [0, 0];
      const f = Math.fround;
      const probability = f(Math.exp(f(f(b - a) / each.parameters.temperature)));
      return type !== 0 && a !== b && probability === 1;
    })],
    ['logits of 1e4', (each) => Math.max(...scores(each)) > 1e4],
    ['rows at 1e4 that differ by 1e-3', (each) => {
      const { q, k, scale, d } = problemOf(each);
      const S = (j: number): number => scale * q.subarray(0, d).reduce((sum, x, c) => sum + x * k[j * d + c], 0);
      const rest = Array.from({ length: each.parameters.tokens - 1 }, (_, j) => Math.abs(S(j + 1) - S(0)));
      return Math.abs(S(0)) > 9999 && Math.max(...rest) < 1 && rest.some((x) => x > 0 && x < 2e-3);
    }],
    ['NaN in keys', ({ inputs }) => inputs.k.data.some(Number.isNaN)],
    ['infinities in values', ({ inputs }) => inputs.v.data.some((x) => Math.abs(x) === Infinity)],
    ['a step that begins inside a LOCAL segment', (each) => {
      const closed = closers(each);
      return cuts(each).some((at) => closed.some((p, j) => p > at && j % each.parameters.tokens < at));
    }],
    ['a step that begins inside a window', (each) => {
      const { last, N } = problemOf(each);
      return cuts(each).some((at) => typesOf(each).some((type, j) => type === 2 && j % N < at && last[j] > at));
    }],
    ['a step that begins inside a chunk', (each) => cuts(each).some((at) => at % each.parameters.chunk !== 0)],
    ['heads of very different live sizes', ({ expected, parameters: { kvHeads, steps } }) => {
      const bytes = Array.from(expected.cache_bytes?.data ?? []).slice((steps.length - 1) * kvHeads);
      return Math.max(...bytes) > 20 * Math.min(...bytes);
    }],
    ['a decode in which the window wraps many times', ({ parameters: { steps, window, tokens } }) =>
      window > 0 && steps.every((T) => T === 1) && tokens > 20 * window],
    ['the exact rule', ({ parameters }) => parameters.rule === 'exact'],
    ['the bounded rule', ({ parameters }) => parameters.rule === 'bounded'],
    ['a price', ({ parameters }) => parameters.price > 0],
    ['no price', ({ parameters, inputs }) => parameters.price === 0 && inputs.scores !== undefined],
    ['a temperature other than 1', ({ parameters }) => parameters.temperature !== 1],
    ['a scale other than 1 / sqrt(d)', ({ parameters: { scale, headDim } }) => scale !== 1 / Math.sqrt(headDim)],
    ['scores without noise', ({ inputs }) => inputs.scores !== undefined && inputs.noise === undefined],
    ['scores with noise', ({ inputs }) => inputs.noise !== undefined],
  ])('has %s', (_, has) => {
    expect([...cases.values()].filter(has).map(({ name }) => name)).not.toEqual([]);
  });

  it('is part of the full one, which adds up to 1025 and 4096 tokens', () => {
    expect(SUITES.full.slice(0, SUITES.small.length)).toEqual(SUITES.small);
    expect(SUITES.full.map(({ tokens }) => tokens)).toEqual(expect.arrayContaining([513, 1025]));
    expect(SUITES.full.at(-1)).toMatchObject({ name: 'long', tokens: 4096, queryHeads: 8, kvHeads: 2, headDim: 64 });
    expect(new Set(SUITES.full.map(({ name }) => name)).size).toBe(SUITES.full.length);
    expect(SUITES.full.filter(({ why }) => why.length < 10)).toEqual([]);
  });

  it.each(names)('%s has the shapes of the contract, and inputs exact in float16 and bfloat16', (name) => {
    const each = named(name);
    const { parameters } = each;
    const shapes: Record<string, readonly number[]> = { ...outputShapes(parameters), ...inputShapes(parameters) };
    for (const [key, { shape }] of tensorsOf(each)) expect({ key, shape }).toEqual({ key, shape: shapes[key] });
    const order = OUTPUT_ORDER.filter((key) => key in each.expected);
    expect(Object.keys(each.expected)).toEqual(order);
    const { scores: s, noise } = each.inputs;
    const exact = Object.values(each.inputs).flatMap(({ data }) => [...data]);
    if (noise) exact.push(...noise.data.map((x, n) => x + s.data[n]));
    expect(exact.filter((x) => !Object.is(roundTo(x, 'F16'), x) || !Object.is(roundTo(x, 'BF16'), x))).toEqual([]);
  });

  it('has truths within the range of float16, except for the log-sum-exps and sums that stay in float32', () => {
    const large = [...cases.values()].flatMap(({ name, expected, notCompared }) =>
      ['out', 'dq', 'dk', 'dv', 'dscores'].filter((key) => {
        const skip = new Set(notCompared[key]);
        return expected[key]?.data.some((x, n) => !skip.has(n) && !(Math.abs(x) < 60000));
      }).map((key) => `${name}: ${key}`));
    expect(large).toEqual([]);
  });
});

describe('the coverage of the suites', () => {
  const missing = (recipes: readonly Recipe[], where: 'small' | 'tiles'): string[] => pairsOf(recipes)
    .filter(({ one, other, recipes: found }) => found.length === 0 && (apart(one, other) ?? 'small') === where)
    .map(({ one, other }) => `${one.text} and ${other.text}`);

  it('has a case with gradients for each two interesting values of two parameters', () => {
    expect(missing(SUITES.small, 'small')).toEqual([]);
    expect(missing([...SUITES.small, ...SUITES.tiles], 'tiles')).toEqual([]);
  });

  it('gives every recipe at most one value of each parameter', () => {
    for (const recipe of [...SUITES.full, ...SUITES.tiles]) {
      for (const { name, levels } of FACTORS) {
        const having = levels.filter(({ has }) => has(recipe)).map(({ text }) => text);
        expect([recipe.name, name, having]).toEqual([recipe.name, name, having.slice(0, 1)]);
      }
    }
  });

  it('finds what a suite lacks', () => {
    const without = SUITES.small.filter(({ window, tokens }) => !(window > 32 && window < tokens - 1));
    expect(missing(without, 'small')).toContain('G > 1, H > G and W > 32, ends inside');
  });

  it('has sums of one sign in which sixteen bits stop growing: they fail clearly', () => {
    for (const name of ['one-sign-keys', 'one-sign-queries']) {
      const { expected: { out, dv, dk, dq }, parameters: { tokens } } = named(name);
      const sums = name === 'one-sign-keys' ? [dv, dk] : [dq];
      expect(tokens).toBeGreaterThan(256);
      expect(out.data.every(Number.isFinite)).toBe(true);
      for (const { data } of sums) expect(data.some((x) => Math.abs(x) > 1)).toBe(true);
    }
  });
});

describe('makeCase and caseOf', () => {
  const recipe: Recipe = {
    name: 'mine', why: 'a test', queryHeads: 2, kvHeads: 1, tokens: 5, headDim: 2, window: 1, types: { pattern: ['GLW'] },
  };

  it('give the same bits for the same seed, and others for another', async () => {
    const one = await makeCase(recipe);
    const [again, other] = [await makeCase(recipe, { seed: 0 }), await makeCase(recipe, { seed: 1 })];
    expect(one).toEqual(again);
    expect(one.inputs.q.data).not.toEqual(other.inputs.q.data);
    expect((await makeCase({ ...recipe, name: 'yours' })).inputs.q.data).not.toEqual(one.inputs.q.data);
    expect((await makeCase({ ...recipe, name: 'yours', draws: 'mine' })).inputs.q.data).toEqual(one.inputs.q.data);
  });

  it('give the same truths for inputs that are drawn and for the same inputs given', async () => {
    const each = named('price-chunks');
    const { name, why, parameters, inputs } = each;
    expect(await caseOf({ name, why, parameters, inputs })).toEqual(each);
  });

  it.each<[string, Partial<Recipe>, RegExp]>([
    ['a name that is no file', { name: '../x' }, /named '\.\.\/x': use only a-z/],
    ['heads that do not divide', { queryHeads: 3, kvHeads: 2 }, /3 query heads over 2 KV heads/],
    ['a fraction of a token', { tokens: 2.5 }, /tokens is 2\.5/],
    ['a negative window', { window: -1 }, /window is -1/],
    ['steps that do not add up', { steps: [2, 2] }, /the steps take in 4 tokens but there are 5/],
    ['an empty step', { steps: [0, 5] }, /a step is 0/],
    ['an unknown letter', { types: { pattern: ['GX'] } }, /a type is 'X'/],
    ['no letters', { types: { pattern: [] } }, /a type is ''/],
    ['poison beyond the end', { poison: { with: 'nan', positions: [5] } }, /poison at \[5\] of 5 tokens/],
    ['poison and gradients', { poison: { with: 'nan', positions: [1] }, backward: true }, /k is not finite everywhere.*leave out dout/],
    ['a price below 0', { price: -1 }, /price is -1/],
    ['a temperature of 0', { temperature: 0 }, /temperature is 0/],
  ])('refuse %s', async (_, change, message) => {
    await expect(makeCase({ ...recipe, ...change })).rejects.toThrow(message);
    await expect(makeCase({ ...recipe, ...change })).rejects.toBeInstanceOf(ValueError);
  });

  it('refuse inputs that contradict the parameters', async () => {
    const { name, why, parameters, inputs } = await makeCase(recipe);
    const give = (changed: OracleCase['inputs']): Promise<OracleCase> => caseOf({ name, why, parameters, inputs: changed });
    const { q, ...noQ } = inputs;
    await expect(give(noQ)).rejects.toThrow(new ShapeError('q is missing: add it to the inputs'));
    const short = give({ ...inputs, q: { ...q, shape: [1, 2, 4, 2] } as never });
    await expect(short).rejects.toThrow(/q is \[1,2,4,2\] but must be \[1,2,5,2\]/);
    await expect(give({ ...inputs, last: inputs.types })).rejects.toThrow(/an input is named last: the names are q, k/);
    const { types: _, ...noTypes } = inputs;
    await expect(give(noTypes)).rejects.toThrow(/types and scores are both given or both missing/);
    const real = { dtype: 'F64', shape: [1, 1, 5], data: new Float64Array(5) } as const;
    await expect(give({ ...inputs, types: real })).rejects.toThrow(/types is F64: it must hold integers/);
  });
});
