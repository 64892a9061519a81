/**
 * How far correct outputs may lie from the truth, by an a-priori rounding analysis in which nothing is measured or
 * tuned.
 *
 * Every rounding below gets the bound of its kind: u for an f32 operation, n u for a sum of n terms in any order
 * (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §3.1 and §4.2). Products of roundings are left out,
 * except under exp, where they are kept. Per pair, only norms of rows are used.
 *
 *     u     2^-24 (f64: 2^-53), plus 2^-53 because the truth is itself computed in float64
 *     s     the roundoff of the dtype that P, dS, o and results may be stored in: 2^-11 f16, 2^-8 bf16, else u
 *           (P and dS may claim TF32 or fp8, coarser than what is stored: 2^-10, 2^-4 or 2^-3, and tiny likewise)
 *     tiny  what may vanish: the spacing of f16's subnormals; else the smallest normal, which may be flushed to 0
 *     exp   (6 + 4|x|) u, log 6 u relative or 8 u absolute, division 5 u: as WGSL, the least accurate language, allows
 *
 * With n_i the number of visible keys of row i, m_i the maximum of their S, x = m_i - S and L = log Z:
 *
 *     S      (d + 5) u |scale| |q||k|: d for the product, 5 for a scale that is rounded and multiplied by log2(e)
 *     E      lambda = S's + u (|m| + 11 |x| + 6 + 7 rho), the error of its logarithm: the rounding of m, x twice (once
 *            for exp, once for the rescalings on the way from an older maximum), exp, and each of rho rescalings. rho
 *            counts new maxima in the order of keys or in reverse, or the visible keys, at most one per tile of 16
 *     Z      log(sum A e^lambda) =: Lambda bounds the error of log Z upwards, and by Jensen's inequality downwards
 *     lse    l = Lambda + u (n + 14 + 15 L + 4 |m| + 2 |lse|)
 *     A      r = e^(lambda + l) - 1, relative: recomputed from lse as the backward does, or E / Z
 *     out    sum_j A max|v_j| (r + s + (n + 6) u) + tiny sum_j max|v_j|
 *     P'     d u |do||v|         D   |do| (sum_j A |v_j| (r + 2 s + (n + 6 + d) u) + tiny sum_j |v_j|), o stored
 *     dS     A ((1 + r) (P' + D) + |P' - D| (r + s + 4 u)) + tiny
 *     dv_j   sum_i max|do_i| (A (r + s + n u) + tiny)
 *     groups in f16 and bf16, s sum_h max|dk_j of query head h| more for dk_j, and the same for dv_j: a kernel may
 *     store them
 *            by query head before it sums the group in f32
 *     dq_i   |scale| sum_j max|k_j| (dS's + |dS| (n + 4) u)        dk_j likewise over i, and max|q_i|
 *     dM     as dS without s, with weights from the lse over visible keys or (`bounded`) over all causal keys
 *     dm_rows, dg, dl, dw    sums of dM's and of |dM| n u, over the pairs of §5, subtracted ones included
 *     dscores  see score-budget.ts
 *
 * To each value compare.ts adds the rounding of its own storage.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { forEachTile, type HeadPairs, pairsOf } from '../cases/pairs.ts';
import { typeSums } from '../cases/type-sums.ts';
import { RowLogSum } from './row-log-sum.ts';
import type { ClaimedDtype, OracleCase, Products } from '../types.ts';

/** The roundoffs u, s and tiny of a claimed dtype. */
export interface Roundoffs {
  readonly u: number;
  readonly s: number;
  readonly tiny: number;
}

/** The roundoff of storing in each dtype. */
export const STORAGE: Readonly<Record<ClaimedDtype, number>> = {
  f64: 2 ** -53, f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8,
};

/** The roundoff of factors of products, and what vanishes there: TF32 may be cut, and has float32's exponents. */
const PRODUCTS: Readonly<Record<Products, { readonly s: number; readonly tiny: number }>> = {
  tf32: { s: 2 ** -10, tiny: 2 ** -126 }, e4m3: { s: 2 ** -4, tiny: 2 ** -10 }, e5m2: { s: 2 ** -3, tiny: 2 ** -17 },
};

