/**
 * Windows (kind 2), the closing of LOCAL (3), single pairs and keys (12), and masks by tile, row or chunk (13).
 * @module
 */
import { tile } from '../eighth/parts.ts';
import { EVER, type Head, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkOf, closer, rightLast } from '../right.ts';
import { edited, seen, STATE, TRAINING, typeOf } from '../seventh/parts.ts';
import { boundOf, broken, hooked, type Ninth, partly } from './parts.ts';

const LIVES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'] as const;

/** The token before the second GLOBAL chunk after that of j, or EVER. */
function beforeSecond(head: Head, j: number): number {
  const end = closer(head, chunkOf(j, head.p));
  const next = end === EVER ? EVER : closer(head, chunkOf(end, head.p));
  return next === EVER ? EVER : next - head.p.chunk;
}

export const MASKS: readonly Ninth[] = [
  partly(2, 'start-by-window', 'starts the loop over keys at the first tile of 16 that a window can reach', {
    cause: 'the loop over tiles of keys starts at floor((i0 - W) / 16), as in a kernel for plain sliding windows, so '
      + 'that GLOBAL and LOCAL keys behind it are lost; i0 is the first row of the tile of 16 rows',
    tensors: TRAINING,
    where: 'rows i >= 16 + W, roughly: GLOBAL and LOCAL keys j < 16 floor((16 floor(i / 16) - W) / 16) are hidden; '
      + 'earlier rows are right in out, lse and dq, and so are WINDOW keys',
    cases: 'N > 16 and above W + 16, with GLOBAL or LOCAL keys that reach so far and have weight (not rising)',
  }, { visible: (i, j, last, { p }) => seen(i, j, last) && tile(j) >= tile(16 * tile(i) - p.window) }),

  hooked(2, 'window-from-chunk-start', 'counts W from the first token of a chunk', {
    cause: 'the end of a window is c C + W instead of c C + C - 1 + W, in lifetimes and in dw; a row always sees '
      + 'itself',
    tensors: ['last', 'mask', ...TRAINING, 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'WINDOW chunks of more than one token end C - 1 queries early, within the chunk if W < C - 1; '
      + 'dw of all types',
    cases: 'C > 1, with WINDOW chunks (last, even beyond N); dw also without, where C - 1 + W ends before N - 1',
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW
      ? Math.max(j, chunkOf(j, head.p) * head.p.chunk + head.p.window) : rightLast(head, j)),
    dw: ({ head: { p }, c, column }) => column(c, 0, c * p.chunk + p.window),
  }),

  partly(2, 'window-strict-dq', 'ends windows one query early in the kernel of dq', {
    cause: 'the kernel of dq compares i - j < W, those of the forward and of dk and dv i - j <= W',
    tensors: ['dq'],
    where: 'dq of rows i that are the last to see a WINDOW key, last(j) = i: its part is missing; dk and dv are right',
    cases: 'all with gradients and WINDOW keys that end at N - 1 or before, except where dq is 0 (equal-keys) or '
      + 'they have no weight (large)',
  }, {
    backVisible: (i, j, last, head) => seen(i, j, last) && !(typeOf(head, j) === WINDOW && i === last),
  }),

  partly(3, 'local-next-segment', 'shows LOCAL keys in the segment after their own too', {
    cause: 'segments are numbered by a running count of GLOBAL chunks, and LOCAL keys are seen where the counts of row '
      + 'and key differ by at most 1: meant for the GLOBAL that closes, it lets in the whole segment that it begins',
    tensors: TRAINING,
    where: 'LOCAL keys in rows after the GLOBAL that closes them and before the next GLOBAL chunk: still seen',
    cases: 'all with LOCAL that is closed, and rows after it that are no GLOBAL',
  }, { last: (head, j) => (typeOf(head, j) === LOCAL ? beforeSecond(head, j) : rightLast(head, j)) }),

  hooked(3, 'local-by-any-other', 'closes LOCAL at the next chunk that is not LOCAL', {
    cause: 'a segment is taken for a run of LOCAL chunks: WINDOW ends it too; dl is summed to the right end',
    tensors: LIVES,
    where: 'LOCAL tokens with a WINDOW chunk before the next GLOBAL: hidden after the end of that WINDOW chunk',
    cases: 'all with such tokens, and rows after that chunk',
  }, {
    last: (head, j) => (typeOf(head, j) === LOCAL
      ? closer(head, chunkOf(j, head.p), (type) => type !== LOCAL) : rightLast(head, j)),
  }),

  partly(3, 'local-to-end-of-tile', 'closes LOCAL with the tile of 16 rows that the GLOBAL is in', {
    cause: 'the end of LOCAL keys is compared by tiles of 16 rows, floor(i / 16) <= floor(last / 16), as for skipping; '
      + 'windows are compared by row',
    tensors: TRAINING,
    where: 'LOCAL keys in rows after last(j) of the same tile of 16: still seen',
    cases: 'all with LOCAL that is closed before the end of a tile and before N - 1',
  }, {
    visible: (i, j, last, head) => (typeOf(head, j) === LOCAL ? j <= i && tile(i) <= tile(last) : seen(i, j, last)),
  }),

  partly(12, 'dkv-own-pair-lost', 'leaves the pair of a token with itself out of dk and dv', {
    cause: 'the kernel of dk and dv has a strict causal mask, j < i',
    tensors: ['dk', 'dv'],
    where: 'all keys: the part of row i = j is missing in dk and dv, all of it for the last key; dq is right',
    cases: 'all with gradients (one-token in dv, which is 0)',
  }, { backVisible: (i, j, last) => seen(i, j, last) && j < i }),

  partly(12, 'last-key-unread', 'never reads the last key of the sequence', {
    cause: 'the bound of the loop over keys is N - 1, exclusive',
    tensors: TRAINING,
    where: 'row N - 1 does not see itself (NaN where it sees nothing else); dk and dv of key N - 1 are 0; other rows '
      + 'are right in out, lse and dq',
    cases: 'all but those where the last key has no weight in its row (pair-3, pair-9)',
  }, { visible: (i, j, last, { p }) => seen(i, j, last) && j < p.tokens - 1 }),

  broken(12, 'dkv-of-sink-lost', 'never writes dk and dv of key 0', {
    cause: 'the sink has a path of its own in the forward, and the loop over keys of the backward starts at 1; '
      + 'the buffers are 0',
    tensors: ['dk', 'dv'],
    where: 'key 0 of all KV heads: dk and dv are 0; dq and the others are right',
    cases: 'all with gradients',
  }, (each) => {
    const without = (x: number, [, , j]: readonly number[]): number => (j === 0 ? 0 : x);
    return edited(edited(run(each), 'dk', without), 'dv', without);
  }),

  partly(13, 'whole-tile-by-first-row', 'leaves out the mask where the first row of a tile sees all of its keys', {
    cause: 'tiles of 16 by 16 before the diagonal run without a mask if their first row sees all keys; it must be the '
      + 'last row',
    tensors: TRAINING,
    where: 'LOCAL and WINDOW keys of earlier tiles that end within the tile of rows, in the rows of it after their '
      + 'end, if row 16 floor(i / 16) sees all 16 keys: still seen',
    cases: 'N > 16, with tiles of keys that are all visible at the start of a tile of rows, and end in it',
  }, {
    visible: (i, j, last, head) => seen(i, j, last)
      || (tile(j) < tile(i) && boundOf(head, tile(j), 'min') >= 16 * tile(i)),
  }),

  partly(13, 'causal-by-row-pair', 'compares the second row of each pair of rows for causality', {
    cause: 'a thread has the rows 2n and 2n + 1 and makes the causal bound once, from the second',
    tensors: TRAINING,
    where: 'even rows i < N - 1: they see key i + 1; odd rows are right in out, lse and dq',
    cases: 'N > 1',
  }, { visible: (i, j, last) => j <= (i | 1) && i <= last }),

  partly(13, 'lifetimes-by-chunk', 'compares chunks instead of tokens for the end of lifetimes', {
    cause: 'the mask has floor(i / C) <= floor(last / C): windows that end inside a chunk are not refined by token; '
      + 'causality is by token',
    tensors: TRAINING,
    where: 'WINDOW keys in rows after last(j) of the same chunk as last(j): still seen',
    cases: 'C > 1, where W is no multiple of C, with WINDOW keys that end before N - 1',
  }, {
    visible: (i, j, last, { p }) => j <= i && chunkOf(i, p) <= chunkOf(last, p),
  }),
];
