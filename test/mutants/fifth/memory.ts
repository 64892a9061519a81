/**
 * Memory that is stale or never written, results written in a wrong form, and the cache.
 * @module
 */
import { mixed, permuted } from '../held-out/parts.ts';
import { EVER } from '../hooks.ts';
import { run } from '../kernel.ts';
import { softmax } from '../right.ts';
import { edited } from '../third/parts.ts';
import { type Blind, blind, hooked, LIFE, misread, sizes } from './parts.ts';

const floor = Math.floor;
const FORWARD = ['out', 'lse'];

export const MEMORY: readonly Blind[] = [
  blind(
    'stale-v-tile', 'still has the tile of v before in shared memory when it comes to the last, partial tile of 16', {
    cause: 'stale values: the last tile of v is that of 16 tokens before',
    lives: 'out of the rows in the last tile of 16, where N % 16 > 0 and N > 16; lse is right',
    where: /N % |only in rows? from/,
  }, (each) => {
    const { N, d } = sizes(each);
    const from = (n: number): number => (N > 16 && floor(n / d) % N >= N - N % 16 ? n - 16 * d : n);
    return mixed(['out'], run(misread(each, 'v', from)), run(each));
  }),
  blind(
    'stale-k-first-tile', 'reads the first 8 keys before they have arrived, and finds those of the KV head before', {
    cause: 'stale keys: the first 8 keys are those of the KV head before',
    lives: 'out and lse of all KV heads of B G but the first, where B G > 1',
    where: /only in .*heads?|G > 1|B > 1/,
  }, (each) => {
    const { N, d } = sizes(each);
    const from = (n: number): number => (n >= N * d && floor(n / d) % N < 8 ? n - N * d : n);
    return mixed(FORWARD, run(misread(each, 'k', from)), run(each));
  }),
  blind('dq-tail-uninitialised', 'does not write dq in the last, partial tile of 32 rows: the buffer still holds out', {
    cause: 'dq not written in a last partial tile: it holds leftovers (out)',
    lives: 'dq in rows of the last tile of 32, where N % 32 > 0', where: /N % |only in rows? from|N < 32/,
  }, (each) => {
    const { N } = sizes(each);
    const right = run(each);
    let n = -1;
    return edited(right, ['dq'], (x, { i }) => { n++; return i >= N - N % 32 ? right.out.data[n] as number : x; });
  }),
  blind('out-16-rows-of-64', 'writes the third quarter of each tile of 64 rows of out over the fourth', {
    cause: 'rows of out written to the wrong place: rows 48 to 63 of each 64 hold those of 32 to 47',
    lives: 'out in the rows whose i % 64 > 47, where N > 48', where: /N > 4|only in rows? (from )?4/,
  }, (each) => {
    const { d } = sizes(each);
    return edited(run(each), ['out'], (x, { b, h, i, c }, { shape, data }) =>
      (i % 64 > 47 ? data[((b * shape[1] + h) * shape[2] + i - 16) * d + c] as number : x));
  }),
  blind('out-tile-race', 'writes o without the tile of keys on the diagonal but the own key, in one tile of five', {
    cause: 'out lacks the keys of the tile on the diagonal, but the own one, in some tiles of rows (a race)',
    lives: 'out in the rows of every fifth tile of 16: 16 to 31, 96 to 111, 176 to 191, ...; N > 16',
    where: /N > 1[567]|only in rows? (from )?1[67]/,
  }, (each) => {
    const wrong = run(each, {
      visible: (i, j, last) => j <= i && i <= last && (floor(i / 16) % 5 !== 1 || j < i - i % 16 || i === j),
    });
    return mixed(['out'], wrong, run(each));
  }),
  blind('last-exclusive', 'writes `last` as the first query that no longer sees the key, and masks rightly', {
    cause: 'last is one too large (an exclusive end)', lives: 'last alone; the mask and all else are right',
  }, (each) => {
    const right = run(each);
    return edited(right, ['last'], (x) => (x === EVER ? x : x + 1));
  }),
  blind('last-relative', 'writes `last` as the distance from the token', {
    cause: 'last is relative to the token (last - j)',
    lives: 'last alone, except where it is for ever; the mask and all else are right',
  }, (each) => {
    const right = run(each);
    return edited(right, ['last'], (x, { i }) => (x === EVER ? x : x - i));
  }),
  blind('mask-transposed', 'writes the mask with keys down and queries across', {
    cause: 'the mask transposed', lives: 'mask alone, in all cases of more than one token',
  }, (each) => {
    const { N } = sizes(each);
    const right = run(each);
    if (!right.mask) return right;
    return { ...right, mask: permuted(right.mask, (n) => n - n % (N * N) + n % N * N + floor(n / N) % N) };
  }),
  hooked('third-wins-ties', 'lets WINDOW win a tie, but not LOCAL', {
    cause: 'ties of scores go to a later type (WINDOW)',
    lives: 'types and all that follows, only in cases with equal scores', where: /tie|equal scores/,
  }, {
    type: ({ scores, noise, forced }) => {
      const z = scores.map((x, n) => Math.fround(x + noise[n]));
      return forced ? 0 : z[2] >= Math.max(z[0], z[1]) ? 2 : z[1] > z[0] ? 1 : 0;
    },
  }),
  hooked('noise-after-softmax', 'adds the noise to the probabilities before it takes the largest', {
    cause: 'types from softmax(scores) + noise instead of scores + noise',
    lives: 'types and all that follows, in cases with noise', where: /noise/,
  }, {
    type: ({ scores, noise, forced }) => {
      const z = softmax(scores).map((x, n) => x + noise[n]);
      return forced ? 0 : z.indexOf(Math.max(...z));
    },
  }),
  hooked('evicts-by-blocks', 'evicts only when a multiple of 8 tokens is full', {
    cause: 'eviction too late (only every 8 tokens)',
    lives: 'cache_live, cache_evicted_at, cache_bytes; cache_out is right',
  }, { cache: { dies: ({ last }, next) => last < next - next % 8 } }),
  hooked('last-global-of-step', 'closes LOCAL by the last GLOBAL of a step instead of the first', {
    cause: 'LOCAL closed by the last GLOBAL of a step',
    lives: 'the cache, in steps of several tokens with several GLOBAL',
  }, {
    cache: {
      close: (open, end, begin) => {
        for (const entry of open) if (entry.last === EVER || entry.closedBy >= begin) entry.last = entry.closedBy = end;
      },
    },
  }),
  hooked('bytes-of-pages', 'counts the bytes of whole pages of 4 tokens', {
    cause: 'cache_bytes counts pages of 4 tokens instead of entries', lives: 'cache_bytes alone',
  }, { cache: { bytes: (live, _, __, d) => Math.ceil(live / 4) * 4 * 2 * d * 4 } }),
  hooked('decode-forgets-own', 'does not see the own token of a query, once there is something in the cache', {
    cause: 'the query does not see its own token in the cache',
    lives: 'cache_out of rows from the second step',
  }, { cache: { visible: (i, { j, last }, begin) => j <= i && i <= last && (j < i || begin === 0) } }, LIFE),
];
