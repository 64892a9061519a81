/**
 * Groups (kind 4), inputs of another batch or head (5), and results in the wrong place (9).
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import { run } from '../kernel.ts';
import { edited, f, given, mixed, OF_TYPES, QKV, TRAINING } from '../seventh/parts.ts';
import { BY_OUT, broken, CACHE, type Ninth, partly } from './parts.ts';

export const HEADS: readonly Ninth[] = [
  partly(4, 'dkv-group-loop-short', 'leaves the last query head of a group out of dk and dv', {
    cause: 'the loop over the query heads of a group runs to R - 1, exclusive; a group of one has another path',
    tensors: ['dk', 'dv'],
    where: 'dk and dv everywhere: the part of query head g R + R - 1 is missing; dq and dM are right',
    cases: 'H > G, with gradients',
  }, { counts: (r, R) => R === 1 || r < R - 1 }),

  broken(4, 'lse-by-kv-head', 'writes lse of query head h at the place of its KV head', {
    cause: 'the pointer to lse is moved by the KV head floor(h / R), so that the last query head of a group stays '
      + 'there, and the places of heads from G on are never written (0)',
    tensors: ['lse'],
    where: 'query heads h < G have lse of query head h R + R - 1, those from G on 0; out and the backward are right',
    cases: 'H > G',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N } = each.parameters;
    const R = H / G;
    if (R === 1) return run(each);
    return edited(run(each), 'lse', (_, [b, h, i], __, { data }) =>
      (h < G ? data[(b * H + h * R + R - 1) * N + i] : 0));
  }),

  partly(4, 'lse-of-first-head-backward', 'makes P of the backward with lse of the first query head of a group', {
    cause: 'lse is loaded once, before the loop over the query heads of a group, in the backward of q, k and v',
    tensors: QKV,
    where: 'query heads with h % R > 0: dq, and their parts of dk and dv; dq of the first head of each group and dM '
      + 'are right',
    cases: 'H > G, with gradients, except where all query heads have the same lse (flat, equal-keys, equal-queries)',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N } = each.parameters;
    const lse = run(each).lse.data;
    let row = -1;
    return {
      D: (right) => {
        row++;
        return right;
      },
      weight: (S) => {
        const head = Math.floor(row / N);
        return f(Math.exp(f(S - lse[row - head % (H / G) * N])));
      },
    };
  }),

  broken(5, 'v-of-batch-0', 'reads v of batch 0 for all batches', {
    cause: 'the pointer to v has no offset of the batch, in the forward and the backward; k has it, and the cache has '
      + 'its own memory',
    tensors: ['out', ...BY_OUT],
    where: 'batches b > 0: out, dq, dk and dM; lse and dv are right, and batch 0',
    cases: 'B > 1',
  }, (each) => {
    const size = each.inputs.v.data.length / each.parameters.batch;
    return mixed(['out', ...BY_OUT], run(given(each, 'v', (_, __, n, { data }) => data[n % size])), run(each));
  }),

  broken(5, 'dout-of-head-0', 'reads dout of query head 0 of the sequence for all heads', {
    cause: 'the stride of a head is not passed for dout (0), in all of the backward',
    tensors: [...QKV, ...OF_TYPES],
    where: 'query heads h > 0: dq, and their parts of dk, dv and dM; dq of query head 0 is right',
    cases: 'H > 1, with gradients',
  }, (each) => {
    const { queryHeads: H, tokens: N, headDim: d } = each.parameters;
    return run(given(each, 'dout', (_, [b, , i, c], __, { data }) => data[(b * H * N + i) * d + c]));
  }),

  broken(5, 'scores-of-head-0', 'reads the scores of types of KV head 0 for all KV heads', {
    cause: 'the pointer to scores has no offset of the KV head, in the choice of types and in dscores; noise has it',
    tensors: ['types', 'last', 'mask', ...TRAINING, ...CACHE],
    where: 'KV heads g > 0: types, and all that follows from them; KV head 0 is right',
    cases: 'G > 1 with types by scores',
  }, (each) => {
    const { kvHeads: G } = each.parameters;
    return run(given(each, 'scores', (_, [b, , c, t], __, { data, shape }) => data[(b * G * shape[2] + c) * 3 + t]));
  }),

  broken(9, 'dkv-tokens-first', 'writes dk and dv in the order [B,N,G,d]', {
    cause: 'dk and dv are stored with the strides of [B,N,G,d] in buffers of [B,G,N,d]',
    tensors: ['dk', 'dv'],
    where: 'dk and dv of all KV heads, but for the first token of the first and the last of the last head of each '
      + 'sequence',
    cases: 'G > 1 and N > 1, with gradients',
  }, (each) => {
    const { kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const moved = (_: number, [b, g, j, c]: readonly number[], __: number, { data }: NamedTensor): number => {
      const at = g * N + j;
      return data[((b * G + at % G) * N + Math.floor(at / G)) * d + c];
    };
    return edited(edited(run(each), 'dk', moved), 'dv', moved);
  }),

  broken(9, 'dv-channels-deinterleaved', 'writes the even channels of dv before the odd ones', {
    cause: 'a fragment has the channels 2n and 2n + 1 in two registers, and each register is stored as one half of the '
      + 'row; where d is odd, there is another path',
    tensors: ['dv'],
    where: 'channels 1 to d - 2 of dv, all keys: channel c < d / 2 has 2c, the others 2c - d + 1; dk is right',
    cases: 'd even and above 2, with gradients',
  }, (each) => {
    const { headDim: d } = each.parameters;
    if (d % 2 === 1) return run(each);
    return edited(run(each), 'dv', (_, [, , , c], n, { data }) => data[n - c + (c < d / 2 ? 2 * c : 2 * c - d + 1)]);
  }),

  broken(9, 'lse-padded-rows', 'returns lse without removing the padding of rows to a multiple of 16', {
    cause: 'the buffer of lse is [B,H,16 ceil(N / 16)] with 0 in the padding; its first B H N numbers are taken for '
      + '[B,H,N]',
    tensors: ['lse'],
    where: 'all heads but the first of batch 0: rows come later by the padding of the heads before, with zeros '
      + 'between; out and gradients are right',
    cases: 'N % 16 > 0 and B H > 1',
  }, (each) => {
    const { tokens: N } = each.parameters;
    const padded = 16 * Math.ceil(N / 16);
    return edited(run(each), 'lse', (_, __, n, { data }) =>
      (n % padded < N ? data[Math.floor(n / padded) * N + n % padded] : 0));
  }),
];
