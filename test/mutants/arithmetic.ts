/**
 * Wrong forwards, backwards and precisions.
 * @module
 */
import { roundTo } from '../../src/formats/rounding.ts';
import type { Hooks, RowOf, Weights } from './hooks.ts';
import { online } from './right.ts';
import { type Mutant, mutant } from './mutant.ts';

const f = Math.fround;
const exp = (x: number): number => f(Math.exp(f(x)));
const half = (x: number): number => roundTo(x, 'F16');
const brain = (x: number): number => roundTo(x, 'BF16');

/** The visible part of a row. */
function shown(row: RowOf, sees: (j: number) => boolean): RowOf {
  const at = [...row.keys.keys()].filter((n) => sees(row.keys[n]));
  const [keys, S] = [row.keys, row.S].map((x) => at.map((n) => x[n])) as [number[], number[]];
  return { ...row, keys, S, value: (n, c) => row.value(at[n], c) };
}

/** A whole row at once, given the weight of each key. */
function weighed({ keys, value, d }: RowOf, m: number, E: readonly number[]): Weights {
  const o = new Float32Array(d);
  let Z = 0;
  keys.forEach((_, n) => {
    Z = f(Z + E[n]);
    for (let c = 0; c < d; c++) o[c] = f(o[c] + f(E[n] * value(n, c)));
  });
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
}

/** Tiles of 16, with one rescaling forgotten. */
function forgetful(row: RowOf, rescaleO: boolean, rescaleZ: boolean, stale = false): Weights {
  let [m, Z] = [-Infinity, 0];
  const o = new Float32Array(row.d);
  for (let begin = 0; begin <= (row.keys.at(-1) ?? -1); begin += 16) {
    const part = shown(row, (j) => j >= begin && j < begin + 16);
    if (part.keys.length === 0) continue;
    const top = Math.max(m, ...part.S);
    const alpha = m === -Infinity ? 1 : exp(m - top);
    const used = stale && m !== -Infinity ? m : top;
    if (rescaleZ) Z = f(Z * alpha);
    for (let c = 0; c < row.d && rescaleO; c++) o[c] = f(o[c] * alpha);
    const next = weighed(part, top, part.S.map((x) => exp(x - used)));
    Z = f(Z + next.Z);
    next.o.forEach((x, c) => (o[c] = f(o[c] + x)));
    m = top;
  }
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
}

/** Softmax over all keys, after the scores of hidden ones were changed. */
const over = (change: (S: number, sees: boolean) => number, keep = (_: boolean) => true): Hooks['attend'] => (row, sees) => {
  const S = row.S.map((x, n) => change(x, sees(row.keys[n])));
  const m = Math.max(...S);
  const E = S.map((x) => exp(x - m));
  const all = E.reduce((a, b) => f(a + b), 0);
  const { o } = weighed(row, m, E.map((x, n) => (keep(sees(row.keys[n])) ? x : 0)));
  return { o, m, Z: all, lse: f(m + f(Math.log(all))) };
};

/** Sums of products, rounded by `round` after each step. */
const narrowDot = (round: (x: number) => number): Hooks['dot'] => (x, at, y, from, d) => {
  let sum = 0;
  for (let c = 0; c < d; c++) sum = round(sum + round(x[at + c] * y[from + c]));
  return sum;
};

const narrowSum = (round: (x: number) => number): Hooks['attend'] => (row, sees) => {
  const part = shown(row, sees);
  const m = Math.max(...part.S);
  const o = new Float32Array(part.d);
  let Z = 0;
  part.S.forEach((x, n) => {
    const e = exp(x - m);
    Z = f(Z + e);
    for (let c = 0; c < part.d; c++) o[c] = round(o[c] + round(e * part.value(n, c)));
  });
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
};

