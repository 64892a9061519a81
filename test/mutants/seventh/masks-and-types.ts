/**
 * Mistakes in masks and windows, and in types and lifetimes.
 * @module
 */
import { run } from '../kernel.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { chunkEnd, chunkOf, closer, rightLast } from '../right.ts';
import { broken, headOf, hooked, mixed, partly, seen, type Seventh, STATE, TRAINING, typeOf } from './parts.ts';

const LIVES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'] as const;

/** Without the bytes of the cache, of which the suite shows none too few. */
const LIVES_BUT_BYTES = ['last', 'mask', ...TRAINING, ...STATE, 'cache_out'] as const;

export const MASKS_AND_TYPES: readonly Seventh[] = [
  partly('window-start-up', 'starts the loop over WINDOW keys at a tile of 16 that is rounded up', {
    cause: 'the first tile of keys of a tile of rows from i0 on is ceil((i0 - W) / 16) instead of floor; GLOBAL and LOCAL keys have another loop',
    tensors: TRAINING,
    where: 'WINDOW keys j < 16 ceil((i0 - W) / 16), i0 = 16 floor(i / 16), are hidden from rows that should see them; rows from 16 on, own tile right',
    cases: 'N > 16 with WINDOW tokens, where the window reaches into an earlier tile and not from a multiple of 16 for all',
  }, TRAINING, {
    visible: (i, j, last, head) => seen(i, j, last)
      && !(typeOf(head, j) === WINDOW && j < 16 * Math.ceil((i - i % 16 - head.p.window) / 16)),
  }),

  hooked('window-unsigned', 'hides other WINDOW keys in rows i < W', {
    cause: 'the bound i - W is unsigned and wraps below 0, so no WINDOW key is behind it; a row always sees itself',
    tensors: ['mask', ...TRAINING],
    where: 'rows 1 to W - 1: WINDOW keys j < i are hidden; last is right, and the cache',
    cases: 'W > 1 with a WINDOW token before row W - 1 at the latest, so with W of 2 or more',
  }, {
    visible: (i, j, last, head) => seen(i, j, last) && !(typeOf(head, j) === WINDOW && i < head.p.window && j < i),
    cache: { visible: (i, entry) => seen(i, entry.j, entry.last) },
  }),

  partly('mask-bit-31', 'never sees keys j with j % 32 = 31', {
    cause: 'masks are packed in words of 32 bits, and the word is ANDed with 2^31 - 1, which loses its highest bit',
    tensors: TRAINING,
    where: 'keys 31, 63, 95 and so on, for all rows that should see them, their own too (NaN where it is the only one): rows from 31 on',
    cases: 'N > 31',
  }, TRAINING, { visible: (i, j, last) => seen(i, j, last) && j % 32 !== 31 }),

  hooked('global-ends-window', 'ends WINDOW tokens at the next GLOBAL too', {
    cause: 'a GLOBAL is taken to end the passage for all tokens: last(j) of WINDOW is the lesser of its window and e(j); dw is summed over the right window',
    tensors: ['last', 'mask', ...TRAINING, 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'WINDOW tokens with a GLOBAL within their window: hidden from the rows after it',
    cases: 'all with a GLOBAL inside a window and not at its end, and rows after it',
  }, {
    last: (head, j) => {
      const last = rightLast(head, j);
      return typeOf(head, j) === WINDOW ? Math.min(last, closer(head, chunkOf(j, head.p))) : last;
    },
  }),

  broken('types-int64-as-32', 'reads types of 64 bits as if they had 32', {
    cause: 'argmax gives int64, the kernel takes an int32 pointer: element n is types[n / 2] where n is even, and 0, so GLOBAL, where it is odd, over the flat [B,G,Nc]',
    tensors: LIVES,
    where: 'everywhere: odd flat indices are GLOBAL, even ones have the type at half the index, of other heads and batches too; types themselves are right',
    cases: 'all but those in which all types are GLOBAL or Nc is 1',
  }, (each) => {
    const wrong = run(each, { types: (types) => types.map((_, n) => (n % 2 === 0 ? types[n / 2] : GLOBAL)) });
    return mixed(LIVES, wrong, run(each));
  }),

  hooked('scan-carries-over', 'closes LOCAL tokens that stay open at the first GLOBAL of the next head', {
    cause: 'the scan for the next GLOBAL runs backwards over all heads of all batches and is not reset between them; it carries a position within a head',
    tensors: LIVES,
    where: 'LOCAL tokens after the last GLOBAL of their KV head, in all flat KV heads b G + g but the last: hidden after the carried position, or at once (but for their own row) if it is earlier',
    cases: 'B G > 1 with such tokens and a GLOBAL in a later head; not where N % C > 0, whose last chunk is GLOBAL',
  }, (each) => {
    const { batch: B, kvHeads: G } = each.parameters;
    return {
      last: (head, j) => {
        const last = rightLast(head, j);
        if (typeOf(head, j) !== LOCAL || last !== EVER) return last;
        for (let n = head.head + 1; n < B * G; n++) {
          const c = headOf(each, n).own.indexOf(GLOBAL);
          if (c >= 0) return chunkEnd(c, head.p);
        }
        return EVER;
      },
      visible: (i, j, last) => i === j || seen(i, j, last),
    };
  }),

  hooked('chunk-by-shift', 'finds the chunk of a token by a shift where C is no power of two', {
    cause: 'the chunk is j >> floor(log2(C)), at most the last one: 3 is taken for 2, 5 for 4, 10 for 8, where lifetimes are looked up by chunk; a row always sees itself',
    tensors: LIVES_BUT_BYTES,
    where: 'tokens j with j >> floor(log2(C)) other than floor(j / C): they have the lifetime of a later chunk, or of the last',
    cases: 'C = 3, 5 or 10 with more than one chunk, where that later chunk has another lifetime: chunk-whole and pairs',
  }, {
    last: (head, j) => {
      const { p, own } = head;
      return rightLast(head, Math.min(j >> Math.floor(Math.log2(p.chunk)), own.length - 1) * p.chunk);
    },
    visible: (i, j, last) => i === j || seen(i, j, last),
  }),
];
