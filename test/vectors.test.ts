/** The oracle's cases: the suite covers what it must, and its truths are confirmed by other means. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createEngine, FileFormatError, ShapeError, StorageError, ValueError } from '../src/index.ts';
import { roundTo, ulp } from '../src/formats/rounding.ts';
import { exp, log } from '../src/core/elementary.ts';
import { inputShapes, outputShapes } from '../src/oracle/cases/shapes.ts';
import { OUTPUT_ORDER } from '../src/oracle/types.ts';
import {
  caseOf, formatManifest, makeCase, type Manifest, openVectors, type OracleCase, packCase, readManifest, type Recipe,
  smallSuite, SUITES,
} from '../src/vectors.ts';
import { boundedAttention } from './support/bounded.ts';
import { denseLifetime, denseMask } from './support/dense.ts';
import { widened } from './support/differences.ts';
import {
  closers, gradients, problemOf, R, replay, scoreGradient, slopesOfRelaxedMask, tensorsOf, third, typesOf,
} from './support/oracle-truths.ts';
import { SMALL_SUITE_HASH, suiteHash } from './support/suite-hash.ts';
import { type Bounded, expectSameBits, expectWithin } from './support/tolerance.ts';

const cases = new Map<string, OracleCase>();
beforeAll(async () => {
  for (const each of await smallSuite()) cases.set(each.name, each);
});
const named = (name: string): OracleCase => cases.get(name)!;
const names = SUITES.small.map(({ name }) => name);
const filter = (keep: (recipe: Recipe) => boolean): string[] => SUITES.small.filter(keep).map(({ name }) => name);

/** Fails unless the elements that are compared are within their bounds. */
function expectTrue(each: OracleCase, name: string, truth: readonly Bounded[], got?: ArrayLike<number>): void {
  const skip = new Set(each.notCompared[name]);
  const kept = (_: unknown, n: number): boolean => !skip.has(n);
  const values = Array.from(got ?? each.expected[name].data).filter(kept);
  expect(values.length).toBeGreaterThan(0);
  expectWithin(values, truth.filter(kept), `${each.name}: ${name}`);
}

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

