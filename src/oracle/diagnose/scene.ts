/**
 * A case as the diagnosis needs it: products of single pairs, and rows of the algorithm with one step replaced.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { planOf } from '../cases/type-sums.ts';
import type { CaseParameters, ClaimedDtype, OracleCase, OutputName, Tensors } from '../types.ts';
import { PairTable } from './pair-table.ts';

/** Whether query i of KV head `head` = b G + g may see key j. */
export interface Sees {
  (head: number, i: number, j: number): boolean;
  /** The last query that sees each key of a head, if that and causality are all that decides. */
  readonly lasts?: (head: number) => Int32Array;
}

/** What planOf() says about one KV head: its types, e(c) of §5, and the previous GLOBAL of each chunk. */
export type Plan = ReturnType<typeof planOf>;

/** What is wrong in the computation of a row; what is left out is right. */
export interface RowOptions {
  readonly sees?: Sees;
  /** The KV head whose keys and values are read instead of the query's own. */
  readonly from?: number;
  readonly scale?: number;
  /** How many of the d terms of each product are summed. */
  readonly dims?: number;
}

/** The visible keys of one query, ascending, and their S. */
export interface Row {
  readonly query: number;
  readonly i: number;
  readonly head: number;
  /** The KV head that keys and values come from. */
  readonly from: number;
  readonly keys: readonly number[];
  readonly S: readonly number[];
}

/** The largest number of tokens for which products are kept instead of computed again. */
export const MOST_KEPT = 512;

/** Numbers queries as (b H + h) N + i and keys as (b G + g) N + j. */
export class Scene {
  readonly parameters: CaseParameters;
  readonly inputs: Tensors;
  readonly expected: Tensors;
  readonly outputs: Tensors;
  readonly dtype: ClaimedDtype;
  /** Where the output in question fails: not 0, by flat index. */
  readonly failing: Uint8Array;
  readonly N: number;
  readonly d: number;
  /** Query heads per KV head. */
  readonly R: number;
  /** B G. */
  readonly heads: number;
  readonly chunks: number;
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly dout: Float64Array;
  readonly types: Int32Array;
  readonly last: Int32Array;
  readonly #plans: Plan[] = [];
  /** Whether products are kept instead of computed again. */
  readonly #keeps: boolean;
  readonly #products: PairTable;
  readonly #gains: PairTable;
  readonly #weights: PairTable;
  readonly #rows: (Row | undefined)[];
  readonly #keys: (readonly number[] | undefined)[];
  readonly #queries: (readonly number[] | undefined)[];
  readonly #norms: Float64Array;
  readonly #shifts: Float64Array;
  readonly #D: Float64Array;

