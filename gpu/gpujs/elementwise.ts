/**
 * Sums of vectors, element by element and along them.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const ADD = kernel('add', 'a b', `
  return a[this.thread.x] + b[this.thread.x];`, { flat: true });

/** a + b, both of `length`. */
export function add(scope: Scope, a: Memory, b: Memory, length: number): Promise<Memory> {
  return scope.run(ADD, [length], [a, b]);
}

const FILL = kernel('fill', 'nothing || value', `
  return value + 0 * nothing[0];`, { flat: true });

/** `length` times `value`. */
export async function fill(scope: Scope, value: number, length: number): Promise<Memory> {
  return scope.run(FILL, [length], [scope.upload([0])], [], [value]);
}

const SUM_PARTS = kernel('sum parts', 'x | length parts', `
  let sum = 0;
  for (let p = 0; p < parts; p++) {
    sum += x[p * length + this.thread.x];
  }
  return sum;`, { flat: true });

/** Sums `parts` vectors of `length` that lie one after the other. */
export async function sumParts(scope: Scope, x: Memory, length: number, parts: number): Promise<Memory> {
  if (parts === 1) return x;
  const sum = await scope.run(SUM_PARTS, [length], [x], [length, parts]);
  scope.free(x);
  return sum;
}

/** How many parts to split a sum over `rows` into, where each of `results` sums has a thread of its own. */
export function partsOf(rows: number, results: number): number {
  const wanted = Math.ceil(2 ** 17 / Math.max(results, 1));
  return Math.max(1, Math.min(wanted, Math.ceil(rows / 64), 256));
}
