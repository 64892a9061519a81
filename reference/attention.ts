/**
 * §3 and §4: masked attention and its gradients. Rows are visited in order with a list of the keys that are still
 * alive, exactly as the cache does in decoding, so that the cost is proportional to the visible pairs.
 * @module
 */
import { exp, log } from '../src/core/elementary.ts';
import type { LifetimeOptions } from '../src/core/lifetime.ts';
import type { AttentionSizes } from '../src/core/sizes.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';
import type { MaskGradientRule } from '../src/core/training-engine.ts';
import { logSumExp } from './log-sum-exp.ts';
import { addTypeGradientRow, planTypeGradient } from './mask.ts';
import { axpy, dot, matmulNT } from './matmul.ts';

interface Inputs {
  readonly q: NDArray;
  readonly k: NDArray;
  readonly v: NDArray;
  readonly last: NDArray<Int32Array>;
  readonly scale: number;
}

interface BackwardInputs extends Inputs {
  readonly out: NDArray;
  readonly lse: NDArray;
  readonly dOut: NDArray;
}

/** How dM weighs pairs, and the age beyond which pairs do not count. */
interface Weighing {
  readonly rule: MaskGradientRule;
  readonly reach?: number;
}

/** The types from which `last` was computed, and the options of that. */
interface TypedBy extends Weighing, LifetimeOptions {
  readonly types: NDArray<Int32Array>;
}

/**
 * Masked attention (§3). For query i of head h, over the keys j of its KV head with j <= i <= last(j):
 *
 *     S[i,j] = scale * q_i . k_j     lse_i = log sum_j exp(S[i,j])     o_i = sum_j exp(S[i,j] - lse_i) v_j
 *
 * Hidden keys and values are never read.
 */
export function attention({ q, k, v, last, scale }: Inputs, sizes: AttentionSizes): { out: NDArray; lse: NDArray } {
  const { B, H, G, N, d } = sizes;
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

/**
 * Gradients of masked attention (§4), and of the types through the relaxed mask (§5):
 *
 *     D_i = do_i . o_i    P'[i,j] = do_i . v_j    A[i,j] = exp(S[i,j] - lse_i)    dS = A * (P' - D)
 *     dq_i = scale * sum_j dS[i,j] k_j    dk_j = scale * sum_i dS[i,j] q_i    dv_j = sum_i A[i,j] do_i
 *     dM[i,j] = exp(S[i,j] - n_i) * (P'[i,j] - D_i) for all j <= i, visible or not
 *
 * with n_i = lse_i (`exact`) or the log-sum-exp over all j <= i (`bounded`). Only dM reads hidden keys and values.
 */
export function attentionBackward(
  options: BackwardInputs & { readonly types?: TypedBy | undefined }, sizes: AttentionSizes,
): { dq: NDArray; dk: NDArray; dv: NDArray; dTypes?: NDArray } {
  const { q, k, v, last, lse, dOut, types, scale } = options;
  const { B, H, G, N, d } = sizes;
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

/** (dg, dl, dw) of §5, computed from the rows of dM one at a time. */
function typeGradient(options: BackwardInputs, { types, ...how }: TypedBy, sizes: AttentionSizes): NDArray {
  const { B, G, N } = sizes;
  const chunks = types.shape[2];
  const dTypes = zerosLike(options.q.data, B * G * chunks * 3);
  for (let head = 0; head < B * G; head++) {
    const plan = planTypeGradient(types.data, head * chunks, N, how);
    forEachMaskGradientRow(options, how, sizes, head, (i, row) => {
      addTypeGradientRow(plan, row, i, dTypes, head * chunks * 3);
    });
  }
  return { data: dTypes, shape: [B, G, chunks, 3] };
}

/** dM [B,G,N,N] of §4, summed over the query heads of each group. It is 0 above the diagonal. */
export function maskGradient(options: BackwardInputs, how: Weighing, sizes: AttentionSizes): NDArray {
  const { B, G, N } = sizes;
  const dM = zerosLike(options.q.data, B * G * N * N);
  for (let head = 0; head < B * G; head++) {
    forEachMaskGradientRow(options, how, sizes, head, (i, row) => dM.set(row, (head * N + i) * N));
  }
  return { data: dM, shape: [B, G, N, N] };
}

/**
 * Calls `visit` with each row of dM of one KV head. Since hidden pairs count too, S and P' are plain matrix products,
 * computed for a block of queries at a time.
 */
function forEachMaskGradientRow(
  { q, k, v, lse, out, dOut, scale }: BackwardInputs,
  { rule, reach = Infinity }: Weighing,
  sizes: AttentionSizes,
  head: number,
  visit: (i: number, row: Float64Array) => void,
): void {
  const { H, G, N, d } = sizes;
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
        const oldest = Math.max(0, i - reach);
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

/** How many rows of dM are in memory at once. */
const QUERY_BLOCK = 32;

/** The keys that query i can see, updated as i grows, as in a small version of the cache (§8). */
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

  /** Appends key i, drops keys that query i no longer sees, and returns how many of `keys` are visible. */
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

/** The row of q, out and lse for query i of the h-th query head that reads KV head `head`. */
function queryRow({ H, G, N }: AttentionSizes, head: number, h: number, i: number): number {
  const b = Math.floor(head / G);
  const g = head % G;
  return (b * H + g * (H / G) + h) * N + i;
}
