/**
 * Mistakes of the kinds that issue 16 lists as unnamed or misnamed.
 * @module
 */
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { EVER, LOCAL } from '../hooks.ts';
import { run } from '../kernel.ts';
import { chunkOf, closer, online, rightDg, rightDl, rightDw, rightLast } from '../right.ts';
import {
  bf16, broken, cutToTf32, edited, f, FORWARD, given, headOf, hooked, mixed, OF_TYPES, partly, QKV, type Seventh,
  softmaxWith, STATE, stepOf, TRAINING, typeOf, visibleOf,
} from './parts.ts';

/** How many tokens chunk c has. */
const sizeOf = (c: number, { chunk, tokens }: OracleCase['parameters']): number =>
  Math.min((c + 1) * chunk, tokens) - c * chunk;

/** The backward with S and dq from k scaled by scale log2(e) and rounded to bfloat16, after the right forward. */
function kInBfloat16(each: OracleCase): Tensors {
  const right = run(each);
  const factor = each.parameters.scale * Math.LOG2E;
  const { headDim: d } = each.parameters;
  let [row, next] = [0, 0];
  const wrong = run(given(each, 'k', (x) => bf16(f(x * f(factor))) / factor), {
    lse: () => right.lse.data[next++],
    out: () => Float32Array.from(right.out.data.subarray(d * row, d * ++row)),
  });
  return mixed(QKV, wrong, right);
}

