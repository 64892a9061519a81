/**
 * §7: what keeping a token costs.
 * @module
 */
import { endWithin, type LifetimeOptions, TokenType } from '../src/core/lifetime.ts';
import type { TypeSizes } from '../src/core/sizes.ts';
import type { NDArray } from '../src/core/tensor.ts';
import { planTypeGradient } from './mask.ts';

/**
 * The mean over a head's tokens of kept_j = (min(last(j), N-1) - j) / N * 2 (§7), [B,G]. It is 1 - 1/N if all are
 * GLOBAL, and 0 if no token outlives its own query.
 */
export function keptShare(
  last: NDArray<Int32Array>, { B, G, N }: { B: number; G: number; N: number },
): NDArray<Float64Array> {
  const share = new Float64Array(B * G);
  for (let head = 0; head < B * G; head++) {
    let kept = 0;
    for (let j = 0; j < N; j++) kept += Math.min(last.data[head * N + j], N - 1) - j;
    share[head] = N > 0 ? (kept * 2) / (N * N) : 0;
  }
  return { data: share, shape: [B, G] };
}

/**
 * Adds the cotangent of the price to (dg, dl, dw) (§7). With weight K, token j adds
 * g: K (N-1-j), l: K (e(j)-j), w: K min(W, N-1-j), none of them above K reach. A chunk adds the sum over its tokens.
 */
export function addMemoryPrice(
  dTypes: NDArray, types: NDArray<Int32Array>, options: LifetimeOptions & { weight: number },
  { B, G, N, chunks }: TypeSizes & { N: number },
): NDArray {
  const { window, localWindow, chunk, reach, weight } = options;
  const data = dTypes.data.slice();
  for (let head = 0; head < B * G; head++) {
    const { closing } = planTypeGradient(types.data, head * chunks, N, { window, localWindow, chunk });
    for (let c = 0; c < chunks; c++) {
      const at = (head * chunks + c) * 3;
      const end = Math.min((c + 1) * chunk, N);
      for (let j = c * chunk; j < end; j++) {
        const price = (last: number): number => weight * (endWithin(last, j, reach) - j);
        data[at + TokenType.GLOBAL] = data[at + TokenType.GLOBAL] + price(N - 1);
        data[at + TokenType.LOCAL] = data[at + TokenType.LOCAL] + price(closing[c]);
        data[at + TokenType.WINDOW] = data[at + TokenType.WINDOW] +
          price(Math.min((c + 1) * chunk - 1 + window, N - 1));
      }
    }
  }
  return { data, shape: dTypes.shape };
}
