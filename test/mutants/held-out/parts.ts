/**
 * What the held-out mutants share. It was written without knowledge of the diagnosis, and never used to improve it.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import { roundArray, roundTo } from '../../../src/formats/rounding.ts';
import type { OracleCase, Tensors } from '../../../src/oracle/types.ts';
import type { Hooks, RowOf, Weights } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';

export const f = (x: number): number => Math.fround(x);
export const half = (x: number): number => roundTo(x, 'F16');
export const brain = (x: number): number => roundTo(x, 'BF16');

type Make = (oracleCase: OracleCase) => Tensors;
/** A mutant given by its outputs, which claims float32. */
export const made = (id: string, what: string, named: Mutant['named'], make: Make): Mutant =>
  ({ id, what, named, dtype: 'f32', run: make });
/** The kernel with hooks that may depend on the case. */
export const hooked = (
  id: string, what: string, named: Mutant['named'], hooks: Hooks | ((oracleCase: OracleCase) => Hooks),
): Mutant => made(id, what, named, (each) => run(each, typeof hooks === 'function' ? hooks(each) : hooks));

/** The outputs in `some` from the first kernel, the others from the second. */
export function mixed(some: readonly string[], first: Tensors, second: Tensors): Tensors {
  return { ...second, ...Object.fromEntries(Object.entries(first).filter(([name]) => some.includes(name))) };
}

/** The kernel with 16-bit storage of out, gradients, dscores and the cache. */
export function narrow(oracleCase: OracleCase, hooks: Hooks, dtype: 'F16' | 'BF16'): Tensors {
  const stored = ['out', 'dq', 'dk', 'dv', 'dscores', 'cache_out'];
  const each = ([name, tensor]: [string, NamedTensor]): [string, NamedTensor] => {
    if (name === 'cache_bytes') return [name, { ...tensor, data: tensor.data.map((x) => x / 2) } as NamedTensor];
    if (!stored.includes(name)) return [name, tensor];
    return [name, { dtype, shape: tensor.shape, data: roundArray(tensor.data, dtype) }];
  };
  return Object.fromEntries(Object.entries(run(oracleCase, hooks)).map(each));
}

/** A kernel that stores 16 bits, and claims no more. */
export const claiming = (
  dtype: 'f16' | 'bf16', id: string, what: string, named: Mutant['named'], hooks: Hooks,
): Mutant => ({ id, what, named, dtype, run: (each) => narrow(each, hooks, dtype === 'f16' ? 'F16' : 'BF16') });

/** The keys of a row that `keep` admits. */
export function part(row: RowOf, keep: (j: number) => boolean): RowOf {
  const at = [...row.keys.keys()].filter((n) => keep(row.keys[n]));
  const [keys, S] = [at.map((n) => row.keys[n]), at.map((n) => row.S[n])];
  return { ...row, keys, S, value: (n, c) => row.value(at[n], c) };
}

/** The mistakes of a softmax. What is absent is right. */
export interface Softmax {
  readonly exp?: (x: number) => number;
  /** Changes a weight before it multiplies the values. */
  readonly weight?: (e: number) => number;
  /** Rounds the running sums of values and of weights. */
  readonly sum?: (x: number) => number;
  readonly sumZ?: (x: number) => number;
  readonly value?: (row: RowOf, n: number, c: number) => number;
  /** Changes Z before it is used. */
  readonly z?: (Z: number, m: number) => number;
}

/** All keys of a row at once, in their order. */
export function plain(row: RowOf, how: Softmax = {}): Weights {
  const exp = how.exp ?? ((x): number => Math.exp(x));
  const m = Math.max(...row.S);
  const o = new Float32Array(row.d);
  let Z = 0;
  row.S.forEach((s, n) => {
    const e = f(exp(f(s - m)));
    const weight = how.weight?.(e) ?? e;
    Z = (how.sumZ ?? f)(Z + e);
    for (let c = 0; c < row.d; c++) {
      o[c] = (how.sum ?? f)(o[c] + f(weight * (how.value ?? ((all, k, at) => all.value(k, at)))(row, n, c)));
    }
  });
  Z = how.z?.(Z, m) ?? Z;
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
}
/** The hook for it, over the visible keys. */
export const soft = (how: Softmax): Hooks['attend'] => (row, sees) => plain(part(row, sees), how);

/** Tiles of `size` keys. `alpha` rescales earlier tiles, and `use` is the maximum subtracted in a tile. */
export const tiled = (
  size: number,
  alpha: (old: number, top: number) => { o: number; Z: number },
  use: (old: number, top: number) => number = (_, top) => top,
): Hooks['attend'] => (all, sees) => {
  const row = part(all, sees);
  let [m, Z] = [-Infinity, 0];
  const o = new Float32Array(row.d);
  for (let at = 0; at < row.keys.length;) {
    let end = at;
    while (end < row.keys.length && Math.floor(row.keys[end] / size) === Math.floor(row.keys[at] / size)) end++;
    const top = Math.max(m, ...row.S.slice(at, end));
    const factor = m === -Infinity ? { o: 0, Z: 0 } : alpha(m, top);
    const by = m === -Infinity ? top : use(m, top);
    Z = f(Z * factor.Z);
    o.forEach((x, c) => (o[c] = f(x * factor.o)));
    for (let n = at; n < end; n++) {
      const e = f(Math.exp(f(row.S[n] - by)));
      Z = f(Z + e);
      o.forEach((x, c) => (o[c] = f(x + f(e * row.value(n, c)))));
    }
    [m, at] = [top, end];
  }
  return { o, m, Z, lse: f(m + f(Math.log(Z))) };
};

/** q . k with the rounding `round`, or over fewer or other numbers. */
export const dots = (
  order: (d: number) => readonly number[], round: (x: number) => number = f,
): NonNullable<Hooks['dot']> => (x, at, y, from, d) =>
  order(d).reduce((sum, c) => round(sum + round(x[at + c] * y[from + c])), 0);
export const ascending = (d: number): number[] => Array.from({ length: d }, (_, c) => c);
export const descending = (d: number): number[] => ascending(d).reverse();

/** A result with its tensors permuted: element n of the new is element from(n) of the old. */
export const permuted = (tensor: NamedTensor, from: (n: number) => number): NamedTensor => {
  const { data } = tensor;
  return { ...tensor, data: data.map((_: number, n: number) => data[from(n)]) } as NamedTensor;
};
