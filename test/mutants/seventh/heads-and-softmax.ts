/**
 * Mistakes with grouped heads, in the online softmax, and of too little precision.
 * @module
 */
import { run } from '../kernel.ts';
import { online } from '../right.ts';
import {
  bf16, broken, edited, f, f16, FORWARD, given, hooked, mixed, OF_TYPES, partly, seen, type Seventh, softmaxWith,
  TRAINING, visibleOf, visiblePairs,
} from './parts.ts';

const EXCEPT_LSE = ['out', 'cache_out', 'dq', 'dk', ...OF_TYPES] as const;

export const HEADS_AND_SOFTMAX: readonly Seventh[] = [
  broken('dk-q-hoisted', 'makes dk from q of the first query head of a group, for all of them', {
    cause: 'the load of q stands before the loop over the heads of a group; S and dS are those of each head',
    tensors: ['dk'],
    where: 'dk everywhere in groups of two or more; dv and dq are right',
    cases: 'H > G, with gradients and more than one token, except where q is 0 or equal (flat, logits equal-queries)',
  }, (each) => {
    const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dk || H === G) return right;
    const dk = new Float64Array(B * G * N * d);
    visiblePairs(each, ({ own, b, i, j, dS }) => {
      const row = (b * H + (own % G) * (H / G)) * N + i;
      for (let c = 0; c < d; c++) dk[(own * N + j) * d + c] += scale * dS * each.inputs.q.data[row * d + c];
    });
    return edited(right, 'dk', (_, __, n) => f(dk[n]));
  }),

  partly('dm-group-mean', 'takes the mean of dM over the query heads of a group', {
    cause: 'dM of [B,H,N,N] is reduced to KV heads by a mean instead of a sum',
    tensors: OF_TYPES,
    where: 'all of dm_rows, dw, dl and dg: 1 / R of the truth, R = H / G; dq, dk and dv are right',
    cases: 'H > G, with gradients',
  }, OF_TYPES, { groupFactor: (R) => 1 / R }),

  partly('packed-gqa-ceil', 'takes rows of all heads of a group but its first to be one later', {
    cause: 'rows of a group are packed as i R + r, and the position is rounded up, ceil(row / R), instead of down; in the forward alone',
    tensors: FORWARD,
    where: 'query heads with h % R > 0, rows i < N - 1: they see exactly what row i + 1 sees, key i + 1 too, and not keys with last(j) = i',
    cases: 'H > G and N > 1',
  }, FORWARD, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N } = each.parameters;
    const last = each.expected.last.data;
    let row = 0;
    return {
      attend: (all) => {
        const flat = Math.floor(row++ / N);
        const [r, own] = [flat % H % (H / G), Math.floor(flat / (H / G))];
        const i = Math.min(all.i + Number(r > 0), N - 1);
        return online(visibleOf(all, (j) => seen(i, j, last[own * N + j])));
      },
    };
  }),

  hooked('alpha-from-tile', 'rescales earlier tiles by the maximum of the new tile, even where that is no new maximum', {
    cause: 'alpha is e^(m - tile maximum), where it must be e^(m - new maximum); the new weights are relative to the right one',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows that see several tiles of 16 keys of which a later one has a lower maximum: earlier keys weigh too much, by one factor per tile (Infinity or NaN where far apart)',
    cases: 'N > 16, except where all scores are equal or each tile has a new maximum (rising)',
  }, { attend: softmaxWith({ alpha: (old, _, tile) => f(Math.exp(f(old - tile))) }) }),

  partly('lse-first-lane', 'writes lse with the maximum of the even keys', {
    cause: 'two lanes take the even and the odd keys; out and Z are merged rightly, but lane 0 writes lse with its own maximum: lse is too small by m less the largest score of the even keys',
    tensors: ['lse'],
    where: 'rows whose largest visible score belongs to an odd key; -Infinity where no even key is visible; the backward keeps m and Z and is right',
    cases: 'all with such rows, so with two or more tokens whose scores differ',
  }, ['lse'], {
    attend: (all, sees) => {
      const row = visibleOf(all, sees);
      const made = online(row);
      const even = Math.max(-Infinity, ...row.S.filter((_, n) => row.keys[n] % 2 === 0));
      return { ...made, lse: even === made.m ? made.lse : f(even + f(Math.log(made.Z))) };
    },
  }),

  hooked('exp-clamp-8', 'never takes e^x below e^-8, in the forward', {
    cause: 'a fast exponential clamps its argument to -8; alpha goes through it too',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows with visible scores more than 8 below their maximum: those keys have a weight of e^-8 before division',
    cases: 'those with such scores: logits sharp, rising, large, close, and some others',
  }, { attend: softmaxWith({ exp: (x) => f(Math.exp(Math.max(x, -8))) }) }),

  hooked('z-stale', 'divides out by the sum Z from before the last tile of keys', {
    cause: 'the division runs ahead of the last addition to Z (after its rescaling); rows of one tile of 16 keys and lse are right',
    tensors: EXCEPT_LSE,
    where: 'rows that see keys of two or more tiles of 16: out is too large by one factor per row; lse and dv are right',
    cases: 'N > 16',
  }, { attend: softmaxWith({ divisor: (Z, before, tiles) => (tiles > 1 ? before : Z) }) }),

  broken('cache-k-int8', 'keeps keys in the cache in 8 bits', {
    cause: 'each key is stored in int8 with a scale of its own, its largest number / 127, in the cache alone; those of the step too',
    tensors: ['cache_out'],
    where: 'rows that see two or more keys; scores are off by up to 1 / 254 of |q| |k|; what lives is right',
    cases: 'caches, except those whose keys have one size of numbers (equal-keys, flat, d = 1)',
  }, (each) => {
    const { headDim: d } = each.parameters;
    const wrong = run(given(each, 'k', (x, _, n, { data }) => {
      const from = n - n % d;
      let most = 0;
      for (let c = 0; c < d; c++) most = Math.max(most, Math.abs(data[from + c]));
      return most === 0 ? 0 : Math.round(x / most * 127) * f(most / 127);
    }));
    return mixed(['cache_out'], wrong, run(each));
  }),

  hooked('z-summed-f16', 'sums Z in float16', {
    cause: 'the row sum is a half; P, o and the products stay in float32',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows that see two or more keys: out by one factor per row, of up to 2^-11 per addition, lse by the log of it, and the weights of the backward by lse',
    cases: 'all with rows of two or more keys, except where the sums are whole numbers (flat, equal-keys and equal-queries)',
  }, { attend: softmaxWith({ sum: f16 }) }),

  hooked('d-stored-bf16', 'stores D in bfloat16', {
    cause: 'the buffer of D = dO . out has the dtype of a 16-bit model; sums are in float32',
    tensors: ['dq', 'dk', ...OF_TYPES],
    where: 'dq and dk wherever a row sees several keys, dM everywhere, by up to 2^-9 of D times the weight; dv is right',
    cases: 'all with gradients (one-token in dm_rows, dw, dl and dg)',
  }, { D: (D) => bf16(D) }),

  hooked('exp-in-half', 'takes the exponential in float16, in the forward', {
    cause: 'S - m is rounded to float16 and so is e^x; alpha, Z and o are in float32, and the backward is exact but for lse and D',
    tensors: [...TRAINING, 'cache_out'],
    where: 'rows that see two or more keys of different scores; weights below 2^-25 vanish',
    cases: 'all with different scores in a row',
  }, { attend: softmaxWith({ exp: (x) => f16(Math.exp(f16(x))), alpha: (old, top) => f(Math.exp(f(old - top))) }) }),
];