describe('the truths of the small suite', () => {
  it.each(names)('%s: types, last, mask, out and lse follow from the definitions', (name) => {
    const each = named(name);
    const p = problemOf(each);
    if (each.inputs.scores) expectSameBits(each.expected.types.data, typesOf(each), 'types');
    expectSameBits(each.expected.last.data, denseLifetime(p.types, p), 'last');
    expectSameBits(each.expected.mask.data, denseMask(p.last, p), 'mask');
    const { out, lse } = boundedAttention(p, R);
    expectTrue(each, 'out', out);
    expectTrue(each, 'lse', lse);
  });

  it.each(filter(({ tokens, poison, backward }) => tokens <= 70 && !poison && backward !== false))(
    '%s: gradients follow from the definitions, summed over all pairs', (name) => {
      const each = named(name);
      const { dTypes, ...rest } = gradients(each);
      for (const [key, truth] of Object.entries(rest)) expectTrue(each, key, truth);
      (['dg', 'dl', 'dw'] as const).forEach((key, n) => expectTrue(each, key, third(dTypes, n as 0 | 1 | 2)));
      expect('dscores' in each.expected).toBe('scores' in each.inputs);
      if (each.inputs.scores) expectTrue(each, 'dscores', scoreGradient(each, dTypes));
    },
  );

  it.each(['odd-3', 'window-scored', 'window-mixed', 'chunk-2', 'global-last', 'global-adjacent', 'temperature-half'])(
    '%s: dg, dl and dw are the slopes of the relaxed mask', (name) => {
      const each = named(name);
      expect(each.parameters.rule === 'exact' || name === 'odd-3').toBe(true);
      const exact: OracleCase = { ...each, parameters: { ...each.parameters, rule: 'exact' } };
      const truth = widened(slopesOfRelaxedMask(exact), gradients(exact).dTypes);
      if (each.parameters.rule !== 'exact') return expectWithin(gradients(exact).dTypes.map(({ value }) => value), truth, name);
      (['dg', 'dl', 'dw'] as const).forEach((key, n) => expectTrue(each, key, third(truth, n as 0 | 1 | 2)));
    },
  );

  it.each(filter(({ steps }) => steps !== undefined))('%s: the trace is that of a cache that takes these steps', async (name) => {
    const each = named(name);
    const { expected, parameters: { batch: B, kvHeads: G, tokens: N, headDim, steps } } = each;
    const engine = createEngine();
    const { live, out } = await replay(engine, each);
    engine.dispose();
    expectSameBits(expected.cache_live.data, live, 'cache_live');
    expectSameBits(expected.cache_closed_by.data, closers(each), 'cache_closed_by');
    const evicted = Array.from({ length: B * G * N }, (_, at) => {
      let seen = 0;
      return steps.findIndex((T, r) => (seen += T) > at % N && live[r * B * G * N + at] === 0);
    });
    expectSameBits(expected.cache_evicted_at.data, evicted, 'cache_evicted_at');
    const held = Array.from({ length: steps.length * B * G }, (_, n) =>
      live.subarray(n * N, (n + 1) * N).reduce((sum, x) => sum + x, 0));
    expectSameBits(expected.cache_bytes.data, held.map((n) => n * headDim * 8), 'cache_bytes');
    const bounds = boundedAttention(problemOf(each), R).out;
    expectTrue(each, 'cache_out', bounds);
    expectTrue(each, 'cache_out', bounds, out);
  });

  it.each(['hidden-nan', 'hidden-infinity'])('%s: only rows that see NaN or infinities are left out', (name) => {
    const each = named(name);
    const { B, H, G, N, d, last } = problemOf(each);
    const k = each.inputs.k.data;
    const rows = Array.from({ length: B * H * N }, (_, row) => row).filter((row) => {
      const base = (Math.floor(row / (H * N)) * G + Math.floor((Math.floor(row / N) % H) / (H / G))) * N;
      return Array.from({ length: (row % N) + 1 }, (_, j) => j)
        .some((j) => !Number.isFinite(k[(base + j) * d]) && (row % N) <= last[base + j]);
    });
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.every((row) => row < 2 * N), 'of batch 0, KV head 0').toBe(true);
    expect(rows.length).toBeLessThan(N);
    expect(each.notCompared.lse).toEqual(rows);
    expect(each.notCompared.out).toEqual(rows.flatMap((row) => Array.from({ length: d }, (_, c) => row * d + c)));
    expect(each.notCompared.cache_out).toEqual(each.notCompared.out);
    const nan = new Uint8Array(Float64Array.of(NaN).buffer); // the canonical one, whatever NaN the processor computes
    for (const n of each.notCompared.out) {
      expect(new Uint8Array(each.expected.out.data.slice(n, n + 1).buffer)).toEqual(nan);
    }
    expect(Object.keys(each.expected).filter((key) => key.startsWith('d'))).toEqual([]);
  });

  it('of the two rules differ only in dM', () => {
    const [exact, bounded] = [named('rule-exact'), named('rule-bounded')];
    for (const [key, tensor] of tensorsOf(exact)) {
      const other = { ...bounded.inputs, ...bounded.expected }[key];
      const same = tensor.data.every((x, n) => Object.is(x, other.data[n]));
      expect({ key, same }).toEqual({ key, same: !['dm_rows', 'dg', 'dl', 'dw'].includes(key) });
    }
  });
});

