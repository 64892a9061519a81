/**
 * Mistakes of memory and indices, of layouts, packed and paged inputs, and of caches.
 * @module
 */
import { run } from '../kernel.ts';
import {
  ATTENTION, edited, f, fed, FORWARD, honest, hooked, made, mixed, part, readAt, type Sixth, tiled,
} from './parts.ts';

export const STORAGE: readonly Sixth[] = [
  // Memory and indices
  made('v-tile-stale', 'multiplies odd tiles of 16 keys by the values of the tile before', {
    cause: 'two buffers for tiles of v, without a barrier: odd tiles are read before their own values arrive',
    tensors: ['out'], where: 'rows that see keys of odd tiles of 16, so rows i >= 16; lse is right', cases: 'N > 16',
  }, (each) => {
    const stale = fed(each, { v: readAt((j) => (Math.floor(j / 16) % 2 === 1 ? j - 16 : j)) });
    return mixed(['out'], run(stale), honest(each));
  }),
  hooked('vector-tail-twice', 'counts components twice in products where d is above 4 and no multiple of 4', {
    cause: 'dot products take vectors of 4, the last from d - 4 on; what it shares with the one before counts twice',
    tensors: ATTENTION, where: 'everywhere: S, P\' and D have the components d - 4 to 4 floor(d / 4) - 1 twice',
    cases: 'd > 4 and d % 4 > 0 (head-5 and the cases with d = 65)',
  }, () => ({
    dot: (x, at, y, from, n) => {
      let sum = 0;
      for (let c = 0; c < n; c++) {
        const twice = n > 4 && n % 4 > 0 && c >= n - 4 && c < n - n % 4;
        const term = f(x[at + c] * y[from + c]);
        sum = f(sum + (twice ? f(2 * term) : term));
      }
      return sum;
    },
  })),
  hooked('last-key-repeats', 'counts the last key as often as a last tile of 16 has lanes beyond N', {
    cause: 'positions beyond N are clamped to N - 1 for the loads and for the mask too, so they pass as key N - 1',
    tensors: ATTENTION, where: 'row N - 1 of every head, with 16 - N % 16 copies of its own key',
    cases: 'N % 16 > 0 and N > 1',
  }, (_, { tokens: N }) => ({
    attend: (row, sees) => {
      const all = part(row, sees);
      if (row.i < N - 1 || N % 16 === 0) return tiled(all);
      const own = all.keys.indexOf(N - 1);
      const at = [...all.keys.keys(), ...new Array<number>(16 - N % 16).fill(own)];
      return tiled({
        ...all, keys: at.map((n) => all.keys[n]), S: at.map((n) => all.S[n]), value: (n, c) => all.value(at[n], c),
      });
    },
  })),

  // Layouts, packed and paged
  made('packed-one-before', 'lets each sequence see the last key of the sequence before it', {
    cause: 'packed sequences: the first key of a sequence is taken to be cu_seqlens[b] - 1',
    tensors: ['out', 'lse'], where: 'all rows of batches b > 0, which see one more key', cases: 'B > 1',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const { q, k, v } = each.inputs;
    const right = honest(each);
    const lse = right.lse.data;
    // The weight of the stranger, 0 where there is none.
    const joins = (b: number, h: number, i: number): { S: number; key: number } => {
      const key = (((b - 1) * G + Math.floor(h / (H / G))) * N + N - 1) * d;
      if (b === 0) return { S: -Infinity, key: 0 };
      let S = 0;
      for (let c = 0; c < d; c++) S += scale * q.data[((b * H + h) * N + i) * d + c] * k.data[key + c];
      return { S, key };
    };
    const both = (a: number, S: number): number => Math.max(a, S) + Math.log1p(Math.exp(-Math.abs(a - S)));
    const made1 = edited(right, ['lse'], (x, [b, h, i]) => (b === 0 ? x : both(x, joins(b, h, i).S)));
    return edited(made1, ['out'], (x, [b, h, i, c]) => {
      const { S, key } = joins(b, h, i);
      if (b === 0) return x;
      const old = lse[(b * H + h) * N + i];
      const all = both(old, S);
      return x * Math.exp(old - all) + v.data[key + c] * Math.exp(S - all);
    });
  }),
  made('dout-tokens-first', 'reads dout as [B,N,H,d]', {
    cause: 'dout comes from a transposed view, and the backward takes its memory to be in the layout of the view',
    tensors: ['dq', 'dk', 'dv', 'dm_rows', 'dw', 'dl', 'dg', 'dscores'],
    where: 'all gradients; the first and last row of all stay',
    cases: 'H > 1 and N > 1, with gradients',
  }, (each) => (each.inputs.dout ? run(fed(each, {
    dout: (data, [, H, N, d]) => data.map((_, n) => {
      const [b, h, i, c] = [Math.floor(n / (H * N * d)), Math.floor(n / (N * d)) % H, Math.floor(n / d) % N, n % d];
      return data[((b * N + i) * H + h) * d + c];
    }),
  })) : honest(each))),
  made('page-slot-of-8', 'finds the slot in a page of 16 tokens by j mod 8', {
    cause: 'pages have grown from 8 to 16 tokens; the page is found by j / 16, but the slot still by j & 7',
    tensors: FORWARD, where: 'keys j with j % 16 >= 8, which have the key and value of j - 8', cases: 'N > 8',
  }, (each) => {
    const place = readAt((j) => (j % 16 >= 8 ? j - 8 : j));
    return mixed(FORWARD, run(fed(each, { k: place, v: place })), honest(each));
  }),

  // Caches
  hooked('close-earlier-steps', 'a GLOBAL closes only the LOCAL entries of earlier steps', {
    cause: 'closing runs over what the cache holds before the new entries of the step are appended',
    tensors: ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'],
    where: 'LOCAL tokens that come in the same step as the GLOBAL that closes them: closed by a later one, or never',
    cases: 'caches with steps of more than one token',
  }, () => ({
    cache: {
      close: (open, end, begin) => {
        for (const entry of open) if (entry.last > end && entry.j < begin) entry.last = entry.closedBy = end;
      },
    },
  })),
  hooked('newest-lost', 'loses the newest entry where a step evicts two or more', {
    cause: 'compaction swaps the last entry into a hole, and with several holes counts one entry too few',
    tensors: ['cache_live', 'cache_out', 'cache_bytes', 'cache_closed_by', 'cache_evicted_at'],
    where: 'heads and steps that evict at least two entries: the newest survivor is missing in all later steps',
    cases: 'caches with steps that evict two entries of a head',
  }, () => {
    const dead = new Set<number>();
    return {
      cache: {
        before: (entries) => {
          dead.clear();
          return entries;
        },
        dies: (entry, next) => {
          if (entry.last < next) dead.add(entry.j);
          return entry.last < next;
        },
        after: (entries) => (dead.size >= 2 ? entries.slice(0, -1) : entries),
      },
    };
  }),
  hooked('decode-sees-past', 'does not see its own token in steps of one token', {
    cause: 'the path for a single token attends before it appends, unless nothing else is visible',
    tensors: ['cache_out'], where: 'rows that are a step of one token and see an older key',
    cases: 'caches with steps of one token',
  }, () => ({
    cache: {
      before: (entries, begin, next) => {
        const old = entries.filter(({ j }) => j < begin);
        return next - begin === 1 && old.some(({ last }) => last >= begin) ? old : entries;
      },
    },
  })),
];
