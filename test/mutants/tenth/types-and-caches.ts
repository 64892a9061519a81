/**
 * The gradients of types (kind 14) and caches (15).
 * @module
 */
import { EVER, GLOBAL } from '../hooks.ts';
import { hooked, partly } from '../ninth/parts.ts';
import { allRows, chunkEnd, closing } from '../right.ts';
import { f } from '../seventh/parts.ts';
import type { Tenth } from './parts.ts';

export const TYPES_AND_CACHES: readonly Tenth[] = [
  hooked(14, 'dg-charges-all', 'charges GLOBAL for ending the WINDOW tokens before it as well as the LOCAL ones', {
    cause: 'the second term of dg takes all tokens back to the last GLOBAL, without a test for LOCAL',
    tensors: ['dg', 'dscores'],
    where: 'dg of chunks with WINDOW chunks since the last GLOBAL before them, and rows after them; dw and dl are '
      + 'right',
    cases: 'all with gradients and such chunks',
  }, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
        cost = f(cost + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  }),

  partly(14, 'dm-rows-visible', 'sums dM over visible keys alone for dm_rows', {
    cause: 'dm_rows is summed in the loop of the backward, which leaves hidden keys out; dw, dl and dg have a loop of '
      + 'their own over all causal keys',
    tensors: ['dm_rows'],
    where: 'rows that have hidden keys before them: dm_rows lacks their dM; dw, dl and dg are right',
    cases: 'all with gradients and hidden keys',
  }, { dM: (dM, visible) => (visible ? dM : 0) }),

  hooked(14, 'price-after-softmax', 'adds the price to dscores itself', {
    cause: 'the price is added after the gradient of the softmax instead of to (dg, dl, dw) before it',
    tensors: ['dscores'],
    where: 'dscores of all chunks that are not forced; dw, dl and dg are right',
    cases: 'a price (price, price-chunks)',
  }, {
    dscores: ({ y, dt, price, tau, forced }) => {
      const mean = y.reduce((sum, x, n) => f(sum + f(x * dt[n])), 0);
      return y.map((x, n) => (forced ? 0 : f(f(f(x * f(dt[n] - mean)) / tau) + price[n])));
    },
  }),

  hooked(14, 'dw-ends-at-global', 'ends dw at the next GLOBAL where the window goes beyond it', {
    cause: 'the end of dw is min(c C + C - 1 + W, e(c)), with the closing row that belongs to dl alone',
    tensors: ['dw', 'dscores'],
    where: 'dw of chunks whose next GLOBAL comes within their window: rows after it are missing; dl and dg are right',
    cases: 'all with gradients and a GLOBAL chunk within the window of another, and rows after it',
  }, { dw: ({ head, c, column }) => column(c, 0, Math.min(chunkEnd(c, head.p) + head.p.window, closing(head, c))) }),

  hooked(15, 'closed-at-step-begin', 'closes LOCAL entries at the first token of the step that brings the GLOBAL', {
    cause: 'the position of the closing token is taken to be the length of the cache before the step',
    tensors: ['cache_closed_by', 'cache_out'],
    where: 'LOCAL entries closed by a GLOBAL that is not the first token of its step: cache_closed_by is the first '
      + 'position of the step, and the rows of the step after it do not see them (NaN where they see nothing else); '
      + 'steps of one token, and what lives, are right',
    cases: 'caches with steps of more than one token in which a GLOBAL closes LOCAL',
  }, {
    cache: {
      close: (open, _, begin) => {
        for (const entry of open) if (entry.last === EVER) entry.last = entry.closedBy = begin;
      },
    },
  }),

  hooked(15, 'evicts-from-front-only', 'evicts from the front of the cache until it meets an entry that lives', {
    cause: 'the cache is a queue: eviction moves its start while the oldest entry has ended, and stops at the first '
      + 'that has not',
    tensors: ['cache_evicted_at', 'cache_live', 'cache_bytes'],
    where: 'entries that end while an older one lives: they stay until it leaves, or for ever behind a GLOBAL; outputs '
      + 'are right, as they are masked',
    cases: 'caches in which entries end before older ones (not where all are WINDOW)',
  }, () => {
    let dead = new Set<number>();
    return {
      cache: {
        before: (entries, _, next) => {
          const alive = entries.findIndex(({ last }) => last >= next);
          dead = new Set(entries.slice(0, alive < 0 ? entries.length : alive).map(({ j }) => j));
          return entries;
        },
        dies: ({ j }) => dead.has(j),
      },
    };
  }),

  hooked(15, 'decode-own-key-twice', 'counts the new token twice in steps of one token', {
    cause: 'the path for one token appends it to the cache, and then attends to the cache and to the new token',
    tensors: ['cache_out'],
    where: 'rows that are a step of their own and see other keys: the own key counts twice; steps of many tokens, and '
      + 'what lives, are right',
    cases: 'caches with steps of one token after the first token',
  }, {
    cache: { before: (entries, begin, next) => (next - begin === 1 ? [...entries, entries.at(-1)!] : entries) },
  }),
];
