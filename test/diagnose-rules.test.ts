/** Rules that the diagnosis solves for: which pairs count wrongly, when keys end, which rows go into others. */
import { beforeAll, describe, expect, it } from 'vitest';
import { roundTo } from '../src/formats/rounding.ts';
import { makeCase, type OracleCase, type OutputName, type Tensors } from '../src/vectors.ts';
import { f, part, plain } from './mutants/held-out/parts.ts';
import { GLOBAL, type Head, type Hooks, LOCAL, type RowOf, WINDOW } from './mutants/hooks.ts';
import { run } from './mutants/kernel.ts';
import { closer, rightLast } from './mutants/right.ts';
import type { At } from './mutants/third/parts.ts';
import { changed, D, judge, N, only, said, SMALL } from './support/probes.ts';
import { some } from './support/thorough.ts';

let each: OracleCase;
let stepped: OracleCase;

beforeAll(async () => {
  each = await makeCase(SMALL);
  stepped = await makeCase({ ...SMALL, steps: [8, 5, 1, 3, 1, 2] });
});

const FORWARD: readonly OutputName[] = ['out', 'lse'];
const tile = (n: number): number => n >> 3;
const sees = (i: number, j: number, last: number): boolean => j <= i && i <= last;
/** Odd keys before the query in its own tile of 8. */
const odd = (i: number, j: number): boolean => tile(i) === tile(j) && j < i && j % 2 === 1;
/** Every fifth pair or so, by no rule that anyone would write. */
const chance = (i: number, j: number): boolean => j < i && (7 * i + 3 * j * j + i * i * j) % 5 === 2;

type Terms = { readonly A: number; readonly P: number; readonly D: number };
/** dq, or dM summed over rows, with each pair as `of` makes it. */
function pairwise(name: 'dq' | 'dm_rows', of: (i: number, j: number, seen: boolean, terms: Terms) => number): Tensors {
  const { inputs: { q, k, v, dout }, expected: { out, lse, last }, parameters: { scale } } = each;
  const dot = (x: ArrayLike<number>, a: number, y: ArrayLike<number>, b: number): number =>
    Array.from({ length: D }, (_, c) => x[a * D + c] * y[b * D + c]).reduce((s, t) => s + t);
  const pair = (h: number, i: number, j: number, norm: number): number => {
    const [row, key] = [h * N + i, (h >> 1) * N + j];
    const A = Math.exp(scale * dot(q.data, row, k.data, key) - norm);
    const terms = { A, P: dot(dout.data, row, v.data, key), D: dot(dout.data, row, out.data, row) };
    return of(i, j, sees(i, j, last.data[key]), terms);
  };
  const sum = (i: number, term: (j: number) => number): number =>
    Array.from({ length: i + 1 }, (_, j) => term(j)).reduce((s, t) => s + t);
  return changed(each, name, (_, { h, i, c }) => {
    if (name === 'dq') {
      return scale * sum(i, (j) => pair(h, i, j, lse.data[h * N + i]) * k.data[((h >> 1) * N + j) * D + c]);
    }
    return [2 * h, 2 * h + 1].reduce((all, head) => {
      const norm = Math.log(sum(i, (j) => Math.exp(scale * dot(q.data, head * N + i, k.data, h * N + j))));
      return all + sum(i, (j) => pair(head, i, j, norm));
    }, 0);
  });
}
const dS = (counts: (i: number, j: number) => { P?: number; D?: number }): Tensors =>
  pairwise('dq', (i, j, seen, { A, P, D: own }) => {
    const { P: p = 1, D: d = 1 } = counts(i, j);
    return seen ? A * (p * P - d * own) : 0;
  });

