/** Numbers that the diagnosis solves for: scales, functions of Z, counts of heads, factors, and places in storage. */
import { beforeAll, describe, expect, it } from 'vitest';
import { generator } from '../src/core/random.ts';
import { factorWords } from '../src/oracle/diagnose/factor-words.ts';
import type { Hypothesis } from '../src/oracle/diagnose/hypothesis.ts';
import { refutedNames } from '../src/oracle/diagnose/refuted.ts';
import { Sample } from '../src/oracle/diagnose/sample.ts';
import { Scene } from '../src/oracle/diagnose/scene.ts';
import { FACTS } from '../src/oracle/judge/facts.ts';
import {
  type CaseReport, caseOf, makeCase, type OracleCase, type OutputName, type Tensors, verdictsOf,
} from '../src/vectors.ts';
import { f, part, plain } from './mutants/held-out/parts.ts';
import type { Hooks } from './mutants/hooks.ts';
import { run } from './mutants/kernel.ts';
import { changed, D, judge, N, only, said, SMALL } from './support/probes.ts';
import { some } from './support/thorough.ts';

let [each, twice, stepped, scored]: OracleCase[] = [];

beforeAll(async () => {
  each = await makeCase(SMALL);
  twice = await makeCase({ ...SMALL, batch: 2 });
  stepped = await makeCase({ ...SMALL, steps: [8, 5, 1, 3, 1, 2] });
  scored = await makeCase({ ...SMALL, tokens: 48, types: { scores: 'spread', noise: true } });
});

const FORWARD: readonly OutputName[] = ['out', 'lse'];
const names = (of: OracleCase, outputs: Tensors): readonly string[] => judge(of, outputs).diagnosis!.candidates;
const of = (names1: readonly OutputName[], hooks: Hooks, which = each): readonly [string, readonly string[]] =>
  said(judge(which, only(which, names1, hooks)));
const having = (...details: readonly string[]): unknown => expect.arrayContaining([...details]);
/** The same draws in every run. */
const noise = (seed: number): (() => number) => {
  const { uniform } = generator(seed, [9]);
  return () => uniform() - 0.5;
};

describe('what a cache attends to is diagnosed as rows of a forward pass', () => {
  it.each(some(2, [
    ['scale-off', '1.3', { scale: ({ scale }) => 1.3 * scale }],
    ['normaliser-other', 'Z + 1', { out: (o, { Z }) => o.map((x) => f(x / (Z + 1))) }],
    ['kv-reversed', undefined, { kv: (_, h) => (h >> 1) ^ 1 }],
  ] as readonly (readonly [string, string | undefined, Hooks])[]))('%s', (name, detail, hooks) => {
    expect(of(['cache_out'], hooks, stepped)).toEqual([name, detail === undefined ? [] : having(detail)]);
  });

  it('but a factor of it is no scale', () => {
    const outputs = changed(stepped, 'cache_out', (x) => 1.3 * x);
    expect(judge(stepped, outputs).diagnosis).toMatchObject({ candidates: ['factor'], details: { factor: ['1.3'] } });
  });
});

