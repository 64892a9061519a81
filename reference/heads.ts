/**
 * Converts between [B,N,heads*d], the layout of linear layers, and [B,heads,N,d], the layout of attention.
 * @module
 */
import type { HeadSizes } from '../src/core/sizes.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';

/** [B,N,heads*d] -> [B,heads,N,d]; its backward is mergeHeads. */
export function splitHeads(x: NDArray, { B, heads, N, d }: HeadSizes): NDArray {
  const out = zerosLike(x.data, x.data.length);
  for (let b = 0; b < B; b++) {
    for (let n = 0; n < N; n++) {
      for (let h = 0; h < heads; h++) {
        const from = ((b * N + n) * heads + h) * d;
        out.set(x.data.subarray(from, from + d), ((b * heads + h) * N + n) * d);
      }
    }
  }
  return { data: out, shape: [B, heads, N, d] };
}

/** [B,heads,N,d] -> [B,N,heads*d]; its backward is splitHeads. */
export function mergeHeads(x: NDArray, { B, heads, N, d }: HeadSizes): NDArray {
  const out = zerosLike(x.data, x.data.length);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < heads; h++) {
      for (let n = 0; n < N; n++) {
        const from = ((b * heads + h) * N + n) * d;
        out.set(x.data.subarray(from, from + d), (b * N + n) * heads * d + h * d);
      }
    }
  }
  return { data: out, shape: [B, N, heads * d] };
}
