/**
 * §7: what keeping a token costs.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';
import { planTypes } from './mask.ts';

const PRICE = kernel('memory price', 'dTypes closing | n chunks C | window weight', `
  let end = n - 1;
  if (this.thread.x === 1) {
    end = closing[this.thread.z * chunks + this.thread.y];
  }
  if (this.thread.x === 2 && this.thread.y * C + C - 1 + window < end) {
    end = this.thread.y * C + C - 1 + window;
  }
  let queries = 0;
  for (let t = 0; t < C; t++) {
    if (this.thread.y * C + t < n) {
      queries += end - (this.thread.y * C + t);
    }
  }
  return dTypes[(this.thread.z * chunks + this.thread.y) * 3 + this.thread.x] + weight * queries;`);

/** dTypes + K times the queries that each token would be kept for, per type: [heads,Nc,3]. */
export async function addMemoryPrice(
  scope: Scope, dTypes: Memory, types: Memory, heads: number, N: number,
  options: { window: number; chunk: number; weight: number },
): Promise<Memory> {
  const { closing, chunks, chunk, window } = await planTypes(scope, types, heads, N, options);
  return scope.run(PRICE, [3, chunks, heads], [dTypes, closing], [N, chunks, chunk], [window, options.weight]);
}
