/** verifyCase(): what passes, what never does, and what the report says. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createEngine, ValueError } from '../src/index.ts';
import type { FloatTensor, NamedTensor } from '../src/formats/named-tensor.ts';
import { roundArray } from '../src/formats/rounding.ts';
import { makeCase } from '../src/oracle/cases/make-case.ts';
import { maskGradientRowSums } from '../src/oracle/cases/pairs.ts';
import { type OracleCase, OUTPUT_ORDER, type TensorReport, type Tensors } from '../src/oracle/types.ts';
import { ORIGINS, verifyCase } from '../src/oracle/judge/verify.ts';
import { honestOutputs } from './support/honest.ts';

const engine = createEngine();
let oracleCase: OracleCase;
let outputs: Tensors;
const tokens = 20;

beforeAll(async () => {
  oracleCase = await makeCase(engine, {
    name: 'all', why: 'every output', batch: 2, queryHeads: 4, kvHeads: 2, tokens, headDim: 4, window: 3,
    types: { scores: 'spread', noise: true, forced: 'ends' }, steps: [12, 8],
  });
  outputs = honestOutputs(oracleCase, { dtype: 'f32', order: 'ascending' });
});

/** The report on one output with `change` applied. */
function after(name: string, change: (tensor: NamedTensor) => NamedTensor | undefined): TensorReport {
  const changed: Record<string, NamedTensor> = { ...outputs };
  const tensor = change(changed[name]);
  if (tensor) changed[name] = tensor;
  else delete changed[name];
  const report = verifyCase(oracleCase, changed, { dtype: 'f32' });
  const found = report.tensors.find((each) => each.name === name)!;
  expect(report.pass).toBe(found.status === 'pass');
  return found;
}

/** `tensor` with `value` at flat index `at`. */
function put(at: number, value: number | ((x: number) => number)): (tensor: NamedTensor) => NamedTensor {
  return (tensor) => {
    const data = tensor.data.slice();
    data[at] = typeof value === 'number' ? value : value(data[at]);
    return { ...tensor, data } as NamedTensor;
  };
}

