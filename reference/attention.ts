/**
 * §3 and §4: masked attention and its gradients. Rows are walked in order with the list of the keys that
 * are still alive, exactly as the cache does while decoding, so the cost follows the visible pairs.
 * @module
 */
import { type Expected, finite, finiteFloats, floats, integers, oneOf, optional, record } from '../src/core/arguments.ts';
import { checkForward } from '../src/core/checks.ts';
import { exp, log } from '../src/core/elementary.ts';
import { ValueError } from '../src/core/errors.ts';
import { type AttentionSizes, attentionSizes, checkTypesShape, checkTypeValues } from '../src/core/shape.ts';
import { type FloatArray, type NDArray, zerosLike } from '../src/core/tensor.ts';
import type { MaskGradientRule } from '../src/core/training-engine.ts';
import { addTypeGradientRow, planTypeGradient } from './mask.ts';
import { axpy, dot, matmulNT } from './matmul.ts';

/** Inputs shared by the forward and the backward. */
export interface AttentionArguments {
  q: NDArray;
  k: NDArray;
  v: NDArray;
  last: NDArray<Int32Array>;
  scale?: number;
}

/** Keys and values may hold anything where no query sees them. */
const inputs = (): Record<string, Expected> =>
  ({ q: finiteFloats, k: floats, v: floats, last: integers, scale: optional(finite) });
const FORWARD: Expected = (name, value) => record(inputs())(name, value);

/**
 * Masked attention (§3). For query i of head h, over the keys j of its KV head with j <= i <= last(j):
 *
 *     S[i,j] = scale * q_i . k_j     lse_i = log sum_j exp(S[i,j])     o_i = sum_j exp(S[i,j] - lse_i) v_j
 *
 * Hidden keys and values are never read, so NaN or Infinity there change nothing.
 *
 * @param options.q Queries after rotary embedding, [B,H,N,d].
 * @param options.k Keys after rotary embedding, [B,G,N,d]; H is a multiple of G.
 * @param options.v Values, [B,G,N,d].
 * @param options.last Lifetimes, [B,G,N].
 * @param options.scale Multiplies q . k (default 1 / sqrt(d)).
 * @returns out [B,H,N,d] and lse [B,H,N] (nats), in q's precision.
 * @throws {ShapeError} If shapes disagree, with each other or with the data, or H is not a multiple of G.
 * @throws {ValueError} If an array is of the wrong kind, or q or the scale is not finite.
 * @example
 * ```ts
 * import { attention, lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 2, 2), [1, 1, 3]); // G W W with W = 0: queries see 0 and themselves
 * const qk = ndarray(new Float64Array(6), [1, 1, 3, 2]);
 * const v = ndarray(Float64Array.of(1, 0, NaN, 2, 3, 4), [1, 1, 3, 2]);
 * const { out } = attention({ q: qk, k: qk, v, last: lifetime(types, { window: 0 }) });
 * console.log([...out.data.subarray(4)]); // [2,2]
 * ```
 */
export function attention(options: AttentionArguments): { out: NDArray; lse: NDArray } {
  FORWARD('options', options);
  return maskedAttention(options);
}

/** The same where queries may be no numbers: what they give is none either. */
export function maskedAttention(options: AttentionArguments): { out: NDArray; lse: NDArray } {
  const { q, k, v, last } = options;
  const sizes = attentionSizes(q, k, v, last);
  const { B, H, G, N, d } = sizes;
  const scale = options.scale ?? 1 / Math.sqrt(d);
  const out = zerosLike(q.data, B * H * N * d);
  const lse = zerosLike(q.data, B * H * N);
  const scores = new Float64Array(N);
  for (let head = 0; head < B * G; head++) {
    const live = new LiveKeys(last.data, head * N, N);
    for (let i = 0; i < N; i++) {
      const visible = live.advance(i);
      for (let h = 0; h < H / G; h++) {
        const row = queryRow(sizes, head, h, i);
        let max = -Infinity;
        for (let n = 0; n < visible; n++) {
          const s = scale * dot(q.data, row * d, k.data, (head * N + live.keys[n]) * d, d);
          scores[n] = s;
          if (s > max) max = s;
        }
        let Z = 0;
        for (let n = 0; n < visible; n++) Z += scores[n] = exp(scores[n] - max);
        for (let n = 0; n < visible; n++) {
          axpy(scores[n] / Z, v.data, (head * N + live.keys[n]) * d, out, row * d, d);
        }
        lse[row] = max + log(Z);
      }
    }
  }
  return { out: { data: out, shape: [B, H, N, d] }, lse: { data: lse, shape: [B, H, N] } };
}

