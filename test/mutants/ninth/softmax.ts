/**
 * Roundings (kind 1), base and scale (6), lse and the maximum (7).
 * @module
 */
import { online } from '../right.ts';
import { bf16, f, f16, OF_TYPES, QKV, softmaxWith, TRAINING, visibleOf } from '../seventh/parts.ts';
import { BY_OUT, hooked, type Ninth, partly } from './parts.ts';

/** The nearest number of fp8 e4m3, ties to even. */
const e4m3 = (x: number): number => {
  if (x === 0 || !Number.isFinite(x)) return x;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -6) - 3);
  const [n, down] = [x / step, Math.floor(x / step)];
  const up = n - down > 0.5 || (n - down === 0.5 && down % 2 !== 0);
  return (down + Number(up)) * step;
};

export const SOFTMAX: readonly Ninth[] = [
  partly(1, 'ds-f16-dq', 'rounds dS to float16 in the product with k that makes dq', {
    cause: 'dS is cast to float16 for the product dS k; that with q, which makes dk, has it in float32',
    tensors: ['dq'],
    where: 'dq everywhere, by up to 2^-11 of each term; dk and dv are right',
    cases: 'all with gradients and more than one token, except where k is 0 (equal-keys), and odd-3 and close, where '
      + 'the error is too small to count',
  }, { dS: (A, P, D) => f16(f(A * f(P - D))) }),

  hooked(1, 'p-bf16-before-z', 'rounds P to bfloat16 before it is summed to Z and multiplied by v', {
    cause: 'p = p.to(bfloat16) stands before the row sum, so that Z, lse and the product with v all have the rounded P',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows that see two or more keys of different scores: out and lse; by lse and D the backward',
    cases: 'all with different scores in a row (not flat, equal-keys, equal-queries, one-token, large)',
  }, { attend: softmaxWith({ exp: (x) => bf16(Math.exp(x)), alpha: (old, top) => f(Math.exp(f(old - top))) }) }),

  hooked(1, 'v-e4m3-forward', 'rounds v to fp8 e4m3 in the forward', {
    cause: 'the product P v of the forward has v in e4m3 without a scale; the backward reads the whole v',
    tensors: ['out', 'cache_out', ...BY_OUT],
    where: 'out everywhere, by up to 2^-4 of each term; by D = dout . out also dq, dk and dM; lse and dv are right',
    cases: 'all',
  }, { attend: (row, sees) => online(visibleOf({ ...row, value: (n, c) => e4m3(row.value(n, c)) }, sees)) }),

  hooked(1, 'scores-f16-forward', 'stores S in float16 before the softmax of the forward', {
    cause: 'q k^T is written to a float16 buffer (after the scale), and the softmax reads it; the backward has S in '
      + 'float32',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows whose scores are no short fractions: weights by a factor of up to e^(2^-11 |S|), most where |S| is '
      + 'large; lse; by lse and D the backward',
    cases: 'all with scores that are not exact in float16 (not flat, equal-keys, equal-queries, one-token)',
  }, { attend: (row, sees) => online(visibleOf({ ...row, S: row.S.map(f16) }, sees)) }),

  partly(6, 'lse-nats-in-exp2', 'subtracts lse in nats from scores in base 2 in the backward', {
    cause: 'the backward makes P = exp2(S log2(e) - lse), without the factor log2(e) for lse, which the forward stored '
      + 'in nats',
    tensors: QKV,
    where: 'dq, dk and dv: P of row i is off by one factor, e^((1 - ln 2) lse); dM is right',
    cases: 'all with gradients and rows with lse other than 0',
  }, { weight: (S, lse) => f(Math.exp(f(S - f(lse * Math.LN2)))) }),

  hooked(6, 'scale-log2e-bf16', 'keeps scale log2(e) in bfloat16', {
    cause: 'the factor of the exponential in base 2, scale log2(e), is made in the dtype of the model, so that it is '
      + 'rounded to 8 bits, for the forward and the backward; dq and dk are multiplied by the whole scale',
    tensors: [...TRAINING, 'cache_out'],
    where: 'everywhere: all scores are off by one factor per case, 1 + up to 2^-8',
    cases: 'all where scores are not 0 (not flat, equal-keys, equal-queries); one-token in lse alone',
  }, ({ parameters: { scale } }) => ({
    scale: () => bf16(scale * Math.LOG2E) / Math.LOG2E, dqFactor: () => scale, dkFactor: () => scale,
  })),

  partly(6, 'dm-unscaled', 'takes q . k without the scale in the gradient of the mask', {
    cause: 'the kernel of dM makes its own q . k and forgets the scale; lse and nu, which it reads, have it',
    tensors: OF_TYPES,
    where: 'dm_rows, dw, dl, dg and dscores: the weight of each pair is e^(S / scale - n); dq, dk and dv are right',
    cases: 'all with gradients and more than one token, where scale is not 1 and scores are not 0',
  }, ({ parameters: { scale } }) => {
    let normaliser = 0;
    return {
      norm: (lse, all, rule) => (normaliser = rule === 'exact' ? lse : all),
      dM: (_, __, { S, P, D }) => f(f(Math.exp(f(f(S / scale) - normaliser))) * f(P - D)),
    };
  }),

  hooked(7, 'lse-log2-of-z', 'adds log2(Z) to the maximum in nats for lse', {
    cause: 'lse = m + log2(Z): the maximum was brought back to nats, the logarithm was not; the backward reads it',
    tensors: ['lse', ...QKV, 'dm_rows', 'dw', 'dl', 'dg', 'dscores'],
    where: 'rows that see two or more keys of some weight: lse is too large by 0.4427 ln(Z); P of the backward is '
      + 'too small by it, and dM in the rule exact; out is right',
    cases: 'all in which a row has two keys of some weight (not one-token, large)',
  }, { lse: ({ m, Z }) => f(m + f(Math.log2(Z))) }),

  hooked(7, 'lse-largest-of-splits', 'writes the largest lse of its splits of 32 keys as lse of a row', {
    cause: 'the merge of splits weighs their outputs rightly, but stores the maximum it subtracts, max of lse_s, '
      + 'instead of the logarithm of the sum; the backward reads it',
    tensors: ['lse', ...QKV, 'dm_rows', 'dw', 'dl', 'dg', 'dscores'],
    where: 'rows i >= 32 that see keys of two or more splits of 32: lse is too small, P of the backward too large, and '
      + 'dM in the rule exact; out is right',
    cases: 'N > 32 with such rows',
  }, {
    attend: (row, sees) => {
      const seen = visibleOf(row, sees);
      const splits = new Set(seen.keys.map((j) => Math.floor(j / 32)));
      const each = [...splits].map((s) => online(visibleOf(seen, (j) => Math.floor(j / 32) === s)).lse);
      return { ...online(seen), lse: Math.max(...each) };
    },
  }),

  hooked(7, 'lse-max-unscaled', 'adds the maximum of q . k without the scale to lse', {
    cause: 'the maximum is kept of the unscaled q . k, and lse = m + log(Z) is written without scaling it; the '
      + 'backward reads it',
    tensors: ['lse', ...QKV, 'dm_rows', 'dw', 'dl', 'dg', 'dscores'],
    where: 'all rows: lse is off by m / scale - m, m the largest visible score; by it P of the backward, and dM in the '
      + 'rule exact; out is right',
    cases: 'all where scale is not 1 and scores are not 0',
  }, ({ parameters: { scale } }) => ({ lse: ({ m, Z }) => f(f(m / scale) + f(Math.log(Z))) })),
];
