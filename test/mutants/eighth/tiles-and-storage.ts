/**
 * Partial tiles, tiles skipped or counted twice (kind 8), and what is never written or stale (10).
 * @module
 */
import { run } from '../kernel.ts';
import { edited, seen, TRAINING } from '../seventh/parts.ts';
import { broken, type Eighth, partly, tile, twice } from './parts.ts';

export const TILES_AND_STORAGE: readonly Eighth[] = [
  partly(8, 'dq-last-key-of-tile', 'leaves the last key of each tile of 32 out of dq', {
    cause: 'the loop over the keys of a tile of 32 runs to 31, exclusive, in the kernel of dq',
    tensors: ['dq'],
    where: 'keys j with j % 32 = 31, in all rows that see them, their own too: rows i >= 31; dk and dv are right',
    cases: 'N > 31, with gradients, except where dq is 0 (equal-keys) or those keys have no weight (large)',
  }, { backVisible: (i, j, last) => seen(i, j, last) && j % 32 !== 31 }),

  partly(8, 'tile-before-diagonal-twice', 'counts the tile of 16 keys before the diagonal twice, in the forward', {
    cause: 'the loop without masks runs to the tile on the diagonal, exclusive, and that with masks starts one tile '
      + 'before it',
    tensors: TRAINING,
    where: 'rows i >= 16 that see keys with floor(j / 16) = floor(i / 16) - 1: out and lse, and by lse and D the '
      + 'backward; rows 0 to 15 are right in out, lse and dq',
    cases: 'N > 16, where such keys are visible',
  }, {
    attend: (row, sees) => twice(row, sees, (j) => tile(j) === tile(row.i) - 1),
  }),

  partly(8, 'diagonal-causal-only', 'does not hide keys in the tile of 16 on the diagonal but by causality', {
    cause: 'the tile on the diagonal has the causal mask of an older kernel; '
      + 'lifetimes are compared in earlier tiles only',
    tensors: TRAINING,
    where: 'pairs with floor(i / 16) = floor(j / 16): LOCAL and WINDOW keys that have ended are still seen',
    cases: 'all with keys that end within their tile of 16, before its last row',
  }, { visible: (i, j, last) => j <= i && (i <= last || tile(i) === tile(j)) }),

  partly(8, 'full-last-tile-empty', 'takes the last tile of 16 keys for empty where it is whole', {
    cause: 'the number of keys in the last tile is N % 16, which is 0 for a whole one',
    tensors: TRAINING,
    where: 'keys from N - 16 on, in all rows that should see them, so rows from N - 16 on; '
      + 'NaN in rows that see no others',
    cases: 'N % 16 = 0',
  }, ({ parameters: { tokens: N } }) => ({
    visible: (i, j, last) => seen(i, j, last) && !(N % 16 === 0 && j >= N - 16),
  })),

  broken(10, 'dkv-last-kv-head', 'never writes dk and dv of the last KV head of a sequence', {
    cause: 'the program of a KV head loads the next one ahead, and returns where there is none; one KV head alone has '
      + 'another path; the buffers are 0',
    tensors: ['dk', 'dv'],
    where: 'KV head g = G - 1 of every batch: dk and dv are 0; dq is right',
    cases: 'G > 1, with gradients',
  }, (each) => {
    const { kvHeads: G } = each.parameters;
    const without = (x: number, [, g]: readonly number[]): number => (G > 1 && g === G - 1 ? 0 : x);
    return edited(edited(run(each), 'dk', without), 'dv', without);
  }),

  broken(10, 'lse-tail-stale', 'stores lse of the tile of 32 rows before in a last tile that is not whole', {
    cause: 'lse goes through shared memory, which is filled only where the tile of 32 rows is whole; it starts as 0',
    tensors: ['lse'],
    where: 'rows i >= 32 floor(N / 32) of all heads: lse of row i - 32, or 0 where N < 32; out and gradients are right',
    cases: 'N % 32 > 0',
  }, (each) => {
    const { tokens: N } = each.parameters;
    return edited(run(each), 'lse', (x, [, , i], n, { data }) => (i < N - N % 32 ? x : i < 32 ? 0 : data[n - 32]));
  }),

  broken(10, 'out-channels-tail', 'does not write the last d % 4 channels of out', {
    cause: 'out is stored in vectors of 4 channels, floor(d / 4) of them, and the rest stays 0',
    tensors: ['out'],
    where: 'channels c >= 4 floor(d / 4) of all rows: 0, for d < 4 all of out; lse, the cache and gradients are right',
    cases: 'd % 4 > 0 (d = 1, 2, 3, 5, 65)',
  }, (each) => {
    const { headDim: d } = each.parameters;
    return edited(run(each), 'out', (x, [, , , c]) => (c >= d - d % 4 ? 0 : x));
  }),
];
