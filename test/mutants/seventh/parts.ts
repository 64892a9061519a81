/**
 * What the mutants of the seventh set are made of.
 * @module
 */
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../../../src/core/float16.ts';
import type { NamedTensor } from '../../../src/formats/named-tensor.ts';
import type { OracleCase, OutputName, Tensors } from '../../../src/oracle/types.ts';
import { GLOBAL, type Head, type Hooks, type RowOf, type Weights } from '../hooks.ts';
import { run } from '../kernel.ts';
import type { Mutant } from '../mutant.ts';
import { chunkOf } from '../right.ts';

/** What is true of a mutant. */
export interface Truth {
  readonly cause: string;
  /** The outputs that are wrong, in some case. */
  readonly tensors: readonly OutputName[];
  /** Heads, batches, rows, keys, tiles or types. */
  readonly where: string;
  readonly cases: string;
  /** Whether few cases can show it. */
  readonly rare?: boolean;
}

export interface Seventh extends Mutant {
  readonly truth: Truth;
}

export const f: (x: number) => number = Math.fround;
export const bf16 = (x: number): number => fromBfloat16(toBfloat16(x));
export const f16 = (x: number): number => fromFloat16(toFloat16(x));
const word = new DataView(new ArrayBuffer(4));
/** The float32 x with the last 13 bits cut off. */
export const cutToTf32 = (x: number): number => {
  word.setFloat32(0, x);
  word.setUint32(0, word.getUint32(0) & 0xffffe000);
  return word.getFloat32(0);
};

export const FORWARD = ['out', 'lse'] as const;
export const QKV = ['dq', 'dk', 'dv'] as const;
export const OF_TYPES = ['dm_rows', 'dw', 'dl', 'dg', 'dscores'] as const;
/** What a training kernel makes. */
export const TRAINING: readonly OutputName[] = [...FORWARD, ...QKV, ...OF_TYPES] as const;
export const STATE = ['cache_closed_by', 'cache_evicted_at', 'cache_live'] as const;

export function broken(id: string, what: string, truth: Truth, make: (each: OracleCase) => Tensors): Seventh {
  return { id, what, named: ['unknown'], dtype: 'f32', truth, run: make };
}
export const hooked = (id: string, what: string, truth: Truth, hooks: Hooks | ((each: OracleCase) => Hooks)): Seventh =>
  broken(id, what, truth, (each) => run(each, typeof hooks === 'function' ? hooks(each) : hooks));

/** `right`, with the outputs `names` of `wrong`. */
export function mixed(names: readonly string[], wrong: Tensors, right: Tensors): Tensors {
  return Object.fromEntries(Object.entries(right).map(([name, tensor]) =>
    [name, names.includes(name) ? wrong[name] : tensor]));
}
/** The kernel with `hooks` for the outputs `names`, and the right one for the others. */
export const partly = (
  id: string, what: string, truth: Truth, names: readonly string[], hooks: Hooks | ((each: OracleCase) => Hooks),
): Seventh => broken(id, what, truth, (each) =>
  mixed(names, run(each, typeof hooks === 'function' ? hooks(each) : hooks), run(each)));

/** `tensors` with new numbers in one of them, if it is there. `at` are the indices by axis. */
export function edited(
  tensors: Tensors, name: string, number: (x: number, at: readonly number[], n: number, tensor: NamedTensor) => number,
): Tensors {
  const tensor = tensors[name];
  if (!tensor) return tensors;
  const data = tensor.data.slice();
  const at = tensor.shape.map(() => 0);
  for (let n = 0; n < data.length; n++) {
    for (let axis = at.length - 1, rest = n; axis >= 0; axis--) {
      at[axis] = rest % tensor.shape[axis];
      rest = Math.floor(rest / tensor.shape[axis]);
    }
    data[n] = number(tensor.data[n], at, n, tensor);
  }
  return { ...tensors, [name]: { ...tensor, data } as NamedTensor };
}

/** The case with other numbers in one input, if it is there. */
export const given = (
  each: OracleCase, name: string, number: (x: number, at: readonly number[], n: number, tensor: NamedTensor) => number,
): OracleCase => ({ ...each, inputs: edited(each.inputs, name, number) });

