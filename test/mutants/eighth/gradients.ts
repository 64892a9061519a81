/**
 * Factors, the normaliser and D (kind 11).
 * @module
 */
import { f, OF_TYPES } from '../seventh/parts.ts';
import { type Eighth, hooked, partly } from './parts.ts';

export const GRADIENTS: readonly Eighth[] = [
  partly(11, 'dv-normalised-twice', 'divides P by Z once more in the product that makes dv', {
    cause: 'P is made from lse, so it is normalised, and the kernel of dv divides it by Z all the same',
    tensors: ['dv'],
    where: 'dv, but for what rows with one key add (Z = 1): each row counts with 1 / Z of its weight; '
      + 'dq and dk are right',
    cases: 'all with gradients and more than one token, if some row has two keys of some weight (not large)',
  }, () => {
    let Z = 1;
    return {
      weight: (S, lse, m) => {
        Z = f(Math.exp(f(lse - m)));
        return f(Math.exp(f(S - lse)));
      },
      storeA: (A) => f(A / Z),
    };
  }),

  partly(11, 'dk-d-plus', 'adds D instead of subtracting it in the kernel of dk', {
    cause: 'D is stored negated for the kernel of dq, which adds it; that of dk still subtracts it',
    tensors: ['dk'],
    where: 'dk everywhere: dS is A (P + D); dq, dv and the gradients of types are right',
    cases: 'all with gradients, one-token too (where dk is 0), except where q is 0 (flat and equal-queries)',
  }, { dS: (A, P, D) => f(A * f(P + D)) }),

  hooked(11, 'd-of-batch-0', 'reads D of batch 0 for all batches', {
    cause: 'D = rowsum(dO * O) is written as [B,H,N] and read as [h,i], without the stride of the batch',
    tensors: ['dq', 'dk', ...OF_TYPES],
    where: 'batches b > 0: dq, dk, dm_rows, dw, dl, dg and dscores; batch 0 and dv are right',
    cases: 'B > 1, with gradients',
  }, ({ parameters: { queryHeads: H, tokens: N } }) => {
    const all: number[] = [];
    return { D: (right) => all[(all.push(right) - 1) % (H * N)] };
  }),
];
