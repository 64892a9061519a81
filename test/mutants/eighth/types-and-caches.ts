/**
 * The gradients of types (kind 14) and caches (15).
 * @module
 */
import { EVER, GLOBAL, WINDOW } from '../hooks.ts';
import { allRows, closing, rightDw } from '../right.ts';
import { f, stepOf } from '../seventh/parts.ts';
import { type Eighth, hooked } from './parts.ts';

export const TYPES_AND_CACHES: readonly Eighth[] = [
  hooked(14, 'dl-after-chunk', 'starts the sum of dl with the first row after the chunk', {
    cause: 'the rows of dl are taken to be those of the product of the relaxed mask, strictly between the two chunks '
      + 'and to the closing one; the rows of the own chunk are left out',
    tensors: ['dl', 'dscores'],
    where: 'dl of all chunks: dM of rows c C to c C + C - 1 is missing, for C = 1 the own row; '
      + 'dw, dg and dm_rows are right',
    cases: 'all with gradients and more than one chunk (else all sums of dM are 0)',
  }, { dl: ({ head, c, column }) => column(c, (c + 1) * head.p.chunk, closing(head, c)) }),

  hooked(14, 'dg-charges-window', 'charges GLOBAL for ending the WINDOW tokens before it instead of the LOCAL ones', {
    cause: 'the second term of dg picks tokens by the wrong number, 2 for 1',
    tensors: ['dg', 'dscores'],
    where: 'dg of chunks with LOCAL or WINDOW chunks since the last GLOBAL before them, and rows after them; '
      + 'dw and dl are right',
    cases: 'all with gradients and such types; not where all are GLOBAL',
  }, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
        if (head.own[n] === WINDOW) cost = f(cost + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  }),

  hooked(14, 'dw-of-next-chunk', 'writes dw of the next chunk', {
    cause: 'dw is stored one place early, at c - 1 for chunk c; the last place stays 0',
    tensors: ['dw', 'dscores'],
    where: 'dw[c] is that of chunk c + 1 of the same head, and 0 for the last; dl and dg are right',
    cases: 'all with gradients and more than one chunk (else dw is 0 in any case)',
  }, {
    dw: (sums) => (sums.c + 1 < sums.head.own.length ? rightDw({ ...sums, c: sums.c + 1 }) : 0),
  }),

  hooked(15, 'bytes-before-eviction', 'counts bytes before a step evicts', {
    cause: 'the size of the cache is read after the step has attended, before eviction',
    tensors: ['cache_bytes'],
    where: 'steps and heads that evict something: cache_bytes counts what leaves too; what lives is right',
    cases: 'caches in which something is evicted',
  }, ({ parameters: { batch: B, kvHeads: G, steps } }) => {
    const held: number[] = [];
    let at = 0;
    return {
      cache: {
        // Heads come in turn, each with all its steps; bytes are asked for by step.
        before: (entries) => {
          held.push(entries.length);
          return entries;
        },
        bytes: (_, __, ___, d) => {
          const [r, head] = [Math.floor(at / (B * G)), at++ % (B * G)];
          return held[head * steps.length + r] * 2 * d * 4;
        },
      },
    };
  }),

  hooked(15, 'erase-in-loop', 'skips the entry behind each one that it evicts', {
    cause: 'entries are erased while a loop counts through them, so that the one that moves up is not looked at',
    tensors: ['cache_evicted_at', 'cache_live', 'cache_bytes'],
    where: 'entries that end in the same step as the entry before them in the cache: every second of such a run stays '
      + 'until a later step, or for ever; outputs are right, as they are masked',
    cases: 'caches with steps that evict neighbouring entries',
  }, () => {
    let dead = new Set<number>();
    return {
      cache: {
        before: (entries, _, next) => {
          dead = new Set();
          for (let n = 0; n < entries.length; n++) if (entries[n].last < next) dead.add(entries[n++].j);
          return entries;
        },
        dies: ({ j }) => dead.has(j),
      },
    };
  }),

  hooked(15, 'close-by-last-missed', 'closes nothing where the GLOBAL is the last token of its step', {
    cause: 'the loop over the new tokens of a step runs to its last one, exclusive, when it looks for GLOBAL',
    tensors: ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'LOCAL tokens whose closing chunk ends with the last token of a step, so always in steps of one token: '
      + 'closed by a later GLOBAL, or never',
    cases: 'caches with such steps and LOCAL tokens to close',
  }, (each) => ({
    cache: {
      close: (open, end, begin) => {
        if (end === stepOf(each, begin).next - 1) return;
        for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = end;
      },
    },
  })),
];