const BACKWARD: Expected = (name, value) => record({
  ...inputs(), out: floats, lse: floats, dOut: finiteFloats, types: optional(integers),
  window: optional(finite), chunk: optional(finite), bound: optional(finite), rule: optional(oneOf('bounded', 'exact')),
})(name, value);

/** What the backward needs besides the forward's inputs. */
export interface AttentionBackwardArguments extends AttentionArguments {
  out: NDArray;
  lse: NDArray;
  dOut: NDArray;
  types?: NDArray<Int32Array>;
  window?: number;
  chunk?: number;
  bound?: number;
  rule?: MaskGradientRule;
}

/**
 * Gradients of masked attention (§4), and of the token types through the relaxed mask (§5):
 *
 *     D_i = do_i . o_i    P'[i,j] = do_i . v_j    A[i,j] = exp(S[i,j] - lse_i)    dS = A * (P' - D)
 *     dq_i = scale * sum_j dS[i,j] k_j    dk_j = scale * sum_i dS[i,j] q_i    dv_j = sum_i A[i,j] do_i
 *     dM[i,j] = exp(S[i,j] - n_i) * (P'[i,j] - D_i) for all j <= i, visible or not
 *
 * with n_i = lse_i (`exact`) or the log-sum-exp over all j <= i (`bounded`, the default). Under a `bound` pairs with
 * i > j + bound do not count: no type makes them visible. Type gradients are
 * computed only when `types` is given; they read hidden keys and values, which must then be finite.
 *
 * @param options.out The forward's result, [B,H,N,d].
 * @param options.lse The forward's log-sum-exp, [B,H,N].
 * @param options.dOut Cotangent of out, [B,H,N,d].
 * @param options.types Types [B,G,Nc] that `last` came from; needs `window` (and `chunk`, default 1).
 * @param options.rule `bounded` (default) or `exact`.
 * @returns dq [B,H,N,d], dk and dv [B,G,N,d], and dTypes [B,G,Nc,3] = (dg, dl, dw) if types was given.
 * @throws {ShapeError} If shapes disagree.
 * @throws {ValueError} If types is given without a window, an array is of the wrong kind, or q, dOut or a number is not
 * finite.
 * @example
 * ```ts
 * import { attention, attentionBackward, lifetime, ndarray } from 'neural-attention-search';
 * const last = lifetime(ndarray(Int32Array.of(0, 0), [1, 1, 2]), { window: 0 });
 * const x = ndarray(Float64Array.of(0, 0, 1, 3), [1, 1, 2, 2]);
 * const { out, lse } = attention({ q: x, k: x, v: x, last });
 * const dOut = ndarray(Float64Array.of(1, 1, 0, 0), [1, 1, 2, 2]);
 * console.log([...attentionBackward({ q: x, k: x, v: x, last, out, lse, dOut }).dv.data]); // [1,1,0,0]
 * ```
 */
export function attentionBackward(options: AttentionBackwardArguments): {
  dq: NDArray;
  dk: NDArray;
  dv: NDArray;
  dTypes?: NDArray;
} {
  BACKWARD('options', options);
  return maskedAttentionBackward(options);
}

