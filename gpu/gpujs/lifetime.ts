/**
 * §2: from token types to lifetimes. FOREVER, 2^31 - 1, is 2^31 on a device, the nearest float32.
 * @module
 */
import { FOREVER, type LifetimeOptions } from '../../src/core/lifetime.ts';
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

/** Stands for a second window where there is none. */
export const NO_WINDOW: number = -1;

/** FOREVER as float32 holds it. */
export const ENDLESS: number = Math.fround(FOREVER);

/**
 * One thread per token looks ahead to the first GLOBAL chunk after its own; a chunk that does not end inside
 * the sequence counts as GLOBAL. A second window `local` >= 0 ends LOCAL chunks instead. No token j lives beyond
 * j + reach. An unknown type (a NaN score) makes last -1.
 */
const LIFETIME = kernel('lifetime', 'types | n chunks C | window local endless reach', `
  const c = Math.floor((this.thread.x + 0.5) / C);
  const end = c * C + C - 1;
  const type = types[at(this.thread.y, chunks, c)];
  let last = endless;
  if (end < n) {
    if (type === 1 && local < 0) {
      let open = 1;
      for (let t = 1; t < chunks; t++) {
        if (open > 0 && c + t < chunks) {
          const next = end + t * C;
          if (next >= n || types[at(this.thread.y, chunks, c + t)] === 0) {
            last = next;
            open = 0;
          }
        } else {
          break;
        }
      }
    }
    if (type === 1 && local >= 0) {
      last = end + local;
    }
    if (type === 2) {
      last = end + window;
    }
    if (last > endless) {
      last = endless;
    }
    if (type > 2) {
      last = -1;
    }
  }
  const most = reach + this.thread.x;
  if (last > most) {
    last = most;
  }
  return last;`);

/** last [BG,N] of types [BG,Nc]. */
export function lifetime(
  scope: Scope, types: Memory, BG: number, N: number,
  { window, localWindow = NO_WINDOW, chunk, reach = ENDLESS }: LifetimeOptions,
): Promise<Memory> {
  return scope.run(
    LIFETIME, [N, BG], [types], [N, Math.ceil(N / chunk), chunk], [window, localWindow, ENDLESS, reach],
  );
}

const KEPT = kernel('kept share', 'last | n', `
  let sum = 0;
  for (let j = 0; j < n; j++) {
    let end = last[this.thread.x * n + j];
    if (end > n - 1) {
      end = n - 1;
    }
    sum += end - j;
  }
  return sum / n * 2 / n;`, { flat: true });

/** §7: the mean over j of kept_j, for each KV head. */
export function keptShare(scope: Scope, last: Memory, BG: number, N: number): Promise<Memory> {
  return scope.run(KEPT, [BG], [last], [N]);
}
