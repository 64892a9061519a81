/**
 * Roundings (kind 1), base and scale (6), lse and the maximum (7).
 * @module
 */
import { run } from '../kernel.ts';
import {
  bf16, edited, f, OF_TYPES, QKV, seen, softmaxWith, TRAINING, visibleOf, visiblePairs,
} from '../seventh/parts.ts';
import { broken, type Eighth, hooked, partly, tile } from './parts.ts';

/** The nearest number with two bits after the first, as fp8 e5m2 has, down to 2^-16. */
const e5m2 = (x: number): number => {
  if (x === 0) return 0;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 2);
  return Math.round(x / step) * step;
};
/** e^x as (1 + x / 1024)^1024, by ten squarings. */
const power1024 = (x: number): number => {
  let y = x < -1024 ? 0 : f(1 + f(x / 1024));
  for (let n = 0; n < 10; n++) y = f(y * y);
  return y;
};

export const SOFTMAX: readonly Eighth[] = [
  broken(1, 'dk-atomics-bf16', 'adds the part of dk of each tile of 16 rows to a bfloat16 buffer', {
    cause: 'dk is summed in float32 within a tile of 16 rows of one query head, and added by atomics of bfloat16',
    tensors: ['dk'],
    where: 'dk everywhere, by 2^-9 and more, most where many tiles of rows add; dq and dv are right',
    cases: 'all with gradients and more than one token, except where dk is 0 (flat, logits equal-queries)',
  }, (each) => {
    const right = run(each);
    if (!right.dk) return right;
    const { tokens: N, headDim: d, scale } = each.parameters;
    const sum = new Float64Array(right.dk.data.length);
    let part = new Map<number, number>();
    let now = -1;
    const flush = (): void => {
      for (const [n, x] of part) sum[n] = bf16(f(sum[n] + x));
      part = new Map();
    };
    visiblePairs(each, ({ own, row, i, j, dS }) => {
      const tileOfRows = row - i % 16;
      if (tileOfRows !== now) flush();
      now = tileOfRows;
      for (let c = 0; c < d; c++) {
        const n = (own * N + j) * d + c;
        part.set(n, f((part.get(n) ?? 0) + f(dS * each.inputs.q.data[row * d + c])));
      }
    });
    flush();
    return edited(right, 'dk', (_, __, n) => f(sum[n] * f(scale)));
  }),

  hooked(1, 'dout-e5m2-dp', 'rounds dout to fp8 e5m2 in the product with v that makes dP', {
    cause: 'the backward takes dout in e5m2 (no scales) for dP = dout v^T; '
      + 'D, and the product that makes dv, have all of it',
    tensors: ['dq', 'dk', ...OF_TYPES],
    where: 'dq, dk and dM everywhere, as dP is off by up to 2^-3 of its terms; dv is right',
    cases: 'all with gradients (of one token too)',
  }, ({ inputs }) => ({
    dot: (x, at, y, from, n) => {
      const rounded = x === inputs.dout?.data && y === inputs.v.data;
      let sum = 0;
      for (let c = 0; c < n; c++) sum = f(sum + f((rounded ? e5m2(x[at + c]) : x[at + c]) * y[from + c]));
      return sum;
    },
  })),

  partly(1, 'dm-scores-bf16', 'stores S in bfloat16 for the gradient of the mask', {
    cause: 'the kernel of dM reads S from a bfloat16 buffer, that of a product in the dtype of the model; its '
      + 'normaliser, lse or nu, is exact',
    tensors: OF_TYPES,
    where: 'dm_rows, dw, dl, dg and dscores, by a factor of up to e^(2^-9 |S|) for each pair; dq, dk and dv are right',
    cases: 'all with gradients, except where S is 0 or short (flat, equal-keys, equal-queries)',
  }, { dM: (_, __, { S, P, D, weight }) => f(f(weight * f(Math.exp(bf16(S) - S))) * f(P - D)) }),

  hooked(1, 'exp-power-1024', 'takes (1 + x / 1024)^1024 for e^x, in the forward', {
    cause: 'an exponential by ten squarings, which is too small by a factor of about 1 - x^2 / 2048; the backward has '
      + 'the exact one',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows that see two or more keys of different scores: out and lse, and by lse and D the backward',
    cases: 'all with different scores in a row (not flat, equal-keys, equal-queries, one-token)',
  }, { attend: softmaxWith({ exp: power1024 }) }),

  partly(6, 'nu-base-2', 'leaves nu in base 2', {
    cause: 'nu, the log-sum-exp over all causal keys, is made with log2 and not multiplied by ln(2) before exp(S - nu)',
    tensors: OF_TYPES,
    where: 'rows of all heads: dM is off by one factor per row, e^(-0.4427 nu); the rule exact is right',
    cases: 'rule bounded, with gradients, nu other than 0 and more than one chunk (else all sums of dM are 0)',
  }, { norm: (lse, all, rule) => (rule === 'exact' ? lse : f(all * f(Math.LOG2E))) }),

  hooked(6, 'dq-scale-padded-d', 'multiplies dq by 1 / sqrt of d padded to a power of 2, at least 16', {
    cause: 'the kernel of dq makes its own factor from the size of its block of d, max(16, 2^ceil(log2 d))',
    tensors: ['dq'],
    where: 'dq everywhere, by one factor per case, 1 / (scale sqrt(padded d)); S is scaled rightly, and dk',
    cases: 'gradients and more than one token, where scale is not 1 / sqrt(padded d): not d = 64, 128 with the default',
  }, ({ parameters: { headDim } }) => ({
    dqFactor: () => 1 / Math.sqrt(Math.max(16, 2 ** Math.ceil(Math.log2(headDim)))),
  })),

  partly(6, 'exp2-diagonal-backward', 'takes 2^x for e^x in the masked tiles of the backward', {
    cause: 'of the two loops of the backward, that over tiles on the diagonal, which has masks, makes P by exp2 '
      + 'without log2(e); that over earlier tiles has it',
    tensors: QKV,
    where: 'pairs with floor(i / 16) = floor(j / 16), in dq, dk and dv of all heads; where N <= 16 all pairs; '
      + 'rows whose weight is 1 are right',
    cases: 'all with gradients and more than one token',
  }, () => {
    let diagonal = false;
    return {
      backVisible: (i, j, last) => {
        diagonal = tile(i) === tile(j);
        return seen(i, j, last);
      },
      weight: (S, lse) => f(diagonal ? 2 ** f(S - lse) : Math.exp(f(S - lse))),
    };
  }),

  hooked(7, 'lse-negative-max', 'takes 0 for a maximum below 0 when it writes lse, and the backward reads it', {
    cause: 'a guard against the -infinity of empty rows is max(m, 0), where it must replace -infinity alone',
    tensors: ['lse', ...QKV, 'dw', 'dl', 'dg'],
    where: 'rows whose visible scores are all negative: lse is too large by -m, so P too small in dq, dk and dv, '
      + 'and dM in the rule exact; out is right',
    cases: 'all with such rows; dw, dl and dg only in the rule exact (there dm_rows and dscores might be wrong too, '
      + 'but no case of the small suite has such a row with a hidden key)',
  }, { lse: ({ m, Z }) => f(Math.max(m, 0) + f(Math.log(Z))) }),

  hooked(7, 'max-of-first-tile', 'keeps the maximum of the first tile of keys that a row sees for all others', {
    cause: 'the maximum is taken before the loop, over the first tile of 16 with a visible key, and not updated',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows with later scores more than about 88 above the maximum of that first tile: Infinity or NaN; '
      + 'other rows are right but for rounding',
    cases: 'N > 16 with such scores: rising, large and pair-12 (logits rising)',
  }, {
    attend: (row, sees) => {
      const { keys, S, value, d } = visibleOf(row, sees);
      const m = Math.max(...S.filter((_, n) => tile(keys[n]) === tile(keys[0])));
      const o = new Float32Array(d);
      let Z = 0;
      S.forEach((s, n) => {
        const e = f(Math.exp(f(s - m)));
        Z = f(Z + e);
        for (let c = 0; c < d; c++) o[c] = f(o[c] + f(e * value(n, c)));
      });
      return { o, m, Z, lse: f(m + f(Math.log(Z))) };
    },
  }),

  partly(7, 'lse-empty-below-1', 'takes rows whose sum Z is 1 for empty and writes -Infinity as their lse', {
    cause: 'empty rows are told by Z <= 1 instead of Z <= 0; the backward keeps m and Z',
    tensors: ['lse'],
    where: 'rows that see one key (row 0 of every head, others under short windows), and rows in which all other '
      + 'weights are lost beside the 1 of the largest; out is right',
    cases: 'all',
  }, { lse: ({ m, Z }) => (Z > 1 ? f(m + f(Math.log(Z))) : -Infinity) }),
];