/** The same where queries and cotangents may be no numbers. */
export function maskedAttentionBackward(options: AttentionBackwardArguments): ReturnType<typeof attentionBackward> {
  const { q, k, v, last, lse, dOut, types } = options;
  const sizes = backwardSizes(options);
  const { B, H, G, N, d } = sizes;
  const scale = options.scale ?? 1 / Math.sqrt(d);
  const dq = zerosLike(q.data, B * H * N * d);
  const dk = zerosLike(k.data, B * G * N * d);
  const dv = zerosLike(v.data, B * G * N * d);
  for (let head = 0; head < B * G; head++) {
    const live = new LiveKeys(last.data, head * N, N);
    for (let i = 0; i < N; i++) {
      const visible = live.advance(i);
      for (let h = 0; h < H / G; h++) {
        const row = queryRow(sizes, head, h, i);
        const D = dot(dOut.data, row * d, options.out.data, row * d, d);
        for (let n = 0; n < visible; n++) {
          const key = head * N + live.keys[n];
          const A = exp(scale * dot(q.data, row * d, k.data, key * d, d) - lse.data[row]);
          const dS = scale * A * (dot(dOut.data, row * d, v.data, key * d, d) - D);
          axpy(dS, k.data, key * d, dq, row * d, d);
          axpy(dS, q.data, row * d, dk, key * d, d);
          axpy(A, dOut.data, row * d, dv, key * d, d);
        }
      }
    }
  }
  return {
    dq: { data: dq, shape: q.shape },
    dk: { data: dk, shape: k.shape },
    dv: { data: dv, shape: v.shape },
    ...(types && { dTypes: typeGradient(options, types, sizes) }),
  };
}

/** (dg, dl, dw) of §5 from the rows of dM, never holding more than one row. */
function typeGradient(options: AttentionBackwardArguments, types: NDArray<Int32Array>, sizes: AttentionSizes): NDArray {
  const { B, G, N } = sizes;
  const { window, chunk = 1, bound } = options;
  if (window === undefined) throw new ValueError('types was given without a window: pass the W that made `last`');
  checkTypesShape(types, N, { window, chunk, bound });
  checkTypeValues(types.data);
  const chunks = types.shape[2];
  const dTypes = zerosLike(options.q.data, B * G * chunks * 3);
  for (let head = 0; head < B * G; head++) {
    const plan = planTypeGradient(types.data, head * chunks, N, { window, chunk });
    forEachMaskGradientRow(options, sizes, head, (i, row) => {
      addTypeGradientRow(plan, row, i, dTypes, head * chunks * 3);
    });
  }
  return { data: dTypes, shape: [B, G, chunks, 3] };
}

/**
 * dM of §4, summed over the query heads of each group: what a kernel's author compares first.
 *
 * @param options As for `attentionBackward`; `rule` is `bounded` (default) or `exact`.
 * @returns dM [B,G,N,N], 0 above the diagonal.
 * @throws {ShapeError} If shapes disagree.
 * @example
 * ```ts
 * import { attention, lifetime, maskGradient, ndarray } from 'neural-attention-search';
 * const last = lifetime(ndarray(Int32Array.of(2, 2), [1, 1, 2]), { window: 0 }); // each query sees itself only
 * const qk = ndarray(new Float64Array(2), [1, 1, 2, 1]);
 * const v = ndarray(Float64Array.of(5, 1), [1, 1, 2, 1]);
 * const { out, lse } = attention({ q: qk, k: qk, v, last });
 * const dOut = ndarray(Float64Array.of(0, 1), [1, 1, 2, 1]);
 * // Seeing key 0 from query 1 would raise its output, at weight exp(S - lse) = 1 times (v_0 - out_1) = 4.
 * console.log([...maskGradient({ q: qk, k: qk, v, last, out, lse, dOut, rule: 'exact' }).data]); // [0,0,4,0]
 * ```
 */
export function maskGradient(options: AttentionBackwardArguments): NDArray {
  BACKWARD('options', options);
  const sizes = backwardSizes(options);
  const { B, G, N } = sizes;
  const dM = zerosLike(options.q.data, B * G * N * N);
  for (let head = 0; head < B * G; head++) {
    forEachMaskGradientRow(options, sizes, head, (i, row) => dM.set(row, (head * N + i) * N));
  }
  return { data: dM, shape: [B, G, N, N] };
}

