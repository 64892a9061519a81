/** Claims of TF32 and fp8: kernels that round P and dS to what they claim pass, and coarser ones fail. */
import { beforeAll, describe, expect, it } from 'vitest';
import { e4m3, e5m2, tf32, tf32Cut } from '../src/oracle/diagnose/narrow-floats.ts';
import type { Products } from '../src/oracle/types.ts';
import { verifyCase } from '../src/oracle/judge/verify.ts';
import { makeCase, type OracleCase, SUITES, type Tensors } from '../src/vectors.ts';
import { soft } from './mutants/held-out/parts.ts';
import { run } from './mutants/kernel.ts';
import { some } from './support/thorough.ts';

type Round = (x: number) => number;
const kernel = (each: OracleCase, round: Round): Tensors => run(each, {
  attend: soft({ weight: round }), storeA: round, dS: (A, P, D) => round(Math.fround(A * Math.fround(P - D))),
});
const BACKWARD = ['forward', 'backward'];
const failing = (each: OracleCase, outputs: Tensors, products?: Products): string[] =>
  verifyCase(each, outputs, { dtype: 'f32', tensors: BACKWARD, ...(products && { products }) }).tensors
    .filter(({ status }) => status === 'fail').map(({ name }) => name);

let cases: OracleCase[] = [];
beforeAll(async () => {
  const recipes = some(2, SUITES.fp8).map((recipe) => ({ ...recipe, tokens: Math.min(recipe.tokens, 96), steps: [] }));
  cases = await Promise.all(recipes.map((recipe) => makeCase(recipe)));
});

describe('claims of narrow products', () => {
  it('has inputs that both fp8 formats hold exactly', () => {
    for (const { inputs } of cases) {
      for (const name of ['q', 'k', 'v', 'dout']) {
        const data = Array.from(inputs[name].data).filter((x) => Math.abs(x) <= 448);
        expect(data.filter((x) => e4m3(x) !== x || e5m2(x) !== x)).toEqual([]);
      }
    }
  });

  it.each<[Products, Round]>([['tf32', tf32], ['tf32', tf32Cut], ['e4m3', e4m3], ['e5m2', e5m2]])(
    'pass with P and dS in %s, which f32 alone does not allow', (products, round) => {
      const refused = cases.filter((each) => {
        const outputs = kernel(each, round);
        expect([each.name, failing(each, outputs, products)]).toEqual([each.name, []]);
        return failing(each, outputs).includes('out');
      });
      expect(refused.length).toBeGreaterThan(0); // with d = 128, the budget of S alone may hold TF32's errors
    });

  it('fail with P and dS of three bits for a claim of TF32, and with products without P for one of fp8', () => {
    for (const each of cases) {
      expect(failing(each, kernel(each, e5m2), 'tf32')).toContain('out');
      expect(failing(each, kernel(each, () => 1), 'e5m2')).toContain('out');
    }
  });

  it('rounds to the nearest number of each format, ties to even', () => {
    expect([1 + 2 ** -11, 1 + 3 * 2 ** -11, -(1 + 2 ** -12)].map(tf32)).toEqual([1, 1 + 2 ** -9, -1]);
    expect([1 + 3 * 2 ** -12, -(2 - 2 ** -20)].map(tf32Cut)).toEqual([1, -(2 - 2 ** -10)]);
    expect([1.0625, 1.1875, 1000, 2 ** -10, 3 * 2 ** -10, -0].map(e4m3)).toEqual([1, 1.25, 448, 0, 2 ** -8, -0]);
    expect([1.125, 1.375, 1e6, 2 ** -17].map(e5m2)).toEqual([1, 1.5, 57_344, 0]);
  });
});
