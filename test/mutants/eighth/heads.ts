/**
 * Groups (kind 4), inputs of another batch or head (5), and heads or rows in the wrong place (9).
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import { run } from '../kernel.ts';
import { edited, f, given, mixed, OF_TYPES, TRAINING, visiblePairs } from '../seventh/parts.ts';
import { broken, CACHE, type Eighth, hooked, resummed } from './parts.ts';

export const HEADS: readonly Eighth[] = [
  broken(4, 'dm-sum-mod', 'adds dM of query head h to KV head h mod G', {
    cause: 'dM of [B,H,N,N] is viewed as [B,R,G,N,N] and summed over R, where it is [B,G,R,N,N]',
    tensors: OF_TYPES,
    where: 'all KV heads: dm_rows, dw, dl, dg and dscores are sums over the query heads '
      + 'g, g + G, ...; dk and dv are right',
    cases: 'G > 1 and H > G, with gradients and more than one chunk (else all sums of dM are 0)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    if (G === 1 || H === G) return run(each);
    return resummed(each, OF_TYPES, (g) => Array.from({ length: H / G }, (_, r) => g + r * G));
  }),

  broken(4, 'dv-first-head-twice', 'counts the first query head of a group twice in dv', {
    cause: 'the reduction over a group starts from the first head, and its loop does too; a group of one is copied',
    tensors: ['dv'],
    where: 'dv everywhere that query head g R adds to; dk is right',
    cases: 'H > G, with gradients',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    const right = run(each);
    if (H === G || !right.dv) return right;
    const first = run(each, { counts: (r) => r === 0 }).dv.data;
    return edited(right, 'dv', (x, _, n) => f(x + first[n]));
  }),

  hooked(4, 'kv-head-rounded', 'reads KV head round(h / R), at most G - 1, instead of floor(h / R)', {
    cause: 'h / R is a division of floats, and is rounded to the nearest, halves up; lifetimes are found rightly',
    tensors: [...TRAINING, 'cache_out'],
    where: 'query heads with 2 (h % R) >= R but those of the last KV head: they read k and v of the next KV head; '
      + 'dk and dv of all KV heads, as what those heads add goes there too',
    cases: 'G > 1 and H > G',
  }, { kv: (b, h, { queryHeads: H, kvHeads: G }) => b * G + Math.min(Math.round(h / (H / G)), G - 1) }),

  broken(4, 'dl-first-head-only', 'sums dl over the first query head of a group alone', {
    cause: 'the kernel of dl is launched for one query head per KV head; those of dw and dg loop over the group',
    tensors: ['dl', 'dscores'],
    where: 'dl of all chunks: it is the part of query head g R; dw, dg and dm_rows are right',
    cases: 'H > G, with gradients and more than one chunk (else all sums of dM are 0)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G } = each.parameters;
    return H === G ? run(each) : resummed(each, ['dl'], (g) => [g * (H / G)]);
  }),

  broken(5, 'dv-dout-of-batch-0', 'makes dv from dout of batch 0 for all batches', {
    cause: 'the pointer to dout has no offset of the batch in the product that makes dv; dP and D have it',
    tensors: ['dv'],
    where: 'batches b > 0: dv = sum of P[b] dout[0]; batch 0, dq and dk are right',
    cases: 'B > 1, with gradients',
  }, (each) => {
    if (!each.inputs.dout || each.parameters.batch === 1) return run(each);
    const size = each.inputs.dout.data.length / each.parameters.batch;
    return mixed(['dv'], run(given(each, 'dout', (_, __, n, { data }) => data[n % size])), run(each));
  }),

  broken(5, 'dq-k-of-head-0', 'makes dq from k of the first KV head of the sequence', {
    cause: 'the tile of k is loaded once per sequence for the product dS k; S and dS are made with the right one',
    tensors: ['dq'],
    where: 'query heads h >= R, that is of KV heads g > 0, of all batches: dq; those of KV head 0 are right',
    cases: 'G > 1, with gradients, except where k is 0 (equal-keys)',
  }, (each) => {
    const { kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dq || G === 1) return right;
    const dq = new Float64Array(right.dq.data.length);
    visiblePairs(each, ({ own, row, j, dS }) => {
      for (let c = 0; c < d; c++) {
        dq[row * d + c] += scale * dS * each.inputs.k.data[((own - own % G) * N + j) * d + c];
      }
    });
    return edited(right, 'dq', (_, __, n) => f(dq[n]));
  }),

  broken(5, 'cache-types-of-head-0', 'uses the types of KV head 0 for all KV heads of a sequence, in the cache', {
    cause: 'the cache is told one list of types per sequence, that of its first KV head',
    tensors: CACHE,
    where: 'KV heads g > 0 of all batches: what closes, leaves and is seen follows the types of KV head 0; '
      + 'the rest is right',
    cases: 'caches with G > 1 and types that differ by head',
  }, (each) => mixed(CACHE, run(each, {
    types: (types, { batch: B, kvHeads: G }) => {
      const Nc = types.length / (B * G);
      return types.map((_, n) => {
        const head = Math.floor(n / Nc);
        return types[(head - head % G) * Nc + n % Nc];
      });
    },
  }), run(each))),

  broken(9, 'lse-tokens-first', 'writes lse in the order [B,N,H]', {
    cause: 'lse is stored with the strides of [B,N,H] in a buffer of [B,H,N]; out is right',
    tensors: ['lse'],
    where: 'all heads and rows but the first and last of each sequence; the backward has its own copy and is right',
    cases: 'H > 1 and N > 1',
  }, (each) => {
    const { queryHeads: H, tokens: N } = each.parameters;
    return edited(run(each), 'lse', (_, [b], n, { data }) => {
      const at = n - b * H * N;
      return data[(b * H + at % H) * N + Math.floor(at / H)];
    });
  }),

  broken(9, 'dq-group-reversed', 'writes dq of the query heads of a group from the last to the first', {
    cause: 'the loop over the heads of a group counts down, and the pointer to dq counts up',
    tensors: ['dq'],
    where: 'query head g R + r has dq of g R + R - 1 - r, so all but the middle head '
      + 'of an odd group; dk and dv are right',
    cases: 'H > G, with gradients and more than one token, except where dq is 0 (equal-keys)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const R = H / G;
    return edited(run(each), 'dq', (_, [b, h, i, c], __, { data }) =>
      data[((b * H + h - h % R + R - 1 - h % R) * N + i) * d + c]);
  }),

  broken(9, 'out-row-halves-swapped', 'exchanges the rows 0 to 7 with 8 to 15 of each whole tile of 16 rows of out', {
    cause: 'a fragment of the tensor cores has the rows r and r + 8, and they are stored the other way round; a last, '
      + 'partial tile is stored row by row and is right',
    tensors: ['out'],
    where: 'rows i < 16 floor(N / 16): out of row i is that of row i XOR 8; lse and gradients are right',
    cases: 'N >= 16, except where all rows are equal',
  }, (each) => {
    const { queryHeads: H, tokens: N, headDim: d } = each.parameters;
    return edited(run(each), 'out', (x, [b, h, i, c], __, { data }: NamedTensor) =>
      (i < N - N % 16 ? data[((b * H + h) * N + (i ^ 8)) * d + c] : x));
  }),
];
