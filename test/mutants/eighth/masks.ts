/**
 * Windows (kind 2), the closing of LOCAL (3), single pairs and keys (12), and masks by tile, row or chunk (13).
 * @module
 */
import type { Hooks } from '../hooks.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkEnd, chunkOf, closer, rightDw, rightLast } from '../right.ts';
import { headOf, seen, STATE, TRAINING, typeOf } from '../seventh/parts.ts';
import { broken, type Eighth, hooked, partly, tile, twice, windowed } from './parts.ts';

const LIVES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'] as const;
/** What windows change: nothing closes for them. */
const OF_WINDOWS = ['last', 'mask', ...TRAINING, 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'] as const;
/** last(j) of LOCAL tokens, changed. */
const local = (change: (...at: Parameters<typeof rightLast>) => number): NonNullable<Hooks['last']> =>
  (head, j) => (typeOf(head, j) === LOCAL ? change(head, j) : rightLast(head, j));

export const MASKS: readonly Eighth[] = [
  broken(2, 'window-aligned-8', 'rounds a window above 8 down to a multiple of 8', {
    cause: 'the host aligns W for vector loads: W - W % 8 where W > 8, for everything that reads it, dw too',
    tensors: OF_WINDOWS,
    where: 'WINDOW tokens end up to 7 queries early: 2 for W = 34, 6 for 70, 4 for 300; dw of all types; dscores '
      + 'by 7e-5 alone, in pair-12',
    cases: 'W > 8, W % 8 > 0, and the shorter window ends before N - 1 (not W of 16 and 32)',
  }, (each) => run(windowed(each, (W) => (W > 8 ? W - W % 8 : W)))),

  broken(2, 'window-0-is-none', 'takes a window of 0 for none, so WINDOW tokens are never hidden', {
    cause: 'window = window or N: the host takes 0 for "not given"; dw is summed over all rows too',
    tensors: OF_WINDOWS.filter((name) => name !== 'dscores'),
    where: 'WINDOW tokens, in all rows after their own; dw of all types',
    cases: 'W = 0',
  }, (each) => run(windowed(each, (W, N) => (W === 0 ? N : W)))),

  hooked(2, 'window-first-batch-only', 'has a window of 0 in all sequences of the batch but the first', {
    cause: 'W became an array of one number per sequence, which was filled for the first alone',
    tensors: OF_WINDOWS,
    where: 'batches b > 0: WINDOW tokens are hidden after the end of their chunk, and dw of all types ends there; '
      + 'batch 0 is right',
    cases: 'B > 1, W > 0, with WINDOW tokens; dw also without, where a chunk ends before N - 1',
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW && head.head >= head.p.kvHeads
      ? chunkEnd(chunkOf(j, head.p), head.p) : rightLast(head, j)),
    dw: (sums) => (sums.head.head >= sums.head.p.kvHeads
      ? sums.column(sums.c, 0, chunkEnd(sums.c, sums.head.p)) : rightDw(sums)),
  }),

  partly(2, 'window-of-tile-end', 'counts windows back from the last row of a tile of 16 rows', {
    cause: 'the lower bound of the window is made once per tile of rows, from its last row, and compared with each key '
      + 'of earlier tiles; the tile on the diagonal has the row',
    tensors: TRAINING,
    where: 'rows i >= 16 with i % 16 < 15: WINDOW keys of earlier tiles of 16 that end before the last row of the '
      + 'tile (or N - 1) are hidden; rows 0 to 15 are right in out, lse and dq',
    cases: 'N > 17 with WINDOW tokens before a multiple of 16 whose window reaches beyond it',
  }, {
    visible: (i, j, last, head) => seen(i, j, last) && !(typeOf(head, j) === WINDOW && tile(j) < tile(i)
      && Math.min(tile(i) * 16 + 15, head.p.tokens - 1) > last),
  }),

  hooked(3, 'local-next-chunk', 'closes LOCAL with the end of the next chunk, whatever its type', {
    cause: 'the search for the closing chunk stops at the first one it looks at; dl is summed to the right end',
    tensors: LIVES,
    where: 'LOCAL tokens whose next chunk is not GLOBAL: hidden after the end of that chunk, in all heads',
    cases: 'all with LOCAL before LOCAL or WINDOW, and rows after that chunk',
  }, {
    last: local((head, j) => {
      const c = chunkOf(j, head.p) + 1;
      return c < head.own.length ? chunkEnd(c, head.p) : EVER;
    }),
  }),

  hooked(3, 'local-any-batch', 'closes LOCAL at the first GLOBAL of the same KV head in any sequence of the batch', {
    cause: 'the table of the next GLOBAL, filled by atomic minima, has no axis for the batch: [G,Nc] for [B,G,Nc]; '
      + 'dl is summed to the right end',
    tensors: LIVES,
    where: 'LOCAL tokens that another batch closes earlier, same KV head; in all batches, the first too',
    cases: 'B > 1 with types that differ by sequence (by scores), and such LOCAL tokens',
  }, (each) => ({
    last: local((head, j) => {
      const { batch: B, kvHeads: G } = head.p;
      const all = Array.from({ length: B }, (_, b) => headOf(each, b * G + head.head % G));
      return Math.min(...all.map((other) => closer(other, chunkOf(j, head.p))));
    }),
  })),

  hooked(3, 'local-carry-late', 'closes LOCAL one token late where the GLOBAL is in a later block of 16 chunks', {
    cause: 'the scan for the next GLOBAL carries the first position of a later block as an exclusive end, and the '
      + 'lifetime takes it for an inclusive one; within a block it is right',
    tensors: LIVES,
    where: 'LOCAL tokens whose closing chunk n has floor(n / 16) > floor(c / 16): one more query sees them',
    cases: 'more than 16 chunks, with such LOCAL tokens closed before N - 1',
  }, {
    last: local((head, j) => {
      const end = closer(head, chunkOf(j, head.p));
      return end < EVER && tile(chunkOf(end, head.p)) > tile(chunkOf(j, head.p)) ? end + 1 : end;
    }),
  }),

  partly(12, 'farthest-pair-lost', 'loses the pair of the last query and the first key', {
    cause: 'a band of N - 1 diagonals is kept, i - j < N - 1, where there are N',
    tensors: TRAINING,
    where: 'the pair (N - 1, 0) of every head in which key 0 is visible to it: row N - 1 of out, lse and dq, a term of '
      + 'key 0 in dk and dv, and of the others by the row; NaN where N = 1',
    cases: 'all in which row N - 1 sees key 0; one-token, whose only pair it is',
  }, { visible: (i, j, last, { p }) => seen(i, j, last) && i - j < p.tokens - 1 }),

  partly(12, 'sink-twice', 'counts key 0 twice where it is GLOBAL', {
    cause: 'the sink is attended first, by itself, and the loop over keys starts at 0 again; in the forward',
    tensors: TRAINING,
    where: 'key 0 in all rows of KV heads whose first chunk is GLOBAL, row 0 too (lse alone); '
      + 'by lse and D the backward',
    cases: 'all in which the first token is GLOBAL in some head',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N } = each.parameters;
    let row = 0;
    return {
      attend: (all, sees) => {
        const own = Math.floor(Math.floor(row++ / N) / (H / G));
        return twice(all, sees, (j) => j === 0 && headOf(each, own).own[0] === GLOBAL);
      },
    };
  }),

  partly(13, 'causal-late-from-64', 'lets rows from 64 on see the next key', {
    cause: 'tiles of 64 rows: those after the first loop over the keys to i + 1, inclusive, instead of i',
    tensors: TRAINING,
    where: 'rows i >= 64 but the last: they see key i + 1; rows below 64 are right in out, lse and dq',
    cases: 'N > 65',
  }, { visible: (i, j, last) => j <= i + Number(i >= 64) && i <= last }),

  partly(13, 'causal-by-chunk', 'compares chunks instead of tokens for causality', {
    cause: 'the mask is made for pairs of chunks, floor(j / C) <= floor(i / C), and not refined in the own chunk',
    tensors: TRAINING,
    where: 'rows that are not the last of their chunk: they see the later keys of it',
    cases: 'C > 1 and N > 1',
  }, { visible: (i, j, last, { p }) => chunkOf(j, p) <= chunkOf(i, p) && i <= last }),

  partly(13, 'odd-tiles-stale-rows', 'compares lifetimes in odd tiles of 16 rows with the rows of the tile before', {
    cause: 'the row numbers of a tile are in two buffers, and the second is not written: odd tiles have i - 16 where '
      + 'lifetimes are compared; causality has i',
    tensors: TRAINING,
    where: 'rows with floor(i / 16) odd: they still see LOCAL and WINDOW keys that ended in the 16 queries before; '
      + 'rows of even tiles are right in out, lse and dq',
    cases: 'N > 16 with keys that end before N - 1 and a row of an odd tile after their end',
  }, { visible: (i, j, last) => j <= i && i - 16 * (tile(i) % 2) <= last }),
];