describe('pairs of query and key are solved for', () => {
  const masked = (counts: (i: number, j: number, last: number, head: Head) => boolean) => (): Tensors =>
    only(each, FORWARD, { visible: counts });
  const attends = (change: (row: RowOf, chosen: (n: number) => boolean) => RowOf, names = FORWARD) => (): Tensors =>
    only(each, names, { attend: (all, see) => {
      const row = part(all, see);
      const own = plain(row);
      const made = plain(change(row, (n) => row.keys[n] < row.i && tile(row.keys[n]) === tile(row.i)));
      return names.length > 1 ? made : { ...own, o: made.o };
    } });
  const back = (name: OutputName, counts: (i: number, j: number, last: number) => boolean) => (): Tensors =>
    only(each, [name], { backVisible: counts });

  const PAIRS: readonly (readonly [what: string, name: string, detail: string, make: () => Tensors])[] = [
    ['hidden', 'pairs-hidden', 'odd keys, those in tiles of 8 further back than the one on the diagonal',
      masked((i, j, last) => sees(i, j, last) && !(j % 2 === 1 && tile(i) > tile(j)))],
    ['hidden, by type', 'pairs-hidden', 'GLOBAL keys, those an odd number of tiles of 8 back',
      masked((i, j, last, { own }) => sees(i, j, last) && !(own[j] === GLOBAL && (tile(i) - tile(j)) % 2 === 1))],
    ['seen', 'pairs-seen', 'odd keys, those less than 8 before the query',
      masked((i, j, last) => sees(i, j, last) || (j % 2 === 1 && j <= i && i - j < 8))],
    ['twice in the forward', 'terms-weighed', 'keys before the query in tiles of 8 on the diagonal: times 2',
      attends((row, has) => ({ ...row, S: row.S.map((s, n) => (has(n) ? s + Math.LN2 : s)) }))],
    ['not in P v, but in Z', 'terms-weighed',
      'in P v, but not in Z, keys before the query in tiles of 8 on the diagonal: left out',
      attends((row, has) => ({ ...row, value: (n, c) => (has(n) ? 0 : row.value(n, c)) }), ['out'])],
    ['left out of dv', 'terms-weighed',
      'odd keys, those before the query in tiles of 8 on the diagonal: left out',
      back('dv', (i, j, last) => sees(i, j, last) && !odd(i, j))],
    ['hidden, and counted in dk', 'terms-weighed',
      'keys up to W rows after the end of their life, though hidden, count',
      back('dk', (i, j, last) => j <= i && i <= last + 3)],
    ['without D in dq', 'terms-weighed',
      'D, of odd keys, those before the query in tiles of 8 on the diagonal: left out',
      () => dS((i, j) => ({ D: Number(!odd(i, j)) }))],
    ['with dP twice in dq', 'terms-weighed',
      'dP, of odd keys, those before the query in tiles of 8 on the diagonal: times 2',
      () => dS((i, j) => ({ P: 1 + Number(odd(i, j)) }))],
    ['left out of dM', 'terms-weighed', 'hidden pairs, of odd keys: left out',
      () => pairwise('dm_rows', (_, j, seen, { A, P, D: own }) => (seen || j % 2 === 0 ? A * (P - own) : 0))],
  ];
  it.each(some(5, PAIRS))('%s', (_, name, detail, make) => {
    const [found, details] = said(judge(each, make()));
    expect([found, details]).toEqual([name, expect.arrayContaining([detail])]);
  });

  it('in the steps of a cache', () => {
    let begin = 0;
    const starts = stepped.parameters.steps.map((T) => (begin += T) - T);
    const outputs = only(stepped, ['cache_out'], { cache: { visible: (i, { j, last }) =>
      sees(i, j, last) && !(j >= starts.findLast((start) => start <= i)! && j < i && j % 2 === 1) } });
    expect(said(judge(stepped, outputs))).toEqual(['terms-weighed',
      expect.arrayContaining(['odd keys, those of the query\'s own step, before it: left out'])]);
  });

  it('but not where no rule tells them apart, or where nothing but rounding is wrong', () => {
    const rules = /^(pairs-|terms-weighed|normaliser-other|lifetimes-other)/;
    const names = (outputs: Tensors): readonly string[] => judge(each, outputs).diagnosis!.candidates;
    expect(names(masked((i, j, last) => sees(i, j, last) && !chance(i, j))())).toEqual(['unknown']);
    const dM = pairwise('dm_rows', (i, j, _, { A, P, D: own }) => (chance(i, j) ? 0 : A * (P - own)));
    expect(names(dM)).toEqual(['unknown']);
    for (const name of some(1, ['out', 'dv', 'dq'] as const)) {
      const rounded = names(changed(each, name, (x) => roundTo(x, 'BF16')));
      expect([name, rounded.filter((each1) => rules.test(each1))]).toEqual([name, []]);
    }
  });
});

