/**
 * The gradients of types (kind 14) and caches (15).
 * @module
 */
import { EVER, GLOBAL, type Head, type Sums, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { allRows, chunkOf, closer, online, rightDg, rightDl, rightDw } from '../right.ts';
import { edited, f, typeOf, visibleOf } from '../seventh/parts.ts';
import { broken, hooked, type Ninth, partly } from './parts.ts';

export const TYPES_AND_CACHES: readonly Ninth[] = [
  broken(14, 'dm-rows-by-key', 'sums dM over the queries of each key for dm_rows', {
    cause: 'the sum over dM [N,N] is taken along the wrong axis: dm_rows[n] is that of column n',
    tensors: ['dm_rows'],
    where: 'dm_rows everywhere; dw, dl and dg are right',
    cases: 'all with gradients and more than one token',
  }, (each) => {
    const cells: Sums['cell'][] = [];
    const right = run(each, {
      dw: (sums) => {
        cells[sums.head.head] = sums.cell;
        return rightDw(sums);
      },
    });
    const { kvHeads: G, tokens: N } = each.parameters;
    return edited(right, 'dm_rows', (_, [b, g, j]) => {
      let sum = 0;
      for (let i = j; i < N; i++) sum = f(sum + cells[b * G + g](i, j));
      return sum;
    });
  }),

  hooked(14, 'dg-free-for-global', 'charges nothing to chunks that are GLOBAL already', {
    cause: 'the cost of closing LOCAL is subtracted from dg only where the chunk is not GLOBAL',
    tensors: ['dg', 'dscores'],
    where: 'dg of GLOBAL chunks with LOCAL since the GLOBAL before them and rows after them; other chunks are right',
    cases: 'all with gradients and such chunks',
  }, { dg: (sums) => (sums.head.own[sums.c] === GLOBAL ? allRows(sums) : rightDg(sums)) }),

  hooked(14, 'dl-0-if-open', 'leaves dl at 0 for chunks that no GLOBAL follows', {
    cause: 'chunks without a GLOBAL after them are taken for invalid, where their rows run to N - 1',
    tensors: ['dl', 'dscores'],
    where: 'dl of the chunks from the last GLOBAL of a head on, the last chunk always; dw and dg are right',
    cases: 'all with gradients and more than one chunk, except large; dscores where such a chunk is not forced',
  }, { dl: (sums) => (closer(sums.head, sums.c) === EVER ? 0 : rightDl(sums)) }),

  hooked(14, 'dscores-plain-mean', 'subtracts the plain mean of the three gradients in dscores', {
    cause: 'the softmax\'s gradient is y (dt - mean dt), with the mean over three types instead of the sum of y dt',
    tensors: ['dscores'],
    where: 'dscores of all chunks that are not forced; dw, dl and dg are right',
    cases: 'all with types by scores and gradients',
  }, {
    dscores: ({ y, dt, price, tau, forced }) => {
      if (forced) return [0, 0, 0];
      const all = dt.map((x, n) => f(x + price[n]));
      const mean = f(all.reduce((sum, x) => f(sum + x), 0) / 3);
      return y.map((x, n) => f(f(x * f(all[n] - mean)) / tau));
    },
  }),

  hooked(15, 'causal-from-step', 'compares the number of a query within its step with the positions of keys', {
    cause: 'the causal mask of a step is aligned with its first query, j <= i - begin, instead of with the position',
    tensors: ['cache_out'],
    where: 'rows after the first step: they see only keys j <= i - begin that are held, in steps of one token key 0 '
      + 'alone; NaN where none is left; what lives is right',
    cases: 'caches with more than one step',
  }, { cache: { visible: (i, { j, last }, begin) => j <= i - begin && i <= last } }),

  hooked(15, 'window-fifo-by-count', 'evicts WINDOW entries once W other WINDOW tokens have come', {
    cause: 'WINDOW entries are in a queue of their own that is cut to its newest W (by chunks, as they have one type), '
      + 'whatever came between; masks are by position',
    tensors: ['cache_evicted_at', 'cache_live', 'cache_bytes'],
    where: 'WINDOW entries with GLOBAL or LOCAL tokens in their window: they stay until W WINDOW tokens of later '
      + 'chunks have come, or for ever; outputs are right, as they are masked',
    cases: 'caches with such entries whose window ends before N - 1, and W > 0',
  }, () => {
    let [now, held]: [Head | undefined, readonly number[]] = [undefined, []];
    return {
      cache: {
        before: (entries, _, __, head) => {
          [now, held] = [head, entries.map(({ j }) => j).filter((j) => typeOf(head, j) === WINDOW)];
          return entries;
        },
        dies: ({ j, last }, next) => {
          if (!now || typeOf(now, j) !== WINDOW) return last < next;
          const { p } = now;
          return last < EVER && held.filter((n) => chunkOf(n, p) > chunkOf(j, p)).length >= p.window;
        },
      },
    };
  }),

  partly(15, 'compaction-keeps-values', 'moves keys, but not values, into the places of evicted entries', {
    cause: 'eviction fills a hole with the entry from the end of the cache, and copies its key, position and lifetime, '
      + 'but not its value, so that the value of the evicted entry stays',
    tensors: ['cache_out'],
    where: 'rows after an eviction from before the end of the cache: the keys that were moved have the values of '
      + 'evicted tokens; what lives is right',
    cases: 'caches in which entries are evicted that newer ones outlive, before the last step',
  }, (each) => {
    const { tokens: N, headDim: d } = each.parameters;
    const v = each.inputs.v.data;
    let slots: { j: number; value: number }[] = [];
    let now: Head | undefined;
    return {
      attend: (row, sees) => {
        const head = now;
        const seen = visibleOf(row, sees);
        if (!head) return online(seen);
        const values = new Map(slots.map(({ j, value }) => [j, value]));
        return online({
          ...seen, value: (n, c) => v[(head.head * N + (values.get(seen.keys[n]) ?? seen.keys[n])) * d + c],
        });
      },
      cache: {
        before: (entries, begin, _, head) => {
          if (begin === 0) slots = [];
          now = head;
          const known = new Set(slots.map(({ j }) => j));
          for (const { j } of entries) if (!known.has(j)) slots.push({ j, value: j });
          return entries;
        },
        after: (entries) => {
          const alive = new Set(entries.map(({ j }) => j));
          for (let n = 0; n < slots.length;) {
            if (alive.has(slots[n].j)) n++;
            else {
              const end = slots.pop()!;
              if (n < slots.length) slots[n] = { j: end.j, value: slots[n].value };
            }
          }
          return entries;
        },
      },
    };
  }),
];