describe('a scale is solved for', () => {
  const back: Hooks = { weight: (S, lse) => f(Math.exp(f(1.3 * S - lse))) };
  const outer: Hooks = { ...back, dqFactor: (scale) => 1.3 * scale };
  const dM: Hooks = { dM: (_, __, { S, P, D: own, weight }) => f(weight * Math.exp(0.3 * S) * (P - own)) };
  const SCALES: readonly (readonly [name: OutputName, detail: string, hooks: Hooks])[] = [
    ['out', '1.3', { scale: ({ scale }) => 1.3 * scale }], ['lse', '1.3', { scale: ({ scale }) => 1.3 * scale }],
    ['out', '1 / sqrt of d padded to a multiple of 8 in the place of the scale', { scale: () => 1 / Math.sqrt(8) }],
    ['dv', '1.3, in the backward', back], ['dq', '1.3, in the backward', back], ['dq', '1.3, in the backward', outer],
    ['dk', '1.3, in the backward', back], ['dm_rows', '1.3, for dM', dM], ['dg', '1.3, for dM', dM],
  ];
  it.each(some(3, SCALES))('in %s: %s', (name, detail, hooks) => {
    expect(of([name], hooks)).toEqual(['scale-off', having(detail)]);
  });

  it('not where scores are bent, or the output has a factor', () => {
    const bent: Hooks = { attend: (row, see) => {
      const own = part(row, see);
      return plain({ ...own, S: own.S.map((s) => f(2 * Math.tanh(s / 2))) });
    } };
    expect(names(each, only(each, FORWARD, bent))).not.toContain('scale-off');
    expect(names(each, changed(each, 'out', (x) => 1.3 * x))).toEqual(['factor']);
  });

  it('and a factor may be one where all scores of a row are the same', async () => {
    const half = (name: 'q' | 'k', own: (c: number) => boolean): Tensors => ({ [name]: { ...each.inputs[name],
      data: (each.inputs[name].data as Float64Array).map((x, n) => (own(n % D) ? x : 0)) } as never });
    const inputs = { ...each.inputs, ...half('q', (c) => c < 2), ...half('k', (c) => c >= 2) };
    const flat = await caseOf({ ...each, inputs }); // S = 0
    expect(names(flat, changed(flat, 'dq', (x) => 1.5 * x))).toEqual(['factor', 'scale-off']);
    expect(names(flat, changed(flat, 'dv', (x) => 1.5 * x))).toEqual(['factor']);
    const alone = await makeCase({ ...SMALL, window: 0, types: { pattern: ['W'] } });
    expect(names(alone, changed(alone, 'lse', (x) => 1.5 * x))).toEqual(['factor', 'scale-off']);
  });

  it('and told by what of the case it is', () => {
    const scene = { parameters: { ...each.parameters, headDim: 6, scale: 6 ** -0.5 }, N: 40, R: 2 } as Scene;
    const words = (factor: number): readonly string[] => factorWords(scene, factor).also;
    expect(words(Math.LOG2E)).toEqual(['log2(e)', 'log2(e) / sqrt(d) in the place of the scale']);
    expect(words(Math.sqrt(6 / 8))).toContain('1 / sqrt of d padded to a power of two in the place of the scale');
    expect(words(1 / 40)).toEqual(['1 / N']);
    expect(words(2)).toContain('the query heads of a group');
    expect(words(2.002)).toEqual([]);
    expect(words(1)).toEqual([]);
  });
});

describe('a maximum of other scores', () => {
  let sharp: OracleCase;
  const tops: number[][] = [];
  beforeAll(async () => {
    sharp = await makeCase({ ...SMALL, logits: 'large' });
    let row = 0;
    run(sharp, { attend: (all, see) => {
      const own = part(all, see);
      (tops[Math.floor(row / N)] ??= [])[row++ % N] = Math.max(...own.S);
      return plain(own);
    } });
  });
  const by = (m: (own: readonly number[], i: number) => number, which: OracleCase): Tensors => {
    let row = 0;
    return only(which, FORWARD, { attend: (all, see) => {
      const own = part(all, see);
      const top = m(tops[Math.floor(row++ / N) % 4], all.i);
      const o = new Float32Array(D);
      let Z = 0;
      own.S.forEach((s, n) => {
        const e = f(Math.exp(f(s - top)));
        Z = f(Z + e);
        o.forEach((x, c) => (o[c] = f(x + f(e * own.value(n, c)))));
      });
      return { o, m: top, Z, lse: f(top + Math.log(Z)) };
    } });
  };

  it.each([
    ['of all rows of the tile of 8 rows', (own, i) => Math.max(...own.slice(i - i % 8, i - i % 8 + 8))],
    ['of all rows so far', (own, i) => Math.max(...own.slice(0, i + 1))],
  ] as readonly (readonly [string, (own: readonly number[], i: number) => number])[])('%s', (words, m) => {
    expect(said(judge(sharp, by(m, sharp)))).toEqual(['max-causal', having(`the maximum ${words}`)]);
  });

  it('is harmless where nothing underflows, and not claimed of NaN elsewhere', () => {
    expect(judge(each, by(() => 0, each)).pass).toBe(true);
    expect(names(sharp, changed(sharp, 'out', (x, { i }) => (i % 5 === 3 ? NaN : x)))).toEqual(['nan']);
  });
});

