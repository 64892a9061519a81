/**
 * What a kernel of this folder is: the text of a function, and the order and kind of its arguments.
 *
 * Kernels are texts and not functions, because gpu.js translates source code and minifiers rewrite functions.
 * They use only what means the same on every backend of gpu.js: `for` with a counted bound, `if`, scalars and
 * flat arrays. Four habits keep indices exact beyond 2^24, where float32 stops counting:
 *
 * - index expressions hold loop variables, this.thread and whole-number arguments only;
 * - a row that was read from an array, or kept in a variable, is turned into an index by at(row, width, column);
 * - an element that becomes an argument of at() is first put into a variable, which WebGL2 needs;
 * - floor(n / m) is written floor((n + 0.5) / m), since a GPU's division may be off in the last place.
 * @module
 */

/** A kernel: `function(arrays..., integers..., floats...)` that computes one element of its result. */
export interface Kernel {
  /** Unique; what errors and profiles call it. */
  readonly name: string;
  readonly arrays: readonly string[];
  readonly integers: readonly string[];
  readonly floats: readonly string[];
  /** The function's body over this.thread.x, .y and .z. */
  readonly body: string;
  /** Whether the result is a plain vector of any length instead of x * y * z: then y and z are 1. */
  readonly flat: boolean;
  /** Elements that one call returns: 1, or 4 as an array [a, b, c, d], which are stored side by side. */
  readonly parts: 1 | 4;
}

/** Declares a kernel; `names` are 'arrays | integers | floats', each separated by spaces. */
export function kernel(
  name: string, names: string, body: string, form: { flat?: boolean; parts?: 1 | 4 } = {},
): Kernel {
  const [arrays, integers, floats] = names.split('|').map((part) => part.split(' ').filter((word) => word !== ''));
  return {
    name, arrays: arrays, integers: integers ?? [], floats: floats ?? [], body: body.trim(),
    flat: form.flat ?? false, parts: form.parts ?? 1,
  };
}

/** The text that gpu.js gets. */
export function sourceOf({ arrays, integers, floats, body }: Kernel): string {
  return `function(${[...arrays, ...integers, ...floats].join(', ')}) {\n${body}\n}`;
}

/** at(row, width, column): an index computed in whole numbers, whatever its arguments were. */
export const AT = {
  source: 'function at(row, width, column) { return row * width + column; }',
  settings: { returnType: 'Integer', argumentTypes: { row: 'Integer', width: 'Integer', column: 'Integer' } },
} as const;
