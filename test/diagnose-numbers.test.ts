/** Mistakes in numbers that the diagnosis names: roundings of one product, factors of rows, other sums. */
import { beforeAll, describe, expect, it } from 'vitest';
import { fromBfloat16, toBfloat16 } from '../src/core/float16.ts';
import { makeCase, type OracleCase, verifyCase } from '../src/vectors.ts';
import { WINDOW, GLOBAL, type Hooks } from './mutants/hooks.ts';
import { run } from './mutants/kernel.ts';
import { allRows, closing } from './mutants/right.ts';

const f = Math.fround;
const bf16 = (x: number): number => fromBfloat16(toBfloat16(x));
let each: OracleCase;

beforeAll(async () => {
  each = await makeCase({
    name: 'numbers', why: 'diagnosis', queryHeads: 4, kvHeads: 2, tokens: 24, headDim: 6, window: 4,
    types: { pattern: ['GWLLWWGWLWWLGWWWLWWG', 'GLWWLWWGWWLWWWWG'] },
  });
});

/** Divides P by Z once more for dv. */
const normalisedTwice = (): Hooks => {
  let Z = 1;
  return {
    weight: (S, lse, m) => {
      Z = Math.exp(lse - m);
      return f(Math.exp(f(S - lse)));
    },
    storeA: (A) => f(A / Z),
  };
};

describe('of numbers, the diagnosis names', () => {
  it.each([
    ['P divided by Z twice for dv', normalisedTwice(), 'row-weight', 'P times 1 / Z'],
    ['dP rounded', { dS: (A, P, D) => f(A * (bf16(P) - D)) }, 'intermediate-rounded', 'dP = dout v to bfloat16'],
    ['S rounded for dM alone', { dM: (_, __, { S, P, D, weight }) => f(weight * Math.exp(bf16(S) - S) * (P - D)) },
      'intermediate-rounded', 'S to bfloat16, for dM'],
    ['Z + 1 in the place of Z', { out: (o, { Z }) => o.map((x) => f(x / (Z + 1))) }, 'normaliser-other', 'Z + 1'],
    ['ln (1 + Z) in lse', { lse: ({ m, Z }) => f(m + Math.log1p(Z)) }, 'lse-sum-other', 'ln (1 + Z)'],
    ['dg that charges WINDOW tokens', { dg: (sums) => {
      const { head, c, column } = sums;
      let charged = 0;
      for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
        if (head.own[n] === WINDOW) charged += column(n, (c + 1) * head.p.chunk, closing(head, c));
      }
      return f(allRows(sums) - charged);
    } }, 'dg-charge-other', 'WINDOW tokens in the place of LOCAL ones'],
  ] as readonly (readonly [string, Hooks, string, string])[])('%s', (_, hooks, name, detail) => {
    const { diagnosis } = verifyCase(each, run(each, hooks), { dtype: 'f32' });
    expect([diagnosis!.name, diagnosis!.details?.[name] ?? []]).toEqual([name, expect.arrayContaining([detail])]);
  });
});
