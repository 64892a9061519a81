/**
 * Between [B,N,heads*d] and [B,heads,N,d], which are the same memory where there is one token or one head.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const SPLIT = kernel('split heads', 'x | heads n d', `
  const b = Math.floor((this.thread.z + 0.5) / heads);
  const h = this.thread.z - b * heads;
  return x[at(at(b, n, this.thread.y), heads * d, at(h, d, this.thread.x))];`);

/** [B,N,heads*d] -> [B,heads,N,d]. */
export function splitHeads(
  scope: Scope, x: Memory, B: number, heads: number, N: number, d: number,
): Promise<Memory> {
  if (N === 1 || heads === 1) return Promise.resolve(scope.share(x));
  return scope.run(SPLIT, [d, N, B * heads], [x], [heads, N, d]);
}

const MERGE = kernel('merge heads', 'x | heads n d', `
  const h = Math.floor((this.thread.x + 0.5) / d);
  const column = this.thread.x - h * d;
  return x[at(at(at(this.thread.z, heads, h), n, this.thread.y), d, column)];`);

/** [B,heads,N,d] -> [B,N,heads*d]. */
export function mergeHeads(
  scope: Scope, x: Memory, B: number, heads: number, N: number, d: number,
): Promise<Memory> {
  if (N === 1 || heads === 1) return Promise.resolve(scope.share(x));
  return scope.run(MERGE, [heads * d, N, B], [x], [heads, N, d]);
}