/** The roundoffs that `dtype` claims, with P and dS in `products` if that is coarser. */
export function roundoffs(dtype: ClaimedDtype, products?: Products): Roundoffs {
  const u = (dtype === 'f64' ? 2 ** -53 : 2 ** -24) + 2 ** -53;
  const tiny = { f64: 2 ** -1022, f32: 2 ** -126, bf16: 2 ** -126, f16: 2 ** -24 }[dtype];
  const of = products && PRODUCTS[products];
  return { u, s: Math.max(u, STORAGE[dtype], of?.s ?? 0), tiny: Math.max(tiny, of?.tiny ?? 0) };
}

/** One KV head to analyse. */
export interface HeadProblem {
  readonly pairs: HeadPairs;
  /** last [N] and types [Nc] of this head. */
  readonly last: Int32Array;
  readonly types: Int32Array;
  readonly window: number;
  readonly chunk: number;
  readonly products?: Products;
}

/**
 * The budgets of one KV head by output, one per row, without the rounding of storage: out, lse, dq [R,N];
 * dv, dk, dm_rows [N]; dw, dl, dg [Nc].
 */
export type HeadBudgets = Readonly<Partial<Record<
  'out' | 'lse' | 'dv' | 'dq' | 'dk' | 'dm_rows' | 'dw' | 'dl' | 'dg', Float64Array
>>>;

/** The problem of KV head g of batch b, where `head` = b G + g, of a case whose last() is known. */
export function problemOf(
  { parameters, inputs, expected }: OracleCase, head: number, products?: Products,
): HeadProblem {
  const { tokens: N, window, chunk } = parameters;
  const cut = (name: string, length: number): Int32Array =>
    ((expected[name] ?? inputs[name]) as IntegerTensor).data.subarray(head * length, (head + 1) * length);
  return {
    pairs: pairsOf(parameters, inputs, head), last: cut('last', N), types: cut('types', Math.ceil(N / chunk)), window, chunk,
    ...(products && { products }),
  };
}

/**
 * The budgets of one KV head, by one pass over all its pairs.
 *
 * @param onProgress Called after each tile with its number of pairs.
 */
