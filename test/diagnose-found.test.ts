/** Mistakes that the diagnosis finds from the numbers: by solving for what was read or summed, not from a list. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type CaseReport, makeCase, type OracleCase, type Recipe, type Tensors, verifyCase } from '../src/vectors.ts';
import { f, part, plain, soft } from './mutants/held-out/parts.ts';
import type { Hooks } from './mutants/hooks.ts';
import { run } from './mutants/kernel.ts';
import { edited } from './mutants/third/parts.ts';

const RECIPE: Recipe = {
  name: 'found', why: 'diagnosis', queryHeads: 4, kvHeads: 2, tokens: 40, headDim: 6, window: 4, batch: 2,
  types: { pattern: ['GWWWWLLWWWWWGWWLWWWWGWWWWWLW', 'GLWWWWLWWGWWWWWW'] },
};
const SCORED: Recipe = {
  name: 'scored', why: 'diagnosis', queryHeads: 2, kvHeads: 1, tokens: 48, headDim: 8, window: 3,
  types: { scores: 'spread', noise: true },
};
let each: OracleCase;
let scored: OracleCase;

beforeAll(async () => {
  each = await makeCase(RECIPE);
  scored = await makeCase(SCORED);
});

const judge = (outputs: Tensors, of: OracleCase = each): CaseReport => verifyCase(of, outputs, { dtype: 'f32' });
const said = ({ diagnosis }: CaseReport): readonly [string, readonly string[]] =>
  [diagnosis!.name, diagnosis!.details?.[diagnosis!.name] ?? []];

describe('of heads, the diagnosis finds', () => {
  it('which KV head each query head reads', () => {
    const shifted = judge(run(each, { kv: (b, h) => (b * 2 + (h >> 1) + b) % 4 }));
    expect(said(shifted)[0]).toBe('kv-other');
    expect(said(shifted)[1]).toEqual(['of batch 0, query heads 0 to 3 read KV heads 0, 0, 1, 1; of batch 1, query heads 0 to 3 read '
      + 'KV head 1 of batch 1, KV head 1 of batch 1, KV head 0 of batch 0, KV head 0 of batch 0']);
  });

  it('a key that belongs to another head', () => {
    const { q, k, v } = each.inputs;
    const right = run(each);
    const at = (b: number, h: number, i: number): number => ((b * 4 + h) * 40 + i) * 6;
    const next = (b: number, h: number): number => (b * 2 + (h >> 1) + 1) * 40 * 6;
    const share = (b: number, h: number, i: number): number => {
      if (next(b, h) >= k.data.length) return 0;
      let S = 0;
      for (let c = 0; c < 6; c++) S += each.parameters.scale * q.data[at(b, h, i) + c] * k.data[next(b, h) + c];
      return 1 / (1 + Math.exp(right.lse.data[at(b, h, i) / 6] - S));
    };
    const wrong = edited(right, ['out'], (x, { b, h, i, c }) =>
      f(x * (1 - share(b, h, i)) + (share(b, h, i) && share(b, h, i) * v.data[next(b, h) + c])));
    expect(said(judge(wrong))).toEqual(['key-foreign', ['the first key of the next head']]);
  });

  it('which query heads are summed', () => {
    const right = run(each);
    const of = (r: number): ArrayLike<number> => run(each, { counts: (n) => n === r }).dv.data;
    const parts = [of(0), of(1)];
    // KV head 0 sums the query heads 1 and 2, KV head 1 its own 2 and 3.
    const wrong = edited(right, ['dv'], (x, { h, i, c, b }) => {
      const place = (g: number): number => ((b * 2 + g) * 40 + i) * 6 + c;
      return h === 0 ? f(parts[1][place(0)] + parts[0][place(1)]) : x;
    });
    expect(said(judge(wrong))).toEqual(['group-other', [
      'one query head further', 'KV head 0 sums query heads 1, 2; KV head 0 sums query heads 1, 2',
    ]]);
  });
});

describe('of the softmax, the diagnosis finds', () => {
  it('an exp that is approximated, and by how much', () => {
    const cheap = (x: number): number => {
      const y = x * Math.LOG2E;
      const t = y - Math.floor(y);
      return 2 ** Math.floor(y) * (1 + t * (0.69 + 0.31 * t) + 0.02 * t * (1 - t));
    };
    const [name, [detail]] = said(judge(run(each, { attend: soft({ exp: cheap }) })));
    expect([name, detail]).toEqual(['exp-approximate', expect.stringMatching(/^off by up to 0\.[1-9]%$/)]);
  });

  it('splits that are merged without their weights', () => {
    const averaged: Hooks = { attend: (row, sees) => {
      const all = part(row, sees);
      const parts = [part(all, (j) => j < 16), part(all, (j) => j >= 16)].filter(({ keys }) => keys.length > 0);
      const made = parts.map((each1) => plain(each1));
      if (made.length === 1) return made[0];
      const o = new Float32Array(row.d).map((_, c) => (made[0].o[c] / made[0].Z + made[1].o[c] / made[1].Z) / 2);
      return { ...made[0], o, Z: 1 };
    } };
    const [name, details] = said(judge(run(each, averaged)));
    expect([name, details.some((text) => /key 16, averaged$/.test(text))]).toEqual(['splits-merged', true]);
  });

  it('components that count twice', () => {
    const dot: Hooks['dot'] = (x, at, y, from, d) => {
      let sum = 0;
      for (let c = 0; c < d; c++) sum = f(sum + (c === d - 1 ? 2 : 1) * x[at + c] * y[from + c]);
      return sum;
    };
    expect(said(judge(run(each, { dot })))).toEqual(['terms-weighed', ['the last component twice in q . k']]);
  });
});

describe('of types and lifetimes, the diagnosis finds', () => {
  it('where noise was read', () => {
    const { noise } = scored.inputs;
    const data = (noise.data as Float64Array).map((_, n) => noise.data[n - n % 3 + (n + 1) % 3]);
    const wrong = run({ ...scored, inputs: { ...scored.inputs, noise: { ...noise, data } as never } });
    expect(said(judge(wrong, scored))).toEqual(['input-misread', ['noise of the next type']]);
  });

  it('one difference of all that fail', () => {
    const wrong = edited(run(each), ['last'], (x) => (x < 36 ? x + 3 : x));
    expect(said(judge(wrong))).toEqual(['offset', ['+3']]);
  });
});
