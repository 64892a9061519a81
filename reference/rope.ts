/**
 * Rotary position embedding (Su et al., 2021) in the half-split layout of Llama checkpoints.
 * @module
 */
import type { HeadSizes } from '../src/core/sizes.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';

/**
 * With x = (a, b) halves: (a cos - b sin, b cos + a sin). x [B,heads,N,d], cos and sin [B,N,d/2].
 * `inverse` rotates back, which is also the backward, since rotations are orthogonal.
 */
export function rope(
  x: NDArray, cos: NDArray, sin: NDArray, inverse: boolean, { B, heads, N, d }: HeadSizes,
): NDArray {
  const half = d / 2;
  const sign = inverse ? -1 : 1;
  const out = zerosLike(x.data, x.data.length);
  for (let row = 0; row < B * heads * N; row++) {
    const b = Math.floor(row / (heads * N));
    const angle = (b * N + (row % N)) * half;
    for (let n = 0; n < half; n++) {
      const c = cos.data[angle + n];
      const s = sign * sin.data[angle + n];
      const first = x.data[row * d + n];
      const second = x.data[row * d + half + n];
      out[row * d + n] = first * c - second * s;
      out[row * d + half + n] = second * c + first * s;
    }
  }
  return { data: out, shape: x.shape };
}
