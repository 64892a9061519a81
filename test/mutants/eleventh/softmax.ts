/**
 * Roundings (kind 1), base and scale (6), lse and the maximum (7).
 * @module
 */
import { run } from '../kernel.ts';
import { broken, hooked, partly } from '../ninth/parts.ts';
import { online } from '../right.ts';
import { bf16, edited, f, given, mixed, OF_TYPES, QKV, softmaxWith, TRAINING, visibleOf } from '../seventh/parts.ts';
import { expanded } from '../sixth/expanded.ts';
import { DKV, type Eleventh, splitsOf } from './parts.ts';

const BY_LSE = ['lse', ...QKV, ...OF_TYPES] as const;
const exp = (x: number): number => f(Math.exp(f(x)));

/** The nearest number of fp8 e4m3, ties to even, and at most 448. */
function e4m3(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -6) - 3);
  const [n, down] = [x / step, Math.floor(x / step)];
  const up = n - down > 0.5 || (n - down === 0.5 && down % 2 !== 0);
  return Math.min(448, Math.max(-448, (down + Number(up)) * step));
}

export const SOFTMAX: readonly Eleventh[] = [
  hooked(1, 'lse-bf16', 'stores lse in bfloat16', {
    cause: 'the buffer of lse is allocated with the dtype of q; the backward reads it',
    tensors: BY_LSE,
    where: 'lse everywhere, by up to 2^-9 of it; P of a row of the backward by one factor, and dM in the rule exact; '
      + 'out is right',
    cases: 'all; in others than lse also where the error is above the threshold',
  }, { lse: ({ lse }) => bf16(lse) }),

  broken(1, 'cache-k-e4m3', 'keeps keys of the cache in fp8 e4m3', {
    cause: 'keys are quantised to e4m3 without a scale when they are appended; values are kept as they are, and '
      + 'training has whole keys',
    tensors: ['cache_out'],
    where: 'rows that see two or more keys: scores are off by up to 2^-4 of their terms; what lives is right',
    cases: 'caches with different scores in a row (not flat, equal-keys, equal-queries, one-token)',
  }, (each) => mixed(['cache_out'], run(given(each, 'k', e4m3)), run(each))),

  broken(1, 'dkv-heads-bf16', 'stores dk and dv of each query head in bfloat16 before the sum over the group', {
    cause: 'dk and dv are written by query head, [B,H,N,d], in bfloat16, and then summed over the group in float32; a '
      + 'group of one has no such buffer',
    tensors: DKV,
    where: 'dk and dv everywhere, by up to 2^-9 of each of R terms; dq is right',
    cases: 'H > G, with gradients, except one-token, where it is exact, and close, where it is too small to count',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d } = each.parameters;
    const right = run(each);
    const R = H / G;
    if (R === 1 || !right.dk) return right;
    const whole = expanded(each, {});
    const summed = (name: 'dk' | 'dv') => (_: number, [b, g, j, c]: readonly number[]): number => {
      let sum = 0;
      for (let r = 0; r < R; r++) sum = f(sum + bf16(whole[name].data[((b * H + g * R + r) * N + j) * d + c]));
      return sum;
    };
    return edited(edited(right, 'dk', summed('dk')), 'dv', summed('dv'));
  }),

  hooked(6, 'alpha-base-e', 'rescales by e^x in an online softmax in base 2', {
    cause: 'scores have the factor log2(e) and P is exp2(S - m), but alpha is exp(m_old - m_new)',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows whose maximum rises in a later tile of 16 keys: what was summed before is too small by the rise to '
      + 'the power of 0.4427, in out and lse, and by them in the backward; rows 0 to 15 are right in out, lse and dq',
    cases: 'N > 16, where the maximum of some row rises in a later tile',
  }, { attend: softmaxWith({ alpha: (old, top) => exp(f(f(old - top) * Math.LOG2E)) }) }),

  hooked(6, 'dk-in-base-2', 'multiplies dk by log2(e)', {
    cause: 'the backward has q multiplied by scale log2(e) for its scores, takes it for dS^T q too, and does not '
      + 'multiply by ln 2 at the end; dq is made from k, with the scale',
    tensors: ['dk'],
    where: 'dk everywhere, by the factor 1.4427; dq and dv are right',
    cases: 'all with gradients, except where dk is 0 (flat, equal-queries, one-token)',
  }, { dkFactor: (scale) => scale * Math.LOG2E }),

  partly(6, 'backward-scaled-twice', 'scales scores twice in the backward', {
    cause: 'q is loaded with the scale in the backward of q, k and v, and q . k is scaled again before lse is '
      + 'subtracted; dq and dk get the scale once',
    tensors: QKV,
    where: 'dq, dk and dv everywhere: P is e^(scale S - lse); dM is right',
    cases: 'all with gradients where scale is not 1 and scores are not 0',
  }, ({ parameters: { scale } }) => ({ weight: (S, lse) => exp(f(S * f(scale)) - lse) })),

  hooked(7, 'lse-merge-no-max', 'leaves the maximum out of lse where splits of 32 keys are merged', {
    cause: 'the merge of splits weighs their outputs rightly, and stores log(sum of exp(lse_s - max lse_s)) as lse; '
      + 'the backward reads it',
    tensors: BY_LSE,
    where: 'all rows: lse is 0 where one split has all keys (rows 0 to 31), and small in others; by it P of the '
      + 'backward, and dM in the rule exact; out is right',
    cases: 'all',
  }, {
    attend: (row, sees) => {
      const lses = splitsOf(row, sees).map(({ lse }) => lse);
      const top = Math.max(...lses);
      return {
        ...online(visibleOf(row, sees)), lse: f(Math.log(lses.reduce((sum, x) => f(sum + exp(x - top)), 0))),
      };
    },
  }),

  hooked(7, 'max-starts-at-0', 'starts the running maximum at 0', {
    cause: 'm is initialised with 0 instead of -infinity, so that it is never below 0',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows whose visible scores are all below about -88: Z is 0 or nearly, out NaN and lse -Infinity, and by '
      + 'them the backward; others are right but for rounding',
    cases: 'scores that are all so low in some row (falling, large, close)',
  }, {
    attend: (row, sees) => {
      const { keys, S, value, d } = visibleOf(row, sees);
      const m = Math.max(0, ...S);
      const o = new Float32Array(d);
      let Z = 0;
      keys.forEach((_, n) => {
        const e = exp(S[n] - m);
        Z = f(Z + e);
        for (let c = 0; c < d; c++) o[c] = f(o[c] + f(e * value(n, c)));
      });
      return { o, m, Z, lse: f(m + f(Math.log(Z))) };
    },
  }),

  hooked(7, 'lse-is-nu', 'writes the log-sum-exp of all causal scores as lse', {
    cause: 'the normaliser of hidden keys, nu, is stored in the buffer of lse; the backward reads it',
    tensors: BY_LSE,
    where: 'rows that have hidden keys of some weight before them: lse is too large, P of the backward too small, and '
      + 'dM in the rule exact; out is right',
    cases: 'all with hidden keys of some weight',
  }, {
    attend: (row, sees) => ({
      ...online(visibleOf(row, sees)), lse: online(visibleOf(row, (j) => j <= row.i)).lse,
    }),
  }),
];
