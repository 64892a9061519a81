/**
 * dq, dk and dv, and the gradients of the types.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase } from '../../../src/oracle/types.ts';
import { f, mixed } from '../held-out/parts.ts';
import { GLOBAL, LOCAL } from '../hooks.ts';
import { run } from '../kernel.ts';
import { allRows, chunkEnd, chunkOf, closing, rightDl, rightScores, softmax } from '../right.ts';
import { edited } from '../third/parts.ts';
import { type Blind, BACKWARD, blind, dotOf, hash, hooked, inner, only, replaced, sizes, TYPES } from './parts.ts';

const seen = (i: number, j: number, last: number): boolean => j <= i && i <= last;
const tile = (n: number, size: number): number => Math.floor(n / size);
/** dk and dv of the rows of the next query head that a tile of 16 rows reads beyond N. */
function overrun(each: OracleCase, name: 'dk' | 'dv'): Float64Array {
  const { B, H, G, R, N, d } = sizes(each);
  const { scale } = each.parameters;
  const right = run(each);
  const [q, k, v, dO] = ['q', 'k', 'v', 'dout'].map((input) => each.inputs[input].data as Float64Array);
  const [out, lse, last] = [right.out.data, right.lse.data, right.last.data] as Float64Array[];
  const sum = Float64Array.from(right[name].data as Float64Array);
  for (let h = 0; h < B * H - 1; h++) {
    const kv = tile(h, H) * G + tile(h % H, R);
    for (let n = 0; N % 16 > 0 && n < Math.min(16 - N % 16, N); n++) {
      const row = (h + 1) * N + n;
      const D = inner(dO, row * d, out, row * d, d);
      for (let j = 0; j < N; j++) {
        if (last[kv * N + j] < N + n) continue;
        const key = (kv * N + j) * d;
        const A = f(Math.exp(f(f(scale * inner(q, row * d, k, key, d)) - lse[row])));
        const dS = f(f(A * f(inner(dO, row * d, v, key, d) - D)) * scale);
        for (let c = 0; c < d; c++) {
          sum[key + c] = f(sum[key + c] + (name === 'dk' ? f(dS * q[row * d + c]) : f(A * dO[row * d + c])));
        }
      }
    }
  }
  return sum;
}

