/**
 * The operations of a decoder on one sequence in float64, each with its gradients and with the budget of float32 of
 * what it makes: what model-budget.ts is composed of.
 * @module
 */
import { type HostArray, referenceKernels } from '../../reference/index.ts';
import { boundedAttention } from './bounded.ts';
import * as bounded from './bounded-forms.ts';
import { type Bounded, exact, Rounding } from './tolerance.ts';

const K = referenceKernels('float64');
const R = new Rounding('float32');

/** What is rounded to float16. */
export interface Narrowed {
  /** The first tokens, whose factors of products are rounded, those of attention too. */
  readonly prompt: number;
  /** Whether keys and values of all tokens are. */
  readonly cache: boolean;
}

/** Changes numbers on their way, for tests of the budget: factors before they are used, and results. */
export interface Changes {
  factor?(name: string, x: Float64Array): Float64Array;
  result?(name: string, x: Float64Array): Float64Array;
}

/** Heads of queries, and of keys and values; their size; and the number of tokens. */
interface HeadShape {
  readonly H: number;
  readonly G: number;
  readonly d: number;
  readonly N: number;
}

export type Gradients = Map<HostArray, Float64Array>;

/** An operation that was computed. */
export interface Step {
  readonly out: HostArray;
  /** The budget of float32 of every element of `out`, if its inputs are exact. */
  readonly own: Float64Array;
  /** Adds gradients: in full, and those that reach what is rounded to float16 by the products of that. */
  back(dOut: HostArray, full: Gradients, narrow: Gradients): void;
  /** The weighted squares of further roundings to float16, which are not those of a tensor. */
  more?(dOut: HostArray): number;
}

export const array = (data: Float64Array, shape: readonly number[]): HostArray => ({ data, shape });
export const floats = (x: HostArray): Float64Array => x.data as Float64Array;
const errors = (x: readonly Bounded[]): Float64Array => Float64Array.from(x, ({ error }) => error);
const flat = (x: bounded.Rows): Float64Array => errors(x.flat());
const doubled = (own: Float64Array): Float64Array => own.map((each) => 2 * each);
const widthOf = (x: HostArray): number => x.shape[x.shape.length - 1];
const rowsOf = (x: HostArray): bounded.Rows => bounded.rows(floats(x), widthOf(x));

function added(to: Gradients, x: HostArray, gradient: HostArray): void {
  const sum = to.get(x);
  if (!sum) to.set(x, Float64Array.from(floats(gradient)));
  else floats(gradient).forEach((each, n) => (sum[n] += each));
}

/** Computes operations, and remembers them. */
export class ModelOperations {
  readonly steps: Step[] = [];
  /** What is rounded to float16, by the name of its first use. */
  readonly names: Map<HostArray, string> = new Map();
  readonly #shape: HeadShape;
  readonly #narrowed: Narrowed;
  readonly #changes: Changes;

  constructor(shape: HeadShape, narrowed: Narrowed, changes: Changes) {
    this.#shape = shape;
    this.#narrowed = narrowed;
    this.#changes = changes;
  }

