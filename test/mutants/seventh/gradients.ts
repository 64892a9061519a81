/**
 * Mistakes in the gradients of q, k and v, and in those of types.
 * @module
 */
import { run } from '../kernel.ts';
import { GLOBAL, LOCAL, WINDOW } from '../hooks.ts';
import { allRows, closing, rightDg, rightDl, rightDw } from '../right.ts';
import { broken, edited, f, hooked, OF_TYPES, partly, QKV, seen, type Seventh, typeOf, visiblePairs } from './parts.ts';

export const GRADIENTS: readonly Seventh[] = [
  partly('dkv-no-diagonal', 'leaves the tile on the diagonal out of dk and dv', {
    cause: 'the loop of a tile of 16 keys over tiles of rows starts with the next tile; the masked stage for its own was forgotten',
    tensors: ['dk', 'dv'],
    where: 'all keys: what rows of their own tile of 16 add is missing, so keys from 16 floor((N - 1) / 16) on have 0; dq is right',
    cases: 'all with gradients (of one token: dv)',
  }, ['dk', 'dv'], {
    backVisible: (i, j, last) => seen(i, j, last) && Math.floor(i / 16) !== Math.floor(j / 16),
  }),

  partly('backward-local-open', 'never closes LOCAL in the backward of q, k and v', {
    cause: 'the backward knows windows, but takes LOCAL keys to be causal only; lse is that of the right forward',
    tensors: QKV,
    where: 'LOCAL keys in rows after the GLOBAL that closes them: they count with the weight e^(S - lse), which may be above 1',
    cases: 'all with gradients and closed LOCAL tokens before the last row',
  }, QKV, {
    backVisible: (i, j, last, head) => j <= i && (typeOf(head, j) === LOCAL || i <= last),
  }),

  broken('dk-untransposed', 'multiplies tiles of dS by q without transposing them', {
    cause: 'dk of tile K gains dS[Q, K] q[Q] instead of its transpose, in tiles of 16 by 16: key a of the tile has the sum over keys b of dS[row a, key b] q[row b]',
    tensors: ['dk'],
    where: 'dk everywhere; dq and dv are right',
    cases: 'all with gradients and more than one token',
  }, (each) => {
    const { batch: B, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    const right = run(each);
    if (!right.dk) return right;
    const dk = new Float64Array(B * G * N * d);
    visiblePairs(each, ({ own, row, i, j, dS }) => {
      const [key, from] = [j - j % 16 + i % 16, i - i % 16 + j % 16];
      if (key >= N || from >= N) return;
      for (let c = 0; c < d; c++) {
        dk[(own * N + key) * d + c] += scale * dS * each.inputs.q.data[(row - i + from) * d + c];
      }
    });
    return edited(right, 'dk', (_, __, n) => f(dk[n]));
  }),

  hooked('chosen-type-only', 'gives a gradient to the chosen type alone', {
    cause: 'one sum is made per token, under its own type, and scattered to it; the other two of dw, dl and dg stay 0',
    tensors: ['dw', 'dl', 'dg', 'dscores'],
    where: 'dw is 0 but for WINDOW, dl but for LOCAL, dg but for GLOBAL chunks, where they are right; an unfinished chunk is GLOBAL',
    cases: 'all with gradients',
  }, {
    dw: (sums) => (sums.head.own[sums.c] === WINDOW ? rightDw(sums) : 0),
    dl: (sums) => (sums.head.own[sums.c] === LOCAL ? rightDl(sums) : 0),
    dg: (sums) => (sums.head.own[sums.c] === GLOBAL ? rightDg(sums) : 0),
  }),

  hooked('dw-from-token', 'counts the window of dw from the token instead of the end of its chunk', {
    cause: 'the kernel of dw was written for C = 1: it sums rows j to j + W of each token',
    tensors: ['dw', 'dscores'],
    where: 'dw of chunks of more than one token whose window ends inside, for all types: the rows from j + W + 1 to the end of the chunk + W are missing',
    cases: 'C > 1 with gradients, W < N',
  }, {
    dw: ({ head: { p }, c, cell }) => {
      let sum = 0;
      for (let j = c * p.chunk; j < Math.min((c + 1) * p.chunk, p.tokens); j++) {
        for (let i = j; i <= Math.min(j + p.window, p.tokens - 1); i++) sum = f(sum + cell(i, j));
      }
      return sum;
    },
  }),

  hooked('dg-cost-own-rows', 'counts the rows of the chunk itself in what a GLOBAL costs the LOCAL tokens before it', {
    cause: 'the cost of closing LOCAL tokens is summed from the first row of chunk c on, instead of from the first row after it',
    tensors: ['dg', 'dscores'],
    where: 'chunks with LOCAL chunks since the last GLOBAL before them: dg has dM of rows c C to c C + C - 1 with those tokens too much',
    cases: 'all with gradients and LOCAL tokens that others follow',
  }, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0 && head.own[n] !== GLOBAL; n--) {
        if (head.own[n] === LOCAL) cost = f(cost + column(n, c * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  }),

  hooked('nu-whole-tile', 'sums nu over all keys of the tile on the diagonal, those of the future too', {
    cause: 'the log-sum-exp over causal keys has no mask in the tile of 16 keys on the diagonal',
    tensors: OF_TYPES,
    where: 'rows with i % 16 < 15 and i < N - 1: dM of the whole row is too small by one factor; the rule exact is right',
    cases: 'rule bounded, with gradients and more than one token',
  }, (each) => {
    const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = each.parameters;
    let row = 0;
    return {
      norm: (lse, _, rule) => {
        const [own, i] = [Math.floor(Math.floor(row / N) / (H / G)), row % N];
        const at = row++;
        if (rule === 'exact') return lse;
        const S: number[] = [];
        for (let j = 0; j < Math.min(i - i % 16 + 16, N); j++) {
          let sum = 0;
          for (let c = 0; c < d; c++) sum += each.inputs.q.data[at * d + c] * each.inputs.k.data[(own * N + j) * d + c];
          S.push(scale * sum);
        }
        const m = Math.max(...S);
        return f(m + Math.log(S.reduce((sum, x) => sum + Math.exp(x - m), 0)));
      },
    };
  }),
];
