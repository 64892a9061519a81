/** Mistakes without names of their own, which the diagnosis recognises by what they do to the numbers. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type CaseReport, makeCase, type OracleCase, type Recipe, type Tensors, verifyCase } from '../src/vectors.ts';
import { generator } from '../src/core/random.ts';
import { bitsOf, e4m3 } from '../src/oracle/diagnose/narrow-floats.ts';
import { f, part, plain, soft } from './mutants/held-out/parts.ts';
import type { Hooks } from './mutants/hooks.ts';
import { run } from './mutants/kernel.ts';
import { rightLast } from './mutants/right.ts';
import { edited } from './mutants/third/parts.ts';

const RECIPE: Recipe = {
  name: 'probes', why: 'diagnosis', queryHeads: 4, kvHeads: 2, tokens: 40, headDim: 6, window: 4,
  types: { pattern: ['GWWWWLLWWWWWGWWLWWWWGWWWWWLW', 'GLWWWWLWWGWWWWWW'] },
};
let each: OracleCase;
let batched: OracleCase;

beforeAll(async () => {
  each = await makeCase(RECIPE);
  batched = await makeCase({ ...RECIPE, batch: 3 });
});

const judge = (outputs: Tensors, of: OracleCase = each): CaseReport => verifyCase(of, outputs, { dtype: 'f32' });
const hooked = (hooks: Hooks): CaseReport => judge(run(each, hooks));
const said = ({ diagnosis }: CaseReport): readonly [string, readonly string[]] =>
  [diagnosis!.name, diagnosis!.details?.[diagnosis!.name] ?? []];

describe('right numbers in wrong places', () => {
  const move = (name: string, from: (at: { b: number; h: number; i: number; c: number }) => number): CaseReport =>
    judge(edited(run(each), [name], (_, at, { data }) => data[from(at)]));
  const at = (h: number, i: number, c: number): number => (h * 40 + i) * 6 + c;

  it.each([
    ['out', 'rows-moved', 'row n holds row n - 1', (h: number, i: number, c: number) => at(h, Math.max(i - 1, 0), c)],
    ['out', 'rows-moved', 'row n holds row n mod 16', (h: number, i: number, c: number) => at(h, i % 16, c)],
    ['dk', 'rows-moved', 'keys in reverse order', (h: number, i: number, c: number) => at(h, 39 - i, c)],
    ['out', 'components-moved', 'component 0 holds 5', (h: number, i: number, c: number) => at(h, i, 5 - c)],
  ] as const)('finds that %s has %s', (tensor, name, detail, from) => {
    const [found, details] = said(move(tensor, ({ h, i, c }) => from(h, i, c)));
    expect([found, details[0]?.slice(0, detail.length)]).toEqual([name, detail]);
  });

  it('finds an lse that is a row late, and dk where dv belongs', () => {
    const late = judge(edited(run(each), ['lse'], (_, { h, i }, { data }) => data[h * 40 + Math.max(i - 1, 0)]));
    expect(said(late)).toEqual(['rows-moved', ['row n holds row n - 1']]);
    const right = run(each);
    expect(said(judge({ ...right, dv: right.dk!, dk: right.dv! }))).toEqual(['other-tensor', ['dv holds dk']]);
  });

  it('finds which input is read from another place, from the forward and from the gradients', () => {
    const { v, dout } = batched.inputs;
    const first = (data: Float64Array): Float64Array => data.map((_, n) => data[n % (data.length / 3)]);
    const reads = (name: string, data: Float64Array): Tensors =>
      run({ ...batched, inputs: { ...batched.inputs, [name]: { ...batched.inputs[name], data } as never } });
    const ofV = judge(reads('v', first(v.data as Float64Array)), batched);
    expect(said(ofV)).toEqual(['input-misread', ['v: batch 0']]);
    expect(ofV.diagnosis!.where).toContain('only in batches from 1');
    const turned = (dout.data as Float64Array).map((_, n) => dout.data[n - n % 6 + 5 - n % 6]);
    const ofDq = verifyCase(batched, reads('dout', turned), { dtype: 'f32', tensors: ['dq'] });
    expect(said(ofDq)[1]).toContain('dout: d in reverse order');
  });
});

describe('sums with terms that count wrongly', () => {
  it.each([
    ['two times', { attend: (row, sees) => {
      const seen = part(row, sees);
      return plain({ ...seen, S: seen.S.map((x, n) => (seen.keys[n] >= row.i - row.i % 16 ? x + Math.LN2 : x)) });
    } }, 'terms-weighed', 'tiles of 16 on the diagonal: times 2'],
    ['by two properties', {
      backVisible: (i, j, last) => j <= i && i <= last && !(i - j === 1 && Math.floor(j / 8) % 2 === 1),
    }, 'terms-weighed', 'odd tiles of 8 keys, those right before the query: left out'],
    ['in Z alone', { attend: (row, sees) => {
      const right = plain(part(row, sees));
      const half = plain(part(row, (j) => sees(j) && (j === row.i || j % 16 < 8)));
      return { ...right, Z: half.Z * Math.exp(half.m - right.m) };
    } }, 'normaliser-other', 'the sum without the second half of each tile of 16 keys, those before the query'],
    ['by lifetimes', { last: (head, j) => {
      const right = rightLast(head, j);
      return head.own[j] === 1 && right < head.p.tokens ? right + head.p.window : right;
    } }, 'lifetimes-other', 'LOCAL until the end of the next GLOBAL plus W'],
    ['with another scale', { scale: (p) => p.scale * Math.LOG2E }, 'scale-off', 'log2(e)'],
    ['over a Z that is too large', { out: (o, { Z }) => o.map((x) => f(x / (Z + 1))) }, 'normaliser-other', 'Z + 1'],
    ['without the diagonal in dl', { dl: ({ head, c, cell, column }) => f(column(c, 0, Math.min(head.p.tokens - 1,
      head.own.indexOf(0, c + 1) < 0 ? Infinity : head.own.indexOf(0, c + 1))) - cell(c, c)) }, 'dl-rows-other', 'from the first row after the token'],
  ] as readonly (readonly [string, Hooks, string, string | undefined])[])('are found: %s', (_, hooks, name, detail) => {
    const [found, details] = said(hooked(hooks));
    expect([found, detail === undefined || details.includes(detail)]).toEqual([name, true]);
  });

  it('has a difference for a name, with its value', () => {
    expect(said(judge(edited(run(each), ['lse'], (x) => x + Math.LN2)))).toEqual(['offset', ['0.6931']]);
  });
});

describe('roundings', () => {
  const scored = (round: (x: number) => number): Hooks =>
    ({ attend: (row, sees) => plain(part({ ...row, S: row.S.map(round) }, sees)) });

  it('are known by what they round, how, and to how many bits', () => {
    expect(said(hooked(scored(bitsOf(11, 'cut'))))).toEqual(['scores-f16', ['11 bits, cut']]);
    expect(said(hooked(scored(bitsOf(6, 'up'))))[0]).toBe('scores-bits');
    const whole: Hooks['dot'] = (x, at, y, from, d) => {
      const most = Math.max(...Array.from({ length: d }, (_, c) => Math.abs(x[at + c])));
      let sum = 0;
      for (let c = 0; c < d; c++) sum = f(sum + f(Math.round(x[at + c] * 127 / most) * most / 127 * y[from + c]));
      return sum;
    };
    expect(said(hooked({ dot: whole }))[1]).toContain('q to whole numbers of 8 bits, scaled by the largest of each row');
    expect(said(hooked({ attend: soft({ value: (row, n, c) => e4m3(row.value(n, c)) }) }))).toEqual(['input-rounded', ['v to fp8 e4m3']]);
  });

  it('are not claimed for sums, unless the results lie on the numbers that such sums leave', () => {
    const { uniform } = generator(5, [2]);
    const noise: Hooks = { attend: soft({ exp: (x) => Math.exp(x) * (1 + 2 ** -10 * (uniform() - 0.5)) }) };
    for (const name of ['accumulated-f16', 'accumulated-bf16']) expect(hooked(noise).diagnosis!.candidates).not.toContain(name);
  });
});

describe('where a failure lives', () => {
  const where = (tensor: string, wrong: (head: number, n: number) => boolean): readonly string[] => {
    const { diagnosis } = judge(edited(run(each), [tensor], (x, { h, i }) => (wrong(h, i) ? x + 3 : x)));
    return [...diagnosis!.where!, diagnosis!.spread!, ...diagnosis!.facts!];
  };
  const last = (h: number, n: number): number => each.expected.last.data[h * 40 + n];
  const seen = (h: number, i: number): number =>
    Array.from({ length: i + 1 }, (_, j) => j).filter((j) => last(h >> 1, j) >= i).length;

  it('is said by what rows see and by the lifetimes of keys', () => {
    expect(where('out', (_, i) => i % 16 >= 8).slice(0, 2)).toEqual(['only in odd tiles of 8 rows', 'in 4 of 4 query heads, 16 of 40 rows, 6 of 6 components']);
    expect(where('dq', (h, i) => seen(h, i) < i + 1)).toContain('in rows that hide a key');
    expect(where('lse', (h, i) => seen(h, i) > 4)).toContain('in rows with more than 4 visible keys');
    expect(where('dv', (h, j) => last(h, j) === 2 ** 31 - 1 && each.inputs.types.data[h * 40 + j] === 1))
      .toContain('of LOCAL tokens that no GLOBAL closes');
    expect(where('dk', (h, j) => last(h, j) < 39)).toContain('of keys that are hidden before the end');
  });
});
