/**
 * The mask of §2, its relaxation to real-valued types, and the gradient through the relaxation (§5).
 * @module
 */
import {
  chunkCount, chunkEnd, chunkOf, isVisible, type LifetimeOptions, localEnd, TokenType, windowEnd,
} from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import { type FloatArray, type NDArray, zeros, zerosLike } from '../src/core/tensor.ts';

/** The mask M [B,G,N,N] of §2: M[i,j] = 1 if j <= i <= last(j), else 0. */
export function attentionMask(
  last: NDArray<Int32Array>, { B, G, N }: { B: number; G: number; N: number },
): NDArray<Uint8Array> {
  const mask = zeros(Uint8Array, B * G * N * N);
  for (let head = 0; head < B * G; head++) {
    for (let i = 0; i < N; i++) {
      for (let j = 0; j <= i; j++) {
        if (isVisible(i, j, last.data[head * N + j])) mask[(head * N + i) * N + j] = 1;
      }
    }
  }
  return { data: mask, shape: [B, G, N, N] };
}

/**
 * The mask of §5 for real-valued types (g, l, w) [B,G,Nc,3], for j <= i, with c = floor(j / C) and r = floor(i / C):
 * M[i,j] = g_c + l_c * prod_{c < n < r} (1 - g_n) + w_c * [i <= end(c) + W]. With a second window, l_c is multiplied by
 * [i <= end(c) + localWindow] instead.
 */
export function relaxedMask(
  soft: NDArray, { window, localWindow, chunk }: LifetimeOptions, { B, G, N, chunks }: TypeSizes & { N: number },
): NDArray {
  const mask = zerosLike(soft.data, B * G * N * N);
  for (let head = 0; head < B * G; head++) {
    const type = (c: number, which: TokenType) => soft.data[(head * chunks + c) * 3 + which];
    for (let j = 0; j < N; j++) {
      const c = chunkOf(j, chunk);
      let open = 1; // prod (1 - g_n) over the chunks strictly between j's and i's
      for (let i = j; i < N; i++) {
        const r = chunkOf(i, chunk);
        if (i > j && r > c + 1 && i === r * chunk) open *= 1 - type(r - 1, TokenType.GLOBAL);
        const local = localWindow === undefined ? open : i <= windowEnd(c, chunk, localWindow) ? 1 : 0;
        mask[(head * N + i) * N + j] = type(c, TokenType.GLOBAL) + type(c, TokenType.LOCAL) * local +
          (i <= windowEnd(c, chunk, window) ? type(c, TokenType.WINDOW) : 0);
      }
    }
  }
  return { data: mask, shape: [B, G, N, N] };
}

/** What the derivatives of §5 need to know about the types of one head. */
export interface TypeGradientPlan {
  /** e(c): the last token of the first GLOBAL chunk after c, or end(c) + localWindow, at most N-1. */
  readonly closing: Int32Array;
  /** The last GLOBAL chunk before c, or -1. */
  readonly previousGlobal: Int32Array;
  readonly types: Int32Array;
  readonly chunk: number;
  readonly window: number;
  /** Whether GLOBAL chunks close LOCAL ones, as they do without a second window. */
  readonly closes: boolean;
}

/** Prepares the derivatives of §5 for one head of N tokens, whose Nc types begin at `start`. */
export function planTypeGradient(
  types: Int32Array, start: number, N: number, options: LifetimeOptions,
): TypeGradientPlan {
  const { window, localWindow, chunk } = options;
  const chunks = chunkCount(N, chunk);
  const own = types.slice(start, start + chunks);
  if (chunks > 0 && chunkEnd(chunks - 1, chunk) >= N) own[chunks - 1] = TokenType.GLOBAL; // unfinished
  const closing = new Int32Array(chunks);
  const previousGlobal = new Int32Array(chunks);
  for (let c = chunks - 1, end = N - 1; c >= 0; c--) {
    closing[c] = Math.min(localEnd(c, chunk, end, localWindow), N - 1);
    if (own[c] === TokenType.GLOBAL) end = Math.min(chunkEnd(c, chunk), N - 1);
  }
  for (let c = 0, previous = -1; c < chunks; c++) {
    previousGlobal[c] = previous;
    if (own[c] === TokenType.GLOBAL) previous = c;
  }
  return { closing, previousGlobal, types: own, chunk, window, closes: localWindow === undefined };
}

/**
 * Adds what row i of dM (dM[i,j] at row[j], j <= i) contributes to the derivatives of §5:
 *
 *     dw_c += sum over j in c with i <= end(c) + W
 *     dl_c += sum over j in c with i <= e(c)
 *     dg_c += sum over j in c
 *             - sum over LOCAL chunks k < c with no GLOBAL strictly between k and c, if c lies strictly
 *               between k and i's chunk and i <= e(c), unless LOCAL is a second window
 *
 * @param dTypes Holds (dg, dl, dw) of chunk c at start + 3c.
 */
export function addTypeGradientRow(
  plan: TypeGradientPlan, row: FloatArray, i: number, dTypes: FloatArray, start: number,
): void {
  const { closing, previousGlobal, types, chunk, window, closes } = plan;
  const r = chunkOf(i, chunk);
  const p = previousGlobal[r]; // only GLOBAL chunk p and the chunks after it can still close something at i
  const oldest = p < 0 ? 0 : previousGlobal[p] + 1;
  let openLocal = 0; // sum of dM[i,k] over LOCAL k since the last GLOBAL before c
  for (let c = 0; c <= r; c++) {
    let sum = 0;
    for (let j = c * chunk, end = Math.min((c + 1) * chunk, i + 1); j < end; j++) sum += row[j];
    const at = start + 3 * c;
    dTypes[at] = dTypes[at] + sum;
    if (i <= closing[c]) dTypes[at + 1] = dTypes[at + 1] + sum;
    if (i <= windowEnd(c, chunk, window)) dTypes[at + 2] = dTypes[at + 2] + sum;
    if (c < oldest || !closes) continue;
    if (c >= p && c < r) dTypes[at] = dTypes[at] - openLocal;
    if (types[c] === TokenType.GLOBAL) openLocal = 0;
    else if (types[c] === TokenType.LOCAL) openLocal += sum;
  }
}