export const ISSUE: readonly Seventh[] = [
  partly('rows-in-pairs', 'hides keys from both rows of a pair only once the first no longer sees them', {
    cause: 'a thread has two rows, 2n and 2n + 1, and compares lifetimes with the first for both; causality by row',
    tensors: TRAINING,
    where: 'odd rows i: they still see the WINDOW and LOCAL keys with last(j) = i - 1; even rows are right in out, lse and dq',
    cases: 'all with a WINDOW or LOCAL token whose last(j) is even and below N - 1',
  }, TRAINING, { visible: (i, j, last) => j <= i && i - i % 2 <= last }),

  hooked('segments-of-head-0', 'closes LOCAL by the GLOBAL tokens of KV head 0 of the sequence, in all KV heads', {
    cause: 'the ends of segments are computed once per sequence, from the types of KV head 0, in the lifetimes and in dl',
    tensors: ['last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'],
    where: 'KV heads g > 0: LOCAL tokens; KV head 0 and GLOBAL and WINDOW tokens have the right last(j)',
    cases: 'G > 1, with LOCAL tokens in a KV head g > 0 whose next GLOBAL is elsewhere than in KV head 0',
  }, (each) => {
    const { kvHeads: G, tokens: N } = each.parameters;
    const end = (head: number, c: number): number => closer(headOf(each, head - head % G), c);
    return {
      last: (head, j) => (typeOf(head, j) === LOCAL ? end(head.head, chunkOf(j, head.p)) : rightLast(head, j)),
      dl: ({ head, c, column }) => column(c, 0, Math.min(end(head.head, c), N - 1)),
    };
  }),

  partly('dv-store-wins', 'stores dv for each query head instead of adding to it', {
    cause: 'each query head of a group stores its dv where an atomic addition belongs; the last one wins',
    tensors: ['dv'],
    where: 'dv everywhere that another query head of the group adds to: it is the part of query head h = g R + R - 1 alone; dk is right',
    cases: 'H > G, with gradients',
  }, ['dv'], { counts: (r, R) => r === R - 1 }),

  broken('noise-of-batch-0', 'adds the noise of sequence 0 to the scores of all sequences', {
    cause: 'the offset of noise has no batch: noise[g, c] for noise[b, g, c], in the choice of types and in dscores',
    tensors: ['types', 'last', 'mask', ...TRAINING, ...STATE, 'cache_out', 'cache_bytes'],
    where: 'batches b > 0: types, and what follows from them; batch 0 is right everywhere',
    cases: 'B > 1 with noise: batch (types and what follows), pair-2 (dscores alone)',
    rare: true,
  }, (each) => {
    const { kvHeads: G, tokens: N, chunk } = each.parameters;
    const size = G * Math.ceil(N / chunk) * 3;
    return run(given(each, 'noise', (_, __, n, { data }) => data[n % size]));
  }),

  hooked('tf32-p-cut', 'cuts P to TF32 in the products with v and with dout', {
    cause: 'P goes through the tensor cores as TF32, whose last 13 bits are cut and not rounded; Z sums the uncut P',
    tensors: ['out', 'cache_out', ...QKV, ...OF_TYPES],
    where: 'out and dv everywhere, by up to 2^-10 of each term and always towards 0; in the others what D = dO . out carries on; lse is right',
    cases: 'all, but out only where rows have weights that are no short fractions (not one-token)',
  }, { attend: softmaxWith({ weight: cutToTf32 }), storeA: cutToTf32 }),

  broken('decode-exp2', 'takes 2^x for e^x in the path for single tokens', {
    cause: 'the decode kernel uses exp2, but its scale was not multiplied by log2(e)',
    tensors: ['cache_out'],
    where: 'rows that are a step of one token and see two or more keys: their softmax is too flat',
    cases: 'caches with steps of one token, except where all scores of those rows are equal (flat)',
  }, (each) => {
    const wrong = run(each, { attend: softmaxWith({ exp: (x) => f(2 ** x) }) });
    return edited(run(each), 'cache_out', (x, at, n) => {
      const { begin, next } = stepOf(each, at[2]);
      return next - begin === 1 ? wrong.cache_out.data[n] : x;
    });
  }),

  hooked('one-key-lse-0', 'leaves lse at 0 in rows that see one key, and the backward reads it', {
    cause: 'rows with a single key return early with out = v, before lse is written',
    tensors: ['lse', ...QKV],
    where: 'rows that see their own key alone: row 0 of every head, and others under short windows; in dv what they add, e^S too large; in dq and dk only where e^S is so large that the rounding of P - D, or NaN, shows; out is right',
    cases: 'all in which such a row has a score other than 0',
  }, {
    attend: (row, sees) => {
      const visible = visibleOf(row, sees);
      const made = online(visible);
      return visible.keys.length === 1 ? { ...made, lse: 0 } : made;
    },
  }),

  broken('last-row-repeats', 'counts the last row as often as a last tile of 16 rows has places beyond N, in dk and dv', {
    cause: 'rows beyond N are clamped to N - 1 for the loads of q, dout, lse and D and for the mask too, in the kernel of dk and dv',
    tensors: ['dk', 'dv'],
    where: 'keys that row N - 1 sees: its part counts 17 - N % 16 times; the error of dv is (16 - N % 16) A dout of that row',
    cases: 'N % 16 > 0, with gradients',
  }, (each) => {
    const { tokens: N } = each.parameters;
    const right = run(each);
    if (N % 16 === 0 || !right.dk) return right;
    const part = run(each, { backVisible: (i, j, last) => i === N - 1 && j <= i && i <= last });
    return ['dk', 'dv'].reduce((made, name) =>
      edited(made, name, (x, _, n) => f(x + f((16 - N % 16) * part[name].data[n]))), right);
  }),

  broken('k-scaled-bf16-backward', 'multiplies k by scale log2(e) and rounds it to bfloat16 before the products of the backward', {
    cause: 'as in a well-known tutorial: S is made again from the rounded k, and dq from it too; lse and D are of the exact forward',
    tensors: QKV,
    where: 'dq, dk and dv everywhere that k times scale log2(e) is no bfloat16; out, lse and the gradients of types are right',
    cases: 'all with gradients, except where all scores are 0 by k (logits equal-keys)',
  }, kInBfloat16),

  broken('slots-h-b', 'writes out and lse in the order [H,B] instead of [B,H]', {
    cause: 'programs are numbered h B + b where results are stored, and b H + h where inputs are loaded',
    tensors: FORWARD,
    where: 'all heads of all batches but those with h B + b = b H + h, such as the first and the last: each has the rows of another; the backward is right',
    cases: 'B > 1 and H > 1',
  }, (each) => {
    const { batch: B, queryHeads: H } = each.parameters;
    return FORWARD.reduce<Tensors>((made, name) => edited(made, name, (_, __, n, { data }) => {
      const size = data.length / (B * H);
      const slot = Math.floor(n / size);
      return data[((slot % B) * H + Math.floor(slot / B)) * size + n % size];
    }), run(each));
  }),

  broken('dq-tail-unwritten', 'does not write dq of a last tile of 16 rows that is not whole', {
    cause: 'the grid of the kernel of dq has floor(N / 16) programs instead of ceil(N / 16); the buffer is 0',
    tensors: ['dq'],
    where: 'rows i >= 16 floor(N / 16) of all heads: dq is 0, in cases of fewer than 16 tokens all of it',
    cases: 'N % 16 > 0 with gradients and more than one token, except where dq is 0 anyway (logits equal-keys)',
  }, (each) => {
    const { tokens: N } = each.parameters;
    return edited(run(each), 'dq', (x, [, , i]) => (i >= N - N % 16 ? 0 : x));
  }),

  hooked('type-grad-mean', 'takes the mean over the tokens of a chunk for dw, dl and dg', {
    cause: 'the gradient of a chunk is divided by its number of tokens, as the backward of the pooling would be; the price is not',
    tensors: ['dw', 'dl', 'dg', 'dscores'],
    where: 'all chunks of more than one token: dw, dl and dg are 1 / C of the truth, 1 / (N % C) in an unfinished last chunk',
    cases: 'C > 1, with gradients that are not 0',
  }, {
    dw: (sums) => f(rightDw(sums) / sizeOf(sums.c, sums.head.p)),
    dl: (sums) => f(rightDl(sums) / sizeOf(sums.c, sums.head.p)),
    dg: (sums) => f(rightDg(sums) / sizeOf(sums.c, sums.head.p)),
  }),

  partly('causal-half-tile', 'applies causality in the last 16 keys of a tile of 32 rows only', {
    cause: 'tiles of 32 rows and 16 keys: only the last tile of keys is taken to be on the diagonal',
    tensors: TRAINING,
    where: 'rows with i % 32 < 15: they see the keys i + 1 to 16 floor(i / 16) + 15 of the future; rows with i % 32 >= 15 are right in out, lse and dq',
    cases: 'N > 1',
  }, TRAINING, {
    visible: (i, j, last) => j <= (i % 32 < 16 ? i - i % 16 + 15 : i) && i <= last,
  }),

  broken('open-is-minus-1', 'writes last(j) = -1 for LOCAL tokens that no GLOBAL closes', {
    cause: '-1 stands for "not closed", as it does in cache_closed_by; attention itself reads it rightly',
    tensors: ['last'],
    where: 'LOCAL tokens after the last GLOBAL chunk of their head',
    cases: 'all with such tokens: types whose last chunk is not GLOBAL',
  }, (each) => {
    const { tokens: N } = each.parameters;
    return edited(run(each), 'last', (x, _, n) => {
      const head = headOf(each, Math.floor(n / N));
      return x === EVER && typeOf(head, n % N) === LOCAL ? -1 : x;
    });
  }),
];
