/**
 * The chapter cannot drift from the code: every equation of docs/equations.ts is evaluated by mathjs on random
 * inputs against the function it names, and the files on disk are what the generator writes.
 */
import { access, readFile } from 'node:fs/promises';
import fc from 'fast-check';
import type { BigNumber, MathJsInstance } from 'mathjs';
import { describe, expect, it } from 'vitest';
import { chapter, meaning, symbolsOf } from '../docs/chapter.ts';
import { EQUATIONS, type Equation } from '../docs/equations.ts';
import { generate } from '../docs/generate.ts';
import { createMathematics } from '../docs/mathematics.ts';
import { expressionTex } from '../docs/tex.ts';
import { attention } from '../reference/public/attention.ts';
import { crossEntropy } from '../reference/cross-entropy.ts';
import { ndarray } from '../src/core/tensor.ts';
import { checks } from './support/equation-checks.ts';
import { drawFrom } from './support/equation-draw.ts';
import { layerChecks } from './support/layer-checks.ts';
import { massChecks } from './support/mass-checks.ts';
import { evaluateEquation, rowsOf } from './support/mathjs.ts';
import { cases } from './support/thorough.ts';

const all = { ...checks, ...layerChecks, ...massChecks };

const root = new URL('../', import.meta.url);
const read = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8');

describe('every equation of the chapter', () => {
  it('has a check, and no check is without an equation', () => {
    expect(Object.keys(all).sort()).toEqual(EQUATIONS.map((e) => e.id).sort());
  });

  it.each(EQUATIONS.map((e) => [e.id]))('%s: mathjs and the function it names agree on random inputs', (id) => {
    fc.assert(fc.property(fc.gen(), (gen) => all[id](drawFrom(gen))), { numRuns: cases(10, 40) });
  });

  it.each(EQUATIONS.map((e) => [e.id, e]))('%s names a file and a function that it exports', async (_, e: Equation) => {
    await access(new URL(e.file, root));
    const module = await import(/* @vite-ignore */ new URL(e.file, root).href) as Record<string, unknown>;
    expect(typeof module[e.function]).toBe('function');
  });

  it('explains each of its symbols', () => {
    for (const e of EQUATIONS) {
      for (const name of symbolsOf(e)) expect(meaning(e, name), `${name} in ${e.id}`).toBeTypeOf('string');
    }
  });
});

describe('evaluation in 64 decimal digits', () => {
  const digits: MathJsInstance = createMathematics(64);
  const big = (rows: number[][]): BigNumber[][] => rows.map((row) => row.map((x) => digits.bignumber(x) as BigNumber));

  it('agrees with attention() to float64 rounding', () => {
    fc.assert(fc.property(fc.gen(), (gen) => {
      const draw = drawFrom(gen);
      const { N, d, last } = draw.sequence();
      // Multiples of 1/64 are exact in both binary and decimal, and so is a scale of 1/2.
      const [q, k, v] = [draw.reals(N * d), draw.reals(N * d), draw.reals(N * d)];
      const shape = [1, 1, N, d];
      const { out, lse } = attention({
        q: ndarray(q, shape), k: ndarray(k, shape), v: ndarray(v, shape), last: ndarray(last, [1, 1, N]), scale: 0.5,
      });
      const rows = (data: Float64Array): BigNumber[][] => big(rowsOf([...data], d));
      const scope = { N, d, last: [...last], q: rows(q), k: rows(k), v: rows(v) };
      const scores = evaluateEquation('scores', { ...scope, scale: digits.bignumber(0.5) }, digits);
      const masked = evaluateEquation('attention', { ...scores, ...evaluateEquation('mask', scope, digits) }, digits);
      const o = masked['o'] as BigNumber[][];
      expect(o[0][0].precision(true)).toBeGreaterThan(0); // a real BigNumber, not the value of a float64
      expectClose(out.data, o.flat().map(Number), Math.max(...v.map(Math.abs), 1) * d * 16);
      expectClose(lse.data, (masked['lse'] as BigNumber[]).map(Number), d * 16);
    }), { numRuns: cases(5, 15) });
  });

  it('agrees with crossEntropy() to float64 rounding', () => {
    fc.assert(fc.property(fc.gen(), (gen) => {
      const draw = drawFrom(gen);
      const V = draw.whole(1, 9);
      const [x, target] = [draw.reals(V), draw.whole(0, V - 1)];
      const loss = crossEntropy(ndarray(x, [1, V]), ndarray(Int32Array.of(target), [1]), { V });
      const scope = evaluateEquation('cross-entropy', { V, target, x: big([[...x]])[0] }, digits);
      expectClose(loss.data, [Number(scope['loss'])], 16);
    }), { numRuns: cases(10, 30) });
  });

  it('is needed, since mathjs in float64 differs from it in the last digits', () => {
    const x = [0.25, 1.5, -2.75];
    const exact = evaluateEquation('cross-entropy', { V: 3, target: 0, x: big([x])[0] }, digits)['loss'] as BigNumber;
    const float = evaluateEquation('cross-entropy', { V: 3, target: 0, x })['loss'] as number;
    const error = Math.abs(Number(exact.minus(float)));
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(1e-14);
  });
});

describe('the chapter on disk', () => {
  it.each(['docs/algorithm.md', 'docs/mask.svg', 'docs/policies.md'])('%s is what the generator writes', async (path) => {
    const files = await generate(read, []);
    expect(await read(path) === files[path], `${path} is out of date: run npm run docs`).toBe(true);
  });

  it('cannot omit an equation, or use one that does not exist', async () => {
    expect(() => chapter('', () => '')).toThrow('leaves out lifetime');
    expect(() => chapter('{{eq:lifetimes}}', () => '')).toThrow('no equation is called lifetimes');
  });
});

describe('expressionTex()', () => {
  it.each([
    ['S[i, j] = scale * dot(q[i], k[j])', 'S_{i, j} = \\mathrm{scale} \\, q_{i} \\cdot k_{j}'],
    ['w[j] * (i - j <= W)', 'w_{j} \\, \\left[ i - j \\le W \\right]'],
    ['product(n, j < n < i, 1 - g[n])', '\\prod_{j \\lt n \\lt i} \\left( 1 - g_{n} \\right)'],
    ['a / (b * c)', '\\frac{a}{b \\, c}'],
  ])('prints %s', (expression, tex) => expect(expressionTex(expression)).toBe(tex));

  it('refuses a function it cannot print', () => {
    expect(() => expressionTex('gamma(x)')).toThrow('no TeX for the function gamma');
  });
});

/** Each number within 64 roundings of the largest magnitude that went into it. */
function expectClose(actual: ArrayLike<number>, expected: readonly number[], magnitude: number): void {
  expect(actual.length).toBe(expected.length);
  expected.forEach((x, n) => expect(Math.abs(actual[n] - x)).toBeLessThanOrEqual(64 * 2 ** -53 * magnitude));
}
