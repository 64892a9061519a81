/**
 * The online softmax, its base, its merging of parts, and lse.
 * @module
 */
import { f, part, plain, soft, tiled } from '../held-out/parts.ts';
import { run } from '../kernel.ts';
import type { RowOf, Weights } from '../hooks.ts';
import { online } from '../right.ts';
import { patched } from '../third/parts.ts';
import { type Blind, BACKWARD, blind, CACHE, hooked, LIFE, only, sizes, TYPES } from './parts.ts';

const e = (x: number): number => f(Math.exp(x));
const FORWARD = ['out', 'lse', 'cache_out'];
/** What a pass over the keys before `size` and one over the others make of a row. */
const halves = (row: RowOf, size: number): Weights[] =>
  [part(row, (j) => j < size), part(row, (j) => j >= size)].filter(({ keys }) => keys.length > 0)
    .map((half) => online(half));

export const SOFTMAX: readonly Blind[] = [
  only('max-over-tile', 'takes the running maximum over tiles of 16 keys before masking them', {
    cause: 'the maximum is taken over hidden keys, so that rows underflow (0 here where nothing is left)',
    lives: 'out and lse of rows whose visible scores lie far below a hidden or a later one: falling, large, '
      + 'hidden-nan, hidden-infinity',
  }, FORWARD, {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const end = Math.floor(row.i / 16) * 16 + 15;
      const m = Math.max(...row.S.filter((_, n) => row.keys[n] <= end));
      const o = new Float32Array(row.d);
      let Z = 0;
      seen.S.forEach((s, n) => {
        const w = e(f(s - m));
        Z = f(Z + w);
        o.forEach((x, c) => (o[c] = f(x + f(w * seen.value(n, c)))));
      });
      return { o, m, Z: Z || 1, lse: f(m + f(Math.log(Z || 1))) };
    },
  }),
  only('half-not-rescaled', 'rescales only the first half of d when the maximum rises (tiles of 16 keys)', {
    cause: 'no rescaling of earlier tiles in the second half of out\'s components',
    lives: 'components from d / 2 of out, in rows that see several tiles of 16 keys',
    where: /component|only in rows? from/,
  }, FORWARD, {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const right = online(seen);
      const wrong = tiled(16, (old, top) => ({ o: 1, Z: e(f(old - top)) }))?.(seen, () => true) as Weights;
      return { ...right, o: right.o.map((x, c) => (c < row.d / 2 ? x : wrong.o[c])) };
    },
  }),
  only(
    'lazy-rescale', 'does not rescale while the maximum rises by less than 8, but takes the new maximum all the same', {
    cause: 'no rescaling of earlier tiles (unless the maximum rises by 8)',
    lives: 'out and lse of rows that see several tiles of 16 keys, where the '
      + 'maximum rises by less than 8',
  }, FORWARD, {
    attend: tiled(16, (old, top) => (top - old < 8 ? { o: 1, Z: 1 } : { o: e(f(old - top)), Z: e(f(old - top)) })),
  }),
  only('exp2-diagonal', 'takes 2^x without log2(e) in the tile of 16 keys on the diagonal, and e^x in others', {
    cause: 'base 2 instead of e, in the tile on the diagonal',
    lives: 'out and lse; all keys where N <= 16, else those in the tile of the query',
    where: /diagonal/,
  }, ['out', 'lse'], {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const m = Math.max(...seen.S);
      const o = new Float32Array(row.d);
      let Z = 0;
      seen.S.forEach((s, n) => {
        const diagonal = Math.floor(seen.keys[n] / 16) === Math.floor(row.i / 16);
        const w = diagonal ? f(2 ** f(s - m)) : e(f(s - m));
        Z = f(Z + w);
        o.forEach((x, c) => (o[c] = f(x + f(w * seen.value(n, c)))));
      });
      return { o, m, Z, lse: f(m + f(Math.log(Z))) };
    },
  }),
  blind('exp2-decode', 'takes 2^x without log2(e) when a step has one token', {
    cause: 'base 2 instead of e, when decoding',
    lives: 'cache_out of rows that are steps of one token; prefilled rows are right', where: /steps? of one|one token/,
  }, (each) => {
    const single = each.parameters.steps.flatMap((T) => Array.from({ length: T }, () => T === 1));
    return patched(run(each), run(each, { attend: soft({ exp: (x) => 2 ** x }) }), ['cache_out'], ({ i }) => single[i]);
  }),
  only('lse-one-key', 'has a short way for rows with one visible key, which leaves lse in base 2', {
    cause: 'lse in base 2 (times 1.4427) in rows that see one key',
    lives: 'lse of rows with one visible key, mostly row 0', where: /only in row 0|one (visible )?key/,
  }, ['lse'], {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const right = online(seen);
      return seen.keys.length === 1 ? { ...right, lse: f(right.m * Math.LOG2E) } : right;
    },
  }),
  only('lse-base-2-backward', 'reads lse in the backward as if it were in base 2', {
    cause: 'lse of the wrong base in the backward (P is exp(S - lse log2 e) or like it)', lives: 'dq, dk, dv alone',
  }, BACKWARD, { weight: (s, lse) => f(Math.exp(f(s - f(lse * Math.LN2)))) }),
  only('split-mean', 'averages the results of two halves of the keys, split at 32, without their weights', {
    cause: 'parts of the keys (split at key 32) merged without weighing them by lse',
    lives: 'out and cache_out of rows that see keys before and after 32; lse is right',
    where: /only in rows? (from )?3\d|N > 3\d/,
  }, ['out', 'cache_out'], {
    attend: (row, sees) => {
      const [one, two] = halves(part(row, sees), 32);
      if (!two) return one;
      const right = online(part(row, sees));
      return { ...right, o: right.o.map((_, c) => f(f(f(one.o[c] / one.Z) + f(two.o[c] / two.Z)) * f(right.Z / 2))) };
    },
  }),
  only('split-overflow', 'weighs the two halves of the keys, split at 16, by exp(lse) without taking off the larger', {
    cause: 'exp(lse) overflows or underflows where parts of the keys are merged (NaN)',
    lives: 'out of rows from 16 that see keys on both sides of 16, '
      + 'where |lse| is above 88 or so: large, rising, close, pair-12',
  }, ['out', 'cache_out'], {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const [one, two] = halves(seen, 16);
      const right = online(seen);
      if (!two) return right;
      const sum = f(e(one.lse) + e(two.lse));
      const [a, b] = [f(e(one.lse) / sum), f(e(two.lse) / sum)];
      const of = ({ o, Z }: Weights, weight: number, c: number): number => f(f(o[c] / Z) * weight);
      return { ...right, o: right.o.map((_, c) => f(f(of(one, a, c) + of(two, b, c)) * right.Z)) };
    },
  }),
  only('hidden-is-minus-100', 'gives hidden keys a score of -100 and a value of 0', {
    cause: 'hidden keys take part with a finite score (-100), which adds to Z',
    lives: 'out and lse of rows whose visible scores are below -85 or so: falling, large, close',
  }, ['out', 'lse'], {
    attend: (row, sees) => {
      const S = row.S.map((s, n) => (sees(row.keys[n]) ? s : -100));
      return plain({ ...row, S, value: (n, c) => (sees(row.keys[n]) ? row.value(n, c) : 0) });
    },
  }),
  only(
    'partial-tile-unmasked', 'does not mask the last tile of 32 keys if partial: zeros beyond N and later keys count', {
    cause: 'the partial last tile of keys lacks its mask',
    lives: 'out and lse of rows in the last tile of 32, where N % 32 > 0', where: /N % |only in rows? from/,
  }, ['out', 'lse'], (each) => {
    const { N } = sizes(each);
    const first = N - N % 32;
    return {
      attend: (row, sees) => {
        if (N % 32 === 0 || row.i < first || row.keys.length < N) return online(part(row, sees));
        const wide = part(row, (j) => sees(j) || j >= first);
        const more = Array.from({ length: first + 32 - N }, (_, n) => N + n);
        return online({
          ...wide, keys: [...wide.keys, ...more], S: [...wide.S, ...more.map(() => 0)],
          value: (n, c) => (n < wide.keys.length ? wide.value(n, c) : 0),
        });
      },
    };
  }),
  only(
    'diagonal-not-in-z', 'leaves the own key out of Z, not out of the sum of values, in rows 0 to 3 of tiles of 16', {
    cause: 'Z lacks a key (the diagonal)',
    lives: 'out and lse in the rows whose i % 16 < 4, but for rows that see one key', where: /% 16|only in rows? 0/,
  }, ['out', 'lse'], {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const right = online(seen);
      const own = seen.keys.indexOf(row.i);
      if (row.i % 16 > 3 || own < 0 || seen.keys.length === 1) return right;
      const Z = f(right.Z - e(f(seen.S[own] - right.m)));
      return { ...right, Z, lse: f(right.m + f(Math.log(Z))) };
    },
  }),
  blind('first-tile-lost', 'starts with the second tile of 16 keys when a prefill starts after position 0', {
    cause: 'the first tile of keys is skipped when there is a cache before the step',
    lives: 'cache_out of rows in later steps of several tokens, '
      + 'if they see keys before and after 16', where: /only in rows? from/,
  }, (each) => {
    const later = each.parameters.steps.flatMap((T, r) => Array.from({ length: T }, () => r > 0 && T > 1));
    const wrong = run(each, {
      attend: (row, sees) => {
        const seen = part(row, sees);
        const rest = part(seen, (j) => j >= 16);
        return online(rest.keys.length > 0 ? rest : seen);
      },
    });
    return patched(run(each), wrong, ['cache_out'], ({ i }) => later[i]);
  }),
  hooked('out-over-z-twice', 'divides by Z once more when a row sees more than 64 keys (two passes)', {
    cause: 'out divided by Z twice (a factor of 1/Z)',
    lives: 'out of rows that see more than 64 keys, so from row 64', where: /only in rows? from|N > 6\d/,
  }, {
    attend: (row, sees) => {
      const seen = part(row, sees);
      const right = online(seen);
      return seen.keys.length > 64 ? { ...right, o: right.o.map((x) => f(x / right.Z)) } : right;
    },
  }, [...LIFE, ...CACHE, ...BACKWARD, ...TYPES]),
];
