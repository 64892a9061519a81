/**
 * What the sixth set of mutants is made of.
 * @module
 */
import type { CaseParameters, OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { GLOBAL, type Head, type Hooks, type RowOf, type Weights } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { chunkOf } from '../right.ts';

export const f: (x: number) => number = Math.fround;

/** The ground truth about a mutant: where its mistake shows. Written down before any diagnosis was run. */
export interface Truth {
  /** The cause, in plain words: where in a kernel it would be, and what is wrong there. */
  readonly cause: string;
  /** The outputs that may be wrong. Others are those of the honest kernel. */
  readonly tensors: readonly string[];
  /** Heads, rows, batches, tiles and keys. */
  readonly where: string;
  /** The cases in which it can show. */
  readonly cases: string;
  /** Whether it shows in a case or two only. */
  readonly rare?: true;
}

export interface Sixth extends Mutant {
  readonly truth: Truth;
}

/** Every output of attention that comes after a wrong mask or a wrong softmax. */
export const FORWARD: readonly string[] = ['out', 'lse', 'cache_out'];
export const BACKWARD: readonly string[] = ['dq', 'dk', 'dv'];
export const TYPE_SUMS: readonly string[] = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'];
export const ATTENTION: readonly string[] = [...FORWARD, ...BACKWARD, ...TYPE_SUMS];

export const made = (id: string, what: string, truth: Truth, make: (each: OracleCase) => Tensors): Sixth =>
  ({ id, what, named: ['unknown'], dtype: 'f32', truth, run: make });

/** The kernel with hooks, which wrongs `only` some outputs if given: others are then those of the honest kernel. */
export const hooked = (
  id: string, what: string, truth: Truth, hooks: (each: OracleCase, p: CaseParameters) => Hooks,
  only?: readonly string[],
): Sixth => made(id, what, truth, (each) => {
  const wrong = run(each, hooks(each, each.parameters));
  return only ? mixed(only, wrong, honest(each)) : wrong;
});

const kept = new WeakMap<OracleCase, Tensors>();

/** The outputs of the kernel without a mistake. */
export function honest(each: OracleCase): Tensors {
  let tensors = kept.get(each);
  if (!tensors) kept.set(each, tensors = run(each));
  return tensors;
}

/** `names` of the wrong outputs among the right ones. */
export const mixed = (names: readonly string[], wrong: Tensors, right: Tensors): Tensors =>
  Object.fromEntries(Object.entries(right).map(([name, tensor]) =>
    [name, names.includes(name) ? wrong[name] : tensor]));

/** Changes each number of some outputs. `at` is its index by axis. */
export function edited(
  tensors: Tensors, names: readonly string[],
  change: (x: number, at: readonly number[], shape: readonly number[], data: ArrayLike<number>) => number,
): Tensors {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => {
    if (!names.includes(name)) return [name, tensor];
    const { shape } = tensor;
    const made = (x: number, flat: number): number => {
      const at = new Array<number>(shape.length);
      for (let axis = shape.length - 1, rest = flat; axis >= 0; axis--) {
        at[axis] = rest % shape[axis];
        rest = Math.floor(rest / shape[axis]);
      }
      const y = change(x, at, shape, tensor.data);
      return tensor.dtype === 'I32' ? y : f(y);
    };
    if (tensor.dtype === 'I32') return [name, { ...tensor, data: tensor.data.map(made) }];
    return [name, { ...tensor, data: (tensor.data as Float64Array).map(made) }];
  })) as Tensors;
}

/** The case with other numbers in some inputs. */
export function fed(
  each: OracleCase, change: Readonly<Record<string, (data: Float64Array, shape: readonly number[]) => Float64Array>>,
): OracleCase {
  const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, tensor]) =>
    [name, change[name] ? { ...tensor, data: change[name](tensor.data as Float64Array, tensor.shape) } : tensor]));
  return { ...each, inputs: inputs as Tensors };
}

/** k or v, [B,G,N,d], where the token of position j is read at another position. */
export function readAt(place: (j: number) => number): (data: Float64Array, shape: readonly number[]) => Float64Array {
  return (data, [, , N, d]) => data.map((_, n) => {
    const j = Math.floor(n / d) % N;
    return data[n + (place(j) - j) * d];
  });
}

/** The types by chunk, [B,G,Nc]. */
export const typesOf = (each: OracleCase): Int32Array =>
  (each.inputs.types ?? honest(each).types).data as Int32Array;

/** The type that a token counts as, GLOBAL if its chunk is unfinished. */
export const typeAt = (head: Head, j: number): number => head.own[chunkOf(j, head.p)] ?? GLOBAL;
export const seen = (i: number, j: number, last: number): boolean => j <= i && i <= last;

/** The keys of a row that it sees. */
export function part(row: RowOf, sees: (j: number) => boolean): RowOf {
  const at = [...row.keys.keys()].filter((n) => sees(row.keys[n]));
  return {
    ...row, keys: at.map((n) => row.keys[n]), S: at.map((n) => row.S[n]), value: (n, c) => row.value(at[n], c),
  };
}

/** What an online softmax of one's own does otherwise. */
export interface Tiled {
  readonly tile?: number;
  /** The running maximum before the first tile. */
  readonly start?: number;
  readonly exp?: (x: number) => number;
  /** The factor of what was summed before, by how much the maximum grew (x <= 0), for the sum or for a channel. */
  readonly alpha?: (x: number, c: number | 'sum') => number;
  /** The weight as the product with v takes it. */
  readonly stored?: (e: number) => number;
  /** Between tiles. */
  readonly carry?: (o: number) => number;
}

/** An online softmax over the keys of a row. */
export function tiled({ S, keys, value, d }: RowOf, options: Tiled = {}): Weights {
  const { tile = 16, start = -Infinity, exp = Math.exp, stored = (e) => e, carry = (o) => o } = options;
  const alpha = options.alpha ?? ((x) => exp(x));
  let [m, Z] = [start, 0];
  const o = new Float32Array(d);
  for (let at = 0; at < keys.length;) {
    let end = at;
    while (end < keys.length && Math.floor(keys[end] / tile) === Math.floor(keys[at] / tile)) end++;
    const top = Math.max(m, ...S.slice(at, end));
    const grown = f(m - top);
    Z = f(Z * f(alpha(grown, 'sum')));
    for (let c = 0; c < d; c++) o[c] = f(o[c] * f(alpha(grown, c)));
    for (let n = at; n < end; n++) {
      const e = f(exp(f(S[n] - top)));
      Z = f(Z + e);
      for (let c = 0; c < d; c++) o[c] = f(o[c] + f(stored(e) * value(n, c)));
    }
    for (let c = 0; c < d; c++) o[c] = carry(o[c]);
    [m, at] = [top, end];
  }
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
}

/** To the nearest number of `bits` significant bits, ties to even, and none finer than `least`. */
export function nearest(x: number, bits: number, least = 0): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  let power = 2 ** Math.floor(Math.log2(Math.abs(x)));
  if (Math.abs(x) >= 2 * power) power *= 2;
  else if (Math.abs(x) < power) power /= 2;
  const unit = Math.max(power * 2 ** (1 - bits), least);
  const low = Math.floor(x / unit);
  const rest = x / unit - low;
  return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * unit;
}

export const tf32 = (x: number): number => nearest(x, 11);
export const bf16 = (x: number): number => nearest(x, 8);
export const f16 = (x: number): number => {
  const y = nearest(x, 11, 2 ** -24);
  return Math.abs(y) > 65504 ? Math.sign(y) * Infinity : y;
};
