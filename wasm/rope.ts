/**
 * Rotation by position (kernels/layers.ts).
 * @module
 */
import type { HeadSizes } from '../src/core/sizes.ts';
import type { Machine, WasmArray } from './machine.ts';

/** (a cos - b sin, b cos + a sin) of the halves (a, b) of each row of x [B,heads,N,d]; sign -1 turns back. */
export function rope(
  on: Machine, x: WasmArray, cos: WasmArray, sin: WasmArray, sign: 1 | -1, { B, heads, N, d }: HeadSizes,
): WasmArray {
  const made = on.make(x.shape);
  const [from, c, s] = [on.real(x), on.real(cos), on.real(sin)];
  const [head, table] = [N * d * on.size, N * (d / 2) * on.size];
  const parts = Array.from({ length: B }, (_, b) => on.ranges(heads, 1, B * heads * N * d * 2).map(([first, end]) => {
    const at = (b * heads + first) * head;
    return [from + at, c + b * table, s + b * table, made.at + at, 1, end - first, N, d, sign];
  }));
  on.together(on.own('rope'), parts.flat());
  return made;
}
