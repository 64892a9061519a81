/**
 * Groups (kind 4), inputs of another batch or head (5), and results in the wrong place (9).
 * @module
 */
import type { OracleCase } from '../../../src/oracle/types.ts';
import { run } from '../kernel.ts';
import { BY_OUT, broken, hooked, partly } from '../ninth/parts.ts';
import { online, rightDg, rightDl } from '../right.ts';
import { edited, f, OF_TYPES, seen, stepOf, TRAINING, visibleOf, visiblePairs } from '../seventh/parts.ts';
import { numbers } from '../tenth/parts.ts';
import { attending, type Eleventh, headsOf } from './parts.ts';

/** D of each row, from the truths. */
function rowSums(each: OracleCase): Float64Array {
  const { headDim: d } = each.parameters;
  const [dout, out] = [numbers(each, 'dout'), each.expected.out.data];
  const D = new Float64Array(out.length / d);
  for (let n = 0; n < out.length; n++) D[Math.floor(n / d)] += dout[n] * out[n];
  return D;
}

export const HEADS: readonly Eleventh[] = [
  broken(4, 'dv-dout-of-first-head', 'makes dv from dout of the first query head of a group', {
    cause: 'in the kernel of dk and dv, the product P^T dout reads a tile of dout that was loaded once, before the '
      + 'loop over the query heads of a group; dS has the right one',
    tensors: ['dv'],
    where: 'dv everywhere: the sum over the group of P^T times dout of query head g R; dk and dq are right',
    cases: 'H > G, with gradients',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const right = run(each);
    if (!right.dv || H === G) return right;
    const dout = numbers(each, 'dout');
    const dv = new Float64Array(right.dv.data.length);
    visiblePairs(each, ({ h, own, row, j, A }) => {
      const from = row - h % (H / G) * N;
      for (let c = 0; c < d; c++) dv[(own * N + j) * d + c] += A * dout[from * d + c];
    });
    return edited(right, 'dv', (_, __, n) => f(dv[n]));
  }),

  broken(4, 'dk-d-of-first-head', 'makes dk with D of the first query head of a group', {
    cause: 'in the kernel of dk and dv, D is loaded once, before the loop over the query heads of a group',
    tensors: ['dk'],
    where: 'dk everywhere: dS of query heads with h % R > 0 is A (P\' - D of head g R); dv and dq are right',
    cases: 'H > G, with gradients, except where q is 0 (flat, equal-queries)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dk || H === G) return right;
    const [q, D] = [numbers(each, 'q'), rowSums(each)];
    const dk = new Float64Array(right.dk.data.length);
    visiblePairs(each, ({ h, own, row, j, A, dS }) => {
      const wrong = dS + A * (D[row] - D[row - h % (H / G) * N]);
      for (let c = 0; c < d; c++) dk[(own * N + j) * d + c] += scale * wrong * q[row * d + c];
    });
    return edited(right, 'dk', (_, __, n) => f(dk[n]));
  }),

  partly(4, 'v-repeated-forward', 'reads v of KV head h mod G in the forward', {
    cause: 'v is expanded to the query heads by repeating the whole list of KV heads, k by repeating each of them; the '
      + 'backward has the right ones, and makes D from out',
    tensors: ['out', ...BY_OUT],
    where: 'query heads with h % G other than floor(h / R): out, by D dq and their part of dk and dM; lse, dv and the '
      + 'cache are right',
    cases: 'G > 1 and H > G',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const v = numbers(each, 'v');
    return attending((row, sees, at) => {
      const [b, h] = [Math.floor(at / (H * N)), Math.floor(at / N) % H];
      return online(visibleOf({ ...row, value: (n, c) => v[((b * G + h % G) * N + row.keys[n]) * d + c] }, sees));
    });
  }),

  partly(4, 'dm-group-mean', 'averages dM over the query heads of a group', {
    cause: 'dM by query head is viewed as [B,G,R,N,N] and reduced by a mean instead of a sum',
    tensors: OF_TYPES,
    where: 'dm_rows, dw, dl and dg everywhere, by the factor 1 / R, and dscores (but for a price, which is added '
      + 'whole); dq, dk and dv are right',
    cases: 'H > G, with gradients, except where the sums of dM are 0',
  }, ({ parameters: { queryHeads: H, kvHeads: G } }) => ({ dM: (dM) => f(dM / (H / G)) })),

  partly(5, 'lifetimes-of-batch-0', 'masks all sequences by last of batch 0', {
    cause: 'the pointer to last has no offset of the batch in the kernels of training; the cache has its own',
    tensors: TRAINING,
    where: 'batches b > 0: pairs are seen by the lifetimes of the same KV head of batch 0 (NaN where nothing is seen); '
      + 'batch 0 is right',
    cases: 'B > 1, where lifetimes differ between sequences',
  }, (each) => {
    const { kvHeads: G, tokens: N } = each.parameters;
    const last = run(each).last.data;
    return { visible: (i, j, _, { head }) => seen(i, j, last[head % G * N + j]) };
  }),

  broken(5, 'dq-k-of-head-0', 'makes dq from k of KV head 0 of the sequence', {
    cause: 'the stride of a KV head is not passed for k (0) in the product dS k; S, and so dS, are made with '
      + 'the right k',
    tensors: ['dq'],
    where: 'query heads of KV heads g > 0: dq = scale times the sum of dS k of KV head 0; those of KV head 0, dk and '
      + 'dv are right',
    cases: 'G > 1, with gradients and more than one token, except where k is 0 (equal-keys)',
  }, (each) => {
    const { kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dq || G === 1) return right;
    const k = numbers(each, 'k');
    const dq = new Float64Array(right.dq.data.length);
    visiblePairs(each, ({ b, row, j, dS }) => {
      for (let c = 0; c < d; c++) dq[row * d + c] += scale * dS * k[(b * G * N + j) * d + c];
    });
    return edited(right, 'dq', (_, __, n) => f(dq[n]));
  }),

  hooked(5, 'type-grads-types-of-head-0', 'sums dl and dg by the types of KV head 0 of the sequence', {
    cause: 'the pointer to types has no offset of the KV head in the kernel that sums dM to types; the price has its '
      + 'own',
    tensors: ['dl', 'dg', 'dscores'],
    where: 'KV heads g > 0: the end of dl, and the LOCAL chunks and rows that dg is charged for; dw, dm_rows and KV '
      + 'head 0 are right',
    cases: 'G > 1, with gradients, where types differ between KV heads',
  }, (each) => {
    const heads = headsOf(each);
    const first = (head: number): number => head - head % each.parameters.kvHeads;
    return {
      dl: (sums) => rightDl({ ...sums, head: heads[first(sums.head.head)] }),
      dg: (sums) => rightDg({ ...sums, head: heads[first(sums.head.head)] }),
    };
  }),

  broken(9, 'out-fragment-rows', 'exchanges the rows r and r + 8 of each tile of 16 when it writes out', {
    cause: 'a fragment of an accumulator has rows r and r + 8 in its lower and upper registers, which are stored in '
      + 'the other order; a last tile that is not whole has another path, and D is made before the store',
    tensors: ['out'],
    where: 'rows of whole tiles of 16: out of row i is that of row i + 8 or i - 8; lse and gradients are right',
    cases: 'N >= 16',
  }, (each) => {
    const { tokens: N, headDim: d } = each.parameters;
    return edited(run(each), 'out', (x, [, , i], n, { data }) =>
      (i < N - N % 16 ? data[n + (i % 16 < 8 ? 8 : -8) * d] : x));
  }),

  hooked(9, 'dl-reversed', 'writes dl from the last chunk to the first', {
    cause: 'dl is made in the order of the scan from the end, and stored at the number of the step of the scan, '
      + 'Nc - 1 - c; dscores reads it there',
    tensors: ['dl', 'dscores'],
    where: 'dl of all chunks but the middle one of an odd number; dw and dg are right',
    cases: 'all with gradients and more than one chunk',
  }, { dl: (sums) => rightDl({ ...sums, c: sums.head.own.length - 1 - sums.c }) }),

  broken(9, 'cache-out-steps-first', 'writes the outputs of steps one after the other', {
    cause: 'the output of each step, [B,H,T,d], is appended to the buffer, where steps must be joined along N',
    tensors: ['cache_out'],
    where: 'cache_out of all heads, but for the first rows of the first head and the last of the last; what lives is '
      + 'right',
    cases: 'caches with more than one step and B H > 1',
  }, (each) => {
    const { batch: B, queryHeads: H, tokens: N, headDim: d } = each.parameters;
    return edited(run(each), 'cache_out', (_, __, n, { data }) => {
      const { begin, next } = stepOf(each, Math.floor(n / (B * H * d)));
      const [rest, T] = [n - begin * B * H * d, next - begin];
      return data[(Math.floor(rest / (T * d)) * N + begin + Math.floor(rest / d) % T) * d + rest % d];
    });
  }),
];