export const GRADIENTS: readonly Blind[] = [
  blind('dq-scale-partial-tile', 'scales dq twice in the last, partial tile of 64 rows', {
    cause: 'dq scaled twice (a factor of scale)',
    lives: 'dq in the rows of the last tile of 64, where N % 64 > 0', where: /N % (64|32|16)|only in rows? from/,
  }, (each) => {
    const { N } = sizes(each);
    return edited(run(each), ['dq'], (x, { i }) => (i >= N - N % 64 ? f(x * f(each.parameters.scale)) : x));
  }),
  blind('dk-times-log2e', 'multiplies dk by log2(e): the factor folded into q for exp2 is never taken out', {
    cause: 'dk off by a factor of log2(e) = 1.4427', lives: 'dk alone', where: /1\.44/,
  }, (each) => edited(run(each), ['dk'], (x) => f(x * f(Math.LOG2E)))),
  hooked('d-half', 'sums D = dO . O over the first half of d: one of two warps is left out of the reduction', {
    cause: 'D = sum(dO * O) wrong: only a part of the components',
    lives: 'dq, dk and the gradients of the types, where d > 1; dv is right',
  }, ({ inputs }) => ({
    dot: dotOf(inputs.dout?.data as Float64Array, inputs.v.data as Float64Array, (x, at, y, from, d) =>
      inner(x, at, y, from, Math.ceil(d / 2))),
  })),
  hooked('d-of-head-0', 'reads D of query head 0 for all heads of the sequence', {
    cause: 'D = sum(dO * O) of another query head',
    lives: 'dq, dk and the gradients of the types, of query heads from 1; dv is right',
    where: /only in .*query heads?|H > /,
  }, (each) => {
    const { H, N } = sizes(each);
    const all: number[] = [];
    return {
      D: (right) => {
        const row = all.push(right) - 1;
        return all[row - row % (H * N) + row % N];
      },
    };
  }),
  only('dk-race', 'loses what every fourth tile of 16 rows adds to dk and dv of earlier tiles: no atomics', {
    cause: 'updates of dk and dv lost, of whole tiles of rows',
    lives: 'dk and dv of keys before row 48, from rows 48 to 63, 112 to 127, ..., where N > 48',
    where: /N > 4|only in (keys|rows)/,
  }, ['dk', 'dv'], {
    backVisible: (i, j, last) => seen(i, j, last) && (tile(i, 16) % 4 < 3 || tile(j, 16) === tile(i, 16)),
  }),
  only('dq-atomics', 'loses one in seven of the tiles of 16 keys that add to dq of a tile of rows, by chance', {
    cause: 'updates of dq lost, of whole tiles of keys (a race)',
    lives: 'dq alone, in about one tile of 16 rows of three; N > 16 mostly', where: /only in rows? |only in .*tiles?/,
  }, ['dq'], {
    backVisible: (i, j, last, { head }) =>
      seen(i, j, last) && hash(tile(i, 16) * 977 + tile(j, 16) * 31 + head) > 1 / 7,
  }),
  only('dv-whole-tiles', 'adds to dv from whole tiles of 32 rows only', {
    cause: 'the last, partial tile of rows is missing in dv',
    lives: 'dv alone, where N % 32 > 0; zeros where N < 32', where: /N % |N < 3/,
  }, ['dv'], (each) => {
    const { N } = sizes(each);
    return { backVisible: (i, j, last) => seen(i, j, last) && i < N - N % 32 };
  }),
  blind('next-head-rows', 'reads rows beyond N in the last tile of 16, those of the next query head, for dk and dv', {
    cause: 'rows beyond N (of the next head) add to dk and dv',
    lives: 'dk and dv of long-lived keys, where N % 16 > 0, but not from the last head', where: /N % /,
  }, (each) => {
    const right = run(each);
    if (!right.dk) return right;
    const of = (name: 'dk' | 'dv'): NamedTensor => ({ ...right[name], data: overrun(each, name) }) as NamedTensor;
    return replaced(right, { dk: of('dk'), dv: of('dv') });
  }),
  only('weights-unnormalised', 'takes exp(S - m) instead of exp(S - lse) in the backward of query rows from 32', {
    cause: 'P not divided by Z in the backward',
    lives: 'dq in rows from 32, dk and dv in cases with N > 32', where: /only in rows? from 3|N > 3/,
  }, BACKWARD, (each) => {
    const { N } = sizes(each);
    let [row, before] = [-1, NaN];
    // The kernel asks row by row, and each row has its own lse.
    return {
      backVisible: (i, j, last) => { row = i; return seen(i, j, last); },
      weight: (s, lse, m) => { before = row >= 32 && N > 32 ? m : lse; return f(Math.exp(f(s - before))); },
    };
  }),
  blind('dq-one-tile', 'writes dq from the key tiles of 64 without adding: the last one stays', {
    cause: 'dq lacks all tiles of keys but the last',
    lives: 'dq of rows from 64 that see keys of several tiles of 64', where: /only in rows? from 6|N > 6/,
  }, (each) => mixed(['dq'], run(each, {
    backVisible: (i, j, last) => seen(i, j, last) && tile(j, 64) === tile(i, 64),
  }), run(each))),
  blind('dk-from-stale-lse', 'reads lse of the tile of 16 rows before, from the third tile: a copy has not arrived', {
    cause: 'lse of another tile of rows in the backward of dk (stale shared memory)',
    lives: 'dk alone, from rows from 32, so where N > 32', where: /N > 3|only in (keys|rows)/,
  }, (each) => {
    const { N } = sizes(each);
    const [right, all] = [run(each), [] as number[]];
    let [row, at] = [-1, -1];
    return mixed(['dk'], run(each, {
      D: (D) => { row++; all[row] = right.lse.data[row] as number; return D; },
      weight: (s, lse) => {
        at = row % N >= 32 ? row - 16 : row;
        return f(Math.exp(f(s - (at === row ? lse : all[at]))));
      },
    }), right);
  }),
  blind('dk-unwritten', 'returns dk as it was allocated: zeros', {
    cause: 'dk is never written: all zeros', lives: 'all of dk, and nothing else',
  }, (each) => edited(run(each), ['dk'], () => 0)),
  hooked('dm-clamped', 'clamps the weights of the mask\'s gradient at 1 also in the rule `exact`', {
    cause: 'the weights of dM clamped at 1', lives: 'gradients of the types in cases of the rule exact', where: /exact/,
  }, { dM: (_, __, { weight, P, D }) => f(Math.min(weight, 1) * f(P - D)) }),
  hooked('dm-off-diagonal', 'leaves the own key out of the gradient of the mask: strictly causal', {
    cause: 'dM lacks the diagonal (i = j)',
    lives: 'dm_rows, dw, dl and dg; dscores is right, since all three lose the same',
  }, (each) => {
    const { N } = sizes(each);
    let pair = -1;
    let row = 0;
    return {
      dM: (right) => {
        pair++;
        if (pair > row % N) [row, pair] = [row + 1, 0];
        return pair === row % N ? 0 : right;
      },
    };
  }),
  only('dl-closing-chunk-start', 'ends the sum of dl with the first token of the closing chunk', {
    cause: 'dl ends with the start of the closing chunk instead of its end',
    lives: 'dl (and dscores) where C > 1', where: /C > 1/,
  }, TYPES, {
    dl: (sums) => {
      const { head, c, column } = sums;
      const end = closing(head, c);
      return chunkEnd(chunkOf(end, head.p), head.p) === end ? column(c, 0, end - head.p.chunk + 1) : rightDl(sums);
    },
  }),
  only('dg-stops-at-window', 'counts the LOCAL tokens that a GLOBAL would end only as far back as the first WINDOW', {
    cause: 'dg: the cost of ending LOCAL tokens stops at a WINDOW',
    lives: 'dg (and dscores), of chunks with LOCAL before a WINDOW',
  }, TYPES, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let sum = 0;
      for (let n = c - 1; n >= 0 && head.own[n] === LOCAL; n--) {
        sum = f(sum + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - sum);
    },
  }),
  only('dg-global-free', 'gives no cost of ending LOCAL to chunks that are GLOBAL already', {
    cause: 'dg lacks the cost of ending LOCAL where the chunk is GLOBAL',
    lives: 'dg (and dscores) of GLOBAL chunks with LOCAL before them',
  }, TYPES, {
    dg: (sums) => {
      const { head, c, column } = sums;
      let sum = 0;
      for (let n = c - 1; head.own[c] !== GLOBAL && n >= 0 && head.own[n] !== GLOBAL; n--) {
        if (head.own[n] === LOCAL) sum = f(sum + column(n, (c + 1) * head.p.chunk, closing(head, c)));
      }
      return f(allRows(sums) - sum);
    },
  }),
  only('dw-own-chunk', 'starts the window of dw at the first token of the chunk', {
    cause: 'dw sums W rows from the start of the chunk instead of its end',
    lives: 'dw (and dscores) where C > 1', where: /C > 1/,
  }, TYPES, { dw: ({ head, c, column }) => column(c, 0, c * head.p.chunk + head.p.window) }),
  only('tau-not-for-noise', 'takes softmax(scores / tau + noise) in dscores', {
    cause: 'the noise is not divided by the temperature in dscores',
    lives: 'dscores where tau is not 1 and there is noise: temperature-2, temperature-half',
    where: /temperature|tau/,
  }, ['dscores'], {
    dscores: (z) => rightScores({ ...z, y: softmax(z.scores.map((s, n) => f(f(s / z.tau) + z.noise[n]))) }),
  }),
  only('price-window-token', 'prices WINDOW with W tokens per token, without the rest of its chunk', {
    cause: 'the price of WINDOW leaves out the rest of the chunk',
    lives: 'dscores where C > 1 and there is a price: only price-chunks', where: /price|C > 1/,
  }, ['dscores'], ({ parameters: p }) => {
    let n = -1;
    return {
      dscores: (z) => {
        n++;
        const c = n % Math.ceil(p.tokens / p.chunk);
        let kept = 0;
        for (let j = c * p.chunk; j < Math.min((c + 1) * p.chunk, p.tokens); j++) {
          kept += Math.min(p.window, p.tokens - 1 - j);
        }
        return rightScores({ ...z, price: [z.price[0], z.price[1], f(p.price * kept)] });
      },
    };
  }),
];