export const FORWARDS: readonly Mutant[] = [
  mutant('gqa-mod', 'maps query head h to KV head h mod G', 'gqa-modulo', { kv: (b, h, { kvHeads: G }) => b * G + h % G }),
  mutant('mqa', 'reads KV head 0 for every query head', 'kv-first', { kv: (b, _, { kvHeads: G }) => b * G }),
  mutant('batch-0', 'reads keys and values of batch 0', 'batch-mixed', {
    kv: (_, h, { kvHeads: G, queryHeads: H }) => Math.floor(h / (H / G)),
  }),
  mutant('no-scale', 'forgets the scale', 'scale-forgotten', { scale: () => 1 }),
  mutant('scale-squared', 'scales q and then S again', 'scale-twice', { scale: ({ scale }) => scale * scale }),
  mutant('own-scale', 'computes 1 / sqrt(d) itself and ignores the scale it is given', 'scale-own', {
    scale: ({ headDim }) => 1 / Math.sqrt(headDim),
  }),
  mutant('online-o', 'online softmax: does not rescale the accumulator', 'online-output', {
    attend: (row, sees) => forgetful(shown(row, sees), false, true),
  }),
  mutant('online-z', 'online softmax: does not rescale the sum', 'online-sum', {
    attend: (row, sees) => forgetful(shown(row, sees), true, false),
  }),
  mutant('online-old-max', 'online softmax: weighs each tile by the maximum before it', 'online-stale', {
    attend: (row, sees) => forgetful(shown(row, sees), true, true, true),
  }),
  mutant('no-max', 'takes exp(S) without subtracting the maximum', 'max-missing', {
    attend: (row, sees) => {
      const part = shown(row, sees);
      return weighed(part, 0, part.S.map(exp));
    },
  }),
  mutant('max-of-all', 'takes the maximum over hidden keys too', 'max-causal', {
    attend: (row, sees) => {
      const part = shown(row, sees);
      const m = Math.max(...row.S.filter((_, n) => row.keys[n] <= row.i));
      return weighed(part, m, part.S.map((x) => exp(x - m)));
    },
  }),
  mutant('minus-1e4', 'masks with -1e4 in the place of -infinity', 'finite-mask', { attend: over((x, sees) => (sees ? x : -1e4)) }),
  mutant('s-times-mask', 'multiplies S by the mask', 'mask-times-logits', { attend: over((x, sees) => (sees ? x : 0)) }),
  mutant('masks-after-softmax', 'masks the probabilities after the softmax over all causal keys', 'normalised-by-all', {
    attend: (row, sees) => over((x) => x, (seen) => seen)!(shown(row, (j) => j <= row.i), sees),
  }),
  mutant('undivided', 'does not divide the output by the sum', 'not-normalised', { out: (o) => o }),
  mutant('lse-sum', 'writes the sum in the place of its logarithm', 'lse-no-log', { lse: ({ m, Z }) => f(m + Z) }),
  mutant('lse-log2', 'writes lse in base 2, as its exp2 kernel has it', 'lse-base-2', { lse: ({ lse }) => f(lse * Math.LOG2E) }),
  mutant('lse-without-max', 'forgets to add the maximum to lse', 'lse-no-max', { lse: ({ Z }) => f(Math.log(Z)) }),
  mutant('zero-times-nan', 'multiplies hidden values by a probability of 0', 'nan-leak', {
    attend: (row, sees) => {
      const right = online(shown(row, sees));
      const o = right.o.slice();
      row.keys.forEach((j, n) => {
        if (!sees(j)) for (let c = 0; c < row.d; c++) o[c] = f(o[c] + f(0 * row.value(n, c)));
      });
      return { ...right, o };
    },
  }),
  mutant('empty-first-tile', 'subtracts -infinity from -infinity where the first tiles are hidden', 'empty-tile', {
    attend: (row, sees) => {
      const part = shown(row, sees);
      const right = online(part);
      const hidden = row.keys.length > part.keys.length && part.keys[0] >= 16;
      return hidden ? { ...right, lse: NaN, o: right.o.map(() => NaN) } : right;
    },
  }),
  mutant('d-in-fours', 'reads d in vectors of 4 and leaves out the rest in q . k', 'dim-tail', {
    dot: (x, at, y, from, d) => {
      let sum = 0;
      for (let c = 0; c < d - d % 4; c++) sum = f(sum + f(x[at + c] * y[from + c]));
      return sum;
    },
  }),
  mutant('bnhd', 'writes out as [B,N,H,d]', 'layout-heads', {
    write: (name, data, [, H, N, d]) => {
      if (name !== 'out') return data;
      return data.map((_, n) => {
        const [batch, rest] = [Math.floor(n / (H * N * d)), n % (H * N * d)];
        const [i, h] = [Math.floor(rest / (H * d)), Math.floor(rest / d) % H];
        return data[((batch * H + h) * N + i) * d + rest % d];
      });
    },
  }),
  mutant('grid-rounded-down', 'launches floor(N / 32) blocks of queries', 'tail-unwritten', {
    write: (name, data, [, , N, d]) => (name === 'out' ? data.map((x, n) => (Math.floor(n / d) % N >= N - N % 32 ? 0 : x)) : data),
  }),
];

