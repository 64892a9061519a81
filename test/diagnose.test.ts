/** The diagnosis in words: what it says, where it points, and that it claims nothing without evidence. */
import { describe, expect, it } from 'vitest';
import type { FloatTensor, IntegerTensor, NamedTensor } from '../src/formats/named-tensor.ts';
import { roundArray } from '../src/formats/rounding.ts';
import {
  caseOf, type CaseReport, DIAGNOSES, makeCase, type OracleCase, type Recipe, type Tensors,
  verdictsOf, verifyCase,
} from '../src/vectors.ts';
import { commonOf, type Judged } from '../src/oracle/judge/common.ts';
import { generator } from '../src/core/random.ts';
import { typesOf } from './support/oracle-truths.ts';

const GROUPED = { queryHeads: 4, kvHeads: 2, tokens: 40, headDim: 6, window: 4 };

/** Types of 40 tokens by letter, with LOCAL at 5 and a GLOBAL at 12. */
const recipe = (changes: Partial<Recipe> = {}): Recipe =>
  ({ name: 'words', why: 'diagnosis', ...GROUPED, types: { pattern: ['GWWWWLLWWWWWGWWLWWWWGWWWWWLW'] }, ...changes });

function narrow(tensors: Tensors): Record<string, NamedTensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.data instanceof Float64Array
    ? { ...tensor, dtype: 'F32', data: roundArray(tensor.data, 'F32') } as FloatTensor : tensor]));
}

/** Outputs that are right before `first`, and from there on those of the case with other inputs or parameters. */
function mixed(right: OracleCase, wrong: OracleCase, kept: readonly string[]): Tensors {
  return narrow({ ...wrong.expected, ...Object.fromEntries(kept.map((name) => [name, right.expected[name]])) });
}

const otherWindow = async (each: OracleCase, window: number): Promise<OracleCase> =>
  caseOf({ ...each, parameters: { ...each.parameters, window } });

function words(report: CaseReport): string {
  expect(report.pass).toBe(false);
  return report.diagnosis!.words;
}