/** The KV head b G + g of a case. */
export function headOf({ parameters: p, inputs, expected }: OracleCase, head: number): Head {
  const Nc = Math.ceil(p.tokens / p.chunk);
  const own = ((inputs.types ?? expected.types).data as Int32Array).slice(head * Nc, (head + 1) * Nc);
  if (Nc * p.chunk > p.tokens) own[Nc - 1] = GLOBAL;
  return { p, own, head };
}
export const typeOf = (head: Head, j: number): number => head.own[chunkOf(j, head.p)];
export const seen = (i: number, j: number, last: number): boolean => j <= i && i <= last;
/** Which step a token is in, by position: its first token, the next step's, and its number. */
export function stepOf({ parameters: { steps } }: OracleCase, i: number): { begin: number; next: number; r: number } {
  let begin = 0;
  for (let r = 0; ; r++) {
    if (i < begin + steps[r]) return { begin, next: begin + steps[r], r };
    begin += steps[r];
  }
}

/** The keys of a row that it sees. */
export function visibleOf(row: RowOf, sees: (j: number) => boolean): RowOf {
  const at = [...row.keys.keys()].filter((n) => sees(row.keys[n]));
  return { ...row, keys: at.map((n) => row.keys[n]), S: at.map((n) => row.S[n]), value: (n, c) => row.value(at[n], c) };
}

interface Changes {
  /** Instead of e^x for weights, and for the factor of a new maximum. */
  exp?(x: number): number;
  alpha?(old: number, top: number, tile: number): number;
  /** What multiplies the values. */
  weight?(e: number): number;
  /** Rounds Z after each change. */
  sum?(x: number): number;
  /** The Z that o is divided by: from the last, and that before the last tile of keys was added. */
  divisor?(Z: number, before: number, tiles: number): number;
}
/** The online softmax with a mistake, over tiles of 16 keys. */
export const softmaxWith = (changes: Changes): NonNullable<Hooks['attend']> => (
  all: RowOf, sees: (j: number) => boolean,
): Weights => {
  const { keys, S, value, d } = visibleOf(all, sees);
  const exp = changes.exp ?? ((x) => f(Math.exp(x)));
  const sum = changes.sum ?? f;
  let [m, Z, before, tiles] = [-Infinity, 0, 0, 0];
  const o = new Float32Array(d);
  for (let at = 0; at < keys.length; tiles++) {
    let end = at;
    while (end < keys.length && Math.floor(keys[end] / 16) === Math.floor(keys[at] / 16)) end++;
    const tile = Math.max(...S.slice(at, end));
    const top = Math.max(m, tile);
    const alpha = m === -Infinity ? 0 : changes.alpha?.(m, top, tile) ?? exp(f(m - top));
    Z = before = sum(f(Z * alpha));
    for (let c = 0; c < d; c++) o[c] = f(o[c] * alpha);
    for (let n = at; n < end; n++) {
      const e = exp(f(S[n] - top));
      Z = sum(f(Z + e));
      const w = changes.weight?.(e) ?? e;
      for (let c = 0; c < d; c++) o[c] = f(o[c] + f(w * value(n, c)));
    }
    [m, at] = [top, end];
  }
  return { o, m, Z: changes.divisor?.(Z, before, tiles) ?? Z, lse: f(m + f(Math.log(Z))) };
};

/** Calls `visit` for each visible pair with its weight and dS, from the truths. */
export function visiblePairs(
  { parameters: p, inputs, expected }: OracleCase,
  visit: (pair: {
    b: number; h: number; own: number; row: number; i: number; j: number; A: number; dS: number;
  }) => void,
): void {
  const { batch: B, queryHeads: H, kvHeads: G, tokens: N, headDim: d, scale } = p;
  const [q, k, v, dO] = ['q', 'k', 'v', 'dout'].map((name) => inputs[name].data);
  const [out, lse, last] = ['out', 'lse', 'last'].map((name) => expected[name].data);
  const dot = (x: ArrayLike<number>, at: number, y: ArrayLike<number>, from: number): number => {
    let sum = 0;
    for (let c = 0; c < d; c++) sum += x[at + c] * y[from + c];
    return sum;
  };
  for (let row = 0; row < B * H * N; row++) {
    const [b, h, i] = [Math.floor(row / (H * N)), Math.floor(row / N) % H, row % N];
    const own = b * G + Math.floor(h / (H / G));
    const D = dot(dO, row * d, out, row * d);
    for (let j = 0; j <= i; j++) {
      if (i > last[own * N + j]) continue;
      const key = (own * N + j) * d;
      const A = Math.exp(scale * dot(q, row * d, k, key) - lse[row]);
      visit({ b, h, own, row, i, j, A, dS: A * (dot(dO, row * d, v, key) - D) });
    }
  }
}
