/**
 * Tiles skipped, doubled or partial (kind 8), what is never written or stale (10), factors, the normaliser and D (11).
 * @module
 */
import { tile, twice } from '../eighth/parts.ts';
import { run } from '../kernel.ts';
import { BY_OUT, broken, countedTwice, hooked, partly } from '../ninth/parts.ts';
import { online } from '../right.ts';
import { edited, f, OF_TYPES, seen, stepOf, TRAINING, visibleOf } from '../seventh/parts.ts';
import type { Tenth } from './parts.ts';

export const TILES_AND_FACTORS: readonly Tenth[] = [
  partly(8, 'dq-first-tile-twice', 'counts the first tile of 16 keys twice in dq', {
    cause: 'the prologue of a pipeline takes tile 0, and the loop over the tiles before the diagonal starts at 0 too',
    tensors: ['dq'],
    where: 'rows i >= 16: the part of keys j < 16 that they see counts twice in dq; rows 0 to 15, dk and dv are right',
    cases: 'N > 16, with gradients, except where dq is 0 (equal-keys) or those keys have no weight (large)',
  }, () => countedTwice((i, j) => i >= 16 && j < 16)),

  partly(8, 'key-tiles-rounded-down', 'rounds the number of tiles of 32 keys for a tile of 16 rows down', {
    cause: 'the end of the loop over keys is max(1, floor((i0 + 16) / 32)) tiles of 32, where i0 is the first row of '
      + 'the tile of 16 rows; the division must round up',
    tensors: TRAINING,
    where: 'rows i >= 32 with floor(i / 16) even do not see the keys j >= 32 floor(i / 32), their own too (NaN where '
      + 'they see nothing else); other rows are right in out, lse and dq',
    cases: 'N > 32',
  }, { visible: (i, j, last) => seen(i, j, last) && j < 32 * Math.max(1, tile(16 * tile(i) + 16, 32)) }),

  partly(8, 'dkv-start-rounded-up', 'starts the rows of a tile of 16 keys at a multiple of 32 that is rounded up', {
    cause: 'the kernel of dk and dv has tiles of 16 keys and of 32 rows, and starts at row 32 ceil(j0 / 32), where j0 '
      + 'is the first key of the tile; it must round down',
    tensors: ['dk', 'dv'],
    where: 'keys with floor(j / 16) odd: the part of rows of the same tile of 16 is missing in dk and dv; other keys, '
      + 'and dq, are right',
    cases: 'N > 16, with gradients',
  }, { backVisible: (i, j, last) => seen(i, j, last) && i >= 32 * Math.ceil(tile(j) / 2) }),

  partly(8, 'split-edges-twice', 'counts the first key of each split of 32 in the split before it too', {
    cause: 'the end of a split of 32 keys is taken for inclusive; the merge of splits is right',
    tensors: TRAINING,
    where: 'rows i >= 32 that see keys j > 0 with j % 32 = 0: such keys count twice in out and lse, and by lse and D '
      + 'in the backward; rows 0 to 31 are right in out, lse and dq',
    cases: 'N > 32',
  }, { attend: (row, sees) => twice(row, sees, (j) => j > 0 && j % 32 === 0) }),

  broken(10, 'dscores-forced-stale', 'stores the numbers of the chunk before in dscores of forced chunks', {
    cause: 'the three registers are computed where a chunk is not forced, and stored in any case; they start as 0 in '
      + 'each head',
    tensors: ['dscores'],
    where: 'dscores of forced chunks c > 0: those of the last chunk before them that is not forced, where they must be '
      + '0; others are right',
    cases: 'types by scores, with gradients, where a chunk after the first is forced and one before it has a '
      + 'gradient',
  }, (each) => {
    const forced = each.inputs.forced?.data;
    return edited(run(each), 'dscores', (x, [b, , c], n, { data, shape }) => {
      let at = c;
      while (at >= 0 && forced?.[b * shape[2] + at] === 1) at--;
      return at === c ? x : at < 0 ? 0 : data[n - 3 * (c - at)];
    });
  }),

  broken(10, 'dm-rows-carried', 'does not clear the sum of dm_rows between the rows of a tile of 16', {
    cause: 'the accumulator of dm_rows is cleared at the start of a tile of 16 rows instead of at that of a row',
    tensors: ['dm_rows'],
    where: 'rows with i % 16 > 0: dm_rows has the rows before it in its tile of 16 added; dw, dl and dg are right',
    cases: 'all with gradients and hidden keys (else dm_rows is 0)',
  }, (each) => edited(run(each), 'dm_rows', (_, [, , i], n, { data }) => {
    let sum = 0;
    for (let back = i % 16; back >= 0; back--) sum = f(sum + data[n - back]);
    return sum;
  })),

  broken(10, 'prefill-last-row-only', 'writes the output of the last query of a step alone', {
    cause: 'a step of many tokens stores out of its last query, which is all that sampling needs; the buffer is 0',
    tensors: ['cache_out'],
    where: 'rows that are not the last of their step: 0; steps of one token, and what lives, are right',
    cases: 'caches with steps of more than one token',
  }, (each) => edited(run(each), 'cache_out', (x, [, , i]) => (i === stepOf(each, i).next - 1 ? x : 0))),

  hooked(11, 'd-mean', 'takes the mean of dout * out over the channels for D', {
    cause: 'D = (dout * out).mean(-1), where it must be the sum',
    tensors: ['dq', 'dk', ...OF_TYPES],
    where: 'dq, dk and dM everywhere: D is too small by the factor 1 / d; dv is right',
    cases: 'all with gradients and d > 1',
  }, ({ parameters: { headDim } }) => ({ D: (right) => f(right / headDim) })),

  hooked(11, 'out-scaled', 'multiplies out by the scale', {
    cause: 'the scale is multiplied into v as it is into k when a tile is loaded, in the forward; the backward has v '
      + 'without it, and makes D from out',
    tensors: ['out', 'cache_out', ...BY_OUT],
    where: 'out and cache_out everywhere, by one factor per case; by D dq, dk and dM; lse and dv are right',
    cases: 'all where scale is not 1',
  }, ({ parameters: { scale } }) => ({ out: (o, { Z }) => o.map((x) => f(f(x / Z) * f(scale))) })),

  partly(11, 'z-half-of-lanes', 'sums Z over the lower half of the lanes of a warp alone', {
    cause: 'lane j % 32 has key j, and the reduction of Z by shuffles starts at 8 instead of 16, so that lane 0 never '
      + 'gets the sums of lanes 16 to 31; the maximum and P v are right; lse has the wrong Z',
    tensors: TRAINING,
    where: 'rows that see keys with j % 32 >= 16: out too large and lse too small (Infinity or NaN where they see no '
      + 'others), and by lse and D the backward; rows 0 to 15 are right in out, lse and dq',
    cases: 'N > 16',
  }, {
    attend: (row, sees) => {
      const visible = visibleOf(row, sees);
      const right = online(visible);
      const Z = visible.S.reduce((sum, s, n) =>
        (visible.keys[n] % 32 < 16 ? f(sum + f(Math.exp(f(s - right.m)))) : sum), 0);
      return { ...right, Z, lse: f(right.m + f(Math.log(Z))) };
    },
  }),
];
