/** The diagnosis in words: what it says, where it points, and that it claims nothing without evidence. */
import { describe, expect, it } from 'vitest';
import type { FloatTensor, IntegerTensor, NamedTensor } from '../src/formats/named-tensor.ts';
import { roundArray } from '../src/formats/rounding.ts';
import {
  caseOf, type CaseReport, DIAGNOSES, makeCase, type OracleCase, type Recipe, type Tensors, verdictsOf, verifyCase,
} from '../src/vectors.ts';
import { generator } from '../src/core/random.ts';

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
    }
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

  it('has a distinct description for every name', () => {
    const all = Object.values(DIAGNOSES);
    expect(new Set(all).size).toBe(all.length);
    for (const text of all) expect(text.length).toBeGreaterThan(5);
  });
});
