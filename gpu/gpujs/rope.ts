/**
 * Rotary position embedding.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const ROPE = kernel('rope', 'x cos sin | heads n half | sign', `
  const b = Math.floor((this.thread.z + 0.5) / heads);
  let pair = this.thread.x;
  if (this.thread.x >= half) {
    pair = this.thread.x - half;
  }
  const angle = at(at(b, n, this.thread.y), half, pair);
  const row = at(this.thread.z, n, this.thread.y);
  const first = x[at(row, half * 2, pair)];
  const second = x[at(row, half * 2, pair + half)];
  const c = cos[angle];
  const s = sign * sin[angle];
  if (this.thread.x >= half) {
    return second * c + first * s;
  }
  return first * c - second * s;`);

/** (a, b) halves of x [B,heads,N,d] -> (a cos - b sin, b cos + a sin); cos and sin are [B,N,d/2]. */
export function rope(
  scope: Scope, x: Memory, cos: Memory, sin: Memory, inverse: boolean,
  B: number, heads: number, N: number, d: number,
): Promise<Memory> {
  return scope.run(ROPE, [d, N, B * heads], [x, cos, sin], [heads, N, d / 2], [inverse ? -1 : 1]);
}
