/**
 * §2 with C > 1: the hidden states of a chunk are pooled into one before they are scored.
 * @module
 */
import { touchedChunks } from '../../src/core/lifetime.ts';
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const POOL = kernel('pool chunks', 'x | n D C largest', `
  let sum = 0;
  let count = 0;
  for (let t = 0; t < C; t++) {
    if (this.thread.y * C + t < n) {
      const value = x[(this.thread.z * n + this.thread.y * C + t) * D + this.thread.x];
      if (t === 0) {
        sum = value;
      } else {
        if (largest > 0) {
          sum = Math.max(sum, value);
        } else {
          sum += value;
        }
      }
      count += 1;
    }
  }
  if (largest > 0) {
    return sum;
  }
  return sum / count;`);

/** x [B,N,D] -> [B,ceil(N/C),D]: the mean, or the largest, of each chunk. */
export function poolChunks(
  scope: Scope, x: Memory, B: number, N: number, D: number, C: number, largest: boolean,
): Promise<Memory> {
  return scope.run(POOL, [D, Math.ceil(N / C), B], [x], [N, D, C, largest ? 1 : 0]);
}

/** Adds a step's tokens to what had arrived of their chunk; meta holds (tokens before, tokens) of each b. */
const PUSH = kernel('chunk pool push', 'x state meta | n D C largest mean', `
  const used = meta[this.thread.z * 2];
  const count = meta[this.thread.z * 2 + 1];
  let row = this.thread.y;
  if (mean < 0) {
    row = Math.floor((used + count - 1 + 0.5) / C);
  }
  let sum = 0;
  let taken = 0;
  if (row < 1 && used > 0) {
    sum = state[this.thread.z * D + this.thread.x];
    taken = used;
  }
  let fresh = 0;
  for (let t = 0; t < C; t++) {
    const token = row * C - used + t;
    if (token >= 0 && token < count) {
      const value = x[at(at(this.thread.z, n, token), D, this.thread.x)];
      if (taken < 1) {
        sum = value;
      } else {
        if (largest > 0) {
          sum = Math.max(sum, value);
        } else {
          sum += value;
        }
      }
      taken += 1;
      fresh += 1;
    }
  }
  if (mean > 0) {
    if (fresh < 1) {
      sum = 0;
    } else {
      if (largest < 1) {
        sum = sum / taken;
      }
    }
  } else {
    if (count < 1) {
      sum = state[this.thread.z * D + this.thread.x];
    }
  }
  return sum;`);

/**
 * One step of the running pool: rows [B,nc,D] of the chunks touched, and the next state [B,D], the sum or the
 * largest of the newest chunk. used[b] tokens of the newest chunk had arrived before.
 */
export async function pushChunks(
  scope: Scope, x: Memory, state: Memory,
  step: {
    B: number; T: number; D: number; C: number; largest: boolean;
    used: readonly number[]; counts: readonly number[];
  },
): Promise<[rows: Memory, state: Memory]> {
  const { B, T, D, C, largest, used, counts } = step;
  const meta = scope.upload(counts.flatMap((count, b) => [used[b], count]));
  const rows = touchedChunks(T, C);
  return [
    await scope.run(PUSH, [D, rows, B], [x, state, meta], [T, D, C, largest ? 1 : 0, 1]),
    await scope.run(PUSH, [D, 1, B], [x, state, meta], [T, D, C, largest ? 1 : 0, -1]),
  ];
}
