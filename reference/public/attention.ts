/**
 * Attention for callers with arrays (§3, §4): checks the arguments, then lets the reference compute.
 * @module
 */
import { type Expected, finite, finiteFloats, floats, integers, oneOf, optional } from '../../src/core/arguments.ts';
import { ValueError } from '../../src/core/errors.ts';
import { expectFields } from '../../src/core/known-options.ts';
import { type AttentionSizes, attentionSizes, checkTypeValues, typesSizes } from '../../src/core/shape.ts';
import { checkForward } from '../../src/core/sizes.ts';
import type { NDArray } from '../../src/core/tensor.ts';
import type { MaskGradientRule } from '../../src/core/training-engine.ts';
import * as reference from '../attention.ts';

/** The inputs that forward and backward share. */
export interface AttentionArguments {
  q: NDArray;
  k: NDArray;
  v: NDArray;
  last: NDArray<Int32Array>;
  scale?: number;
}

/** Keys and values that no query sees may hold anything. */
const inputs = (): Record<string, Expected> =>
  ({ q: finiteFloats, k: floats, v: floats, last: integers, scale: optional(finite) });

/**
 * Masked attention (§3). For query i of head h, over the keys j of its KV head with j <= i <= last(j):
 *
 *     S[i,j] = scale * q_i . k_j     lse_i = log sum_j exp(S[i,j])     o_i = sum_j exp(S[i,j] - lse_i) v_j
 *
 * Hidden keys and values are never read, so NaN or infinity there has no effect.
 *
 * @param options.q Queries after rotary embedding, [B,H,N,d].
 * @param options.k Keys after rotary embedding, [B,G,N,d]; H is a multiple of G.
 * @param options.v Values, [B,G,N,d].
 * @param options.last Lifetimes, [B,G,N].
 * @param options.scale Multiplies q . k. Default: 1 / sqrt(d).
 * @returns out [B,H,N,d] and lse [B,H,N] (nats), in the precision of q.
 * @throws {ShapeError} If shapes contradict each other or the data, or H is not a multiple of G.
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
  expectFields('attention()', 'options', options, inputs());
  const { q, k, v, last } = options;
  return reference.attention(scaled(options), attentionSizes(q, k, v, last));
}

const backward = (): Record<string, Expected> => ({
  ...inputs(), out: floats, lse: floats, dOut: finiteFloats, types: optional(integers),
  window: optional(finite), localWindow: optional(finite), chunk: optional(finite), reach: optional(finite),
  rule: optional(oneOf('bounded', 'exact')),
});

/** What the backward needs in addition to the inputs of the forward. */
export interface AttentionBackwardArguments extends AttentionArguments {
  out: NDArray;
  lse: NDArray;
  dOut: NDArray;
  types?: NDArray<Int32Array>;
  window?: number;
  localWindow?: number;
  chunk?: number;
  reach?: number;
  rule?: MaskGradientRule;
}

/**
 * Gradients of masked attention (§4), and of the token types through the relaxed mask (§5):
 *
 *     D_i = do_i . o_i    P'[i,j] = do_i . v_j    A[i,j] = exp(S[i,j] - lse_i)    dS = A * (P' - D)
 *     dq_i = scale * sum_j dS[i,j] k_j    dk_j = scale * sum_i dS[i,j] q_i    dv_j = sum_i A[i,j] do_i
 *     dM[i,j] = exp(S[i,j] - n_i) * (P'[i,j] - D_i) for all j <= i, visible or not
 *
 * with n_i = lse_i (`exact`) or the log-sum-exp over all j <= i (`bounded`, the default). With a `reach`, pairs with
 * i > j + reach do not count, as no type makes them visible. Gradients of types are computed only if `types` is given;
 * they read hidden keys and values, which must then be finite.
 *
 * @param options.out The result of the forward, [B,H,N,d].
 * @param options.lse The log-sum-exp of the forward, [B,H,N].
 * @param options.dOut The cotangent of out, [B,H,N,d].
 * @param options.types The types [B,G,Nc] from which `last` was computed. They need the same `window`, and the same
 * `localWindow`, `chunk` and `reach` if it had any.
 * @param options.rule `bounded` (default) or `exact`.
 * @returns dq [B,H,N,d], dk and dv [B,G,N,d], and dTypes [B,G,Nc,3] = (dg, dl, dw) if types was given.
 * @throws {ShapeError} If shapes contradict each other.
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
  const sizes = backwardSizes('attentionBackward()', options);
  const { types, window, localWindow, chunk = 1, reach, rule = 'bounded' } = options;
  if (types === undefined) return reference.attentionBackward({ ...scaled(options), types: undefined }, sizes);
  if (window === undefined) throw new ValueError('types was given without a window: pass the W with which `last` was computed');
  const how = { window, localWindow, chunk, reach };
  typesSizes(types, sizes.N, how);
  checkTypeValues(types.data);
  return reference.attentionBackward({ ...scaled(options), types: { types, rule, ...how } }, sizes);
}

/**
 * dM of §4, summed over the query heads of each group: the first thing for a kernel's author to compare.
 *
 * @param options As for `attentionBackward`; `rule` is `bounded` (default) or `exact`.
 * @returns dM [B,G,N,N], 0 above the diagonal.
 * @throws {ShapeError} If shapes contradict each other.
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
  const sizes = backwardSizes('maskGradient()', options);
  const { rule = 'bounded', reach } = options;
  return reference.maskGradient(scaled(options), { rule, ...(reach !== undefined && { reach }) }, sizes);
}

/** Fills in the default scale. */
function scaled<T extends AttentionArguments>(options: T): T & { scale: number } {
  return { ...options, scale: options.scale ?? 1 / Math.sqrt(options.q.shape[3]) };
}

function backwardSizes(what: string, options: AttentionBackwardArguments): AttentionSizes {
  expectFields(what, 'options', options, backward());
  const { q, k, v, last, out, lse, dOut } = options;
  const sizes = attentionSizes(q, k, v, last);
  checkForward(out, lse, dOut, sizes);
  return sizes;
}
