/**
 * The gradients of types (kind 14) and caches (15).
 * @module
 */
import { type CacheHooks, EVER, GLOBAL, LOCAL, type Sums, WINDOW } from '../hooks.ts';
import { hooked } from '../ninth/parts.ts';
import { allRows, closing, rightDg, rightDl, rightDw } from '../right.ts';
import { f, stepOf } from '../seventh/parts.ts';
import type { Eleventh } from './parts.ts';

const typeOfChunk = ({ head, c }: Sums): number => head.own[c];

/** The sums with the columns of chunks divided by the number of their tokens. */
const meaned = (sums: Sums): Sums => {
  const { chunk: C, tokens: N } = sums.head.p;
  return { ...sums, column: (c, from, to) => f(sums.column(c, from, to) / (Math.min((c + 1) * C, N) - c * C)) };
};

/** Eviction of at most as many entries in a step as it brings. */
function slowEviction(): CacheHooks {
  let dead = new Set<number>();
  return {
    before: (entries, begin, next) => {
      const ended = entries.filter(({ last }) => last < next).map(({ j }) => j);
      dead = new Set(ended.slice(0, next - begin));
      return entries;
    },
    dies: ({ j }) => dead.has(j),
  };
}

export const TYPES_AND_CACHES: readonly Eleventh[] = [
  hooked(14, 'type-grads-chosen-only', 'writes the gradient of the chosen type alone', {
    cause: 'the kernel branches on the type of a chunk and writes dg, dl or dw of it; the buffers are 0',
    tensors: ['dw', 'dl', 'dg', 'dscores'],
    where: 'dw, dl and dg of chunks of other types: 0; dm_rows is right',
    cases: 'all with gradients and more than one chunk',
  }, {
    dw: (sums) => (typeOfChunk(sums) === WINDOW ? rightDw(sums) : 0),
    dl: (sums) => (typeOfChunk(sums) === LOCAL ? rightDl(sums) : 0),
    dg: (sums) => (typeOfChunk(sums) === GLOBAL ? rightDg(sums) : 0),
  }),

  hooked(14, 'dm-chunk-mean', 'averages dM over the tokens of a chunk', {
    cause: 'dM is pooled to chunks by the mean, as hidden states are, instead of the sum, before dw, dl and dg are '
      + 'made',
    tensors: ['dw', 'dl', 'dg', 'dscores'],
    where: 'dw, dl and dg of chunks of more than one token, by the factor 1 / C (in a last chunk that is not whole, by '
      + 'that of its tokens); in dg its costs too; dm_rows is right',
    cases: 'C > 1, with gradients and more than one chunk',
  }, { dw: (s) => rightDw(meaned(s)), dl: (s) => rightDl(meaned(s)), dg: (s) => rightDg(meaned(s)) }),

  hooked(14, 'dg-past-global', 'charges GLOBAL for LOCAL chunks before the last GLOBAL too', {
    cause: 'the running sum of dM over open LOCAL chunks is not cleared at a GLOBAL',
    tensors: ['dg', 'dscores'],
    where: 'dg of chunks with a closed LOCAL chunk before them and rows after them; dw and dl are right',
    cases: 'all with gradients and such chunks',
  }, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0; n--) {
        if (head.own[n] === LOCAL) cost = f(cost + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  }),

  hooked(14, 'dg-charges-own-row', 'charges GLOBAL for rows of its own chunk as well', {
    cause: 'the second term of dg sums rows j <= i <= e(j), where a closing GLOBAL still sees the LOCAL tokens: it '
      + 'must be j < i',
    tensors: ['dg', 'dscores'],
    where: 'dg of chunks with LOCAL since the last GLOBAL before them: dM of these in the rows of the chunk is '
      + 'subtracted too; dw and dl are right',
    cases: 'all with gradients and such chunks',
  }, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
        if (head.own[n] === LOCAL) cost = f(cost + column(n, c * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  }),

  hooked(15, 'evicts-as-many-as-come', 'evicts at most as many entries in a step as it brings', {
    cause: 'each new token takes the place of one entry that has ended, the oldest first; what ends beyond that waits '
      + 'for the next steps',
    tensors: ['cache_evicted_at', 'cache_live', 'cache_bytes'],
    where: 'entries that end in a step with more such entries than new tokens, mostly LOCAL entries that one GLOBAL '
      + 'closes: they stay for later steps, or for ever; outputs are right, as they are masked',
    cases: 'caches with steps in which more entries end than come',
  }, () => ({ cache: slowEviction() })),

  hooked(15, 'closes-by-last-of-step', 'closes LOCAL entries only where the last token of a step is GLOBAL', {
    cause: 'after a step, the type of its newest token (or of the chunk that it completes) alone is looked at',
    tensors: ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'LOCAL entries whose GLOBAL is not the end of its step: they stay open until one is, or for ever; steps of '
      + 'one token close rightly',
    cases: 'caches with steps of more than one token that have such a GLOBAL',
  }, (each) => ({
    cache: {
      close: (open, end, begin) => {
        if (end !== stepOf(each, begin).next - 1) return;
        for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = end;
      },
    },
  })),

  hooked(15, 'bytes-in-blocks', 'counts the bytes of whole blocks of 16 entries', {
    cause: 'memory is held in blocks of 16 entries per head, and the bytes of the blocks are reported instead of those '
      + 'of the entries that live',
    tensors: ['cache_bytes'],
    where: 'cache_bytes wherever the number of entries held is no multiple of 16: too large; what lives is right',
    cases: 'all with a cache',
  }, { cache: { bytes: (live, _, __, d) => 16 * Math.ceil(live / 16) * 2 * d * 4 } }),
];
