/**
 * What the fifth set shares. It was written from the documents and the format of mutants alone, by someone who had read
 * neither the diagnosis nor the judge.
 * @module
 */
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { ClaimedDtype, OracleCase, Tensors } from '../../../src/oracle/types.ts';
import { f, mixed } from '../held-out/parts.ts';
import type { Head, Hooks } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { chunkOf, rightLast } from '../right.ts';

/** What is true of a mutant, whatever a diagnosis says. */
export interface Truth {
  /** The name of the cause, in words: what a right diagnosis may say. */
  readonly cause: string;
  /** Which outputs, heads, batches, rows, keys, tiles or cases are wrong, in words. */
  readonly lives: string;
  /** What a right location may contain. Only where the mistake lives in a part of the outputs or cases. */
  readonly where?: RegExp;
  readonly dtype?: ClaimedDtype;
}

/** A mutant of the fifth set. */
export interface Blind extends Mutant {
  readonly cause: string;
  readonly lives: string;
}

type Make = (each: OracleCase) => Tensors;

/** A mutant given by its outputs. */
export const blind = (id: string, what: string, { dtype = 'f32', ...truth }: Truth, make: Make): Blind =>
  ({ id, what, named: [], dtype, ...truth, run: make });

/** The kernel with hooks that may depend on the case; the outputs in `untouched` are those of the right kernel. */
export const hooked = (
  id: string, what: string, truth: Truth, hooks: Hooks | ((each: OracleCase) => Hooks),
  untouched: readonly string[] = [],
): Blind => blind(id, what, truth, (each) => {
  const wrong = run(each, typeof hooks === 'function' ? hooks(each) : hooks);
  return untouched.length > 0 ? mixed(untouched, run(each), wrong) : wrong;
});

export const LIFE: readonly string[] = ['types', 'last', 'mask'];
export const CACHE: readonly string[] =
  ['cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes'];
export const TYPES: readonly string[] = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'];
export const BACKWARD: readonly string[] = ['dv', 'dq', 'dk'];

/** The kernel with hooks, of which only the outputs in `names` are kept. */
export const only = (
  id: string, what: string, truth: Truth, names: readonly string[], hooks: Hooks | ((each: OracleCase) => Hooks),
): Blind => blind(id, what, truth, (each) =>
  mixed(names, run(each, typeof hooks === 'function' ? hooks(each) : hooks), run(each)));

/** The sizes of a case by their letters. */
export function sizes({ parameters: p }: OracleCase): Record<'B' | 'H' | 'G' | 'R' | 'N' | 'd' | 'C' | 'W', number> {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, chunk: C, window: W } = p;
  return { B, H, G, R: H / G, N, d, C, W };
}

export const typeOf = (head: Head, j: number): number => head.own[chunkOf(j, head.p)];

const known = new WeakMap<Head, number[]>();
/** last(j) of all tokens of a head. */
export function lasts(head: Head): number[] {
  let all = known.get(head);
  if (!all) known.set(head, all = Array.from({ length: head.p.tokens }, (_, j) => rightLast(head, j)));
  return all;
}

/** The case as a kernel sees it that reads element from(n) of an input instead of n; what is not there is 0. */
export function misread(each: OracleCase, name: string, from: (n: number) => number): OracleCase {
  const tensor = each.inputs[name];
  if (!tensor) return each;
  const data = tensor.data.map((_: number, n: number) => tensor.data[from(n)] ?? 0);
  return { ...each, inputs: { ...each.inputs, [name]: { ...tensor, data } as NamedTensor } };
}

/** Two results of the same shape, added in float32. */
export const added = (a: NamedTensor, b: NamedTensor, times = 1): NamedTensor =>
  ({ ...a, data: a.data.map((x: number, n: number) => f(x + f(b.data[n] * times))) }) as NamedTensor;

/** The right outputs, with those in `made`, if the case has them. */
export const replaced = (right: Tensors, made: Readonly<Record<string, NamedTensor>>): Tensors =>
  ({ ...right, ...Object.fromEntries(Object.entries(made).filter(([name]) => right[name])) });

/** The sum of products in float32. */
export function inner(x: ArrayLike<number>, at: number, y: ArrayLike<number>, from: number, n: number): number {
  let sum = 0;
  for (let c = 0; c < n; c++) sum = f(sum + f(x[at + c] * y[from + c]));
  return sum;
}

/** The products of `x` and any but `y` as `of` has them, all others right. */
export const dotOf = (
  x: ArrayLike<number> | undefined, y: ArrayLike<number> | undefined, of: typeof inner,
): NonNullable<Hooks['dot']> => (a, at, b, from, n) => (a === x && b !== y ? of : inner)(a, at, b, from, n);

/** A number between 0 and 1 that depends on nothing but `n`. */
export function hash(n: number): number {
  let x = Math.imul(n + 0x9e3779b9, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) / 2 ** 32;
}

/** The types of KV head `head`, of B G, by chunk, an unfinished one as GLOBAL. */
export function typesOf(each: OracleCase, head: number): Int32Array {
  const { tokens: N, chunk: C } = each.parameters;
  const chunks = Math.ceil(N / C);
  const { data } = each.expected.types ?? each.inputs.types;
  const own = Int32Array.from(data.slice(head * chunks, (head + 1) * chunks) as Int32Array);
  if (chunks * C > N) own[chunks - 1] = 0;
  return own;
}
