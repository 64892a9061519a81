/**
 * Kernels: WGSL texts in which a few constants are filled in.
 *
 * A text is complete and can be read on its own. Group 0 holds `struct Params` at binding 0, then the arrays that are
 * read, then those that are written. Words such as `$LANES` stand for constants: what decides about registers,
 * workgroup memory and loops that a driver unrolls. What differs from call to call is a field of Params.
 * @module
 */

import type { ParamWords } from '../device/recorder.ts';

/** The types that fields of Params have, four bytes each. */
type FieldType = 'u32' | 'i32' | 'f32';

/** A kernel, ready to be compiled. Two of the same text and constants are the same object. */
export interface Kernel {
  /** What errors and profiles call it. */
  readonly name: string;
  readonly code: string;
  /** How many arrays it reads, and how many it writes. */
  readonly inputs: number;
  readonly outputs: number;
  /** The fields of Params, in order. */
  readonly fields: readonly { readonly name: string; readonly type: FieldType }[];
}

/** A text with constants left open. */
export type Template<C extends string> = (constants: Readonly<Record<C, number | string>>) => Kernel;

/** A kernel without constants. */
export function kernel(name: string, code: string): Kernel {
  const struct = /struct Params \{([^}]*)\}/.exec(code)?.[1] ?? '';
  const fields = [...struct.matchAll(/(\w+): (u32|i32|f32)/g)]
    .map(([, field, type]) => ({ name: field, type: type as FieldType }));
  const count = (access: string): number => code.split(`var<storage, ${access}>`).length - 1;
  return { name, code: code.trim(), inputs: count('read'), outputs: count('read_write'), fields };
}

/** A template whose constants are the words of `names`: 'LANES ROWS' for $LANES and $ROWS. */
export function template<C extends string>(name: string, text: string, ...names: readonly C[]): Template<C> {
  const made = new Map<string, Kernel>();
  return (constants) => {
    const key = names.map((each) => constants[each]).join(' ');
    let filled = made.get(key);
    if (!filled) {
      // Constants that are WGSL may hold others, and would make long names.
      const short = names.filter((each) => !/\s/.test(String(constants[each])));
      const labels = short.map((each) => `${each}=${constants[each]}`).join(' ');
      const fill = (part: string): string =>
        part.replace(/\$([A-Z_0-9]+)/g, (_, word: C) => fill(String(constants[word])));
      made.set(key, filled = kernel(`${name} ${labels}`, fill(text)));
    }
    return filled;
  };
}

/** The bytes of a kernel's parameters. */
export const paramBytes = ({ fields }: Kernel): number => Math.max(16, Math.ceil(fields.length / 4) * 16);

/** Writes the parameters of a call, from word `at` on. */
export function writeParams(
  { name, fields }: Kernel, values: Readonly<Record<string, number>>, { whole, real, at }: ParamWords,
): void {
  for (let n = 0; n < fields.length; n++) {
    const field = fields[n];
    const value = values[field.name];
    if (value === undefined) throw new Error(`kernel '${name}' got no ${field.name}`);
    if (field.type === 'f32') real[at + n] = value;
    else whole[at + n] = value; // modulo 2^32, so that i32 keeps its sign
  }
}