export function headBudgets(
  problem: HeadProblem, dtype: ClaimedDtype, onProgress: (pairs: number) => void = () => undefined,
): HeadBudgets {
  const { pairs, last } = problem;
  const { queryHeads: R, tokens: N, headDim: d, rule, q, k, v, dout } = pairs;
  const { u, s, tiny } = roundoffs(dtype, problem.products);
  const own = roundoffs(dtype).s;
  const flushed = dtype === 'f64' ? 2 ** -1022 : 2 ** -126;
  const scale = Math.abs(pairs.scale);
  const [Q, K, V] = [norms(q, d), norms(k, d), norms(v, d)];
  const dO = dout && norms(dout, d);
  const [out, lse, dq] = [new Float64Array(R * N), new Float64Array(R * N), new Float64Array(R * N)];
  // Errors, magnitudes and numbers of visible queries by key, which become budgets at the end.
  const [dv, dvSize, dk, dkSize, dkTiny, seen, dm] = Array.from({ length: 7 }, () => new Float64Array(N)) as
    [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];
  const sums = dO && typeSums(problem.types, N, problem);
  const [visible, causal] = [new RowLogSum(N, u), new RowLogSum(N, u)];
  const all = Int32Array.from({ length: N }, (_, j) => j);
  const keys = new Int32Array(N);
  const [errors, sizes] = [new Float64Array(N), new Float64Array(N)];
  const tinyS = tiny * Math.max(1, scale);
  const apart = (): Float64Array => new Float64Array(R * N * d);
  const byHead = dout && R > 1 && own > u ? [apart(), apart()] as const : undefined;

  forEachTile(pairs, ({ h, first, rows, stride, S, P }) => {
    for (let r = 0; r < rows; r++) {
      const i = first + r;
      const row = h * N + i;
      const start = r * stride;
      let n = 0;
      for (let j = 0; j <= i; j++) if (last[j] >= i) keys[n++] = j;
      const unitS = (d + 5) * u * scale * Q.length[row];
      visible.solve(S, start, keys, n, i, unitS, K.length);
      const { A, relative } = visible;
      lse[row] = visible.error;
      let [o, oTiny, length, error, lengths, D] = [0, 0, 0, 0, 0, 0];
      for (let at = 0; at < n; at++) {
        const j = keys[at];
        const a = A[at];
        o += a * V.largest[j] * relative[at];
        length += a * V.largest[j];
        oTiny += V.largest[j];
      }
      out[row] = o + length * (s + (n + 6) * u) + tiny * oTiny;
      if (!dO) continue;
      length = 0;
      for (let at = 0; at < n; at++) {
        const j = keys[at];
        const a = A[at];
        D += a * P[start + j];
        error += a * V.length[j] * relative[at];
        length += a * V.length[j];
        lengths += V.length[j];
      }
      const doLength = dO.length[row];
      const doMost = dO.largest[row];
      const errorD = doLength * (error + length * (2 * s + (n + 6 + d) * u) + tiny * lengths);
      const unitP = d * u * doLength;
      let [dqError, dqSize, dqTiny] = [0, 0, 0];
      const qMost = Q.largest[row];
      for (let at = 0; at < n; at++) {
        const j = keys[at];
        const a = A[at];
        const e = relative[at];
        const size = a * Math.abs(P[start + j] - D);
        const errorS = a * (1 + e) * (unitP * V.length[j] + errorD) + size * (e + s + 4 * u);
        dqError += errorS * K.largest[j];
        dqSize += size * K.largest[j];
        dqTiny += K.largest[j];
        dk[j] = dk[j] + errorS * qMost;
        dkSize[j] = dkSize[j] + size * qMost;
        dkTiny[j] = dkTiny[j] + qMost;
        dv[j] = dv[j] + doMost * (a * (e + s) + tiny);
        dvSize[j] = dvSize[j] + doMost * a;
        if (byHead) {
          const to = (h * N + j) * d;
          const [ofV, ofK] = [a, a * (P[start + j] - D)];
          for (let c = 0; c < d; c++) {
            byHead[0][to + c] = byHead[0][to + c] + ofV * dout![row * d + c];
            byHead[1][to + c] = byHead[1][to + c] + ofK * q[row * d + c];
          }
        }
        seen[j] = seen[j] + 1;
      }
      dq[row] = scale * (dqError + dqSize * (n + 4) * u) + tinyS * dqTiny;
      // dM takes all causal keys.
      causal.solve(S, start, all, i + 1, i, unitS, K.length);
      if (rule === 'exact') causal.weighBy(visible, i + 1, unitS, K.length);
      let [rowError, rowSize] = [0, 0];
      for (let j = 0; j <= i; j++) {
        const a = causal.A[j];
        const e = causal.relative[j];
        const difference = Math.abs(P[start + j] - D);
        const size = a * difference;
        sizes[j] = size;
        errors[j] = a * (1 + e) * (unitP * V.length[j] + errorD) + size * (e + 4 * u) + flushed * (1 + difference);
        rowError += errors[j];
        rowSize += size;
      }
      dm[i] = dm[i] + rowError + rowSize * (i + 1) * R * u;
      sums!.addRow(i, errors, sizes);
    }
    onProgress(rows * (first + (rows + 1) / 2));
  });

  if (!sums) return { out, lse };
  for (let j = 0; j < N; j++) {
    dv[j] = dv[j] + dvSize[j] * seen[j] * u;
    dk[j] = scale * (dk[j] + dkSize[j] * (seen[j] + 4) * u) + tinyS * dkTiny[j];
  }
  if (byHead) {
    const [ofV, ofK] = byHead.map((x) => norms(x, d).largest);
    for (let row = 0; row < R * N; row++) {
      dv[row % N] = dv[row % N] + own * ofV[row] + tiny;
      dk[row % N] = dk[row % N] + own * scale * ofK[row] + tiny;
    }
  }
  const of = (which: number): Float64Array => Float64Array.from({ length: sums.count.length / 3 }, (_, c) => {
    const at = 3 * c + which;
    return sums.first[at] + sums.second[at] * sums.count[at] * u;
  });
  return { out, lse, dv, dq, dk, dm_rows: dm, dw: of(2), dl: of(1), dg: of(0) };
}

/** The length and the largest magnitude of each row of x [...,d]. */
function norms(x: Float64Array, d: number): { readonly length: Float64Array; readonly largest: Float64Array } {
  const [length, largest] = [new Float64Array(x.length / d), new Float64Array(x.length / d)];
  for (let row = 0; row < length.length; row++) {
    let [sum, most] = [0, 0];
    for (let n = row * d; n < (row + 1) * d; n++) {
      sum += x[n] * x[n];
      most = Math.max(most, Math.abs(x[n]));
    }
    length[row] = Math.sqrt(sum);
    largest[row] = most;
  }
  return { length, largest };
}
