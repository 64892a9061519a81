/**
 * Visits all causal pairs of a head, one tile of queries at a time, so that nothing takes N x N memory.
 * @module
 */
import type { MaskGradientRule } from '../../core/training-engine.ts';
import type { FloatTensor } from '../../formats/named-tensor.ts';
import type { CaseParameters, Tensors } from '../types.ts';

/** One KV head with its R = H / G query heads: q, dout [R,N,d], k, v [N,d]. */
export interface HeadPairs {
  readonly queryHeads: number;
  readonly tokens: number;
  readonly headDim: number;
  readonly scale: number;
  readonly rule: MaskGradientRule;
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly dout?: Float64Array;
}

/** Queries first..first+rows-1 of query head h, against every key up to the last of them. */
export interface PairTile {
  readonly h: number;
  readonly first: number;
  readonly rows: number;
  /** S and P of row r and key j <= first + r are at r * stride + j. Elements of keys beyond first + r are undefined. */
  readonly stride: number;
  /** scale * q_i . k_j */
  readonly S: Float64Array;
  /** do_i . v_j; undefined if there is no dout. */
  readonly P: Float64Array;
}

const TILE = 32; // a multiple of 4

/** KV head g of batch b, where `head` = b G + g, as views of the inputs. */
export function pairsOf(parameters: CaseParameters, inputs: Tensors, head: number): HeadPairs {
  const { queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale, rule } = parameters;
  const R = H / G;
  const cut = (name: string, heads: number): Float64Array =>
    (inputs[name].data as Float64Array).subarray(head * heads * N * d, (head + 1) * heads * N * d);
  return {
    queryHeads: R, tokens: N, headDim: d, scale, rule, q: cut('q', R), k: cut('k', 1), v: cut('v', 1),
    ...(inputs.dout && { dout: cut('dout', R) }),
  };
}

/** Visits the tiles in ascending order of queries, all query heads of one block in turn. Buffers are reused. */
export function forEachTile(pairs: HeadPairs, visit: (tile: PairTile) => void): void {
  const { queryHeads: R, tokens: N, headDim: d, scale, q, dout } = pairs;
  const stride = Math.ceil(N / TILE) * TILE;
  const padded = (x: Float64Array): Float64Array => {
    const all = new Float64Array(stride * d);
    all.set(x);
    return all;
  };
  const [k, v] = [padded(pairs.k), dout ? padded(pairs.v) : new Float64Array(0)];
  const [S, P, block] = [TILE * stride, TILE * stride, TILE * d].map((n) => new Float64Array(n)) as
    [Float64Array, Float64Array, Float64Array];
  for (let first = 0; first < N; first += TILE) {
    const rows = Math.min(TILE, N - first);
    for (let h = 0; h < R; h++) {
      const at = (h * N + first) * d;
      block.set(q.subarray(at, at + rows * d));
      products(block, k, S, first + TILE, stride, d, scale);
      if (dout) {
        block.set(dout.subarray(at, at + rows * d));
        products(block, v, P, first + TILE, stride, d, 1);
      }
      visit({ h, first, rows, stride, S, P });
    }
  }
}

/** C[m,n] = factor * a_m . b_n for the TILE rows of a and `columns` rows of b; 4 x 4 sums at a time fit registers. */
function products(
  a: Float64Array, b: Float64Array, C: Float64Array, columns: number, stride: number, d: number, factor: number,
): void {
  for (let n = 0; n < columns; n += 4) {
    const b0 = n * d, b1 = b0 + d, b2 = b1 + d, b3 = b2 + d;
    for (let m = 0; m < TILE; m += 4) {
      const a0 = m * d, a1 = a0 + d, a2 = a1 + d, a3 = a2 + d;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0;
      let s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      let s20 = 0, s21 = 0, s22 = 0, s23 = 0;
      let s30 = 0, s31 = 0, s32 = 0, s33 = 0;
      for (let c = 0; c < d; c++) {
        const x0 = a[a0 + c], x1 = a[a1 + c], x2 = a[a2 + c], x3 = a[a3 + c];
        const y0 = b[b0 + c], y1 = b[b1 + c], y2 = b[b2 + c], y3 = b[b3 + c];
        s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
        s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
        s20 += x2 * y0; s21 += x2 * y1; s22 += x2 * y2; s23 += x2 * y3;
        s30 += x3 * y0; s31 += x3 * y1; s32 += x3 * y2; s33 += x3 * y3;
      }
      const c0 = m * stride + n, c1 = c0 + stride, c2 = c1 + stride, c3 = c2 + stride;
      C[c0] = factor * s00; C[c0 + 1] = factor * s01; C[c0 + 2] = factor * s02; C[c0 + 3] = factor * s03;
      C[c1] = factor * s10; C[c1 + 1] = factor * s11; C[c1 + 2] = factor * s12; C[c1 + 3] = factor * s13;
      C[c2] = factor * s20; C[c2 + 1] = factor * s21; C[c2 + 2] = factor * s22; C[c2 + 3] = factor * s23;
      C[c3] = factor * s30; C[c3 + 1] = factor * s31; C[c3 + 2] = factor * s32; C[c3 + 3] = factor * s33;
    }
  }
}

/** sum over j <= i of dM[i,j] (§4), summed over the query heads of each group: [B,G,N]. */
export function maskGradientRowSums(
  parameters: CaseParameters, inputs: Tensors, { out, lse }: { out: FloatTensor; lse: FloatTensor },
): FloatTensor {
  const { batch: B, kvHeads: G, tokens: N, headDim: d } = parameters;
  const data = new Float64Array(B * G * N);
  for (let head = 0; head < B * G; head++) {
    const pairs = pairsOf(parameters, inputs, head);
    const start = head * pairs.queryHeads * N;
    forEachTile(pairs, ({ h, first, rows, stride, S, P }) => {
      for (let r = 0; r < rows; r++) {
        const i = first + r;
        const row = h * N + i;
        let D = 0;
        for (let c = row * d; c < (row + 1) * d; c++) D += pairs.dout![c] * out.data[start * d + c];
        const [from, to] = [r * stride, r * stride + i + 1];
        const n = pairs.rule === 'exact' ? lse.data[start + row] : logSumExp(S, from, to);
        let sum = 0;
        for (let pair = from; pair < to; pair++) sum += Math.exp(S[pair] - n) * (P[pair] - D);
        data[head * N + i] = data[head * N + i] + sum;
      }
    });
  }
  return { dtype: 'F64', shape: [B, G, N], data };
}

function logSumExp(x: Float64Array, from: number, to: number): number {
  let max = -Infinity;
  for (let n = from; n < to; n++) if (x[n] > max) max = x[n];
  let sum = 0;
  for (let n = from; n < to; n++) sum += Math.exp(x[n] - max);
  return max + Math.log(sum);
}