describe('functions of Z are solved for', () => {
  const outBy = (of1: (Z: number) => number): Hooks => ({ out: (o, { Z }) => o.map((x) => f(x / of1(Z))) });
  const lseBy = (of1: (m: number, Z: number) => number): Hooks => ({ lse: ({ m, Z }) => f(of1(m, Z)) });
  it.each(some(6, [
    ['normaliser-other', 'Z + 0.5', outBy((Z) => Z + 0.5)], ['normaliser-other', 'Z - 0.25', outBy((Z) => Z - 0.25)],
    ['normaliser-other', 'Z to the power of 0.7', outBy((Z) => Z ** 0.7)],
    ['lse-sum-other', 'ln (Z + 0.4)', lseBy((m, Z) => m + Math.log(Z + 0.4))],
    ['lse-sum-other', 'ln Z times 0.7', lseBy((m, Z) => m + 0.7 * Math.log(Z))],
    ['lse-sum-other', 'half of ln Z', lseBy((m, Z) => m + Math.log(Z) / 2)],
    ['lse-sum-other', 'ln Z, and m times 0.9', lseBy((m, Z) => 0.9 * m + Math.log(Z))],
    ['lse-sum-other', 'ln Z with Z at least 1.7', lseBy((m, Z) => m + Math.log(Math.max(Z, 1.7)))],
    ['lse-sum-other', 'ln Z with Z at most 1.7', lseBy((m, Z) => m + Math.log(Math.min(Z, 1.7)))],
  ] as const))('%s: %s', (name, detail, hooks) => {
    expect(of([name === 'normaliser-other' ? 'out' : 'lse'], hooks)).toEqual([name, having(detail)]);
  });

  it('not where each row has a number of its own, or what is added is added to lse', () => {
    const draw = noise(5);
    const times = Array.from({ length: 4 * N }, () => 1.2 + 0.4 * draw());
    expect(names(each, changed(each, 'out', (x, { h, i }) => x * times[h * N + i]))).toEqual(['row-factor']);
    expect(said(judge(each, changed(each, 'lse', (x) => x + 0.4)))).toEqual(['offset', ['0.4']]);
  });
});

describe('gradients of scores with a factor for each type', () => {
  it('are told by it', () => {
    const by = (...times: readonly number[]): unknown =>
      said(judge(scored, changed(scored, 'dscores', (x, { c }) => times[c] * x)));
    expect(by(2, 1, 1)).toEqual(['dscores-other', having('those of GLOBAL times 2')]);
    expect(by(2, 1, 0.5)).toEqual(['dscores-other', having('those of GLOBAL times 2 and of WINDOW times 0.5')]);
  });

  it('are not those with one factor, or with one for each chunk', () => {
    const draw = noise(6);
    expect(names(scored, changed(scored, 'dscores', (x) => 2 * x))).toEqual(['factor']);
    expect(names(scored, changed(scored, 'dscores', (x) => x * (1 + draw())))).not.toContain('dscores-other');
  });
});

describe('how often each query head counts is solved for', () => {
  const counting = (name: OutputName, times: readonly number[]): Tensors => {
    const parts = times.map((_, r) => run(each, { counts: (n) => n === r })[name].data);
    const data = (parts[0] as Float64Array).map((_, n) => f(times.reduce((sum, x, r) => sum + x * parts[r][n], 0)));
    return { ...run(each), [name]: { ...run(each)[name], data } as never };
  };
  it.each(some(3, [
    ['dv', [2, 1],
      'KV head 0 sums query heads 0 times 2, 1; KV head 1 sums query heads 2 times 2, 3'],
    ['dk', [0.75, 0.25],
      'KV head 0 sums query heads 0 times 0.75, 1 times 0.25; KV head 1 sums query heads 2 times 0.75, 3 times 0.25'],
    ['dm_rows', [1, -1], 'the query heads of each group with alternating signs'],
    ['dw', [0, 2], 'query heads of each group count 0, 2 times'], ['dg', [2, 0], 'the first half of each group, twice'],
  ] as readonly (readonly [OutputName, readonly number[], string])[]))('%s: %j', (name, times, detail) => {
    expect(said(judge(each, counting(name, times)))).toEqual(['group-other', having(detail)]);
  });

  it('not where all count as often, or each key has a number of its own', () => {
    const draw = noise(7);
    for (const name of some(1, ['dw', 'dv'] as const)) {
      expect(names(each, counting(name, [2, 2]))[0]).toBe('factor');
      expect(names(each, changed(each, name, (x) => x * (1 + draw())))).not.toContain('group-other');
    }
  });
});

describe('whole heads that hold others', () => {
  type From = (b: number, h: number) => number;
  const held = (name: OutputName, from: From): Tensors => changed(twice, name, (_, { b, h, i }, at) => {
    const source = from(b, h);
    return source < 0 ? 0 : at(source % 4, i, source >> 2);
  });
  it.each(some(2, [
    ['all query heads of a group hold its first', (b, h) => 4 * b + h - h % 2],
    ['every head of every sequence holds the first of all', () => 0],
    ['every sequence holds batch 0', (_, h) => h],
  ] as readonly (readonly [string, From])[]))('%s', (detail, from) => {
    for (const name of some(1, FORWARD)) {
      expect(said(judge(twice, held(name, from)))).toEqual(['rows-moved', having(detail)]);
    }
  });

  it('by a rule only if it is true of the heads that are right, too', () => {
    const from: From = (b, h) => (b === 1 && h === 2 ? 0 : 4 * b + h);
    expect(said(judge(twice, held('lse', from))))
      .toEqual(['rows-moved', ['batch 1 query head 2 holds batch 0 query head 0']]);
    const [name, rows] = said(judge(twice, held('out', from)));
    expect([name, rows.filter((text) => /hold its|every/.test(text))]).toEqual(['rows-moved', []]);
  });
});