describe('diagnose()', () => {
  it('says which query wrongly sees which key, why it should not, and what that looks like', async () => {
    const each = await makeCase(recipe());
    const last = each.expected.last as IntegerTensor;
    const late = last.data.map((x, n) => (n % 40 === 5 ? x + 1 : x));
    const report = verifyCase(each, { ...narrow(each.expected), last: { ...last, data: late } });
    expect(words(report)).toMatch(
      /^batch 0, KV head 0, query 13 still sees key 5: LOCAL, closed by the GLOBAL at 12 \(last = 12\)\. Looks like/);
    expect(report.diagnosis!.name).toBe('unknown'); // key 6 is right, which no known mistake explains
  });

  it('finds the mask from the numbers of out alone', async () => {
    const each = await makeCase(recipe());
    const { out, lse } = narrow((await otherWindow(each, 5)).expected);
    const report = verifyCase(each, { out: out, lse: lse }, { tensors: ['forward'] });
    expect(words(report)).toBe(
      'batch 0, KV head 0, query 6 still sees key 1: WINDOW (last = 5). Looks like: a window of one token too many');
    expect(report.diagnosis).toMatchObject({ cause: 'mask', name: 'window-long' });
    expect(report.divergence).toMatchObject({ tensor: 'out', head: 0, query: 6, key: 1 });
  });

  it('distinguishes a wrong mask, wrong arithmetic and rounding', async () => {
    const each = await makeCase(recipe());
    const right = narrow(each.expected);
    const judge = (changes: Tensors): CaseReport => verifyCase(each, { ...right, ...changes }, { dtype: 'f32' });
    const real = (name: string, change: (x: number, n: number) => number): Tensors =>
      ({ [name]: { ...right[name], data: (right[name] as FloatTensor).data.map(change) } as FloatTensor });
    expect(judge(mixed(each, await otherWindow(each, 3), ['last', 'mask'])).diagnosis!.cause).toBe('mask');
    expect(judge(real('lse', (x) => x * Math.LOG2E)).diagnosis).toMatchObject({ cause: 'arithmetic', name: 'lse-base-2' });
    const noise = generator(1, [2]);
    const off = judge(real('out', (x) => x * (1 + 2 ** -10 * noise.uniform())));
    expect(off.diagnosis).toMatchObject({ cause: 'arithmetic', name: 'unknown' }); // no rounding has errors like these
    expect(judge({ out: { ...right.out, data: roundArray(right.out.data, 'F16') } as FloatTensor }).diagnosis)
      .toMatchObject({ cause: 'rounding', name: 'stored-f16' });
    expect(judge(real('dq', () => NaN)).diagnosis!.cause).toBe('nan');
    expect(judge(real('dq', (x) => -x)).diagnosis).toMatchObject({ cause: 'arithmetic', name: 'sign' });
  });

  it('names no mistake for numbers that none explains', async () => {
    const each = await makeCase(recipe());
    const right = narrow(each.expected);
    for (const name of ['out', 'lse', 'dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'last', 'mask']) {
      const { below } = generator(7, [name.length]);
      const data = right[name].data.map(() => (name === 'mask' ? below(2) : below(9))) as Float64Array;
      const report = verifyCase(each, { ...right, [name]: { ...right[name], data } as NamedTensor });
      expect([name, report.diagnosis!.name]).toEqual([name, 'unknown']);
      // What masks and lifetimes get wrong is never called arithmetic.
      expect([name, report.diagnosis!.cause]).toEqual([name, name === 'last' || name === 'mask' ? 'mask' : 'arithmetic']);
    }
  });

  it('claims no rounding for numbers that rounding does not explain', async () => {
    const each = await makeCase(recipe());
    const right = narrow(each.expected);
    const judge = (name: string, change: (x: number, n: number) => number): CaseReport => verifyCase(each, {
      ...right, [name]: { ...right[name], data: (right[name] as FloatTensor).data.map(change) } as FloatTensor,
    }, { dtype: 'f32' });
    expect(judge('lse', () => 0).diagnosis).toMatchObject({ cause: 'arithmetic', name: 'zeros' });
    const { uniform } = generator(3, [4]);
    for (const size of [2 ** -6, 2 ** -9, 2 ** -12]) {
      // A drift that grows along the rows, a constant, and noise of one sign: all small, none a rounding.
      for (const off of [(n: number) => n / 960, () => 1, () => uniform()]) {
        const { diagnosis } = judge('out', (x, n) => x + size * off(n));
        expect([size, diagnosis!.cause]).toEqual([size, 'arithmetic']);
      }
    }
  });

  it('says in which heads, rows, tokens and components an output fails, whether or not it knows a name', async () => {
    const each = await makeCase(recipe());
    const right = narrow(each.expected);
    const where = (name: string, wrong: (n: number) => boolean): readonly string[] => {
      const data = right[name].data.map((x: number, n: number) => (wrong(n) ? x + 3 : x));
      return verifyCase(each, { ...right, [name]: { ...right[name], data } as never }).diagnosis!.where!;
    };
    const [N, d] = [40, 6];
    expect(where('out', () => true)).toEqual([]);
    expect(where('out', (n) => Math.floor(n / (N * d)) % 2 === 1)).toEqual(['only in odd query heads']);
    expect(where('out', (n) => Math.floor(n / (N * d)) === 2)).toEqual(['only in query head 2']);
    expect(where('out', (n) => Math.floor(n / d) % N >= 32)).toEqual(['only in the last tile of 16 rows, which is not whole']);
    expect(where('out', (n) => Math.floor(n / d) % N % 8 === 7)).toEqual(['only in rows i % 8 = 7']);
    expect(where('out', (n) => n % d === 5)).toEqual(['only in component 5']);
    expect(where('lse', (n) => n % N < 16)).toEqual(['only in rows 0 to 15']);
    expect(where('dk', (n) => Math.floor(n / (N * d)) === 1)).toEqual(['only in KV head 1']);
    const types = Array.from(typesOf(each));
    expect(where('last', (n) => types[n] === 2 && n % N < 30)).toContain('only of WINDOW tokens');
    expect(where('mask', (n) => n % N === 7 && Math.floor(n / N) % N > 7)).toContain('only in key 7');
  });

  it('names a mistake of some heads, or of some rows, and one factor with its value', async () => {
    const each = await makeCase(recipe());
    const right = narrow(each.expected);
    const wrong = narrow((await otherWindow(each, 5)).expected);
    const patched = (name: string, at: (row: number) => boolean, to: (x: number, n: number) => number): Tensors => {
      const data = (right[name] as FloatTensor).data.map((x, n) => (at(Math.floor(n / 6)) ? to(x, n) : x));
      return { ...right, [name]: { ...right[name], data } as never };
    };
    const inOdd = (head: number): boolean => head % 2 === 1;
    const out = patched('out', (row) => inOdd(Math.floor(row / 40)), (_, n) => wrong.out.data[n]);
    const lse = {
      ...right.lse, data: right.lse.data.map((x, n) => (inOdd(Math.floor(n / 40)) ? wrong.lse.data[n] : x)),
    };
    // A mask that is wrong in out and not in lse is none.
    expect(verifyCase(each, out).diagnosis!.name).not.toBe('window-long');
    const odd = verifyCase(each, { ...out, lse: lse as never });
    expect(odd.diagnosis).toMatchObject({ cause: 'mask', name: 'window-long' });
    expect(odd.diagnosis!.where![0]).toBe('only in odd query heads');
    const halved = verifyCase(each, patched('dv', () => true, (x) => 0.75 * x));
    expect(words(halved)).toMatch(/Looks like: every value is off by one factor \(0\.75\)/);
    const swapped = verifyCase(each, patched('out', () => true, (_, n) => right.out.data[(n + 480) % 960]));
    expect(words(swapped)).toMatch(/heads written in another order \(query head 0 holds 2, query head 1 holds 3, /);
    const key = verifyCase(each, patched('out', (row) => row === 20, (x) => x + 1e-2));
    expect(key.diagnosis!.name).toBe('unknown');
  });

  it('finds what failing cases have in common: their parameters, and where they fail', async () => {
    const judged: Judged[] = [];
    for (const window of [4, 6, 33, 35]) {
      const each = await makeCase(recipe({ window, tokens: 60 }));
      const clipped = await otherWindow(each, Math.min(window, 32));
      judged.push({ report: verifyCase(each, narrow(clipped.expected)), parameters: each.parameters });
    }
    const { cases, places } = commonOf(judged);
    expect(cases[0]).toEqual({ text: 'W > 32', failing: 2, of: 2 });
    expect(places.map(({ text }) => text)).toContain('of WINDOW tokens');
    expect(verdictsOf(judged.map(({ report }) => report))[0].name).toBe('window-clipped');
    expect(commonOf([])).toEqual({ cases: [], places: [] });
  });

  it('says which tensor is missing or misshapen when no number is wrong', async () => {
    const each = await makeCase(recipe());
    const { lse, ...others } = narrow(each.expected);
    expect(verifyCase(each, others).diagnosis).toMatchObject({ cause: 'unusable', name: 'missing' });
    const flat = { ...lse, shape: [lse.data.length] } as NamedTensor;
    const { diagnosis } = verifyCase(each, { ...others, lse: flat });
    expect(diagnosis!.words).toMatch(/^lse: its shape is \[160\] and must be \[1,4,40\]/);
  });

  it('shows types by name with their scores', async () => {
    const each = await makeCase(recipe({ types: { scores: 'tied', noise: false } }));
    const types = each.expected.types as IntegerTensor;
    const scores = each.inputs.scores.data;
    const highest = types.data.map((_, t) => {
      const own = [0, 1, 2].map((n) => scores[3 * t + n]);
      return own.lastIndexOf(Math.max(...own));
    });
    const report = verifyCase(each, { ...narrow(each.expected), types: { ...types, data: highest } });
    expect(words(report)).toMatch(
      /token \d+ is (LOCAL|WINDOW), not (GLOBAL|LOCAL) \(scores [01] [01] [01]\)\. Looks like: ties go to the highest/);
    expect(report.diagnosis).toMatchObject({ cause: 'types', name: 'ties-highest' });
  });

  it('tells where a cache goes wrong, by step and entry', async () => {
    const each = await makeCase(recipe({ steps: [20, 10, 5, 5] }));
    const evicted = each.expected.cache_evicted_at as IntegerTensor;
    const never = { ...evicted, data: evicted.data.map(() => -1) };
    const report = verifyCase(each, { ...narrow(each.expected), cache_evicted_at: never });
    expect(words(report)).toBe(
      'batch 0, KV head 0, token 1 is never evicted, not evicted at step 0: WINDOW (last = 5). ' +
      'Looks like: nothing is ever evicted');
    expect(report.diagnosis!.cause).toBe('cache');
  });

  it('keeps every name that explains one case, and lets many cases decide', async () => {
    const judged: CaseReport[] = [];
    for (const window of [1, 2, 6]) {
      const each = await makeCase(recipe({ window }));
      judged.push(verifyCase(each, mixed(each, await otherWindow(each, window + 1), ['last', 'mask'])));
    }
    for (const { diagnosis } of judged) expect(diagnosis!.candidates[0]).toBe(diagnosis!.name);
    expect(verdictsOf(judged)[0]).toMatchObject({ name: 'window-long', cases: 3 });
    expect(verdictsOf([])).toEqual([]);
  });

  it('has no headline for a name that explains less than three quarters of the failing cases', async () => {
    const each = await makeCase(recipe({ window: 2 }));
    const long = verifyCase(each, mixed(each, await otherWindow(each, 3), ['last', 'mask']));
    const other = (name: string): CaseReport =>
      ({ ...long, diagnosis: { ...long.diagnosis!, name: name as never, candidates: [name as never], details: {} } });
    const most = [long, long, long, other('sign')];
    expect(verdictsOf(most)[0]).toMatchObject({ name: 'window-long', cases: 3 });
    const [first, second] = verdictsOf([...most, other('unknown')]);
    expect(first).toMatchObject({ name: 'unknown', cases: 2 });
    expect(second).toMatchObject({ name: 'window-long', cases: 3 });
    // Roundings need half, as many cases hide them.
    expect(verdictsOf([other('sum-f16'), other('unknown')])[0]).toMatchObject({ name: 'sum-f16', cases: 1 });
  });

  it('says that nothing was written only if all that fails is 0, in whole tiles of rows', async () => {
    const each = await makeCase(recipe({ window: 2 }));
    const { lse } = each.expected;
    const only = (zero: (at: number) => boolean, to = 0): CaseReport => {
      const data = Float64Array.from(lse.data, (x, at) => (zero(at) ? to * x : x));
      return verifyCase(each, { ...narrow(each.expected), lse: { ...lse, data } as typeof lse });
    };
    const N = each.parameters.tokens;
    expect(only(() => true).diagnosis!.candidates).toContain('zeros');
    const { diagnosis } = only((at) => at % N % 2 === 1);
    expect(diagnosis).toMatchObject({ name: 'zeros-in-part', details: { 'zeros-in-part': ['in odd rows'] } });
    expect(only(() => true, 1 / 64).diagnosis!.candidates).not.toContain('zeros');
  });

  it('takes no difference from what stands for never', async () => {
    const each = await makeCase(recipe({ window: 2 }));
    const { last } = each.expected;
    const open = { ...last, data: last.data.map((x) => (x === 2 ** 31 - 1 ? -1 : x)) };
    const { diagnosis } = verifyCase(each, { ...narrow(each.expected), last: open as typeof last });
    expect(diagnosis!.name).not.toBe('offset');
  });

  it('has a distinct description for every name', () => {
    const all = Object.values(DIAGNOSES);
    expect(new Set(all).size).toBe(all.length);
    for (const text of all) expect(text.length).toBeGreaterThan(5);
  });
});