const REALS = ['out', 'lse', 'dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'dscores', 'cache_out'];
const WHOLE = ['types', 'last', 'mask', 'cache_closed_by', 'cache_evicted_at', 'cache_live'];

describe('verifyCase()', () => {
  it('passes honest outputs, and reports every output in the order of the algorithm', () => {
    const report = verifyCase(oracleCase, outputs, { dtype: 'f32' });
    expect(report.pass).toBe(true);
    expect(report.divergence).toBeUndefined();
    expect(report.tensors.map(({ name }) => name)).toEqual([...OUTPUT_ORDER]);
    for (const { name, compared, failed, budget, worst } of report.tensors) {
      expect(compared).toBe(oracleCase.expected[name].data.length);
      expect(failed).toBe(0);
      expect(budget).toBe(ORIGINS[name as keyof typeof ORIGINS]);
      expect(worst!.ratio).toBeLessThanOrEqual(1);
    }
  });

  it.each(REALS)('fails %s for one NaN, one infinity, and one number beyond its budget; never for one within', (name) => {
    expect(after(name, put(5, NaN))).toMatchObject({ status: 'fail', failed: 1, nan: 1, first: 5 });
    expect(after(name, put(5, Infinity))).toMatchObject({ status: 'fail', failed: 1, nan: 0, first: 5 });
    expect(after(name, put(5, -Infinity))).toMatchObject({ status: 'fail', failed: 1 });
    const truth = oracleCase.expected[name].data[5];
    const exact = after(name, (tensor) => ({ ...tensor, dtype: 'F64', data: Float64Array.from(oracleCase.expected[name].data) }) as NamedTensor);
    expect(exact).toMatchObject({ status: 'pass', maxAbsolute: 0, maxUlps: 0 });
    // One element alone is off, so the worst ratio is its own.
    const base = after(name, put(5, truth + 1)).worst!;
    expect(base.at).toBe(5);
    expect(after(name, put(5, truth + 1.01 * base.budget))).toMatchObject({ status: 'fail', failed: 1, first: 5 });
    expect(after(name, put(5, truth + 0.99 * base.budget)).status).toBe('pass');
  });

  it.each(WHOLE)('fails %s for one wrong number, and for floats', (name) => {
    const at = name === 'cache_closed_by' || name === 'cache_evicted_at' ? 1 : 0;
    expect(after(name, put(at, (x) => (x === 0 ? 1 : 0)))).toMatchObject({ status: 'fail', failed: 1, first: at });
    const reals = after(name, ({ shape, data }) => ({ dtype: 'F32', shape, data: Float64Array.from(data) }));
    expect(reals.status).toBe('wrong dtype');
    expect(reals.note).toContain('F32');
  });

  it.each([...OUTPUT_ORDER])('fails %s if it is missing or of another shape', (name) => {
    expect(after(name, () => undefined).status).toBe('missing');
    const reshaped = after(name, (tensor) => ({ ...tensor, shape: [tensor.data.length] }) as NamedTensor);
    expect(reshaped.status).toBe('wrong shape');
    expect(reshaped.note).toContain(`[${oracleCase.expected[name].shape}]`);
  });

  it('fails integers where floats belong, and names the likely misspelling of a missing output', () => {
    const whole = after('out', ({ shape, data }) => ({ dtype: 'I32', shape, data: Int32Array.from(data) }));
    expect(whole.status).toBe('wrong dtype');
    const { dq, ...rest } = outputs;
    const report = verifyCase(oracleCase, { ...rest, dQ: dq });
    expect(report.tensors.find(({ name }) => name === 'dq')).toMatchObject({ status: 'missing', note: expect.stringContaining('dQ') });
  });

  it('accepts any end beyond the last token as forever', () => {
    const last = oracleCase.expected.last.data;
    const at = last.indexOf(0x7fffffff);
    expect(after('last', put(at, tokens - 1)).status).toBe('pass');
    expect(after('last', put(at, tokens + 5)).status).toBe('pass');
    expect(after('last', put(at, tokens - 2)).status).toBe('fail');
  });

  it('accepts cache_bytes from the bare entries up to whole blocks, in the dtype claimed', () => {
    const bytes = oracleCase.expected.cache_bytes.data;
    const entries = bytes[0] / (2 * 4 * 4);
    expect(after('cache_bytes', put(0, bytes[0])).status).toBe('pass');
    expect(after('cache_bytes', put(0, bytes[0] - 1)).status).toBe('fail');
    expect(after('cache_bytes', put(0, (Math.ceil(entries / 64) + 1) * 64 * (32 + 16))).status).toBe('pass');
    expect(after('cache_bytes', put(0, (Math.ceil(entries / 64) + 1) * 64 * (32 + 16) + 1)).status).toBe('fail');
    const report = verifyCase(oracleCase, { ...outputs, cache_bytes: put(0, bytes[0] / 2)(outputs.cache_bytes) }, { dtype: 'f16' });
    expect(report.tensors.find(({ name }) => name === 'cache_bytes')!.status).toBe('pass');
  });

  it('skips only what is not to be judged, and says so', () => {
    const report = verifyCase(oracleCase, { lse: outputs.lse, out: outputs.out }, { tensors: ['forward'] });
    expect(report.pass).toBe(true);
    const skipped = report.tensors.filter(({ status }) => status === 'skipped').map(({ name }) => name);
    expect(skipped).toEqual(OUTPUT_ORDER.filter((name) => name !== 'out' && name !== 'lse'));
    expect(verifyCase(oracleCase, { out: outputs.out }, { tensors: ['forward'] }).pass).toBe(false);
    expect(() => verifyCase(oracleCase, outputs, { tensors: ['dQ'] })).toThrow(ValueError);
  });

  it('takes the claim from the dtype of out, or f32 if out has no dtype', () => {
    for (const [dtype, claim] of [['F16', 'f16'], ['BF16', 'bf16'], ['F32', 'f32'], ['F64', 'f32']] as const) {
      const out: NamedTensor = { dtype, shape: outputs.out.shape, data: roundArray(outputs.out.data, dtype) };
      expect(verifyCase(oracleCase, { ...outputs, out }).dtype).toBe(claim);
    }
  });

  it('allows for the rounding of a file that is coarser than the claim, and says so', () => {
    const report = after('out', ({ shape, data }) => ({ dtype: 'BF16', shape, data: roundArray(data, 'BF16') }));
    expect(report).toMatchObject({ status: 'pass', note: expect.stringContaining('BF16') });
    expect(after('out', ({ shape, data }) => ({ dtype: 'F64', shape, data: roundArray(data, 'BF16') })).status).toBe('fail');
  });

  it('allows for the rounding of truths that were stored rounded', () => {
    const expected = { ...oracleCase.expected };
    for (const name of REALS) expected[name] = { ...expected[name], data: roundArray(expected[name].data, 'BF16') } as NamedTensor;
    expect(verifyCase({ ...oracleCase, expected }, outputs, { dtype: 'f32' }).pass).toBe(false);
    expect(verifyCase({ ...oracleCase, expected }, outputs, { dtype: 'f32', truths: 'bf16' }).pass).toBe(true);
  });

  it('accepts an infinity of the right sign where the truth is beyond the range of the dtype', () => {
    const dv = oracleCase.expected.dv;
    const huge = put(7, 7e4)(dv);
    const changed = { ...oracleCase, expected: { ...oracleCase.expected, dv: huge } };
    const status = (value: number, dtype: 'f16' | 'f32') => verifyCase(
      changed, { dv: put(7, value)(outputs.dv) }, { dtype, tensors: ['dv'] },
    ).tensors.find(({ name }) => name === 'dv')!.status;
    expect(status(Infinity, 'f16')).toBe('pass');
    expect(status(-Infinity, 'f16')).toBe('fail');
    expect(status(NaN, 'f16')).toBe('fail');
    expect(status(Infinity, 'f32')).toBe('fail');
  });

  it('compares nothing where a visible key is NaN, and everything else', async () => {
    const poisoned = await makeCase(engine, {
      name: 'nan', why: '', queryHeads: 1, kvHeads: 1, tokens: 9, headDim: 2, window: 1,
      types: { pattern: ['W'] }, poison: { with: 'nan', positions: [2] },
    });
    const rows = [2, 3];
    const at = rows.flatMap((i) => [2 * i, 2 * i + 1]);
    expect(poisoned.notCompared).toMatchObject({ lse: rows, out: at });
    const { out } = poisoned.expected;
    for (const [n, fails] of [[4, false], [7, false], [8, true], [3, true]] as const) {
      const { tensors } = verifyCase(poisoned, { ...poisoned.expected, out: put(n, NaN)(out) }, { dtype: 'f64', tensors: ['out'] });
      expect(tensors.find(({ name }) => name === 'out')).toMatchObject({ status: fails ? 'fail' : 'pass', compared: 14 });
    }
  });

  it('names the first divergence in the order of the algorithm, with its position', () => {
    const at = ((1 * 4 + 2) * tokens + 17) * 4 + 3;
    const report = verifyCase(oracleCase, {
      ...outputs, dk: put(0, 1e3)(outputs.dk), dq: put(at, 1e3)(outputs.dq), cache_out: put(0, 9)(outputs.cache_out),
    });
    expect(report.divergence).toEqual({
      tensor: 'dq', index: [1, 2, 17, 3], batch: 1, head: 2, query: 17,
      expected: oracleCase.expected.dq.data[at], actual: 1e3,
    });
  });

  it('passes its reports to the diagnosis only on failure', () => {
    const seen: number[] = [];
    const diagnosis = { cause: 'nan', name: 'unknown', candidates: ['unknown'], words: 'words' } as const;
    const diagnose = (_: OracleCase, __: Tensors, reports: readonly TensorReport[]) => {
      seen.push(reports.length);
      return { diagnosis };
    };
    expect(verifyCase(oracleCase, outputs, { diagnose }).diagnosis).toBeUndefined();
    const wrong = { ...outputs, out: put(0, NaN)(outputs.out) };
    expect(verifyCase(oracleCase, wrong, { diagnose }).diagnosis).toEqual(diagnosis);
    expect(seen).toEqual([OUTPUT_ORDER.length]);
  });

  it('reports progress, and refuses a case without truths', () => {
    const told: number[][] = [];
    verifyCase(oracleCase, outputs, { onProgress: (...each) => told.push(each) });
    const pairs = 2 * 4 * tokens * (tokens + 1) / 2;
    expect(told.at(-1)).toEqual([pairs, pairs]);
    expect(() => verifyCase({ ...oracleCase, expected: {} }, outputs)).toThrow(ValueError);
  });
});

describe('maskGradientRowSums()', () => {
  it('sums the rows of the engine\'s dM, over tiles', async () => {
    for (const rule of ['exact', 'bounded'] as const) {
      const { parameters, inputs, expected } = await makeCase(engine, {
        name: 'rows', why: '', queryHeads: 2, kvHeads: 1, tokens: 70, headDim: 3, window: 100, rule,
        types: { pattern: ['W'] },
      });
      const { out, lse } = expected as Record<string, FloatTensor>;
      const rows = maskGradientRowSums(parameters, inputs, { out: out, lse: lse }).data;
      // With a window beyond N, all keys count in dw, so its total is that of the rows.
      const total = (data: ArrayLike<number>): number => Array.from(data).reduce((a, b) => a + b, 0);
      const size = Array.from(rows).reduce((a, b) => a + Math.abs(b), 1);
      expect(Math.abs(total(rows) - total(expected.dw.data))).toBeLessThan(1e-10 * size * 70);
    }
  });
});