describe('right numbers in other places of storage', () => {
  type Place = (b: number, h: number, i: number, c: number) => number;
  const stored = (which: OracleCase, name: OutputName, to: Place): Tensors => {
    const right = run(which);
    const { shape: [, heads, rows], data: from } = right[name];
    const width = from.length / (which.parameters.batch * heads * rows);
    const data = new Float64Array(from.length);
    from.forEach((x, at) => {
      const [row, c] = [Math.floor(at / width), at % width];
      const place = to(Math.floor(row / (rows * heads)), Math.floor(row / rows) % heads, row % rows, c);
      if (place < data.length) data[place] = x;
    });
    return { ...right, [name]: { ...right[name], data } as never };
  };

  it('are told by their pitch or the order of the axes', () => {
    expect(said(judge(twice, stored(twice, 'out', (b, h, i, c) => ((b * 4 + h) * N + i) * (D + 3) + c))))
      .toEqual(['elements-moved', ['rows d + 3 numbers apart']]);
    expect(said(judge(scored, stored(scored, 'dscores', (_, h, i, c) => (c * 2 + h) * 48 + i))))
      .toEqual(['elements-moved', having('[B,3,G,Nc]')]);
    expect(said(judge(each, stored(each, 'dw', (_, h, i) => i * 2 + h))))
      .toEqual(['elements-moved', having('[B,Nc,G]')]);
    const { details } = judge(twice, stored(twice, 'out', (b, h, i, c) => ((i * 2 + b) * 4 + h) * D + c)).diagnosis!;
    expect(details!['elements-moved']).toEqual(having('[N,B,H,d]'));
    expect(said(judge(each, stored(each, 'dw', (_, h, i) => i + N * (1 - h))))[0]).not.toBe('elements-moved');
  });

  it('or by where the first are found, if no formula says so', () => {
    const { data } = run(each).out;
    const turned = changed(each, 'out', (_, { h, i, c }) => data[(h * N + i) * D + (c + i * i) % D]);
    expect(said(judge(each, turned))).toEqual(['elements-moved', having('no formula, along d')]);
  });

  it('are not numbers that are a little off', () => {
    const draw = noise(8);
    const { data } = run(each).out;
    const off = changed(each, 'out', (_, { h, i, c }) =>
      data[(h * N + i) * D + (c + i * i) % D] * (1 + 0.02 * draw()));
    expect(names(each, off)).not.toContain('elements-moved');
  });
});

describe('a case with few wrong numbers', () => {
  const outputs = (): Tensors => changed(each, 'lse', (x, { h, i }) => (h === 0 && i === 9 ? x + 0.5 : x));

  it('denies the names that one of them contradicts', () => {
    const failing = Uint8Array.from({ length: 4 * N }, (_, n) => Number(n === 9));
    const scene = new Scene(each, outputs(), 'f32', failing);
    const sample = new Sample(scene, 'lse', { skip: new Set(), first: 9 });
    const at = (name: Hypothesis['name'], x: number): Hypothesis =>
      ({ name, predict: (row) => [scene.lse(row) + (row === 9 ? x : 0)] });
    const known = [
      at('window-long', 0.7), at('window-long', 0.5), at('sign', 0.7), at('window-short', NaN), at('scale-off', 0.501),
    ];
    expect([...refutedNames(sample, known)]).toEqual(['sign']);
  });

  it('counts against a name only then', () => {
    const long = judge(each, only({ ...each, parameters: { ...each.parameters, window: 4 } }, FORWARD, {}));
    expect(long.diagnosis!.name).toBe('window-long');
    const few = judge(each, outputs());
    expect(FACTS.get(few.diagnosis!)).toMatchObject({ few: true });
    expect(FACTS.get(few.diagnosis!)!.refuted).toContain('window-long');
    const silent: CaseReport = { ...few, diagnosis: { ...few.diagnosis! } };
    FACTS.set(silent.diagnosis!, { ...FACTS.get(few.diagnosis!)!, refuted: new Set() });
    expect(verdictsOf([long, long, silent])[0].name).toBe('window-long');
    expect(verdictsOf([long, long, few])[0].name).toBe('unknown');
  });
});
