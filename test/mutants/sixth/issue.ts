/**
 * Mistakes like those of issue 16, paragraph 3, each in a variation.
 * @module
 */
import type { OracleCase } from '../../../src/oracle/types.ts';
import { EVER, GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkEnd, chunkOf } from '../right.ts';
import { expanded, folded } from './expanded.ts';
import {
  ATTENTION, BACKWARD, edited, f, f16, fed, FORWARD, honest, hooked, made, mixed, part, seen, type Sixth, tf32, tiled,
  typeAt, typesOf,
} from './parts.ts';

const grouped = ({ parameters: { queryHeads, kvHeads } }: OracleCase): boolean => queryHeads > kvHeads;

export const ISSUE: readonly Sixth[] = [
  made('window-short-last-of-group', 'ends windows one query early in the last query head of each group', {
    cause: 'the number of heads of a group is off by one where the window is chosen, so its last head gets W - 1',
    tensors: ATTENTION,
    where: 'query heads h with h % R = R - 1, R = H / G > 1; the query j + W of WINDOW keys j, all batches and rows',
    cases: 'H > G, with WINDOW tokens whose window of W > 0 ends inside',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    const R = H / G;
    if (R === 1) return honest(each);
    const wrong = expanded(each, {
      visible: (i, j, last, head) => seen(i, j, last)
        && !(head.head % R === R - 1 && i === last && i > j && typeAt(head, j) === WINDOW),
    });
    return mixed(ATTENTION, folded(each, wrong), honest(each));
  }),
  hooked('local-any-head', 'closes LOCAL at the first GLOBAL of any KV head', {
    cause: 'the table of closing positions has no axis for KV heads: all heads of a sequence write their GLOBALs to it',
    tensors: ['last', 'mask', ...ATTENTION, 'cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_bytes'],
    where: 'LOCAL keys of KV heads in which another head of the same batch has an earlier GLOBAL',
    cases: 'G > 1 with types that differ by head',
  }, (each) => ({
    lastOfHead: (lasts, p) => {
      const [types, Nc] = [typesOf(each), Math.ceil(p.tokens / p.chunk)];
      const global = (b: number, n: number): boolean => chunkEnd(n, p) >= p.tokens
        || Array.from({ length: p.kvHeads }, (_, g) => types[(b * p.kvHeads + g) * Nc + n]).includes(GLOBAL);
      return lasts.map((last, n) => {
        const [head, c] = [Math.floor(n / p.tokens), chunkOf(n % p.tokens, p)];
        if (types[head * Nc + c] !== LOCAL || chunkEnd(c, p) >= p.tokens) return last;
        for (let next = c + 1; next < Nc; next++) {
          if (global(Math.floor(head / p.kvHeads), next)) return chunkEnd(next, p);
        }
        return EVER;
      });
    },
  })),
  made('dk-groups-overlap', 'sums dk over the query heads g to g + R - 1 instead of g R to g R + R - 1', {
    cause: 'the reduction over a group starts at head g: the factor R is missing in its offset',
    tensors: ['dk'], where: 'KV heads g > 0, all batches and rows; dv is right',
    cases: 'G > 1 and H > G, with gradients',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    const R = H / G;
    if (R === 1 || !each.inputs.dout) return honest(each);
    const wrong = folded(each, expanded(each, {}), (_, g) => Array.from({ length: R }, (_, r) => g + r));
    return mixed(['dk'], wrong, honest(each));
  }),
  hooked('backward-batch-0', 'uses the lifetimes of batch 0 for all batches, in the backward alone', {
    cause: 'the backward was not given the stride of `last` by batch',
    tensors: BACKWARD, where: 'batches b > 0', cases: 'B > 1 with gradients, types that differ by batch (by scores)',
  }, (each) => ({
    backVisible: (i, j, _, head) => {
      const { tokens: N, kvHeads: G } = head.p;
      return seen(i, j, honest(each).last.data[(head.head % G) * N + j]);
    },
  }), BACKWARD),
  hooked('tf32-dk', 'rounds dS to TF32 in the product that makes dk', {
    cause: 'one matrix product of the backward, dS^T q, was left on TF32',
    tensors: ['dk'], where: 'everywhere in dk; dq and dv are right',
    cases: 'all with gradients and more than one token',
  }, () => ({ dS: (A, P, D) => tf32(f(A * f(P - D))) }), ['dk']),
  hooked('rescale-exp2', 'rescales earlier tiles by 2^x instead of e^x when the maximum grows', {
    cause: 'exp2 without the factor log2(e) on the path of alpha in the online softmax; the weights have it',
    tensors: ATTENTION, where: 'rows that see keys of two or more tiles of 16 and whose maximum grows after the first',
    cases: 'N > 16',
  }, () => ({ attend: (row, sees) => tiled(part(row, sees), { alpha: (x) => 2 ** x }) })),
  made('lse-of-one-key', 'writes lse without the scale in rows that see one key', {
    cause: 'a shortcut for rows with a single visible key copies q . k as lse, before it was multiplied by the scale',
    tensors: ['lse'], where: 'rows that see only themselves: row 0, and rows after all others are hidden (W = 0)',
    cases: 'all with scale other than 1 and q . k other than 0',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, scale } = each.parameters;
    const right = honest(each);
    return edited(right, ['lse'], (x, [b, h, i]) => {
      const start = (b * G + Math.floor(h / (H / G))) * N;
      for (let j = 0; j < i; j++) if (right.last.data[start + j] >= i) return x;
      return x / scale;
    });
  }),
  hooked('partial-tile-lives', 'never hides the keys of a last tile of 16 that is not whole', {
    cause: 'the load of `last` is guarded by "the tile is whole"; in the other tile it has its default, for ever',
    tensors: ATTENTION, where: 'keys j >= N - N % 16, in rows after their end',
    cases: 'N % 16 > 1, WINDOW or LOCAL at the end',
  }, () => ({
    visible: (i, j, last, { p: { tokens: N } }) => j <= i && (i <= last || j >= N - N % 16),
  }), ATTENTION),
  made('q-scaled-f16', 'multiplies q by scale log2(e) and rounds it to float16 before the product, in the forward', {
    cause: 'scale log2(e) is folded into q when its tile is loaded, and the tile has 16 bits',
    tensors: FORWARD, where: 'everywhere, S is off by up to 2^-11 of its terms', cases: 'all but those with S = 0',
  }, (each) => {
    const { parameters } = each;
    const folded = f(parameters.scale * Math.LOG2E);
    const scaled = fed(each, { q: (q) => q.map((x) => f16(f(x * folded))) });
    return mixed(FORWARD, run({ ...scaled, parameters: { ...parameters, scale: Math.LN2 } }), honest(each));
  }),
  made('out-heads-r-g', 'writes the output heads in the order [R,G] instead of [G,R]', {
    cause: 'the heads are split as (r, g) when out is written: head g R + r lands at r G + g',
    tensors: ['out'], where: 'all query heads but the first and the last; lse is right', cases: 'G > 1 and H > G',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    const R = H / G;
    return edited(honest(each), ['out'], (_, [b, h, i, c], [, , N, d], data) =>
      data[((b * H + (h % G) * R + Math.floor(h / G)) * N + i) * d + c]);
  }),
  made('dk-not-copied', 'leaves dk at zero where query heads share a KV head', {
    cause: 'with groups, dk is summed in a float32 buffer by atomics that is never copied to the output; dv is',
    tensors: ['dk'], where: 'all of dk', cases: 'H > G, with gradients and more than one token',
  }, (each) => (grouped(each) ? edited(honest(each), ['dk'], () => 0) : honest(each))),
  hooked('dq-log2e', 'multiplies dq by log2(e)', {
    cause: 'dq is multiplied at the end by the scale of the exp2 softmax, scale log2(e), instead of by the scale',
    tensors: ['dq'], where: 'everywhere in dq, by 1.4427', cases: 'all with gradients and more than one token',
  }, () => ({ dqFactor: (scale) => scale * Math.LOG2E })),
  hooked('sink-skipped', 'skips key 0 for all rows from 16 on', {
    cause: 'the loop over earlier tiles of keys starts at 1 instead of 0 in all tiles of queries but the first',
    tensors: ATTENTION, where: 'key 0, queries i >= 16, in all heads in which key 0 is visible', cases: 'N > 16',
  }, () => ({ visible: (i, j, last) => seen(i, j, last) && !(j === 0 && i >= 16) }), ATTENTION),
  made('last-exclusive', 'writes last(j) as the first query that no longer sees j', {
    cause: 'half-open ranges: `last` is exported as the end, one past the last query; attention itself is right',
    tensors: ['last'], where: 'LOCAL and WINDOW tokens whose end is before N - 1', cases: 'all with such tokens',
  }, (each) => edited(honest(each), ['last'], (x) => (x === EVER ? x : x + 1))),
];
