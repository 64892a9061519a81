/**
 * Windows (kind 2), the closing of LOCAL (3), single pairs and keys (12), and masks by tile, row or chunk (13).
 * @module
 */
import { tile, windowed } from '../eighth/parts.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { broken, hooked, partly } from '../ninth/parts.ts';
import { chunkEnd, chunkOf, rightLast } from '../right.ts';
import { seen, STATE, TRAINING, typeOf } from '../seventh/parts.ts';
import { byRow, type Tenth } from './parts.ts';

const LIVES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'] as const;

export const MASKS: readonly Tenth[] = [
  partly(2, 'window-strict-forward', 'ends windows one query early in the forward', {
    cause: 'the kernel of the forward compares i - j < W (a row always sees itself), those of the backward i - j <= W; '
      + 'they read its out and lse',
    tensors: TRAINING,
    where: 'rows i that are the last to see a WINDOW key of an earlier token, last(j) = i: out, lse and dq, and by '
      + 'them parts of dk, dv and dM; other rows are right in out, lse and dq',
    cases: 'all with WINDOW keys that end at N - 1 or before, and W > 0 or C > 1',
  }, {
    visible: (i, j, last, head) => seen(i, j, last) && !(i === last && j < i && typeOf(head, j) === WINDOW),
    backVisible: seen,
  }),

  broken(2, 'window-halved', 'takes W / 2, rounded down, for the window', {
    cause: 'the host halves W, as for windows that reach to both sides of a token, and everything reads it: '
      + 'lifetimes, dw and the price',
    tensors: ['last', 'mask', ...TRAINING, 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'WINDOW tokens end ceil(W / 2) queries early; dw of all types',
    cases: 'W > 0, with WINDOW tokens (last, even beyond N), or dw without them where the shorter window ends before '
      + 'N - 1; with a price dscores too',
  }, (each) => run(windowed(each, (W) => Math.floor(W / 2)))),

  partly(2, 'window-bounds-local', 'hides LOCAL keys beyond the window too', {
    cause: 'the bound of the window is in the mask of all keys that are not GLOBAL: LOCAL keys are seen if they are '
      + 'not closed and their chunk ended at most W queries before',
    tensors: TRAINING,
    where: 'LOCAL keys in rows more than W after the end of their chunk, up to last(j): hidden',
    cases: 'all with LOCAL keys that are still open more than W rows after their chunk, and have weight',
  }, {
    visible: (i, j, last, head) => seen(i, j, last)
      && (typeOf(head, j) !== LOCAL || i <= chunkEnd(chunkOf(j, head.p), head.p) + head.p.window),
  }),

  hooked(3, 'local-scan-exclusive', 'closes LOCAL only by a GLOBAL in a later block of 16 chunks', {
    cause: 'the scan for the next GLOBAL takes the first one of the blocks of 16 chunks after that of c (an exclusive '
      + 'scan over blocks) and leaves out those of the same block; dl and dg are summed rightly',
    tensors: LIVES,
    where: 'LOCAL tokens with a GLOBAL chunk behind them in their own block of 16 chunks: they live until the first '
      + 'GLOBAL of a later block, or for ever',
    cases: 'all with LOCAL that a GLOBAL in the same block of 16 chunks closes (last, even at N - 1)',
  }, {
    last: (head, j) => {
      if (typeOf(head, j) !== LOCAL) return rightLast(head, j);
      const next = head.own.indexOf(GLOBAL, 16 * (tile(chunkOf(j, head.p)) + 1));
      return next < 0 ? EVER : chunkEnd(next, head.p);
    },
  }),

  partly(3, 'local-plus-window', 'keeps LOCAL tokens for W queries after the GLOBAL that closes them', {
    cause: 'last = end + W is written for all tokens that are not GLOBAL, with the end of the closing chunk for LOCAL',
    tensors: LIVES.filter((name) => name !== 'cache_closed_by'),
    where: 'LOCAL tokens that are closed: still seen in the W rows after the closing one; '
      + 'cache_closed_by is right',
    cases: 'W > 0, with LOCAL that is closed (last, even beyond N)',
  }, {
    last: (head, j) => {
      const right = rightLast(head, j);
      return typeOf(head, j) === LOCAL && right < EVER ? right + head.p.window : right;
    },
  }),

  partly(3, 'local-strict-dkv', 'leaves the closing row of LOCAL keys out of dk and dv', {
    cause: 'the kernel of dk and dv compares LOCAL keys by i < last(j), those of the forward and of dq by i <= last(j)',
    tensors: ['dk', 'dv'],
    where: 'LOCAL keys that are closed: the part of row i = last(j) is missing in dk and dv; other keys, and dq, are '
      + 'right',
    cases: 'all with gradients and LOCAL that is closed within the sequence',
  }, { backVisible: (i, j, last, head) => seen(i, j, last) && !(i === last && typeOf(head, j) === LOCAL) }),

  partly(12, 'dm-own-pair-lost', 'leaves the pair of a token with itself out of dM', {
    cause: 'the kernel of dM has a strict causal mask, j < i',
    tensors: ['dm_rows', 'dw', 'dl', 'dg'],
    where: 'dm_rows, dw, dl and dg: dM[i,i] is missing in each of them (not in the costs in dg); dscores is right, as '
      + 'all three types lose the same; dq, dk and dv are right',
    cases: 'all with gradients and more than one token, except where the own key has no weight (large)',
  }, ({ parameters: { tokens: N } }) => byRow((row) => {
    let [now, j] = [-1, 0];
    return {
      dM: (dM) => {
        if (now !== row()) [now, j] = [row(), 0];
        return j++ === now % N ? 0 : dM;
      },
    };
  })),

  partly(12, 'dkv-last-row-lost', 'leaves the last row out of dk and dv', {
    cause: 'the bound of the loop over rows is N - 1, exclusive, in the kernel of dk and dv',
    tensors: ['dk', 'dv'],
    where: 'all keys that row N - 1 sees: its part is missing in dk and dv, which is all of it for key N - 1; dq is '
      + 'right',
    cases: 'all with gradients (one-token in dv, as dk is 0)',
  }, { backVisible: (i, j, last, { p }) => seen(i, j, last) && i < p.tokens - 1 }),

  partly(12, 'dq-key-0-lost', 'leaves key 0 out of dq', {
    cause: 'the loop over the keys starts at 1 in the kernel of dq',
    tensors: ['dq'],
    where: 'dq of all rows that see key 0: its part is missing; dk and dv are right',
    cases: 'all with gradients and more than one token, except where dq is 0 (equal-keys, large)',
  }, { backVisible: (i, j, last) => seen(i, j, last) && j > 0 }),

  partly(13, 'lifetimes-by-key-pair', 'takes last of an even key for the odd one after it too', {
    cause: 'a thread has the keys 2n and 2n + 1 and loads last(2n) for both; causality is by key',
    tensors: TRAINING,
    where: 'odd keys whose last(j) is not that of key j - 1: seen too long, or too short (in their own row too, and '
      + 'NaN if it sees nothing else); even keys are right',
    cases: 'all where an odd key and the one before it differ in last(j) within the sequence; none where C is even',
  }, { visible: (i, j, last, head) => seen(i, j, j % 2 === 0 ? last : rightLast(head, j - 1)) }),

  partly(13, 'dkv-mask-untransposed', 'applies the mask of a tile of 16 to its transpose in dk and dv', {
    cause: 'the kernel of dk and dv has S^T in tiles of 16 keys by 16 rows, and applies the mask [row][key] to it as '
      + 'it is; what the mask has beyond N is hidden',
    tensors: ['dk', 'dv'],
    where: 'tiles that are not all seen: pair (i, j) counts if the pair at the place (j % 16, i % 16) of the same '
      + 'tile is visible; on the diagonal these are rows i <= j; dq is right',
    cases: 'all with gradients and more than one token',
  }, {
    backVisible: (i, j, _, head) => {
      const [row, key] = [16 * tile(i) + j % 16, 16 * tile(j) + i % 16];
      return row < head.p.tokens && key <= row && row <= rightLast(head, key);
    },
  }),

  partly(13, 'lifetimes-on-diagonal-only', 'hides keys by lifetime in the tile of 32 on the diagonal only', {
    cause: 'tiles of 32 keys before the diagonal run without any mask, as in a plain causal kernel',
    tensors: TRAINING,
    where: 'LOCAL and WINDOW keys in rows after last(j) of later tiles of 32: still seen; rows 0 to 31 are right in '
      + 'out, lse and dq',
    cases: 'N > 32, with keys that end before N - 1 in an earlier tile of 32',
  }, { visible: (i, j, last) => j <= i && (i <= last || tile(i, 32) > tile(j, 32)) }),
];
