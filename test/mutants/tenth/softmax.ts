/**
 * Roundings (kind 1), base and scale (6), lse and the maximum (7).
 * @module
 */
import { tile } from '../eighth/parts.ts';
import { run } from '../kernel.ts';
import { BY_OUT, broken, hooked, partly } from '../ninth/parts.ts';
import { online } from '../right.ts';
import { bf16, f, f16, given, mixed, OF_TYPES, QKV, TRAINING, visibleOf } from '../seventh/parts.ts';
import type { Tenth } from './parts.ts';

const BY_LSE = ['lse', ...QKV, ...OF_TYPES] as const;

export const SOFTMAX: readonly Tenth[] = [
  partly(1, 'dp-bf16', 'rounds dP to bfloat16 before D is subtracted', {
    cause: 'the product dout v^T of the backward is written in bfloat16, and dS = A (dP - D) reads it; dM has its own',
    tensors: ['dq', 'dk'],
    where: 'dq and dk everywhere, by up to 2^-9 of dP in each pair; dv and the gradients of types are right',
    cases: 'all with gradients, except where dq and dk are 0 (in part: equal-keys, equal-queries); one-token too, '
      + 'where both are 0 in truth',
  }, { dS: (A, P, D) => f(A * f(bf16(P) - D)) }),

  broken(1, 'q-scaled-f16', 'rounds scale log2(e) q to float16 before all products', {
    cause: 'q is multiplied by scale log2(e) once and stored in float16; the forward, the backward (dk too, brought '
      + 'back by ln 2) and the cache read it',
    tensors: [...TRAINING, 'cache_out'],
    where: 'everywhere that scores differ: S is off by up to 2^-11 of its terms, and so is q in dk',
    cases: 'all with scores other than 0 (not flat, equal-keys, equal-queries), except where the error is too small '
      + 'to count',
  }, (each) => {
    const factor = each.parameters.scale * Math.LOG2E;
    return run(given(each, 'q', (x) => f16(f(x * factor)) / factor));
  }),

  partly(1, 'p-f16-dv', 'rounds P to float16 in the product with dout that makes dv', {
    cause: 'P is cast to float16 for P^T dout; dS is made from P in float32',
    tensors: ['dv'],
    where: 'dv everywhere, by up to 2^-12 of each term; dq and dk are right',
    cases: 'most with gradients and rows with two keys of different weight; in others the error is too small to '
      + 'count (faint in measured-1.md) or the weights are exact in float16 (one-token, large, close)',
  }, { storeA: f16 }),

  broken(6, 'cache-log2e-exp', 'multiplies scores of the cache by log2(e) and takes e^x of them', {
    cause: 'the kernel for steps folds log2(e) into the scale as for exp2, but calls exp; that of training is right',
    tensors: ['cache_out'],
    where: 'rows that see two or more keys of different scores, in all steps: weights are sharper by 1.4427',
    cases: 'caches with different scores in a row (not flat, equal-keys, equal-queries, one-token)',
  }, (each) => mixed(['cache_out'], run(each, { scale: ({ scale }) => scale * Math.LOG2E }), run(each))),

  hooked(6, 'scale-of-width', 'takes 1 / sqrt(H d) for the scale', {
    cause: 'the scale is made from the width of the model, H d, instead of that of a head, in the forward, the '
      + 'backward and the cache',
    tensors: [...TRAINING, 'cache_out'],
    where: 'everywhere: all scores, and dq and dk, are off by one factor per case, 1 / (scale sqrt(H d))',
    cases: 'all where scale is not 1 / sqrt(H d); where scores are 0 in lse, dq or dk alone',
  }, { scale: ({ queryHeads, headDim }) => 1 / Math.sqrt(queryHeads * headDim) }),

  partly(6, 'dm-exp2', 'takes 2^x for e^x in the weights of dM', {
    cause: 'the kernel of dM has exp2(S - n) with S and n in nats, without log2(e)',
    tensors: OF_TYPES,
    where: 'dm_rows, dw, dl, dg and dscores: the weight of each pair is w^(ln 2), too large where w < 1; dq, dk and dv '
      + 'are right',
    cases: 'all with gradients and more than one token, except where the sums of dM are 0 (one chunk) or weights are '
      + '0 or 1 (large)',
  }, () => {
    let normaliser = 0;
    return {
      norm: (lse, all, rule) => (normaliser = rule === 'exact' ? lse : all),
      dM: (_, __, { S, P, D }) => f(f(2 ** f(S - normaliser)) * f(P - D)),
    };
  }),

  hooked(7, 'lse-tile-maximum', 'adds the maximum of the last tile of keys to lse instead of that of the row', {
    cause: 'lse = m + log(Z) is written with the variable of the maximum of the tile of 16 keys that came last, the '
      + 'one on the diagonal; Z belongs to the running maximum; the backward reads lse',
    tensors: BY_LSE,
    where: 'rows whose largest visible score is in an earlier tile of 16 than their own: lse is too small, P of the '
      + 'backward too large, and dM in the rule exact; rows 0 to 15, and out, are right',
    cases: 'N > 16, with such rows (not where all scores of a row are equal)',
  }, {
    attend: (row, sees) => {
      const seen = visibleOf(row, sees);
      const right = online(seen);
      const m = Math.max(...seen.S.filter((_, n) => tile(seen.keys[n]) === tile(seen.keys.at(-1)!)));
      return { ...right, lse: f(m + f(Math.log(right.Z))) };
    },
  }),

  hooked(7, 'lse-minus-log', 'subtracts log(Z) from the maximum for lse', {
    cause: 'lse = m - log(Z), a sign that was meant for the exponent; the backward reads it',
    tensors: BY_LSE,
    where: 'rows that see two or more keys of some weight: lse is too small by 2 ln(Z), P of the backward too large '
      + 'by Z^2, and dM in the rule exact; out is right',
    cases: 'all in which a row has two keys of some weight (not one-token, large)',
  }, { lse: ({ m, Z }) => f(m - f(Math.log(Z))) }),

  partly(7, 'max-of-row-tile', 'subtracts one maximum from all scores of a tile of 16 rows', {
    cause: 'the maximum is reduced over the whole tile of scores, rows and keys, instead of over the keys of each row',
    tensors: ['out', 'lse', 'dv', ...BY_OUT],
    where: 'rows whose own maximum is more than about 88 below that of their tile of 16 rows, in the same head: Z is 0 '
      + 'or nearly, out NaN and lse -Infinity, and by them the backward; others are right but for rounding',
    cases: 'scores that differ by more than 88 between the rows of a tile (large, close, pair-14), and NaN in q . k '
      + '(hidden-nan, hidden-infinity), where one row with NaN spoils all rows of its tile',
  }, (each) => {
    const { tokens: N } = each.parameters;
    const own: number[] = [];
    run(each, { lse: ({ m, lse }) => (own.push(m), lse) });
    let row = -1;
    return {
      attend: (all, sees) => {
        const { keys, S, value, d, i } = visibleOf(all, sees);
        row++;
        const first = row - i % 16;
        const m = Math.max(...own.slice(first, Math.min(first + 16, row - i + N)));
        const o = new Float32Array(d);
        let Z = 0;
        keys.forEach((_, n) => {
          const e = f(Math.exp(f(S[n] - m)));
          Z = f(Z + e);
          for (let c = 0; c < d; c++) o[c] = f(o[c] + f(e * value(n, c)));
        });
        return { o, m, Z, lse: f(m + f(Math.log(Z))) };
      },
    };
  }),
];
