/**
 * Tiles skipped, doubled or partial (kind 8), what is never written or stale (10), factors, the normaliser and D (11).
 * @module
 */
import { tile } from '../eighth/parts.ts';
import { run } from '../kernel.ts';
import { online, rightDg, rightDl, rightDw } from '../right.ts';
import { edited, f, seen, TRAINING, visibleOf } from '../seventh/parts.ts';
import type { Sums } from '../hooks.ts';
import { boundOf, broken, countedTwice, hooked, type Ninth, partly } from './parts.ts';

/** Nothing for the chunks of a last tile of 16 chunks that is not whole. */
const ofWholeTiles = (right: (sums: Sums) => number) => (sums: Sums): number =>
  (tile(sums.c) < tile(sums.head.own.length) ? right(sums) : 0);

export const TILES_AND_FACTORS: readonly Ninth[] = [
  partly(8, 'dkv-diagonal-twice', 'counts the tile of 32 on the diagonal twice in dk and dv', {
    cause: 'the masked stage of a tile of 32 keys takes its own tile of rows, and the loop over the rows after it '
      + 'starts with the same tile again, masked too',
    tensors: ['dk', 'dv'],
    where: 'pairs with floor(i / 32) = floor(j / 32): twice in dk and dv, which is all where N <= 32; dq is right',
    cases: 'all with gradients',
  }, () => countedTwice((i, j) => tile(i, 32) === tile(j, 32))),

  partly(8, 'unrolled-leftover', 'drops the odd tile of keys that a loop unrolled by two leaves over', {
    cause: 'tiles of 16 keys before the diagonal are taken two at a time, and the one left over in tiles of rows with '
      + 'an odd number of them, the last before the diagonal, is not taken',
    tensors: TRAINING,
    where: 'rows with floor(i / 16) odd do not see the keys of the tile of 16 before their own; rows of even tiles are '
      + 'right in out, lse and dq',
    cases: 'N > 16, where such keys are visible',
  }, { visible: (i, j, last) => seen(i, j, last) && !(tile(i) % 2 === 1 && tile(j) === tile(i) - 1) }),

  partly(8, 'shifted-last-rows-twice', 'counts rows twice in dk and dv that a last tile shifted into N overlaps', {
    cause: 'the last tile of 16 rows, if not whole, is moved back to end at N - 1, and the rows that it shares with '
      + 'the tile before add to dk and dv twice; a sequence shorter than a tile has another path',
    tensors: ['dk', 'dv'],
    where: 'rows N - 16 to 16 floor(N / 16) - 1 count twice, for all keys that they see; dq is right',
    cases: 'N > 16 and N % 16 > 0, with gradients',
  }, () => countedTwice((i, _, N) => N > 16 && i >= N - 16 && i < 16 * tile(N))),

  partly(8, 'tile-skipped-by-last-row', 'skips a tile of 16 keys that the last row of a tile no longer sees', {
    cause: 'a tile of keys before the diagonal is skipped if all its last(j) lie before the last row of the tile of '
      + '16 rows (or N - 1), where it must be the first row',
    tensors: TRAINING,
    where: 'rows i >= 16 do not see earlier tiles of keys that all end within their tile of rows, before its last row; '
      + 'rows 0 to 15 are right in out, lse and dq',
    cases: 'N > 17, with tiles of 16 keys without GLOBAL and with nothing that lives beyond the tile of rows',
  }, {
    visible: (i, j, last, head) => seen(i, j, last) && !(tile(j) < tile(i)
      && boundOf(head, tile(j), 'max') < Math.min(16 * tile(i) + 15, head.p.tokens - 1)),
  }),

  broken(10, 'dq-grid-without-batch', 'writes dq of the first sequence of the batch alone', {
    cause: 'the grid of the kernel of dq has programs for tiles and heads, but not for the batch; the buffer is 0',
    tensors: ['dq'],
    where: 'batches b > 0: dq is 0; dk and dv are right',
    cases: 'B > 1, with gradients and more than one token',
  }, (each) => edited(run(each), 'dq', (x, [b]) => (b === 0 ? x : 0))),

  broken(10, 'dq-on-scaled-q', 'adds dq to a buffer that still has the scaled queries', {
    cause: 'dq is added up in a workspace that had scale q before, and is not cleared',
    tensors: ['dq'],
    where: 'dq everywhere: scale q is added; dk and dv are right',
    cases: 'all with gradients, except where q is 0 (flat, equal-queries)',
  }, (each) => edited(run(each), 'dq', (x, _, n) => f(x + f(each.parameters.scale * each.inputs.q.data[n])))),

  hooked(10, 'type-grads-tail', 'never writes dw, dl and dg of a last tile of 16 chunks that is not whole', {
    cause: 'the grid of the kernel that sums dM to types has floor(Nc / 16) programs; the buffers are 0',
    tensors: ['dw', 'dl', 'dg', 'dscores'],
    where: 'chunks c >= 16 floor(Nc / 16): dw, dl and dg are 0, all of them if Nc < 16; dm_rows is right',
    cases: 'Nc % 16 > 0, with gradients and more than one chunk (else all sums of dM are 0), except where dM of those '
      + 'chunks has no weight (large, falling)',
  }, { dw: ofWholeTiles(rightDw), dl: ofWholeTiles(rightDl), dg: ofWholeTiles(rightDg) }),

  partly(11, 'd-scaled', 'multiplies D by the scale, but not dP', {
    cause: 'the kernel that makes D for the backward of q and k multiplies it by the scale, which dS = A (dP - D) gets '
      + 'at its end; dM reads another D',
    tensors: ['dq', 'dk'],
    where: 'dq and dk everywhere: dS is A (P\' - scale D); dv and dM are right',
    cases: 'all with gradients where scale is not 1, except where dq and dk are 0 (in part: equal-keys, equal-queries)',
  }, ({ parameters: { scale } }) => ({ dS: (A, P, D) => f(A * f(P - f(scale * D))) })),

  hooked(11, 'softmax-plus-one', 'adds 1 to the sum of the exponentials of a row', {
    cause: 'the denominator is 1 + sum of e^S, as in kernels with an empty sink, in the forward; lse has it too',
    tensors: [...TRAINING, 'cache_out'],
    where: 'all rows: out is too small by the factor 1 / (1 + e^-lse), and lse too large; most in rows with low '
      + 'scores; by lse and D the backward',
    cases: 'all',
  }, {
    attend: (row, sees) => {
      const right = online(visibleOf(row, sees));
      const m = Math.max(right.m, 0);
      const factor = f(Math.exp(f(right.m - m)));
      const Z = f(f(right.Z * factor) + f(Math.exp(-m)));
      return { o: right.o.map((x) => f(x * factor)), m, Z, lse: f(m + f(Math.log(Z))) };
    },
  }),

  broken(11, 'dv-scaled', 'multiplies dv by the scale', {
    cause: 'the end of the kernel of dk and dv multiplies both by the scale',
    tensors: ['dv'],
    where: 'dv everywhere, by one factor per case; dk and dq are right',
    cases: 'all with gradients where scale is not 1',
  }, (each) => edited(run(each), 'dv', (x) => f(x * f(each.parameters.scale)))),
];