describe('lifetimes by other formulas are solved for', () => {
  type Ends = (head: Head, j: number) => number;
  const of = (type: number, end: Ends): Ends => (head, j) => (head.own[j] === type ? end(head, j) : rightLast(head, j));
  const earlier = of(WINDOW, (head, j) => Math.min(j + 3, closer(head, j)));
  const ofPair = of(LOCAL, (head, j) => rightLast(head, j ^ 1));
  const byChance = of(WINDOW, (_, j) => j + 1 + (5 * j * j + j) % 7);
  const named = (names: readonly OutputName[], hooks: Hooks): readonly [string, readonly string[]] =>
    said(judge(each, only(each, names, hooks)));

  it.each([
    ['the earlier of two ends', ['last'], earlier,
      'WINDOW until the earlier of what is right and the end of the next GLOBAL'],
    ['the end of another token', ['last'], ofPair, 'LOCAL until last() of the token on the other side of its pair'],
    ['the same in the mask', ['mask'], ofPair, 'LOCAL until last() of the token on the other side of its pair'],
    ['and in the forward alone', FORWARD, ofPair, 'LOCAL until last() of the token on the other side of its pair'],
  ] as readonly (readonly [string, readonly OutputName[], Ends, string])[])('%s', (_, names, last, detail) => {
    expect(named(names, { last })).toEqual(['lifetimes-other', expect.arrayContaining([detail])]);
  });

  it('also in gradients', () => {
    expect(named(['dv'], { backVisible: (i, j, _, head) => sees(i, j, ofPair(head, j)) })).toEqual(['lifetimes-other',
      expect.arrayContaining(['LOCAL until last() of the token on the other side of its pair'])]);
  });

  it('but not where no formula has such ends', () => {
    expect(named(['last'], { last: byChance })[0]).toBe('unknown');
    expect(named(FORWARD, { last: byChance })[0]).toBe('unknown');
  });

  it('and known mistakes keep their names', () => {
    expect(named(['last'], { last: of(WINDOW, (_, j) => j + 4) })[0]).toBe('window-long');
    expect(named(['last'], { last: of(LOCAL, (head, j) => {
      const end = closer(head, j);
      return end < N ? end - 1 : end;
    }) })[0]).toBe('local-early');
  });
});

describe('masks of single tiles', () => {
  const lasts = (head: Head, j: number): number => rightLast(head, j);
  it.each([
    ['within each tile of 8', (i: number, j: number, head: Head): boolean => {
      const [a, b] = [i - i % 8 + j % 8, j - j % 8 + i % 8];
      return a < N && b < N && sees(a, b, lasts(head, b));
    }],
    ['within tiles of 8 on the diagonal', (i: number, j: number, head: Head): boolean =>
      (tile(i) === tile(j) ? sees(j, i, lasts(head, i)) : sees(i, j, lasts(head, j)))],
  ] as const)('are transposed %s', (detail, visible) => {
    const outputs = only(each, FORWARD, { visible: (i, j, _, head) => visible(i, j, head) });
    expect(said(judge(each, outputs))).toEqual(['mask-transposed', expect.arrayContaining([detail])]);
  });

  it('are not, where one pair of such a tile is hidden', () => {
    const outputs = only(each, FORWARD, { visible: (i, j, last) => sees(i, j, last) && !(i === N - 1 && j === 8) });
    expect(judge(each, outputs).diagnosis!.candidates).not.toContain('mask-transposed');
  });

  it('lack a key that is told from the end, too', () => {
    const outputs = changed(each, 'mask', (x, { i, c }) => (c === N - 2 && i > c ? 0 : x));
    expect(said(judge(each, outputs)))
      .toEqual(['key-lost', expect.arrayContaining(['the key before the last one', 'key 18'])]);
  });
});

