/**
 * Tiles skipped, doubled or partial (kind 8), what is never written or stale (10), factors, the normaliser and D (11).
 * @module
 */
import { tile } from '../eighth/parts.ts';
import { run } from '../kernel.ts';
import { BY_OUT, broken, hooked, partly } from '../ninth/parts.ts';
import { online, rightScores } from '../right.ts';
import { edited, f, OF_TYPES, QKV, seen, visibleOf } from '../seventh/parts.ts';
import { byRow, numbers } from '../tenth/parts.ts';
import { DKV, type Eleventh, splitsOf } from './parts.ts';

const exp = (x: number): number => f(Math.exp(f(x)));

export const TILES_AND_FACTORS: readonly Eleventh[] = [
  partly(8, 'v-tile-stale-on-diagonal', 'multiplies P of the tile of 16 on the diagonal by v of the tile before', {
    cause: 'the copy of the last tile of v is not awaited, so that the buffer still has the one before; the backward '
      + 'has the right v, and makes D from out',
    tensors: ['out', ...BY_OUT],
    where: 'rows i >= 16: keys of their own tile of 16 have the value of key j - 16, in out, and by D in dq, dk and '
      + 'dM; rows 0 to 15 are right in out and dq, lse and dv everywhere',
    cases: 'N > 16',
  }, ({ parameters: { tokens: N } }) => ({
    attend: (row, sees) => {
      const whole = row.keys.length === N;
      const stale = (n: number): boolean => whole && row.i >= 16 && tile(row.keys[n]) === tile(row.i);
      return online(visibleOf({ ...row, value: (n, c) => row.value(stale(n) ? n - 16 : n, c) }, sees));
    },
  })),

  partly(8, 'dq-diagonal-lost', 'ends the loop over keys before the tile of 16 on the diagonal in dq', {
    cause: 'the kernel of dq runs over the whole tiles of 16 keys before its rows, and has no masked stage after them',
    tensors: ['dq'],
    where: 'all rows: the part of keys of the own tile of 16 is missing in dq, which is all of it in rows 0 to 15; dk '
      + 'and dv are right',
    cases: 'all with gradients and more than one token, except where dq is 0 (equal-keys)',
  }, { backVisible: (i, j, last) => seen(i, j, last) && tile(j) < tile(i) }),

  partly(8, 'dkv-partial-rows-lost', 'leaves a last tile of 16 rows that is not whole out of dk and dv', {
    cause: 'the loop over rows of the kernel of dk and dv has floor(N / 16) tiles',
    tensors: DKV,
    where: 'all keys that rows i >= 16 floor(N / 16) see: their part is missing in dk and dv, which is all of it if N '
      + '< 16; dq is right',
    cases: 'N % 16 > 0, with gradients',
  }, { backVisible: (i, j, last, { p }) => seen(i, j, last) && i < p.tokens - p.tokens % 16 }),

  partly(8, 'split-weights-by-max', 'merges splits of 32 keys by their maxima', {
    cause: 'the outputs of splits are normalised, and the merge weighs them by e^(m_s - m) instead of e^(lse_s - lse); '
      + 'lse is merged rightly, and the cache has its own path',
    tensors: ['out', ...BY_OUT],
    where: 'rows i >= 32 that see keys of two or more splits of 32 with different Z: out, and by D dq, dk and dM; rows '
      + '0 to 31 are right in out and dq, lse and dv everywhere',
    cases: 'N > 32 with such rows',
  }, {
    attend: (row, sees) => {
      const { m, lse } = online(visibleOf(row, sees));
      const o = new Float32Array(row.d);
      let Z = 0;
      for (const split of splitsOf(row, sees)) {
        const w = exp(split.m - m);
        Z = f(Z + w);
        split.o.forEach((x, c) => (o[c] = f(o[c] + f(w * f(x / split.Z)))));
      }
      return { o, m, Z, lse };
    },
  }),

  broken(10, 'dk-vector-tail', 'never writes the channels of dk that fill no vector of 4', {
    cause: 'dk is stored in vectors of 4 channels, floor(d / 4) of them; the buffer is 0',
    tensors: ['dk'],
    where: 'channels c >= 4 floor(d / 4) of dk, all keys: 0; dv is right',
    cases: 'd % 4 > 0, with gradients, except where dk is 0 (flat, equal-queries, one-token)',
  }, (each) => {
    const { headDim: d } = each.parameters;
    return edited(run(each), 'dk', (x, [, , , c]) => (c < d - d % 4 ? x : 0));
  }),

  broken(10, 'live-bits-kept', 'does not clear the bits of cache_live between steps', {
    cause: 'each step sets the bits of the entries that it holds, in a map that keeps those of the steps before',
    tensors: ['cache_live'],
    where: 'entries that were held after some step and are evicted later: 1 in all steps from then on; entries evicted '
      + 'in the step that brings them, and the other outputs of the cache, are right',
    cases: 'caches in which entries are evicted in a later step than the one that brings them',
  }, (each) => edited(run(each), 'cache_live', (_, [r], n, { data, shape }) => {
    const size = shape[1] * shape[2] * shape[3];
    for (let back = 0; back <= r; back++) if (data[n - back * size] === 1) return 1;
    return 0;
  })),

  partly(10, 'dq-stored-not-added', 'stores dq of each tile of 32 keys instead of adding it', {
    cause: 'the programs of tiles of 32 keys store their part of dq in turn, and that of the tile on the diagonal, '
      + 'which comes last, remains',
    tensors: ['dq'],
    where: 'rows i >= 32 that see keys of earlier tiles of 32: their part is missing in dq; rows 0 to 31, dk and dv '
      + 'are right',
    cases: 'N > 32, with gradients, except where dq is 0 (equal-keys) or earlier keys have no weight (large)',
  }, { backVisible: (i, j, last) => seen(i, j, last) && tile(i, 32) === tile(j, 32) }),

  hooked(11, 'd-over-all-heads', 'sums dout * out over the channels of all query heads for D', {
    cause: 'D is made in the layout of the output projection, [B,N,H d], by a sum over its last axis, and all query '
      + 'heads read it',
    tensors: ['dq', 'dk', ...OF_TYPES],
    where: 'dq, dk and dM everywhere: D of each row is the sum of D over the H query heads; dv is right',
    cases: 'H > 1, with gradients',
  }, (each) => {
    const { queryHeads: H, tokens: N, headDim: d } = each.parameters;
    const [dout, out] = [numbers(each, 'dout'), run(each).out.data];
    const sums = new Float64Array(each.parameters.batch * N);
    for (let n = 0; n < dout.length; n++) {
      const row = Math.floor(n / d);
      sums[Math.floor(row / (H * N)) * N + row % N] += dout[n] * out[n];
    }
    let row = -1;
    return {
      D: () => {
        row++;
        return f(sums[Math.floor(row / (H * N)) * N + row % N]);
      },
    };
  }),

  partly(11, 'p-over-z-again', 'divides P of the backward by Z, although lse has it', {
    cause: 'the backward makes P = exp(S - lse) / Z, as if lse were the maximum, with Z that the forward kept',
    tensors: QKV,
    where: 'rows that see two or more keys of some weight: P is too small by the factor Z, in dq, dk and dv; dM is '
      + 'right',
    cases: 'all with gradients in which a row has two keys of some weight (not one-token, large)',
  }, () => byRow(() => ({ weight: (S, lse, m) => f(exp(S - lse) / exp(lse - m)) }))),

  hooked(11, 'dscores-over-tau-twice', 'divides dscores by tau twice', {
    cause: 'the gradient of the softmax is divided by tau in its kernel and once more by the caller',
    tensors: ['dscores'],
    where: 'dscores of all chunks that are not forced, by the factor 1 / tau; dw, dl and dg are right',
    cases: 'types by scores, with gradients and tau other than 1',
  }, { dscores: (z) => rightScores(z).map((x) => f(x / z.tau)) }),
];