describe('exp and log of the truths', () => {
  it('are within 2 and 4 ulp of the platform\'s, whose own error is below 1', () => {
    const far = (got: number, want: number): number => Math.abs(got - want) / ulp(want, 'F64');
    const xs = Array.from({ length: 20_001 }, (_, n) => (n - 10_000) * 0.0707);
    expect(Math.max(...xs.map((x) => far(exp(x), Math.exp(x))))).toBeLessThanOrEqual(2);
    const small = xs.map((x) => x / 2 ** 20);
    expect(Math.max(...small.map((x) => far(exp(x), Math.exp(x))))).toBeLessThanOrEqual(2);
    const ones = [...small.map((x) => 1 + Math.abs(x)), ...xs.map((x) => 1 + x * x)];
    expect(Math.max(...ones.map((x) => far(log(x), Math.log(x))))).toBeLessThanOrEqual(4);
  });

  it('are right at the ends of the range', () => {
    expect([0, -Infinity, -800, 709.8, Infinity, NaN].map(exp)).toEqual([1, 0, 0, Infinity, Infinity, NaN]);
    expect(exp(709.78)).toBeGreaterThan(1.7e308);
    expect(exp(-745)).toBe(2 ** -1074);
    expect([1, 2 ** 31].map(log)).toEqual([0, 31 * Math.LN2]);
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

describe('vectors as files', () => {
  const heading = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
  const manifestOf = (entries: Manifest['cases'], changes: object = {}): string => formatManifest({
    format: 'natsearch-vectors', version: 1, ...heading, complete: true, cases: entries, ...changes,
  });

  it.each([
    ['safetensors', 'f64'], ['safetensors', 'bf16'], ['npz', 'f64'], ['npz', 'f32'], ['npz', 'f16'], ['npz', 'bf16'],
  ] as const)('come back from %s of %s', async (fileFormat, dtype) => {
    const wanted = { f64: 'F64', f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;
    for (const name of ['price-chunks', 'hidden-nan', 'near-tied', 'global-last']) {
      const each = named(name);
      const { entry, bytes } = await packCase(each, { fileFormat, dtype });
      const files: Record<string, Uint8Array> = {
        'manifest.json': new TextEncoder().encode(manifestOf([entry], { fileFormat, dtype })), [entry.file]: bytes,
      };
      const { manifest, read } = await openVectors(async (file) => files[file]);
      const back = await read(manifest.cases[0]);
      expect({ ...back, inputs: 0, expected: 0 }).toEqual({ ...each, inputs: 0, expected: 0 });
      for (const [key, { dtype: kind, shape, data }] of tensorsOf(each)) {
        const got = { ...back.inputs, ...back.expected }[key];
        if (kind !== 'F64') expect(got).toEqual({ dtype: kind, shape, data });
        else {
          expect(got.shape).toEqual(shape);
          expectSameBits(got.data, Array.from(data, (x) => roundTo(x, wanted[dtype])), key);
          expect(got.dtype).toBe(fileFormat === 'npz' && dtype === 'bf16' ? 'F32' : wanted[dtype]);
        }
        if (key in each.inputs) expectSameBits(got.data, data, key);
      }
    }
  });

  it('have a manifest that says what was written', async () => {
    const { entry } = await packCase(named('batch'), heading);
    const text = manifestOf([entry, { ...entry, name: 'other' }], { packageVersion: '1.2.3' });
    expect(readManifest(text)).toEqual({
      format: 'natsearch-vectors', version: 1, ...heading, packageVersion: '1.2.3', complete: true,
      cases: [entry, { ...entry, name: 'other' }],
    });
    expect(text.split('\n').filter((line) => line.startsWith('    {"name"'))).toHaveLength(2);
    expect(readManifest(manifestOf([])).cases).toEqual([]);
  });

  describe('are refused', () => {
    let entry: Manifest['cases'][number];
    let bytes: Uint8Array;
    beforeAll(async () => ({ entry, bytes } = await packCase(named('hidden-nan'), heading)));
    type Changed = (entry: Manifest['cases'][number]) => object;

    it('if the manifest is truncated anywhere', () => {
      const text = manifestOf([entry]).trimEnd();
      for (let length = 0; length < text.length; length += 7) {
        expect(() => readManifest(text.slice(0, length))).toThrow(FileFormatError);
        expect(() => readManifest(text.slice(0, length))).toThrow(/truncated or damaged/);
      }
    });

    it.each<[string, string, RegExp]>([
      ['another document', '{"cases": []}', /is not a manifest of vectors/],
      ['null', 'null', /is not a manifest of vectors/],
      ['a list', '[]', /is not a manifest of vectors/],
      ['a later version', manifestOf([], { version: 2 }), /has version 2 but this package reads version 1/],
      ['no seed', manifestOf([], { seed: null }), /lacks suite, seed/],
      ['an unknown file format', manifestOf([], { fileFormat: 'hdf5' }), /lacks suite, seed, fileFormat/],
      ['an unknown dtype', manifestOf([], { dtype: 'toString' }), /lacks suite, seed, fileFormat, dtype/],
    ])('if it is %s', (_, text, message) => {
      expect(() => readManifest(text)).toThrow(FileFormatError);
      expect(() => readManifest(text)).toThrow(message);
    });

    it.each<[string, Changed, RegExp]>([
      ['no case', () => [], /case 0 has no parameters/],
      ['a file elsewhere', () => ({ file: '../x.npz' }), /lacks a name .* a file/],
      ['no hash', () => ({ sha256: 'abc' }), /its sha256/],
      ['a shape against the parameters', ({ inputs }) => ({ inputs: { ...inputs, q: { dtype: 'F64', shape: [2, 4, 70, 3] } } }),
        /case 0 \(hidden-nan\): q is F64 \[2,4,70,3\], but by the parameters its shape is \[2,4,70,4\]/],
      ['parameters against the shapes', ({ parameters }) => ({ parameters: { ...parameters, tokens: 69 } }), /the steps take in 70 tokens but there are 69/],
      ['no window', ({ parameters }) => ({ parameters: { ...parameters, window: undefined } }), /window is undefined/],
      ['no steps', ({ parameters }) => ({ parameters: { ...parameters, steps: 70 } }), /has no steps/],
      ['an unknown tensor', ({ expected }) => ({ expected: { ...expected, dz: { dtype: 'F64', shape: [1] } } }), /has a tensor dz/],
      ['an unknown dtype', ({ expected }) => ({ expected: { ...expected, out: { dtype: 'F8', shape: [2, 4, 70, 4] } } }), /out is F8/],
      ['positions that are not there', () => ({ notCompared: { lse: [560] } }), /notCompared names elements of lse/],
    ])('if a case has %s', (_, change, message) => {
      const changed = change(entry);
      const text = manifestOf([(Array.isArray(changed) ? changed : { ...entry, ...changed }) as never]);
      expect(() => readManifest(text)).toThrow(FileFormatError);
      expect(() => readManifest(text)).toThrow(message);
    });

    it('if two cases have one name', () => {
      expect(() => readManifest(manifestOf([entry, entry]))).toThrow(/two cases are named hidden-nan/);
    });

    it('if the folder is incomplete, or a file is missing, changed, or not what the manifest says', async () => {
      const open = async (text: string, file?: Uint8Array): Promise<OracleCase> => {
        const files: Record<string, Uint8Array | undefined> = {
          'manifest.json': new TextEncoder().encode(text), 'hidden-nan.safetensors': file,
        };
        const { manifest, read } = await openVectors((name) =>
          files[name] ? Promise.resolve(files[name]) : Promise.reject(new TypeError('404')));
        return read(manifest.cases[0]);
      };
      const good = manifestOf([entry]);
      expect((await open(good, bytes)).name).toBe('hidden-nan');
      const cut = manifestOf([entry], { complete: false });
      await expect(open(cut, bytes)).rejects.toThrow(/has 1 cases and is incomplete/);
      await expect(open(good)).rejects.toThrow(StorageError);
      await expect(open(good)).rejects.toThrow(/cannot read hidden-nan\.safetensors/);
      await expect(open(good, bytes.slice(0, -1))).rejects.toThrow(/is not the file that the manifest was written/);
      const renamed = manifestOf([{ ...entry, inputs: { ...entry.inputs, dout: entry.inputs.q } }]);
      await expect(open(renamed, bytes)).rejects.toThrow(/has no tensor dout, which the manifest lists/);
      const retyped = manifestOf([{ ...entry, inputs: { ...entry.inputs, q: { ...entry.inputs.q, dtype: 'F32' } } }]);
      await expect(open(retyped, bytes)).rejects.toThrow(/q is F64 .*, the manifest says F32/);
    });
  });

  it('of the small suite, seed 0, are these bytes on every platform', async () => {
    expect(await suiteHash([...cases.values()])).toBe(SMALL_SUITE_HASH);
  });
});
