/**
 * A case as the diagnosis needs it: products of single pairs, and rows of the algorithm with one step replaced.
 * @module
 */
import type { IntegerTensor } from '../../formats/named-tensor.ts';
import { planOf } from '../cases/type-sums.ts';
import type { CaseParameters, ClaimedDtype, OracleCase, OutputName, Tensors } from '../types.ts';

/** Whether query i of KV head `head` = b G + g may see key j. */
export type Sees = (head: number, i: number, j: number) => boolean;

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
  readonly #products = new Map<number, Float64Array>();
  readonly #values = new Map<number, Float64Array>();
  readonly #norms = new Map<number, number>();
  readonly #shifts = new Map<number, number>();
  readonly #D = new Map<number, number>();

  constructor(
    { parameters, inputs, expected }: OracleCase, outputs: Tensors, dtype: ClaimedDtype, failing: Uint8Array,
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
  }

  /** The same case with other inputs, and the truths that it had. */
  withInputs(inputs: Tensors): Scene {
    const { parameters, expected, outputs, dtype, failing } = this;
    return new Scene({ name: '', why: '', notCompared: {}, parameters, inputs, expected }, outputs, dtype, failing);
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
  queriesOf(head: number, i: number): number[] {
    return Array.from({ length: this.R }, (_, r) => (head * this.R + r) * this.N + i);
  }

  plan(head: number): Plan {
    const { chunks, N, parameters } = this;
    return (this.#plans[head] ??= planOf(this.types.slice(head * chunks, (head + 1) * chunks), N, parameters.chunk));
  }

  /** The mask of §2. */
  readonly sees: Sees = (head, i, j) => j <= i && i <= this.last[head * this.N + j];

  /** q . k, unscaled, of a query and a key of any KV head. */
  product(query: number, key: number, dims: number = this.d): number {
    if (dims !== this.d || this.N > MOST_KEPT) return this.#dot(this.q, query, this.k, key, dims);
    return this.#kept(this.#products, query, key, this.q, this.k);
  }

  /** do . v of a query and a key. */
  gain(query: number, key: number): number {
    if (this.N > MOST_KEPT) return this.#dot(this.dout, query, this.v, key, this.d);
    return this.#kept(this.#values, query, key, this.dout, this.v);
  }

  #kept(rows: Map<number, Float64Array>, query: number, key: number, x: Float64Array, y: Float64Array): number {
    const { N } = this;
    const from = Math.floor(key / N);
    const at = query * this.heads + from;
    let row = rows.get(at);
    if (!row) {
      row = Float64Array.from({ length: N }, (_, j) => this.#dot(x, query, y, from * N + j, this.d));
      rows.set(at, row);
    }
    return row[key - from * N];
  }

  #dot(x: Float64Array, row: number, y: Float64Array, other: number, dims: number): number {
    let sum = 0;
    for (let c = 0; c < dims; c++) sum += x[row * this.d + c] * y[other * this.d + c];
    return sum;
  }

  /** The keys that `query` sees, with their S. */
  row(query: number, { sees = this.sees, from, scale = this.parameters.scale, dims }: RowOptions = {}): Row {
    const { N } = this;
    const head = this.headOf(query);
    const source = from ?? head;
    const i = query % N;
    const keys: number[] = [];
    for (let j = 0; j < N; j++) if (sees(head, i, j)) keys.push(j);
    const S = keys.map((j) => scale * this.product(query, source * N + j, dims));
    return { query, i, head, from: source, keys, S };
  }

  /** The sum of weights[n] v_j over the keys j = keys[n] of a row. */
  weigh({ keys, from }: Row, weights: ArrayLike<number>, values: Float64Array = this.v): Float64Array {
    const { N, d } = this;
    const out = new Float64Array(d);
    keys.forEach((j, n) => {
      const at = (from * N + j) * d;
      for (let c = 0; c < d; c++) out[c] = out[c] + weights[n] * values[at + c];
    });
    return out;
  }

  /** The true lse_i of §3. */
  lse(query: number): number {
    return this.truth('lse')[query];
  }

  /** m_i of §3. */
  shift(query: number): number {
    let m = this.#shifts.get(query);
    if (m === undefined) this.#shifts.set(query, m = Math.max(...this.row(query).S));
    return m;
  }

  /** n_i of §4 by the rule `bounded`. */
  causalLse(query: number): number {
    let norm = this.#norms.get(query);
    if (norm === undefined) {
      const { S } = this.row(query, { sees: (_, i, j) => j <= i });
      const m = Math.max(...S);
      this.#norms.set(query, norm = m + Math.log(S.reduce((sum, x) => sum + Math.exp(x - m), 0)));
    }
    return norm;
  }

  /** D_i of §4. */
  D(query: number): number {
    let D = this.#D.get(query);
    if (D === undefined) this.#D.set(query, D = this.#dot(this.dout, query, this.truth('out') as Float64Array, query, this.d));
    return D;
  }
}
