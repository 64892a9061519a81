/** The exercises: their answers are those of the reference; right, empty and typical wrong ones are graded as such. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  addMemoryPrice, attention, attentionBackward, attentionMask, KVCache, lifetime, maskGradient, ndarray,
  selectTokenTypes, tokenTypesBackward,
} from '../src/index.ts';
import { type Answer, grade } from '../src/cli/learn/grade.ts';
import type { Arguments, Step, Value } from '../src/cli/learn/step.ts';
import { STEPS } from '../src/cli/learn/steps/index.ts';
import { CHAPTERS } from '../docs/chapters.ts';

type Table = number[][];
const FOR_EVER = 2 ** 31 - 1;
const whole = (list: number[]) =>
  ndarray(Int32Array.from(list, (x) => (x === Infinity ? FOR_EVER : x)), [1, 1, list.length]);
const table = (x: Table) => ndarray(Float64Array.from(x.flat()), [1, 1, x.length, x[0].length]);
const rows = ({ data, shape }: { data: ArrayLike<number>; shape: readonly number[] }): Table => {
  const width = shape.at(-1)!;
  const row = (r: number) => Array.from({ length: width }, (_, c) => data[r * width + c]);
  return Array.from({ length: data.length / width }, (_, r) => row(r));
};
interface Attended { q: Table; k: Table; v: Table; last: number[]; dOut: Table }
const inputs = ({ q, k, v, last }: Attended) => ({ q: table(q), k: table(k), v: table(v), last: whole(last) });
function backward(given: Attended) {
  const forward = inputs(given);
  return { ...forward, ...attention(forward), dOut: table(given.dOut) };
}

/** The answers of the reference, by step. */
const REFERENCE: Record<string, (given: never) => Value> = {
  lifetime: ({ types, window }: { types: number[]; window: number }) =>
    [...lifetime(whole(types), { window }).data].map((x) => (x === FOR_EVER ? Infinity : x)),
  mask: ({ last }: { last: number[] }) => rows(attentionMask(whole(last))),
  attention: (given: Attended) => rows(attention(inputs(given)).out),
  'attention-backward': (given: Attended) => {
    const { dq, dk, dv } = attentionBackward(backward(given));
    return { dq: rows(dq), dk: rows(dk), dv: rows(dv) };
  },
  'mask-gradient': (given: Attended) => rows(maskGradient({ ...backward(given), rule: 'exact' })),
  price: ({ types, window, lambda }: { types: number[]; window: number; lambda: number }) => {
    const dTypes = ndarray(new Float64Array(3 * types.length), [1, 1, types.length, 3]);
    const weight = 2 * lambda / types.length ** 2;
    return rows(addMemoryPrice({ dTypes, types: whole(types), length: types.length, window, weight }));
  },
  'straight-through': (given: { scores: Table; noise: Table; tau: number; dTypes: Table }) => {
    const { types, probabilities } = selectTokenTypes({
      scores: table(given.scores), noise: table(given.noise), temperature: given.tau,
    });
    const dScores = tokenTypesBackward({ dTypes: table(given.dTypes), probabilities, temperature: given.tau });
    return { types: [...types.data], dScores: rows(dScores) };
  },
  cache: ({ types, window }: { types: number[]; window: number }) => {
    const cache = new KVCache({ batch: 1, kvHeads: 1, headDim: 1, window });
    const one = ndarray(Float64Array.of(1), [1, 1, 1, 1]);
    return types.map((type) => {
      cache.step({ q: one, k: one, v: one, types: ndarray(Int32Array.of(type), [1, 1, 1]) });
      return [...cache.positions(0, 0)].sort((a, b) => a - b);
    });
  },
};

const chapters = Object.fromEntries(CHAPTERS.map((name) =>
  [name, readFileSync(new URL(`../docs/chapters/${name}.md`, import.meta.url), 'utf8')]));

const graded = (step: Step, answer: (given: Arguments) => Value) =>
  grade(step, step.cases().map((given): Answer => ({ value: answer(given) })));

describe.each(STEPS.map((step) => [step.name, step] as const))('the exercise %s', (name, step) => {
  it('accepts the answer of the reference, and of nobody with one number off', () => {
    const answer = REFERENCE[name] ?? step.solve;
    expect(graded(step, answer as never)).toMatchObject({ right: true, text: 'Right.' });
    const bent = (value: Value): Value => {
      if (typeof value === 'number') return value === Infinity ? 7 : value + 1e-6;
      if (Array.isArray(value)) return value.map((each: Value, n) => (n === 0 ? bent(each) : each));
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, bent(each)]));
    };
    const off = graded(step, (given) => bent(step.solve(given as never)));
    expect(off.right).toBe(false);
    expect(off.text).toMatch(/ is .*, and should be .*\. The call was /);
  });

  it('names each typical mistake, and refuses an empty answer in words', () => {
    expect(step.mistakes.length).toBeGreaterThanOrEqual(5);
    for (const { what, think, compute } of step.mistakes) {
      const { right, mistake, text } = graded(step, (given) => compute(given as never));
      expect([right, mistake]).toEqual([false, what]);
      expect(text).toBe(`You compute ${what}. ${think}`);
    }
    expect(grade(step, step.cases().map(() => ({ error: 'it throws Error: write it' }))).text)
      .toMatch(/^it throws Error: write it, in the call /);
    expect(graded(step, () => []).text).toMatch(/^the answer (is|has) .*(should be|no field)/);
    expect(graded(step, () => NaN).right).toBe(false);
  });

  it('has calls whose arguments are its parameters, hints, and a chapter that names it', () => {
    expect(CHAPTERS).toContain(step.chapter);
    expect(chapters[step.chapter]).toContain(`natsearch learn ${name}\n`);
    for (const given of step.cases()) expect(Object.keys(given)).toEqual(Object.keys(step.parameters));
    expect(step.hints.length).toBeGreaterThanOrEqual(2);
  });
});

describe('type-gradient', () => {
  it('is the derivative of the relaxed mask, by differences', () => {
    const step = STEPS.find(({ name }) => name === 'type-gradient')!;
    for (const given of step.cases()) {
      const { dM, types, window } = given as unknown as { dM: Table; types: number[]; window: number };
      const loss = (soft: Table): number => {
        let sum = 0;
        for (let i = 0; i < types.length; i++) {
          for (let j = 0; j <= i; j++) {
            let open = 1;
            for (let n = j + 1; n < i; n++) open *= 1 - soft[n][0];
            sum += dM[i][j] * (soft[j][0] + soft[j][1] * open + soft[j][2] * Number(i - j <= window));
          }
        }
        return sum;
      };
      const hard = types.map((type) => [0, 1, 2].map((c) => Number(c === type)));
      const moved = (t: number, c: number, by: number) =>
        hard.map((row, n) => row.map((x, m) => (n === t && m === c ? x + by : x)));
      const truth = step.solve(given as never) as unknown as Table;
      types.forEach((_, t) => [0, 1, 2].forEach((c) => {
        expect(truth[t][c]).toBeCloseTo((loss(moved(t, c, 1e-3)) - loss(moved(t, c, -1e-3))) / 2e-3, 8);
      }));
    }
  });
});