describe('rows that are carried into others', () => {
  type Change = (x: number, place: At, at: (h: number, i: number) => number) => number;
  const before: Change = (_, { h, i }, at) => (i > 0 ? at(h, i - 1) : NaN);
  /** What is written at each row is what is written at the row before, and its own. */
  const scan = (name: OutputName): Tensors => {
    const right = run(each);
    const data = right[name].data.slice() as Float64Array;
    for (let n = D; n < data.length; n++) if (Math.floor(n / D) % N > 0) data[n] = f(data[n] + data[n - D]);
    return { ...right, [name]: { ...right[name], data } as never };
  };
  const or = (first: Change): Change => (x, place, at) => (place.i > 0 ? first(x, place, at) : x);

  it.each([
    ['out', 'that of the row before is added',
      (x, place, at) => (place.i % 8 === 0 && place.i > 0 ? x + before(x, place, at) : x)],
    ['dk', 'that of the key before is subtracted', or((x, place, at) => x - before(x, place, at))],
    ['lse', 'the mean of it and the next row', (x, { h, i }, at) => (i < N - 1 ? (x + at(h, i + 1)) / 2 : x)],
    ['dm_rows', 'that of the row 8 before is added', (x, { h, i }, at) => (i >= 8 ? x + at(h, i - 8) : x)],
    ['dv', 'what was written at the first key is added', (x, { h, i }, at) => (i > 0 ? x + at(h, 0) : x)],
  ] as readonly (readonly [OutputName, string, Change])[])('%s: %s', (name, detail, change) => {
    expect(said(judge(each, changed(each, name, change)))).toEqual(['rows-carried', expect.arrayContaining([detail])]);
  });

  it('are told from sums that go on from row to row', () => {
    const [name, details] = said(judge(each, scan('dq')));
    expect([name, details[0]]).toEqual(['rows-carried', 'what was written at the row before is added']);
    expect(details).not.toContain('that of the row before is added');
  });

  it('in the steps of a cache', () => {
    const [, ...starts] = stepped.parameters.steps.map((_, r, all) => all.slice(0, r).reduce((a, b) => a + b, 0));
    const outputs = changed(stepped, 'cache_out', (x, { h, i }, at) => {
      const start = starts.findLast((first) => first <= i);
      return start === undefined ? x : x + at(h, start - 1);
    });
    expect(said(judge(stepped, outputs))).toEqual(['rows-carried',
      expect.arrayContaining(['that of the last row of the step before is added'])]);
  });

  it('are not claimed of a part of a row, of rows from anywhere, or of rounding', () => {
    const names = (change: Change): readonly string[] => judge(each, changed(each, 'dq', change)).diagnosis!.candidates;
    expect(names(or((x, place, at) => x + before(x, place, at) / 2))).not.toContain('rows-carried');
    expect(names((x, { h, i }, at) => (i % 3 === 2 ? x + at(h, (7 * i + i * i) % N) : x)))
      .not.toContain('rows-carried');
    expect(names((x) => roundTo(x, 'F16'))).not.toContain('rows-carried');
  });
});

describe('dw over other rows', () => {
  const by = (dw: NonNullable<Hooks['dw']>): readonly [string, readonly string[]] =>
    said(judge(each, only(each, ['dw'], { dw })));
  it.each([
    ['from the first row after the token', ({ c, column, cell }) => f(column(c, 0, c + 3) - cell(c, c))],
    ['up to the larger of e(j) and the end of the window',
      ({ c, column, head }) => column(c, 0, Math.max(c + 3, closer(head, c)))],
    ['in LOCAL chunks: dl',
      ({ c, column, head }) => column(c, 0, head.own[c] === LOCAL ? closer(head, c) : c + 3)],
  ] as readonly (readonly [string, NonNullable<Hooks['dw']>])[])('%s', (detail, dw) => {
    expect(by(dw)).toEqual(['dw-rows-other', expect.arrayContaining([detail])]);
  });

  it('is not claimed of another window, or of rows that no rule tells', () => {
    expect(by(({ c, column }) => column(c, 0, c + 6))).toEqual(['window-other', expect.arrayContaining(['2 W'])]);
    const chanced = only(each, ['dw'], { dw: ({ c, column }) => column(c, 0, c + c * c % 7) });
    expect(judge(each, chanced).diagnosis!.candidates).not.toContain('dw-rows-other');
  });
});
