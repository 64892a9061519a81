/**
 * Groups (kind 4), inputs of another batch or head (5), and results in the wrong place (9).
 * @module
 */
import { resummed } from '../eighth/parts.ts';
import { run } from '../kernel.ts';
import { broken, partly } from '../ninth/parts.ts';
import { edited, f, given, mixed, QKV, TRAINING, visiblePairs } from '../seventh/parts.ts';
import { byRow, numbers, type Tenth } from './parts.ts';

export const HEADS: readonly Tenth[] = [
  partly(4, 'q-of-first-head-forward', 'reads q of the first query head of a group for all of them, in the forward', {
    cause: 'q is loaded once, before the loop over the query heads of a group, in the forward; the backward has the '
      + 'right q, and out and lse of the forward',
    tensors: TRAINING,
    where: 'query heads with h % R > 0: out and lse are those of head h - h % R, and by them dq, and parts of dk, dv '
      + 'and dM; heads with h % R = 0 are right in out, lse and dq',
    cases: 'H > G, except where q is 0 (flat, equal-queries)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const R = H / G;
    const { out, lse } = run(each);
    const first = (row: number): number => row - Math.floor(row / N) % R * N;
    let [rows, lses] = [0, 0];
    return {
      out: () => {
        const at = first(rows++) * d;
        return Float32Array.from((out.data as Float64Array).subarray(at, at + d));
      },
      lse: () => lse.data[first(lses++)],
    };
  }),

  broken(4, 'dq-carried-in-group', 'does not clear the accumulator of dq between the query heads of a group', {
    cause: 'one program has all query heads of a group in a loop, and clears its accumulator of dq before the loop',
    tensors: ['dq'],
    where: 'query heads with h % R > 0: dq has that of the heads before it in the group added; the first head of each '
      + 'group, dk and dv are right',
    cases: 'H > G, with gradients and more than one token, except where dq is 0 (equal-keys, large)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    return edited(run(each), 'dq', (_, [, h], n, { data }) => {
      let sum = 0;
      for (let r = h % (H / G); r >= 0; r--) sum = f(sum + data[n - r * N * d]);
      return sum;
    });
  }),

  broken(4, 'dm-rows-last-head', 'stores dm_rows for each query head instead of adding to it', {
    cause: 'the query heads of a group store to dm_rows of their KV head in turn, and the last one remains; dw, dl and '
      + 'dg are added up',
    tensors: ['dm_rows'],
    where: 'dm_rows everywhere: it is the part of query head g R + R - 1; dw, dl and dg are right',
    cases: 'H > G, with gradients and hidden keys (else dm_rows is 0)',
  }, (each) => {
    const R = each.parameters.queryHeads / each.parameters.kvHeads;
    return R === 1 ? run(each) : resummed(each, ['dm_rows'], (g) => [g * R + R - 1]);
  }),

  broken(4, 'dkv-to-head-mod', 'adds dk and dv of query head h to KV head h mod G', {
    cause: 'dk and dv by query head, [B,H,N,d], are viewed as [B,R,G,N,d] and summed over R; k and v are read rightly',
    tensors: ['dk', 'dv'],
    where: 'dk and dv of all KV heads: the sums over query heads g, g + G, ...; dq and dM are right',
    cases: 'G > 1 and H > G, with gradients',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dk || G === 1 || G === H) return right;
    const [q, dout] = [numbers(each, 'q'), numbers(each, 'dout')];
    const [dk, dv] = [right.dk, right.dv].map(({ data }) => new Float64Array(data.length));
    visiblePairs(each, ({ b, h, row, j, A, dS }) => {
      for (let c = 0; c < d; c++) {
        const at = ((b * G + h % G) * N + j) * d + c;
        dk[at] += scale * dS * q[row * d + c];
        dv[at] += A * dout[row * d + c];
      }
    });
    return edited(edited(right, 'dk', (_, __, n) => f(dk[n])), 'dv', (_, __, n) => f(dv[n]));
  }),

  broken(5, 'dk-q-of-batch-0', 'makes dk from q of batch 0 for all batches', {
    cause: 'the pointer to q has no offset of the batch in the product dS^T q; S, and so dS, are made with the right q',
    tensors: ['dk'],
    where: 'batches b > 0: dk = scale times the sum of dS[b] q[0]; batch 0, dq and dv are right',
    cases: 'B > 1, with gradients, except where q is 0 (equal-queries)',
  }, (each) => {
    const { batch: B, queryHeads: H, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dk || B === 1) return right;
    const q = numbers(each, 'q');
    const dk = new Float64Array(right.dk.data.length);
    visiblePairs(each, ({ b, own, row, j, dS }) => {
      for (let c = 0; c < d; c++) dk[(own * N + j) * d + c] += scale * dS * q[(row - b * H * N) * d + c];
    });
    return edited(right, 'dk', (_, __, n) => f(dk[n]));
  }),

  partly(5, 'lse-of-batch-0-backward', 'makes P of the backward with lse of batch 0 for all batches', {
    cause: 'the pointer to lse has no offset of the batch in the backward of q, k and v',
    tensors: QKV,
    where: 'batches b > 0: P of each row is off by one factor, in dq, dk and dv; batch 0, and dM, are right',
    cases: 'B > 1, with gradients, except where all batches have the same lse',
  }, (each) => {
    const { queryHeads: H, tokens: N } = each.parameters;
    const lse = run(each).lse.data;
    return byRow((row) => ({ weight: (S) => f(Math.exp(f(S - lse[row() % (H * N)]))) }));
  }),

  broken(5, 'cache-v-of-head-0', 'reads v of KV head 0 of the sequence for all KV heads, in the cache', {
    cause: 'the stride of a KV head is not passed for v (0) when it is copied into the cache; k has it',
    tensors: ['cache_out'],
    where: 'query heads of KV heads g > 0: they weigh values of KV head 0; those of KV head 0, and what lives, are '
      + 'right',
    cases: 'caches with G > 1',
  }, (each) => {
    const { kvHeads: G, tokens: N, headDim: d } = each.parameters;
    return mixed(['cache_out'],
      run(given(each, 'v', (_, [b, , j, c], __, { data }) => data[(b * G * N + j) * d + c])), run(each));
  }),

  broken(9, 'dq-heads-by-place', 'writes dq with the axes of the group and of the KV head exchanged', {
    cause: 'dq is stored as [B,R,G,N,d] in a buffer of [B,G,R,N,d]: query head g R + r is written at r G + g',
    tensors: ['dq'],
    where: 'all query heads but the first and the last of a sequence (and others with g R + r = r G + g): dq of '
      + 'another head; dk and dv are right',
    cases: 'G > 1 and H > G, with gradients, except where dq is 0 (equal-keys)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const R = H / G;
    return edited(run(each), 'dq', (_, [, h], n, { data }) => data[n + (h % G * R + Math.floor(h / G) - h) * N * d]);
  }),

  broken(9, 'dk-channels-first', 'writes dk as [B,G,d,N]', {
    cause: 'the tile of dk is stored as it lies in the accumulator, transposed, with the stride of a channel N and '
      + 'that of a token 1',
    tensors: ['dk'],
    where: 'dk everywhere but for channel 0 of the first key and channel d - 1 of the last of each KV head; dv is '
      + 'right',
    cases: 'all with gradients, d > 1 and more than one token, except where dk is 0 (flat, equal-queries)',
  }, (each) => {
    const { tokens: N, headDim: d } = each.parameters;
    return edited(run(each), 'dk', (_, [, , j, c], n, { data }) => {
      const at = j * d + c;
      return data[n - at + at % N * d + Math.floor(at / N)];
    });
  }),

  broken(9, 'dscores-type-first', 'writes dscores as [B,G,3,Nc]', {
    cause: 'the three gradients are stored as three rows of Nc in the buffer of [B,G,Nc,3]',
    tensors: ['dscores'],
    where: 'dscores of all heads but for their first and last number; dw, dl and dg are right',
    cases: 'types by scores, with gradients and more than one chunk that is not forced',
  }, (each) => edited(run(each), 'dscores', (_, [, , c, t], n, { data, shape }) => {
    const at = 3 * c + t;
    return data[n - at + at % shape[2] * 3 + Math.floor(at / shape[2])];
  })),
];