export const BACKWARDS: readonly Mutant[] = [
  mutant('group-of-one', 'sums dk and dv over the first query head of a group', 'group-first', { counts: (r) => r === 0 }),
  mutant('group-averaged', 'averages dk and dv over the group', 'group-mean', { groupFactor: (R) => 1 / R }),
  mutant('no-d', 'leaves D out of dS', 'd-missing', { dS: (A, P) => f(A * P) }),
  mutant('d-before-scaling', 'takes D from the output before it is divided by the sum', 'd-unnormalised', {
    D: (right, { Z }) => f(right * Z),
  }),
  mutant('d-own-value', 'takes do . v_i for D', 'd-from-value', { D: (_, __, own) => own }),
  mutant('dq-unscaled', 'forgets the scale in dq', 'gradient-unscaled', { dqFactor: () => 1 }),
  mutant('dk-unscaled', 'forgets the scale in dk', 'gradient-unscaled', { dkFactor: () => 1 }),
  mutant('dk-scaled-twice', 'scales dk twice', 'gradient-scale-twice', { dkFactor: (scale) => scale * scale }),
  mutant('weights-from-max', 'recomputes probabilities with the maximum in the place of lse', 'weights-unnormalised', {
    weight: (S, _, m) => exp(S - m),
  }),
  mutant('backward-causal', 'has no mask of types in the backward', 'backward-unmasked', { backVisible: (i, j) => j <= i }),
  mutant('backward-window', 'has a window that is one too long in the backward alone', 'window-long', {
    backVisible: (i, j, last, { p, own }) =>
      j <= i && i <= (own[Math.floor(j / p.chunk)] === 2 ? last + 1 : last),
  }),
  mutant('dq-negative', 'writes -dq', 'sign', { dq: (dq) => dq.map((x) => -x) }),
  mutant('dm-only-visible', 'leaves hidden pairs out of dM', 'dm-visible', { dM: (dM, seen) => (seen ? dM : 0) }),
  mutant('always-bounded', 'has the rule `bounded` alone', 'rule-bounded', { norm: (_, causal) => causal }),
  mutant('always-exact', 'has the rule `exact` alone', 'rule-exact', { norm: (lse) => lse }),
  mutant('dm-no-d', 'leaves D out of dM', 'dm-without-d', { dM: (_, __, { weight, P }) => f(weight * P) }),
  mutant('dm-times-scale', 'multiplies dM by the scale, as if it were dS', 'dm-scaled', {
    dM: (dM, _, { scale }) => f(dM * scale),
  }),
];

export const PRECISIONS: readonly Mutant[] = [
  mutant('qk-f16', 'accumulates q . k in float16', 'accumulated-f16', { dot: narrowDot(half) }),
  mutant('pv-f16', 'accumulates P V in float16', 'accumulated-f16', { attend: narrowSum(half) }),
  mutant('pv-bf16', 'accumulates P V in bfloat16', 'accumulated-bf16', { attend: narrowSum(brain) }),
  mutant('p-f16', 'rounds probabilities to float16 before P V', 'probabilities-f16', {
    attend: (row, sees) => {
      const part = shown(row, sees);
      const m = Math.max(...part.S);
      const E = part.S.map((x) => exp(x - m));
      const Z = E.reduce((a, b) => f(a + b), 0);
      return { ...weighed(part, m, E.map(half)), Z, lse: f(m + f(Math.log(Z))) };
    },
  }),
  mutant('p-bf16', 'rounds probabilities to bfloat16 before P V', 'probabilities-bf16', {
    attend: (row, sees) => {
      const part = shown(row, sees);
      const m = Math.max(...part.S);
      const E = part.S.map((x) => exp(x - m));
      const Z = E.reduce((a, b) => f(a + b), 0);
      return { ...weighed(part, m, E.map(brain)), Z, lse: f(m + f(Math.log(Z))) };
    },
  }),
  mutant('out-f16', 'returns out in float32 after it was float16', 'stored-f16', { out: (o, { Z }) => o.map((x) => half(x / Z)) }),
  mutant('out-bf16', 'returns out in float32 after it was bfloat16', 'stored-bf16', {
    out: (o, { Z }) => o.map((x) => brain(x / Z)),
  }),
];