  constructor(
    { parameters, inputs, expected }: OracleCase, outputs: Tensors, dtype: ClaimedDtype, failing: Uint8Array,
    keeps = true,
  ) {
    this.parameters = parameters;
    this.inputs = inputs;
    this.expected = expected;
    this.outputs = outputs;
    this.dtype = dtype;
    this.failing = failing;
    this.N = parameters.tokens;
    this.d = parameters.headDim;
    this.R = parameters.queryHeads / parameters.kvHeads;
    this.heads = parameters.batch * parameters.kvHeads;
    this.chunks = Math.ceil(this.N / parameters.chunk);
    const floats = (name: string): Float64Array => (inputs[name]?.data ?? new Float64Array(0)) as Float64Array;
    [this.q, this.k, this.v, this.dout] = [floats('q'), floats('k'), floats('v'), floats('dout')];
    this.types = ((expected.types ?? inputs.types) as IntegerTensor).data;
    this.last = (expected.last as IntegerTensor).data;
    this.#keeps = keeps && this.N <= MOST_KEPT;
    const table = (make: (query: number, key: number) => number): PairTable =>
      new PairTable(this.heads, this.R, this.N, make);
    this.#products = table((query, key) => this.#dot(this.q, query, this.k, key, this.d));
    this.#gains = table((query, key) => this.#dot(this.dout, query, this.v, key, this.d));
    this.#weights = table((query, key) => this.#weight(query, key));
    const queries = this.heads * this.R * this.N;
    this.#queries = Array.from({ length: this.heads * this.N });
    this.#rows = Array.from({ length: this.#keeps ? queries : 0 });
    this.#keys = Array.from({ length: this.#keeps ? this.heads * this.N : 0 });
    const unknown = (): Float64Array => new Float64Array(queries).fill(NaN);
    [this.#norms, this.#shifts, this.#D] = [unknown(), unknown(), unknown()];
  }

  /** The same case with other inputs, and the truths that it had. It keeps no products, of which few are asked for. */
  withInputs(inputs: Tensors): Scene {
    const { parameters, expected, outputs, dtype, failing } = this;
    return new Scene({ name: '', why: '', notCompared: {}, parameters, inputs, expected }, outputs, dtype, failing, false);
  }

  /** exp in the claimed arithmetic, where float32 may overflow. */
  exp(x: number): number {
    return this.dtype === 'f64' ? Math.exp(x) : Math.fround(Math.exp(x));
  }

  truth(name: OutputName): Float64Array | Int32Array {
    return this.expected[name].data;
  }

  headOf(query: number): number {
    return Math.floor(query / (this.N * this.R));
  }

  /** The queries of token i in the query heads that read KV head `head`. */
  queriesOf(head: number, i: number): readonly number[] {
    const { N, R } = this;
    return (this.#queries[head * N + i] ??= Array.from({ length: R }, (_, r) => (head * R + r) * N + i));
  }

  plan(head: number): Plan {
    const { chunks, N, parameters } = this;
    return (this.#plans[head] ??= planOf(this.types.slice(head * chunks, (head + 1) * chunks), N, parameters.chunk));
  }

  /** The mask of §2. */
  readonly sees: Sees = Object.assign(
    (head: number, i: number, j: number): boolean => j <= i && i <= this.last[head * this.N + j],
    { lasts: (head: number): Int32Array => this.last.subarray(head * this.N, (head + 1) * this.N) },
  );

  /** q . k, unscaled, of a query and a key of any KV head. */
  product(query: number, key: number, dims: number = this.d): number {
    if (dims !== this.d || !this.#keeps) return this.#dot(this.q, query, this.k, key, dims);
    return this.#products.at(query, key);
  }

  /** do . v of a query and a key. */
  gain(query: number, key: number): number {
    return this.#keeps ? this.#gains.at(query, key) : this.#dot(this.dout, query, this.v, key, this.d);
  }

  /** exp(S - lse) of a query and a key of any KV head: A of §3, if the query sees the key. */
  weight(query: number, key: number): number {
    return this.#keeps ? this.#weights.at(query, key) : this.#weight(query, key);
  }

  #weight(query: number, key: number): number {
    return Math.exp(this.parameters.scale * this.product(query, key) - this.lse(query));
  }

  #dot(x: Float64Array, row: number, y: Float64Array, other: number, dims: number): number {
    let sum = 0;
    for (let c = 0; c < dims; c++) sum += x[row * this.d + c] * y[other * this.d + c];
    return sum;
  }

  /** The keys that query i of a KV head sees, ascending. If those are the right ones, the same array each time. */
  keysSeen(head: number, i: number, sees: Sees = this.sees): readonly number[] {
    if (!this.#keeps) return this.#seen(head, i, sees);
    const right = this.#keys[head * this.N + i] ??= this.#seen(head, i, this.sees);
    return sees === this.sees || this.#seesAll(head, i, sees, right) ? right : this.#seen(head, i, sees);
  }

  #seen(head: number, i: number, sees: Sees): readonly number[] {
    const keys: number[] = [];
    const lasts = sees.lasts?.(head);
    if (lasts) for (let j = 0; j <= i; j++) if (i <= lasts[j]) keys.push(j);
    if (!lasts) for (let j = 0; j < this.N; j++) if (sees(head, i, j)) keys.push(j);
    return keys;
  }

  /** Whether these are the keys that query i sees. */
  #seesAll(head: number, i: number, sees: Sees, keys: readonly number[]): boolean {
    const lasts = sees.lasts?.(head);
    let n = 0;
    if (lasts) for (let j = 0; j <= i; j++) if (i <= lasts[j] && keys[n++] !== j) return false;
    if (!lasts) for (let j = 0; j < this.N; j++) if (sees(head, i, j) && keys[n++] !== j) return false;
    return n === keys.length;
  }

  /** The keys that `query` sees, with their S. The same object each time if it is the right row. */
  row(query: number, { sees = this.sees, from, scale = this.parameters.scale, dims }: RowOptions = {}): Row {
    const { N } = this;
    const head = this.headOf(query);
    const source = from ?? head;
    const i = query % N;
    const keys = this.keysSeen(head, i, sees);
    const right = this.#keeps && source === head && scale === this.parameters.scale && dims === undefined
      && keys === this.#keys[head * N + i];
    if (right && this.#rows[query]) return this.#rows[query];
    const S = keys.map((j) => scale * this.product(query, source * N + j, dims));
    const row = { query, i, head, from: source, keys, S };
    if (right) this.#rows[query] = row;
    return row;
  }

  /** The sum of weights[n] v_j over the keys j = keys[n] of a row. */
  weigh({ keys, from }: Row, weights: ArrayLike<number>, values: Float64Array = this.v): Float64Array {
    const { N, d } = this;
    const out = new Float64Array(d);
    for (let n = 0; n < keys.length; n++) {
      const [at, weight] = [(from * N + keys[n]) * d, weights[n]];
      for (let c = 0; c < d; c++) out[c] = out[c] + weight * values[at + c];
    }
    return out;
  }

  /** The true lse_i of §3. */
  lse(query: number): number {
    return this.truth('lse')[query];
  }

  /** m_i of §3. */
  shift(query: number): number {
    return known(this.#shifts, query, () => Math.max(...this.row(query).S));
  }

  /** n_i of §4 by the rule `bounded`. */
  causalLse(query: number): number {
    return known(this.#norms, query, () => logSum(this.row(query, { sees: (_, i, j) => j <= i }).S));
  }

  /** D_i of §4. */
  D(query: number): number {
    const D = this.#D[query];
    if (!Number.isNaN(D)) return D;
    return (this.#D[query] = this.#dot(this.dout, query, this.truth('out') as Float64Array, query, this.d));
  }
}

function known(numbers: Float64Array, at: number, make: () => number): number {
  return Number.isNaN(numbers[at]) ? (numbers[at] = make()) : numbers[at];
}

/** The logarithm of the sum of exp. */
export function logSum(S: readonly number[]): number {
  const m = Math.max(...S);
  return m + Math.log(S.reduce((sum, x) => sum + Math.exp(x - m), 0));
}
