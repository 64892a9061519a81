/**
 * Which pairs are visible: windows, closing, tiles that are skipped, and indices into the mask.
 * @module
 */
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { chunkEnd, chunkOf, closer, rightLast } from '../right.ts';
import { type Blind, BACKWARD, CACHE, hooked, lasts, LIFE, TYPES, typeOf, typesOf } from './parts.ts';

const tile = (n: number, size: number): number => Math.floor(n / size);

export const MASKS: readonly Blind[] = [
  hooked('window-clip-64', 'clips the window to 64 tokens, the largest of its instantiations', {
    cause: 'a window clipped to 64',
    lives: 'WINDOW tokens where W > 64 ends within the sequence', where: /W > (32|6\d)/,
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW
      ? chunkEnd(chunkOf(j, head.p), head.p) + Math.min(head.p.window, 64) : rightLast(head, j)),
  }),
  hooked('window-byte', 'keeps W in 8 bits', {
    cause: 'a window modulo 256 (300 becomes 44)',
    lives: 'WINDOW tokens where W > 255 ends within 45: only pair-18', where: /W > (32|64|2\d\d)/,
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW
      ? chunkEnd(chunkOf(j, head.p), head.p) + head.p.window % 256 : rightLast(head, j)),
  }),
  hooked('window-short-later-heads', 'has a window of one token too few in every KV head but the first', {
    cause: 'a window of one token too few', lives: 'KV heads from 1, so only cases with G > 1',
    where: /only in .*heads?|G > 1/,
  }, {
    last: (head, j) =>
      rightLast(head, j) - Number(typeOf(head, j) === WINDOW && head.p.window > 0 && head.head % head.p.kvHeads > 0),
  }),
  hooked('window-from-key-block', 'counts the window of a chunk of more than 8 from the start of the block of 8 keys', {
    cause: 'the window of a chunk counted from the start of the block of keys instead of that of the chunk',
    lives: 'WINDOW chunks where C > 8', where: /C > /,
  }, {
    last: (head, j) => (typeOf(head, j) === WINDOW && head.p.chunk > 8
      ? tile(j, 8) * 8 + head.p.chunk - 1 + head.p.window : rightLast(head, j)),
  }),
  hooked('local-any-head', 'closes LOCAL by a GLOBAL of any KV head of the sequence: one flag for all heads', {
    cause: 'LOCAL closed by a GLOBAL of another KV head', lives: 'LOCAL tokens where G > 1', where: /G > 1/,
  }, (each) => ({
    last: (head, j) => {
      const { p } = head;
      if (typeOf(head, j) !== LOCAL) return rightLast(head, j);
      const first = tile(head.head, p.kvHeads) * p.kvHeads;
      const ends = Array.from({ length: p.kvHeads }, (_, g) =>
        closer({ ...head, own: typesOf(each, first + g) }, chunkOf(j, p)));
      return Math.min(...ends);
    },
  })),
  hooked('local-head-before', 'closes LOCAL by the GLOBAL tokens of the KV head before, also of the sequence before', {
    cause: 'LOCAL closed by the neighbouring KV head',
    lives: 'LOCAL tokens of every KV head of B G but the first', where: /only in .*heads?|G > 1|B > 1/,
  }, (each) => ({
    last: (head, j) => (typeOf(head, j) !== LOCAL || head.head === 0 ? rightLast(head, j)
      : closer({ ...head, own: typesOf(each, head.head - 1) }, chunkOf(j, head.p))),
  })),
  hooked('scan-no-carry', 'looks for the closing GLOBAL only in the same block of 32 chunks: the scan has no carry', {
    cause: 'LOCAL not closed by a GLOBAL of a later block (LOCAL lives for ever)',
    lives: 'LOCAL chunks whose closing chunk lies in another block of 32 chunks, so where N > 32 C',
    where: /N > 3[123]|only in rows? from 3/,
  }, {
    last: (head, j) => {
      const [last, c] = [rightLast(head, j), chunkOf(j, head.p)];
      return typeOf(head, j) === LOCAL && last < EVER && tile(chunkOf(last, head.p), 32) > tile(c, 32) ? EVER : last;
    },
  }),
  hooked(
    'skip-by-first-key', 'skips a tile of 16 keys if its first key is hidden from the first row of a tile of 16 rows', {
    cause: 'whole tiles of keys skipped that hold visible ones',
    lives: 'out, lse and the gradients of rows that see keys after an expired '
      + 'first key of a tile, keys before the tile of the row', where: /only in rows? (from )?1[67]|N > 1[567]/,
  }, {
    visible: (i, j, last, head) => j <= i && i <= last
      && (tile(i, 16) === tile(j, 16) || lasts(head)[tile(j, 16) * 16] >= tile(i, 16) * 16),
  }, [...LIFE, ...CACHE]),
  hooked('skip-by-last-row', 'skips a tile of 8 keys if all of it is hidden from the last row of a tile of 16 rows', {
    cause: 'whole tiles of keys skipped while the earlier rows of the tile still see them',
    lives: 'out, lse and gradients, in all rows but the last of each tile of 16, only where a tile of 8 keys holds no '
      + 'long-lived key',
  }, {
    visible: (i, j, last, head) => {
      if (j > i || i > last) return false;
      const [first, end] = [tile(j, 8) * 8, Math.min(tile(i, 16) * 16 + 15, head.p.tokens - 1)];
      if (tile(j, 16) === tile(i, 16)) return true;
      return Math.max(...lasts(head).slice(first, first + 8)) >= end;
    },
  }, [...LIFE, ...CACHE]),
  hooked('row-pairs-causal', 'lets a thread with the rows 2n and 2n + 1 take the causal limit of the second for both', {
    cause: 'a query sees the next token (causal mask one too wide)',
    lives: 'even rows of out, lse and the gradients', where: /even rows/,
  }, {
    visible: (i, j, last, { p }) => j <= Math.min(i | 1, p.tokens - 1) && i <= last,
  }, [...LIFE, ...CACHE]),
  hooked('mask-index-16-bits', 'reads a stored mask [N, N] at an index of 16 bits', {
    cause: 'an index that overflows at 65536: late rows use the mask of the first rows',
    lives: 'out, lse and gradients of the rows from 65536 / N, only where N > 256',
    where: /N > 2\d\d|only in rows? (from )?2\d\d/,
  }, {
    visible: (i, j, last, head) => {
      const N = head.p.tokens;
      if (i * N + j < 65536) return j <= i && i <= last;
      const [row, key] = [tile(i * N + j - 65536, N), (i * N + j - 65536) % N];
      return j <= i && key <= row && row <= lasts(head)[key];
    },
  }, [...LIFE, ...CACHE]),
  hooked('skips-first-of-tile', 'starts every tile of 16 keys after the first at its second key', {
    cause: 'the first key of a tile is left out (one key of each 16)',
    lives: 'keys 16, 32, 48, ..., in all rows that see them; N > 16',
    where: /N > 1[567]|only in rows? (from )?1[67]|keys? 16|% 16/,
  }, {
    visible: (i, j, last) => j <= i && i <= last && (j % 16 > 0 || j === 0 || i === j),
  }, [...LIFE, ...CACHE]),
  hooked('window-back-only', 'has a window one token too long, but only in the backward', {
    cause: 'the backward uses another mask than the forward: a window of one token too many',
    lives: 'dq, dk, dv; out and lse are right',
  }, {
    backVisible: (i, j, last, head) => j <= i && i <= last + Number(typeOf(head, j) === WINDOW),
  }, TYPES),
  hooked(
    'tile-global-start', 'treats every token of a tile of 4 as GLOBAL if its first one is: one type read per vector', {
    cause: 'the type of the first token of four is used for GLOBAL',
    lives: 'tokens after a GLOBAL one at j % 4 = 0, where C = 1', where: /C = 1/,
  }, {
    last: (head, j) => (head.p.chunk === 1 && head.own[tile(j, 4) * 4] === GLOBAL ? EVER : rightLast(head, j)),
  }, [...BACKWARD, ...TYPES]),
];
