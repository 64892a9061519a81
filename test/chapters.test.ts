/**
 * The pages of docs/chapters/ are what the generator writes, and the running example that they carry in numbers agrees
 * with answers that share no code with the reference: those of `natsearch learn`, and differences of the loss.
 */
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { chapterPage, CHAPTERS } from '../docs/chapters.ts';
import { example, GIVEN, heldBy } from '../docs/example.ts';
import { numberAt, shown, TABLES } from '../docs/example-tables.ts';
import { generate } from '../docs/generate.ts';
import { LAYERS } from '../docs/layer-figure.ts';
import * as learn from '../src/cli/learn/algorithm.ts';

const read = (path: string): Promise<string> => readFile(new URL(`../${path}`, import.meta.url), 'utf8');
const E = example();
const N = GIVEN.types.length;
const { window, lambda, tau } = GIVEN;
const types = [...GIVEN.types];
const column = (x: readonly number[]): number[][] => x.map((each) => [each]);
const given = {
  q: column(GIVEN.q), k: column(GIVEN.k), v: column(GIVEN.v), dOut: column(GIVEN.dOut),
  last: learn.lifetime(types, window),
};

/** Rows of numbers that agree but for the rounding of some hundred operations on numbers below 10. */
function expectSame(actual: readonly (readonly number[])[], expected: readonly (readonly number[])[]): void {
  expect(actual.map((row) => row.length)).toEqual(expected.map((row) => row.length));
  actual.forEach((row, i) => row.forEach((x, j) => expect(Math.abs(x - expected[i][j])).toBeLessThan(1e-12)));
}
/** The loss for a mask of real numbers: the sum of do o. */
function loss(M: readonly (readonly number[])[]): number {
  return M.reduce((sum, row, i) => {
    const e = row.map((m, j) => (j <= i ? m * Math.exp(GIVEN.q[i] * GIVEN.k[j]) : 0));
    const o = e.reduce((x, y, j) => x + y * GIVEN.v[j], 0) / e.reduce((x, y) => x + y);
    return sum + GIVEN.dOut[i] * o;
  }, 0);
}
/** A table with one number changed. */
const moved = (of: readonly (readonly number[])[], r: number, c: number, by: number): number[][] =>
  of.map((row, n) => row.map((x, m) => (n === r && m === c ? x + by : x)));
const STEP = 1e-5; // differences of third order: 1e-10 in numbers of size 1, and 1e-16 / 1e-5 by rounding

describe('the running example', () => {
  it('has the lifetimes, the mask, the attention and the cache of other code', () => {
    expect(E.last).toEqual(given.last);
    expect(E.M).toEqual(learn.mask(given.last));
    const { A, lse } = learn.weights(given);
    expectSame([...E.A, E.lse], [...A, lse]);
    expectSame(column(E.out), learn.attention(given));
    expect(E.held).toEqual(learn.cache(types, window));
    expect(heldBy('nats')).toEqual(E.held);
    const tova = heldBy('tova:4'); // chapter 9 says that it loses token 4 after query 5
    expect([tova[4].includes(4), tova[5].includes(4)]).toEqual([true, false]);
  });

  it('has the gradients of other code', () => {
    const { dq, dk, dv } = learn.attentionBackward(given);
    expectSame([E.dq, E.dk, E.dv], [dq.flat(), dk.flat(), dv.flat()]);
    expectSame(E.dM, learn.maskGradient(given));
    expectSame(E.dTypes, learn.typeGradient({ dM: E.dM, types, window }));
    expectSame(E.price, learn.price({ types, window, lambda }));
    const rows = (x: readonly (readonly number[])[]): number[][] => x.map((row) => [...row]);
    const [scores, noise, dTypes] = [GIVEN.scores, GIVEN.noise, E.dt].map(rows);
    const searched = learn.straightThrough({ scores, noise, tau, dTypes });
    expect([searched.types, E.chosen]).toEqual([types, types]);
    expectSame(E.dScores, searched.dScores);
  });

  it('has the gradients that differences of the loss have', () => {
    for (let i = 0; i < N; i++) {
      for (let j = 0; j <= i; j++) {
        const by = (h: number): number => loss(moved(E.M, i, j, h));
        expect(Math.abs((by(STEP) - by(-STEP)) / (2 * STEP) - E.dM[i][j])).toBeLessThan(1e-8);
      }
    }
    const relaxed = (soft: readonly (readonly number[])[]): number[][] => types.map((_, i) => types.map((__, j) => {
      let open = 1;
      for (let n = j + 1; n < i; n++) open *= 1 - soft[n][0];
      return j > i ? 0 : soft[j][0] + soft[j][1] * open + soft[j][2] * Number(i - j <= window);
    }));
    const hard = types.map((type) => [0, 1, 2].map((c) => Number(c === type)));
    for (const [t, c] of types.flatMap((_, n) => [0, 1, 2].map((type) => [n, type]))) {
      const by = (h: number): number => loss(relaxed(moved(hard, t, c, h)));
      expect(Math.abs((by(STEP) - by(-STEP)) / (2 * STEP) - E.dTypes[t][c])).toBeLessThan(1e-8);
    }
  });

  it('is printed for reading, and refuses a number that it has not', () => {
    expect([shown(1 / 3), shown(-0.0001), shown(-2), shown(Infinity)]).toEqual(['0.333', '0', '−2', '∞']);
    expect(numberAt('kept')).toBe('0.625');
    expect(() => numberAt('dM 9 9')).toThrow(RangeError);
    for (const table of Object.values(TABLES)) expect(table().split('\n').length).toBeGreaterThan(3);
  });
});

describe('the chapters', () => {
  it.each([...CHAPTERS.map((name) => `${name}.md`), ...Object.keys(LAYERS).map((name) => `layer-${name}.svg`)])(
    '%s is what the generator writes', async (name) => {
      const files = await generate(read, []);
      expect(await read(`docs/chapters/${name}`) === files[`docs/chapters/${name}`], 'run npm run docs').toBe(true);
    });

  it.each(CHAPTERS)('%s has a figure, both boxes, and notes for kernel authors', async (name) => {
    const text = await read(`docs/chapters/${name}.md`);
    expect(text).toMatch(/!\[[^\]]+\]\([^)]+\.svg\)/);
    expect(text).toContain('> **One training step**');
    expect(text).toContain('> **One decoding step**');
    expect(text).toMatch(/\n## For kernel authors\n|# 13\. Notes for kernel authors\n/);
  });

  it('refuse a placeholder that names nothing', () => {
    for (const text of ['{{example:nothing}}', '{{eq:nothing}}', '{{= nothing 1}}', '{{what}}']) {
      expect(() => chapterPage(text, () => '')).toThrow(RangeError);
    }
  });
});
