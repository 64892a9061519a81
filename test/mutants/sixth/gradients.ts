/**
 * Mistakes in the gradients of q, k and v, and of the types.
 * @module
 */
import { LOCAL } from '../hooks.ts';
import { allRows, chunkEnd, closing } from '../right.ts';
import { f, honest, hooked, seen, type Sixth, TYPE_SUMS } from './parts.ts';

export const GRADIENTS: readonly Sixth[] = [
  // Of q, k and v
  hooked('d-of-32-channels', 'sums D over the first 32 channels only', {
    cause: 'the kernel that computes D = dO . out gives each row one warp and one channel per lane, and does not loop',
    tensors: ['dq', 'dk', ...TYPE_SUMS], where: 'everywhere in them; dv is right', cases: 'd > 32 with gradients',
  }, (each, { headDim: d }) => {
    let row = 0;
    return {
      D: (right) => {
        if (d <= 32) return right;
        let sum = 0;
        const [dO, out] = [each.inputs.dout.data, honest(each).out.data];
        for (let c = 0; c < 32; c++) sum = f(sum + f(dO[row * d + c] * out[row * d + c]));
        row++;
        return sum;
      },
    };
  }),
  hooked('dq-last-tile-wins', 'stores dq for each tile of 16 keys instead of adding to it', {
    cause: 'the loop over tiles of keys writes dq with a store where an atomic addition belongs; the last tile wins',
    tensors: ['dq'], where: 'rows i >= 16 that see keys of earlier tiles: only the tile on the diagonal counts',
    cases: 'N > 16',
  }, () => ({
    backVisible: (i, j, last) => seen(i, j, last) && Math.floor(i / 16) === Math.floor(j / 16),
  }), ['dq']),
  hooked('dv-unnormalised', 'makes dv from e^(S - m), not divided by Z', {
    cause: 'the backward was given m, saved by an older forward, instead of lse in the product that makes dv',
    tensors: ['dv'], where: 'everywhere in dv but what only rows with one key add; each row counts Z times too much',
    cases: 'all with gradients and more than one token',
  }, () => ({ weight: (S, _, m) => f(Math.exp(f(S - m))) }), ['dv']),

  // Of the types
  hooked('dw-whole-tiles', 'sums dw up to the end of a tile of 8 rows', {
    cause: 'the loop over rows for dw ends with the tile that holds j + W and has no bound inside it',
    tensors: ['dw', 'dscores'], where: 'tokens of all types whose window does not end with a tile of 8 rows',
    cases: 'all with gradients whose window ends inside',
  }, () => ({
    dw: ({ head, c, column }) => {
      const end = chunkEnd(c, head.p) + head.p.window;
      return column(c, 0, end - end % 8 + 7);
    },
  })),
  hooked('dg-closes-closed', 'charges GLOBAL for LOCAL tokens that an earlier GLOBAL had closed already', {
    cause: 'the running sum over open LOCAL tokens is not reset at a GLOBAL',
    tensors: ['dg', 'dscores'], where: 'chunks with a GLOBAL before them and LOCAL before that',
    cases: 'all with gradients and such types',
  }, () => ({
    dg: (sums) => {
      const { head, c, column } = sums;
      let cost = 0;
      for (let n = c - 1; n >= 0; n--) {
        if (head.own[n] === LOCAL) cost = f(cost + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - cost);
    },
  })),
  hooked('hidden-without-d', 'leaves D out of dM where the key is hidden', {
    cause: 'D is subtracted in the branch for visible pairs; the other, for hidden pairs, is the weight times dO . v',
    tensors: TYPE_SUMS,
    where: 'hidden pairs: rows with hidden keys in dm_rows, chunks whose lifetime ends in dg, dw and dl',
    cases: 'all with gradients and hidden keys',
  }, () => ({ dM: (right, sees, { P, weight }) => (sees ? right : f(weight * P)) })),
  hooked('hard-mean', 'subtracts the gradient of the chosen type in place of the mean', {
    cause: 'the backward of the softmax over scores was given the one-hot choice where it needs the probabilities',
    tensors: ['dscores'], where: 'all chunks that are not forced', cases: 'those with scores and gradients',
  }, () => ({
    dscores: ({ y, dt, price, tau, forced, type }) => {
      if (forced) return [0, 0, 0];
      const all = dt.map((x, n) => f(x + price[n]));
      return y.map((x, n) => f(f(x * f(all[n] - all[type])) / tau));
    },
  })),
];
