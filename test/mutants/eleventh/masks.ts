/**
 * Windows (kind 2), the closing of LOCAL (3), single pairs and keys (12), and masks by tile, row or chunk (13).
 * @module
 */
import { tile } from '../eighth/parts.ts';
import { EVER, GLOBAL, type Head, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { broken, hooked, partly } from '../ninth/parts.ts';
import { chunkEnd, chunkOf, closer, rightLast } from '../right.ts';
import { edited, seen, STATE, TRAINING, typeOf } from '../seventh/parts.ts';
import { DKV, type Eleventh, headsOf } from './parts.ts';

const LIVES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'] as const;

const windowEnd = (head: Head, j: number): number => chunkEnd(chunkOf(j, head.p), head.p) + head.p.window;

export const MASKS: readonly Eleventh[] = [
  partly(2, 'window-in-chunks', 'counts W in chunks', {
    cause: 'the end of a window is (c + 1 + W) C - 1, as the kernel has W in the unit of its types, in lifetimes; dw '
      + 'and the price have it in tokens',
    tensors: LIVES.filter((name) => name !== 'cache_closed_by'),
    where: 'WINDOW chunks: still seen in the (C - 1) W rows after their end',
    cases: 'C > 1 and W > 0, with WINDOW chunks (last, even beyond N)',
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW
      ? windowEnd(head, j) + (head.p.chunk - 1) * head.p.window : rightLast(head, j)),
  }),

  hooked(2, 'window-by-cache-length', 'compares windows with the length of the context in the cache', {
    cause: 'the distance of a key is taken as the length i + 1 minus j instead of i - j; a row always sees itself, '
      + 'and eviction has the right end',
    tensors: ['cache_out'],
    where: 'rows i that are the last to see a WINDOW key of an earlier token, last(j) = i: hidden; what lives is right',
    cases: 'caches with WINDOW keys that end at N - 1 or before, and W > 0 or C > 1',
  }, {
    cache: {
      visible: (i, { j, last }, _, head) => seen(i, j, last)
        && !(i === last && j < i && typeOf(head, j) === WINDOW),
    },
  }),

  partly(2, 'window-by-query-type', 'applies the window where the query is WINDOW, not where the key is', {
    cause: 'the test for WINDOW reads the type at the row: WINDOW rows see the keys within W of the end of their '
      + 'chunks, whatever their types; in other rows LOCAL keys end rightly, and WINDOW keys never',
    tensors: TRAINING,
    where: 'GLOBAL and LOCAL keys in WINDOW rows beyond W: hidden; closed LOCAL keys in WINDOW rows within W, and '
      + 'WINDOW keys in other rows beyond W: seen',
    cases: 'all with WINDOW chunks and another type, and N above W + C, except falling, where they have no weight',
  }, {
    visible: (i, j, last, head) => j <= i && (typeOf(head, i) === WINDOW ? i <= windowEnd(head, j)
      : typeOf(head, j) === LOCAL ? i <= last : true),
  }),

  hooked(3, 'local-by-any-head', 'closes LOCAL at the next GLOBAL of any KV head', {
    cause: 'the list of GLOBAL chunks is made once per sequence, from all its KV heads; dl and dg are summed to the '
      + 'right end',
    tensors: LIVES,
    where: 'LOCAL tokens for which another KV head of the sequence has a GLOBAL chunk before that of their own: hidden '
      + 'after it',
    cases: 'G > 1, with such tokens (last, even at N - 1)',
  }, (each) => {
    const { kvHeads: G } = each.parameters;
    const heads = headsOf(each);
    return {
      last: (head, j) => {
        if (typeOf(head, j) !== LOCAL) return rightLast(head, j);
        const first = head.head - head.head % G;
        return Math.min(...heads.slice(first, first + G).map((one) => closer(one, chunkOf(j, head.p))));
      },
    };
  }),

  partly(3, 'local-scan-not-reset', 'carries the scan for the next GLOBAL from one KV head into the one before it', {
    cause: 'the scan from the end runs over all KV heads of all sequences in one piece and is not reset between them, '
      + 'so that what no GLOBAL follows gets the position of the first GLOBAL of the head after; dl and dg are summed '
      + 'to the right end, and the cache closes by itself',
    tensors: ['last', 'mask', ...TRAINING],
    where: 'LOCAL tokens that no GLOBAL follows, in all KV heads but the last of the last sequence: they end where '
      + 'the next head has its first GLOBAL, mostly before they begin, so that no row sees them (NaN where it sees '
      + 'nothing else)',
    cases: 'B G > 1, with LOCAL that no GLOBAL follows, and no unfinished chunk',
  }, (each) => {
    const heads = headsOf(each);
    return {
      last: (head, j) => {
        const right = rightLast(head, j);
        if (typeOf(head, j) !== LOCAL || right < EVER) return right;
        const next = heads.slice(head.head + 1).find(({ own }) => own.includes(GLOBAL));
        return next ? chunkEnd(next.own.indexOf(GLOBAL), head.p) : EVER;
      },
    };
  }),

  partly(3, 'local-open-dkv', 'never closes LOCAL in the kernel of dk and dv', {
    cause: 'the kernel of dk and dv has the window alone for its mask; that of dq and the forward have the closing of '
      + 'LOCAL too',
    tensors: DKV,
    where: 'LOCAL keys that are closed: rows after last(j) add to dk and dv; other keys, and dq, are right',
    cases: 'all with gradients and LOCAL that is closed before N - 1, except falling, where it has no weight',
  }, { backVisible: (i, j, last, head) => j <= i && (typeOf(head, j) === LOCAL || i <= last) }),

  partly(12, 'own-tile-skipped-at-edge', 'leaves the own key out of rows at the start of a tile of 16', {
    cause: 'the loop over tiles of keys runs while their first key is before the row, j0 < i; row 0 has a path of its '
      + 'own',
    tensors: TRAINING,
    where: 'rows i > 0 with i % 16 = 0 do not see themselves (NaN where they see nothing else); other rows are right '
      + 'in out, lse and dq',
    cases: 'N > 16',
  }, { visible: (i, j, last) => seen(i, j, last) && !(i === j && i > 0 && i % 16 === 0) }),

  broken(12, 'dkv-last-key-unwritten', 'never writes dk and dv of the last key', {
    cause: 'the mask of the store is j < N - 1; the buffers are 0',
    tensors: DKV,
    where: 'key N - 1 of all KV heads: dk and dv are 0; dq and the others are right',
    cases: 'all with gradients, except where the last key has no weight (pair-3, pair-9)',
  }, (each) => {
    const without = (x: number, [, , j]: readonly number[]): number => (j === each.parameters.tokens - 1 ? 0 : x);
    return edited(edited(run(each), 'dk', without), 'dv', without);
  }),

  hooked(12, 'cache-sink-twice', 'counts key 0 twice in steps after the first', {
    cause: 'the sink is taken first, from a place of its own, and it is still in the list of entries',
    tensors: ['cache_out'],
    where: 'rows after the first step that see key 0: it counts twice; what lives is right',
    cases: 'caches with more than one step, except where key 0 is never seen again (all-window), or has no weight or '
      + 'all of it (rising, falling)',
  }, {
    cache: {
      before: (entries, begin) => (begin === 0 ? entries : [...entries.filter(({ j }) => j === 0), ...entries]),
    },
  }),

  partly(13, 'causal-by-chunk', 'compares chunks instead of tokens for causality', {
    cause: 'the mask has floor(j / C) <= floor(i / C); the end of lifetimes is by token, and dM has its own mask',
    tensors: TRAINING,
    where: 'all rows but the last of their chunk see the later keys of it; the others are right in out, lse and dq',
    cases: 'C > 1 and N > 1',
  }, { visible: (i, j, last, { p }) => chunkOf(j, p) <= chunkOf(i, p) && i <= last }),

  partly(13, 'causal-on-last-tile-only', 'masks for causality in the last tile of keys alone', {
    cause: 'a tile of 32 rows takes tiles of 16 keys, of which the last two cross the diagonal, and only the very last '
      + 'is masked for causality; all are masked by lifetimes',
    tensors: TRAINING,
    where: 'rows with i % 32 < 16 (but for i % 32 = 15) see the later keys of their tile of 16, if there are keys '
      + 'beyond that tile; other rows are right in out, lse and dq',
    cases: 'N > 16',
  }, {
    visible: (i, j, last, { p }) => i <= last
      && (j <= i || (i % 32 < 16 && tile(j) === tile(i) && 16 * tile(i) + 16 < p.tokens)),
  }),

  partly(13, 'dkv-end-by-last-key', 'ends the rows of a tile of 16 keys with the lifetime of its last key', {
    cause: 'the loop over tiles of 16 rows in the kernel of dk and dv ends with the one that last(j) of the last key '
      + 'of the tile is in; it must be the largest of the tile',
    tensors: DKV,
    where: 'keys that live beyond the tile of rows in which the last key of their tile of 16 ends: the part of later '
      + 'rows is missing in dk and dv; dq is right',
    cases: 'N > 16, with gradients and tiles of keys whose last is not the one that lives longest',
  }, {
    backVisible: (i, j, last, head) => seen(i, j, last)
      && tile(i) <= tile(rightLast(head, Math.min(16 * tile(j) + 15, head.p.tokens - 1))),
  }),
];
