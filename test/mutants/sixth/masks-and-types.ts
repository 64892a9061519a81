/**
 * Mistakes in masks and windows, and in types and lifetimes.
 * @module
 */
import { EVER, type Head, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkOf, closer, rightLast } from '../right.ts';
import { ATTENTION, fed, hooked, made, seen, type Sixth, typeAt } from './parts.ts';

const LIVES = ['last', 'mask', ...ATTENTION, 'cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_bytes'];

/** rightLast of LOCAL tokens, changed. */
const local = (change: (head: Head, c: number) => number) => (head: Head, j: number): number =>
  (typeAt(head, j) === LOCAL ? change(head, chunkOf(j, head.p)) : rightLast(head, j));

export const MASKS_AND_TYPES: readonly Sixth[] = [
  // Masks and windows
  hooked('mask-by-row-tile', 'compares lifetimes with the first row of a tile of 8 queries', {
    cause: 'whether a key still lives is decided once per tile of queries, from its first row; causality by element',
    tensors: ATTENTION,
    where: 'keys that end inside a tile of 8 queries: seen up to the last row of that tile; rows with i % 8 > 0',
    cases: 'all with WINDOW or closed LOCAL tokens that end inside',
  }, () => ({ visible: (i, j, last) => j <= i && i - i % 8 <= last }), ATTENTION),
  hooked('tile-skipped-by-first', 'skips a tile of 16 keys once its first key has ended', {
    cause: 'block skipping looks at the lifetime of the first key of a block instead of the longest one',
    tensors: ATTENTION,
    where: 'keys outside the tile of the query, in tiles whose first key is LOCAL or WINDOW and has ended',
    cases: 'N > 16, with a key that outlives the first of its tile',
  }, () => ({
    visible: (i, j, last, head) => seen(i, j, last)
      && (i - i % 16 === j - j % 16 || rightLast(head, j - j % 16) >= i),
  }), ATTENTION),
  hooked('age-in-a-byte', 'keeps the age i - j of a key in 8 bits', {
    cause: 'ages are stored as uint8 and wrap: a WINDOW key is seen again 256 queries later',
    tensors: ATTENTION,
    where: 'WINDOW keys j, queries with (i - j) % 256 within the window, i >= j + 256: rows from 256',
    cases: 'N > 256 with WINDOW tokens (not all GLOBAL)', rare: true,
  }, () => ({
    visible: (i, j, last, head) => j <= i
      && (i <= last || (typeAt(head, j) === WINDOW && (i - j) % 256 <= last - j)),
  }), ATTENTION),

  // Types and lifetimes
  hooked('packed-types-sign', 'takes WINDOW for GLOBAL in every 16th chunk', {
    cause: 'types are packed in 2 bits, 16 a word, and the highest is shifted with its sign: 2 becomes -2, which no '
      + 'branch knows, so the token lives for ever; it closes nothing, and types are reported rightly',
    tensors: LIVES, where: 'WINDOW tokens of chunks c with c % 16 = 15, in queries after their window',
    cases: 'at least 17 chunks, WINDOW at such a chunk',
  }, () => ({
    last: (head, j) => (chunkOf(j, head.p) % 16 === 15 && typeAt(head, j) === WINDOW ? EVER : rightLast(head, j)),
  })),
  hooked('scan-of-32', 'looks for the GLOBAL that closes LOCAL within the same block of 32 chunks only', {
    cause: 'the backward scan for the next GLOBAL runs per block of 32 threads, and nothing is carried between blocks',
    tensors: LIVES, where: 'LOCAL tokens after the last GLOBAL of a block of 32 chunks: they live for ever',
    cases: 'more than 32 chunks with LOCAL tokens that a later block closes',
  }, () => ({
    last: local((head, c) => {
      const end = closer(head, c);
      return end < EVER && Math.floor(chunkOf(end, head.p) / 32) > Math.floor(c / 32) ? EVER : end;
    }),
  })),
  hooked('neighbour-not-closed', 'does not close LOCAL by the GLOBAL right behind it, but by the next one', {
    cause: 'an exclusive scan over an array that was shifted already: the search starts at chunk c + 2',
    tensors: LIVES, where: 'LOCAL tokens of a chunk whose next chunk is GLOBAL', cases: 'all with LOCAL next to GLOBAL',
  }, () => ({ last: local((head, c) => closer(head, c + 1)) })),
  made('noise-transposed', 'reads noise [Nc,3] as [3,Nc]', {
    cause: 'the noise generator writes one plane per type, and the kernel that adds it reads three numbers per chunk',
    tensors: ['types', ...LIVES], where: 'everywhere, with all types and what follows from them',
    cases: 'those with noise and more than one chunk',
  }, (each) => run(fed(each, {
    noise: (data, [, , Nc]) => data.map((_, n) => {
      const [head, c, t] = [Math.floor(n / (3 * Nc)), Math.floor(n / 3) % Nc, n % 3];
      return data[head * 3 * Nc + t * Nc + c];
    }),
  }))),
];