/**
 * Calls `visit` with each row of dM of one KV head; the row is overwritten by the next. All pairs count,
 * so S and P' are plain matrix products, a block of queries at a time.
 */
function forEachMaskGradientRow(
  options: AttentionBackwardArguments,
  sizes: AttentionSizes,
  head: number,
  visit: (i: number, row: Float64Array) => void,
): void {
  const { q, k, v, lse, out, dOut, rule = 'bounded', bound = Infinity } = options;
  const { H, G, N, d } = sizes;
  const scale = options.scale ?? 1 / Math.sqrt(d);
  for (let first = 0; first < N; first += QUERY_BLOCK) {
    const rows = Math.min(QUERY_BLOCK, N - first);
    const keys = first + rows;
    const dM = new Float64Array(rows * keys);
    const kHead = k.data.subarray(head * N * d, (head * N + keys) * d);
    const vHead = v.data.subarray(head * N * d, (head * N + keys) * d);
    for (let h = 0; h < H / G; h++) {
      const at = queryRow(sizes, head, h, first);
      const S = matmulNT(q.data.subarray(at * d, (at + rows) * d), kHead, rows, keys, d);
      const P = matmulNT(dOut.data.subarray(at * d, (at + rows) * d), vHead, rows, keys, d);
      for (let r = 0; r < rows; r++) {
        const D = dot(dOut.data, (at + r) * d, out.data, (at + r) * d, d);
        const i = first + r;
        const oldest = Math.max(0, i - bound);
        const n = rule === 'exact' ? lse.data[at + r] : logSumExp(S, r * keys + oldest, i + 1 - oldest, scale);
        for (let j = oldest; j <= i; j++) {
          const pair = r * keys + j;
          dM[pair] = dM[pair] + exp(scale * S[pair] - n) * (P[pair] - D);
        }
      }
    }
    for (let r = 0; r < rows; r++) visit(first + r, dM.subarray(r * keys, r * keys + first + r + 1));
  }
}

/** Queries whose rows of dM are in memory at once. */
const QUERY_BLOCK = 32;

/** log sum over `length` keys of exp(scale * S), whether visible or not. */
function logSumExp(S: FloatArray, start: number, length: number, scale: number): number {
  let max = -Infinity;
  for (let j = 0; j < length; j++) max = Math.max(max, scale * S[start + j]);
  let sum = 0;
  for (let j = 0; j < length; j++) sum += exp(scale * S[start + j] - max);
  return max + log(sum);
}

/** The keys that query i can see, kept up to date while i grows: the cache in miniature (§8). */
class LiveKeys {
  readonly keys: Int32Array;
  #count = 0;
  readonly #last: Int32Array;
  readonly #start: number;

  constructor(last: Int32Array, start: number, length: number) {
    this.keys = new Int32Array(length);
    this.#last = last;
    this.#start = start;
  }

  /** Appends key i, drops what died before query i, and returns how many of `keys` are visible. */
  advance(i: number): number {
    this.keys[this.#count++] = i;
    let kept = 0;
    for (let n = 0; n < this.#count; n++) {
      const j = this.keys[n];
      if (this.#last[this.#start + j] >= i) this.keys[kept++] = j;
    }
    this.#count = kept;
    return kept;
  }
}

/** Row of q, out and lse that belongs to query i of the h-th query head served by KV head `head`. */
function queryRow({ H, G, N }: AttentionSizes, head: number, h: number, i: number): number {
  const b = Math.floor(head / G);
  const g = head % G;
  return (b * H + g * (H / G) + h) * N + i;
}

function backwardSizes(options: AttentionBackwardArguments): AttentionSizes {
  const { q, k, v, last, out, lse, dOut } = options;
  const sizes = attentionSizes(q, k, v, last);
  checkForward(out, lse, dOut, sizes);
  return sizes;
}
