/**
 * Mistakes in grouped heads, in the online softmax, and of precision.
 * @module
 */
import { run } from '../kernel.ts';
import { expanded, folded } from './expanded.ts';
import {
  ATTENTION, BACKWARD, bf16, f, f16, honest, hooked, made, mixed, part, seen, type Sixth, tiled, TYPE_SUMS,
} from './parts.ts';

/** 2^x by a parabola between powers, wrong by up to 0.3%. */
function roughExp(x: number): number {
  if (x === -Infinity) return 0;
  const y = f(x * Math.LOG2E);
  const [whole, rest] = [Math.floor(y), f(y - Math.floor(y))];
  return f(f(1 + f(rest * f(0.6565 + f(0.3435 * rest)))) * 2 ** whole);
}

export const HEADS_AND_SOFTMAX: readonly Sixth[] = [
  // Grouped heads
  hooked('kv-stride-1', 'reads KV head b + h / R instead of b G + h / R', {
    cause: 'the offset of a batch in k and v has no factor G (a stride of one head instead of all)',
    tensors: [...ATTENTION], where: 'batches b > 0; in the gradients dk and dv other batches and heads too',
    cases: 'B > 1 and G > 1',
  }, () => ({ kv: (b, h, p) => b + Math.floor(h / (p.queryHeads / p.kvHeads)) })),
  made('types-of-h-mod-g', 'query heads use the lifetimes of KV head h mod G, with the keys of h / R', {
    cause: 'keys are found by h / R, but `last` is indexed by h % G',
    tensors: ATTENTION, where: 'query heads with h % G other than floor(h / R)', cases: 'G > 1 and H > G',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N } = each.parameters;
    if (H === G || G === 1) return honest(each);
    const lasts = honest(each).last.data;
    const wrong = expanded(each, {
      visible: (i, j, _, { head }) => seen(i, j, lasts[(Math.floor(head / H) * G + (head % H) % G) * N + j]),
    });
    return mixed(ATTENTION, folded(each, wrong), honest(each));
  }),
  hooked('d-of-first-head', 'takes D of the first query head of a group for all of them', {
    cause: 'D is loaded before the loop over the heads of a group, not inside it',
    tensors: ['dq', 'dk', ...TYPE_SUMS],
    where: 'query heads with h % R > 0 in dq; all KV heads in sums over groups; dv is right',
    cases: 'H > G, with gradients',
  }, (_, { queryHeads: H, kvHeads: G, tokens: N }) => {
    const Ds: number[] = [];
    return {
      D: (right) => {
        const row = Ds.length;
        const first = row - (Math.floor(row / N) % H) % (H / G) * N;
        Ds.push(right);
        return Ds[first];
      },
    };
  }),

  // The online softmax
  hooked('half-rescaled', 'does not rescale the second half of the output channels when the maximum grows', {
    cause: 'the accumulator lies in two registers, channels below and from d / 2 on, and alpha reaches the first alone',
    tensors: ['out', 'cache_out', 'dq', 'dk', ...TYPE_SUMS],
    where: 'channels c >= d / 2 of rows that see several tiles of 16 and whose maximum grows later; lse is right',
    cases: 'N > 16',
  }, (_, { headDim }) => ({
    attend: (row, sees) => tiled(part(row, sees), {
      alpha: (x, c) => (c !== 'sum' && c >= headDim / 2 && x > -Infinity ? 1 : Math.exp(x)),
    }),
  })),
  hooked('splits-without-maxima', 'adds up splits of 32 keys without bringing them to a common maximum', {
    cause: 'split-K: partial outputs and sums, each relative to its own maximum, are added as they are',
    tensors: ATTENTION, where: 'rows that see keys of two or more splits of 32', cases: 'N > 32',
  }, () => ({
    attend: (row, sees) => {
      const all = part(row, sees);
      const splits = [...new Set(all.keys.map((j) => Math.floor(j / 32)))].map((split) =>
        tiled(part(all, (j) => Math.floor(j / 32) === split)));
      const o = new Float32Array(row.d).map((_, c) => splits.reduce((sum, part1) => f(sum + part1.o[c]), 0));
      const [m, Z] = [Math.max(...splits.map((each) => each.m)), splits.reduce((sum, each) => f(sum + each.Z), 0)];
      return { o, m, Z, lse: f(m + f(Math.log(Z))) };
    },
  })),
  hooked('maximum-from-0', 'starts the running maximum at 0', {
    cause: 'registers are cleared to 0 instead of -infinity, so rows whose scores all lie far below 0 underflow',
    tensors: ATTENTION, where: 'rows whose largest visible score is below about -90: out is NaN, or has few bits left',
    cases: 'those with such scores, as large, close, falling or sharp may have', rare: true,
  }, () => ({ attend: (row, sees) => tiled(part(row, sees), { start: 0 }) })),
  hooked('z-before-mask', 'counts hidden keys of the query\'s own tile of 16 in the sum Z', {
    cause: 'the row sum is taken before lifetimes are applied to P in the tile on the diagonal (causality is)',
    tensors: ['out', 'lse', ...BACKWARD, ...TYPE_SUMS],
    where: 'rows with hidden keys in their own tile of 16 keys: out is too small by one factor per row, lse too large',
    cases: 'those with lifetimes that end within a tile (NaN where hidden keys hold NaN); never in cache_out',
  }, () => ({
    attend: (row, sees) => {
      const own = part(row, (j) => sees(j) || (j <= row.i && j >= row.i - row.i % 16));
      const zeroed = { ...own, value: (n: number, c: number) => (sees(own.keys[n]) ? own.value(n, c) : 0) };
      return tiled(zeroed);
    },
  })),

  // Precision
  hooked('lse-in-half', 'stores lse in float16, and the backward reads it', {
    cause: 'the buffer of lse has the dtype of the inputs',
    tensors: ['lse', ...BACKWARD, ...TYPE_SUMS],
    where: 'everywhere in lse, by up to 2^-12 of it; in the backward all weights of a row by one factor; out is right',
    cases: 'all',
  }, () => ({ lse: ({ lse }) => f16(lse) })),
  hooked('out-spilled-bf16', 'keeps the output accumulator in bfloat16 between tiles of 16 keys', {
    cause: 'the accumulator goes through a bfloat16 buffer in shared memory after every tile; Z stays in float32',
    tensors: ['out', 'cache_out', 'dq', 'dk', ...TYPE_SUMS],
    where: 'out everywhere, more where many tiles are visible, and what D carries on; lse and dv are right',
    cases: 'all',
  }, () => ({ attend: (row, sees) => tiled(part(row, sees), { carry: (o) => f(bf16(o)) }) })),
  hooked('exp-parabola', 'approximates e^x by a parabola between powers of two, in the forward and the backward', {
    cause: 'a cheap exp2 of 8 bits (1 + 0.6565 x + 0.3435 x^2) in place of the exact one, off by up to 0.3%',
    tensors: ATTENTION, where: 'rows that see two or more keys of different scores', cases: 'all with different scores',
  }, () => ({
    attend: (row, sees) => tiled(part(row, sees), { exp: roughExp }),
    weight: (S, lse) => roughExp(f(S - lse)),
  })),
  made('p-in-int8', 'rounds P to 127 steps before the product with v, in the forward', {
    cause: 'P is quantised to int8 with the fixed scale 1 / 127; Z is summed before that, so lse is exact',
    tensors: ['out', 'cache_out'], where: 'rows that see two or more keys; weights below 1 / 254 of the largest vanish',
    cases: 'all with different scores',
  }, (each) => mixed(['out', 'cache_out'], run(each, {
    attend: (row, sees) => tiled(part(row, sees), { stored: (e) => f(Math.round(e * 127) / 127) }),
  }), honest(each))),
];
