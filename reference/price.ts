/**
 * §7: what keeping a token costs.
 * @module
 */
import { finite, floats, integers, record } from '../src/core/arguments.ts';
import { boundedEnd, chunkCount, TokenType } from '../src/core/lifetime.ts';
import { checkTypeValues, checkTypesShape, expectRank, expectShape } from '../src/core/shape.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { planTypeGradient } from './mask.ts';

/**
 * The mean over a head's tokens of kept_j = (min(last(j), N-1) - j) / N * 2 (§7): 1 - 1/N when all are
 * GLOBAL, 0 when no token outlives its own query.
 *
 * @param last Lifetimes, [B,G,N].
 * @returns Kept share per head, [B,G].
 * @throws {ShapeError} If last is not [B,G,N].
 * @example
 * ```ts
 * import { keptShare, lifetime, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 0, 0, 0), [1, 1, 4]); // all GLOBAL
 * console.log([...keptShare(lifetime(types, { window: 0 })).data]); // [0.75]
 * ```
 */
export function keptShare(last: NDArray<Int32Array>): NDArray<Float64Array> {
  integers('last', last);
  expectRank('last', last, 'B,G,N');
  const [B, G, N] = last.shape as [number, number, number];
  const share = new Float64Array(B * G);
  for (let head = 0; head < B * G; head++) {
    let kept = 0;
    for (let j = 0; j < N; j++) kept += Math.min(last.data[head * N + j], N - 1) - j;
    share[head] = N > 0 ? (kept * 2) / (N * N) : 0;
  }
  return { data: share, shape: [B, G] };
}

/**
 * Adds the price's cotangent to (dg, dl, dw) (§7). With weight K, token j adds
 * g: K (N-1-j), l: K (e(j)-j), w: K min(W, N-1-j), none of them above K bound; a chunk is the sum of its tokens.
 *
 * @param options.dTypes [B,G,Nc,3]; not changed.
 * @param options.types [B,G,Nc].
 * @param options.length N in tokens.
 * @param options.weight K = lambda * 2 / (layers * G * B * N²), in nats per query that a token is kept.
 * @returns dTypes plus the price, [B,G,Nc,3].
 * @throws {ShapeError} If types or dTypes do not fit N and C.
 * @throws {ValueError} If W < 0, C < 1 or either is fractional.
 * @example
 * ```ts
 * import { addMemoryPrice, ndarray } from 'neural-attention-search';
 * const types = ndarray(Int32Array.of(0, 1, 0, 0), [1, 1, 4]); // G L G G
 * const dTypes = ndarray(new Float64Array(12), [1, 1, 4, 3]);
 * const { data } = addMemoryPrice({ dTypes, types, length: 4, window: 0, weight: 1 });
 * console.log([...data.subarray(3, 6)]); // [2,1,0]
 * ```
 */
export function addMemoryPrice(options: {
  dTypes: NDArray;
  types: NDArray<Int32Array>;
  length: number;
  window: number;
  chunk?: number;
  bound?: number;
  weight: number;
}): NDArray {
  record({ dTypes: floats, types: integers, weight: finite })('options', options);
  const { dTypes, types, length: N, window, chunk = 1, bound, weight } = options;
  checkTypesShape(types, N, { window, chunk, bound });
  checkTypeValues(types.data);
  const [B, G] = types.shape as [number, number, number];
  const chunks = chunkCount(N, chunk);
  expectShape('dTypes', dTypes, [B, G, chunks, 3], `types is [${types.shape}]`);
  const data = dTypes.data.slice();
  for (let head = 0; head < B * G; head++) {
    const { closing } = planTypeGradient(types.data, head * chunks, N, { window, chunk });
    for (let c = 0; c < chunks; c++) {
      const at = (head * chunks + c) * 3;
      const end = Math.min((c + 1) * chunk, N);
      for (let j = c * chunk; j < end; j++) {
        const price = (last: number): number => weight * (boundedEnd(last, j, bound) - j);
        data[at + TokenType.GLOBAL] = data[at + TokenType.GLOBAL] + price(N - 1);
        data[at + TokenType.LOCAL] = data[at + TokenType.LOCAL] + price(closing[c]);
        data[at + TokenType.WINDOW] = data[at + TokenType.WINDOW] +
          price(Math.min((c + 1) * chunk - 1 + window, N - 1));
      }
    }
  }
  return { data, shape: dTypes.shape };
}
