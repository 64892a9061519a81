/**
 * §7: what keeping a token costs.
 * @module
 */
import type { LifetimeOptions } from '../../src/core/lifetime.ts';
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';
import { planTypes } from './mask.ts';

const PRICE = kernel('memory price', 'dTypes closing | n chunks C reach | window weight', `
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
      let kept = end - (this.thread.y * C + t);
      if (kept > reach) {
        kept = reach;
      }
      queries += kept;
    }
  }
  return dTypes[(this.thread.z * chunks + this.thread.y) * 3 + this.thread.x] + weight * queries;`);

/** dTypes + K times the queries that each token would be kept for, per type: [BG,Nc,3]. */
export async function addMemoryPrice(
  scope: Scope, dTypes: Memory, types: Memory, BG: number, N: number,
  options: LifetimeOptions & { weight: number },
): Promise<Memory> {
  const { closing, chunks, chunk, window } = await planTypes(scope, types, BG, N, options);
  const reach = Math.min(options.reach ?? N, N); // no token is N queries old
  return scope.run(
    PRICE, [3, chunks, BG], [dTypes, closing], [N, chunks, chunk, reach], [window, options.weight],
  );
}
