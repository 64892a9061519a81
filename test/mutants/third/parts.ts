/**
 * What the third set shares. Its mistakes are those of real kernels, or what people who tried the oracle on a GPU
 * found that it missed; the set was written from that list before the diagnosis was repaired.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { ClaimedDtype, OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { narrow } from '../held-out/parts.ts';
import type { Hooks } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';

/** What is right to say about a mutant: one of these names, or words that say where it fails. */
export interface Wanted {
  readonly named?: readonly string[];
  readonly where?: RegExp;
}

/** A mutant of the third set. */
export const third = (
  id: string, what: string, { named = [], where }: Wanted, make: (oracleCase: OracleCase) => Tensors, dtype: ClaimedDtype = 'f32',
): Mutant => ({ id, what, named: named as Mutant['named'], where, dtype, run: make });

/** The kernel with hooks that may depend on the case. */
export const broken = (
  id: string, what: string, wanted: Wanted, hooks: Hooks | ((oracleCase: OracleCase) => Hooks),
): Mutant => third(id, what, wanted, (each) => run(each, typeof hooks === 'function' ? hooks(each) : hooks));

/** The same, stored in 16 bits, claiming no more. */
export const narrowed = (dtype: 'f16' | 'bf16', id: string, what: string, wanted: Wanted, hooks: Hooks): Mutant =>
  third(id, what, wanted, (each) => narrow(each, hooks, dtype === 'f16' ? 'F16' : 'BF16'), dtype);

/** Where an element lies in [B, heads, rows, rest]. */
export interface At {
  readonly b: number;
  readonly h: number;
  readonly i: number;
  readonly c: number;
}

/** Changes elements of some outputs: `change` is given the value, where it lies, and the case. */
export function edited(
  outputs: Tensors, names: readonly string[], change: (x: number, at: At, tensor: NamedTensor) => number,
): Tensors {
  const made: Record<string, NamedTensor> = { ...outputs };
  for (const name of names) {
    const tensor = outputs[name];
    if (!tensor) continue;
    const [, heads = 1, rows = 1, ...rest] = tensor.shape;
    const size = rest.reduce((a, b) => a * b, 1);
    made[name] = {
      ...tensor,
      data: tensor.data.map((x: number, n: number) => change(x, {
        c: n % size, i: Math.floor(n / size) % rows, h: Math.floor(n / (size * rows)) % heads,
        b: Math.floor(n / (size * rows * heads)),
      }, tensor)),
    } as NamedTensor;
  }
  return made;
}

/** The outputs of the right kernel, but where `at` holds those of the wrong one. */
export function patched(right: Tensors, wrong: Tensors, names: readonly string[], at: (at: At) => boolean): Tensors {
  const made: Record<string, NamedTensor> = { ...right };
  for (const name of names) {
    if (!right[name]) continue;
    let n = 0;
    made[name] = edited(right, [name], (x, where) => (at(where) ? wrong[name].data[n++] : (n++, x)))[name];
  }
  return made;
}