  #step(name: string, out: HostArray, own: Float64Array, rest: Pick<Step, 'back' | 'more'>): HostArray {
    const { result } = this.#changes;
    const changed = result ? array(result(name, floats(out)), out.shape) : out;
    this.steps.push({ out: changed, own, ...rest });
    return changed;
  }

  #factor(name: string, x: HostArray): HostArray {
    if (!this.names.has(x)) this.names.set(x, name);
    const { factor } = this.#changes;
    return factor ? array(factor(this.names.get(x)!, floats(x)), x.shape) : x;
  }

  /** What the first tokens have of [N,width] or [heads,N,width]; the others are 0. */
  #ofPrompt(x: HostArray): HostArray {
    const [{ N }, { prompt }, width] = [this.#shape, this.#narrowed, widthOf(x)];
    return array(floats(x).map((each, n) => (Math.floor(n / width) % N < prompt ? each : 0)), x.shape);
  }

  /** The rows of the first tokens of one, and those of the other. */
  #joined(first: HostArray, rest: HostArray): HostArray {
    const [a, b] = [this.#ofPrompt(first), this.#ofPrompt(rest)].map(floats);
    return array(a.map((each, n) => each + (floats(rest)[n] - b[n])), first.shape);
  }

  embedding(table: HostArray, ids: readonly number[]): HostArray {
    const [V, D] = table.shape;
    return K.embedding(table, { data: Int32Array.from(ids), shape: [ids.length] }, { count: ids.length, V, D });
  }

  /** x Wᵀ + b. */
  product(name: string, x: HostArray, w: HostArray, b?: HostArray): HostArray {
    const { prompt } = this.#narrowed;
    const sizes = { rows: this.#shape.N, M: w.shape[0], K: w.shape[1] };
    const plain = K.linear(x, w, b, sizes);
    const half = (): HostArray => K.linear(this.#factor(`${name} x`, x), this.#factor(`${name} w`, w), b, sizes);
    const own = flat(bounded.linear(R, bounded.rows(floats(x), sizes.K), rowsOf(w), b && Array.from(floats(b), exact)));
    return this.#step(name, prompt > 0 ? this.#joined(half(), plain) : plain, prompt > 0 ? doubled(own) : own, {
      back: (dOut, full, narrow) => {
        added(full, x, K.linearBackwardInput(dOut, w, sizes));
        if (prompt === 0) return;
        const narrowed = this.#ofPrompt(dOut);
        added(narrow, x, K.linearBackwardInput(narrowed, w, sizes));
        added(narrow, w, K.linearBackwardWeight(narrowed, x, sizes));
      },
    });
  }

  norm(name: string, x: HostArray, w: HostArray, epsilon: number): HostArray {
    const sizes = { rows: floats(x).length / w.shape[0], D: w.shape[0] };
    const own = flat(bounded.rmsNorm(R, bounded.rows(floats(x), sizes.D), Array.from(floats(w), exact), epsilon));
    return this.#step(name, K.rmsNorm(x, w, epsilon, sizes), own, {
      back: (dOut, full) => added(full, x, K.rmsNormBackward(dOut, x, w, epsilon, sizes).dx),
    });
  }

  sum(name: string, a: HostArray, b: HostArray): HostArray {
    const y = K.add(a, b, { n: floats(a).length });
    return this.#step(name, y, floats(y).map((each) => R.u * Math.abs(each) + R.tiny), {
      back: (dOut, full) => [a, b].forEach((x) => added(full, x, dOut)),
    });
  }

  swiglu(name: string, gate: HostArray, up: HostArray): HostArray {
    const n = floats(gate).length;
    return this.#step(name, K.swiglu(gate, up, { n }), flat(bounded.swiglu(R, rowsOf(gate), rowsOf(up))), {
      back(dOut, full) {
        const { dGate, dUp } = K.swigluBackward(dOut, gate, up, { n });
        added(full, gate, dGate);
        added(full, up, dUp);
      },
    });
  }

  /** Between [N,heads*d] and [heads,N,d]. */
  moved(x: HostArray, heads: number, into: 'split' | 'merge'): HostArray {
    const { N, d } = this.#shape;
    const sizes = { B: 1, heads, N, d };
    const there = into === 'split' ? K.splitHeads(x, sizes) : K.mergeHeads(x, sizes);
    const y = array(floats(there), there.shape);
    this.steps.push({
      out: y, own: new Float64Array(floats(y).length),
      back: (dOut, full) => added(full, x, into === 'split' ? K.mergeHeads(dOut, sizes) : K.splitHeads(dOut, sizes)),
    });
    return y;
  }

  /** Rotated by cos and sin [N,d/2]. */
  turned(name: string, x: HostArray, heads: number, cos: ArrayLike<number>, sin: ArrayLike<number>): HostArray {
    const { N, d } = this.#shape;
    const half = d / 2;
    const sizes = { B: 1, heads, N, d };
    const [c, s] = [cos, sin].map((table) => array(Float64Array.from(table), [1, N, half]));
    const own = flat(bounded.rows(floats(x), d).map((row, n) => {
      const at = (n % N) * half;
      const of = (table: HostArray): Bounded[] =>
        Array.from(floats(table).subarray(at, at + half), (each) => R.constant(each));
      return bounded.rotated(R, row, of(c), of(s));
    }));
    return this.#step(name, K.rope(x, c, s, false, sizes), own, {
      back: (dOut, full) => added(full, x, K.rope(dOut, c, s, true, sizes)),
    });
  }

  /** §3, with last [G,N]. */
  attention(name: string, [q, k, v]: readonly HostArray[], last: HostArray, scale: number): HostArray {
    const sizes = { B: 1, ...this.#shape };
    const { prompt, cache } = this.#narrowed;
    const narrows = prompt > 0 || cache;
    const queries = prompt > 0 ? this.#joined(this.#factor(`${name} q`, q), q) : q;
    const [keys, values] = narrows ? [this.#factor(`${name} k`, k), this.#factor(`${name} v`, v)] : [k, v];
    const { out, lse } = K.attention({ q: queries, k: keys, v: values, last, scale }, sizes);
    const given = { q: floats(q), k: floats(k), v: floats(v), last: last.data as Int32Array, scale };
    const own = errors(boundedAttention({ ...sizes, ...given, group: sizes.H / sizes.G }, R).out);
    return this.#step(name, out, doubled(prompt > 0 ? doubled(own) : own), {
      back: (dOut, full, narrow) => {
        const { dq, dk, dv } = K.attentionBackward({ q, k, v, last, scale, out, lse, dOut }, sizes);
        for (const [x, gradient] of [[q, dq], [k, dk], [v, dv]] as const) added(full, x, gradient);
        if (prompt > 0) added(narrow, q, this.#ofPrompt(dq));
        if (narrows) for (const [x, gradient] of [[k, dk], [v, dv]] as const) added(narrow, x, gradient);
      },
      more: (dOut) => this.#weightRoundings(given, floats(lse), floats(dOut)),
    });
  }

  /** Squares of dy / dA[i,j] = do[i] . v[j], times the roundings of the weights A of pairs as factors. */
  #weightRoundings(
    { q, k, v, last, scale }: Record<'q' | 'k' | 'v', Float64Array> & { last: Int32Array; scale: number },
    lse: Float64Array, dOut: Float64Array,
  ): number {
    const [{ H, G, N, d }, { prompt }] = [this.#shape, this.#narrowed];
    const dot = (x: Float64Array, i: number, y: Float64Array, j: number): number => {
      let all = 0;
      for (let c = 0; c < d; c++) all += x[i * d + c] * y[j * d + c];
      return all;
    };
    let squares = 0;
    for (let row = 0; row < H * N; row++) {
      const [i, base] = [row % N, Math.floor(Math.floor(row / N) / (H / G)) * N];
      if (i >= prompt) continue;
      const seen = Array.from({ length: i + 1 }, (_, j) => base + j).filter((key) => last[key] >= i);
      const A = seen.map((key) => Math.exp(scale * dot(q, row, k, key) - lse[row]));
      const tiny = 2 ** -25 * Math.max(...A);
      seen.forEach((key, n) => (squares += (dot(dOut, row, v, key) * (2 ** -11 * A[n] + tiny)) ** 2));
    }
    return squares;
  }
}
