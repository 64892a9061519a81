/**
 * Wrong rows of an output, and the terms of which they are sums, projected to one or two numbers: sets of terms are
 * told apart by them as well as by all channels, and much faster.
 * @module
 */
import { failingRows } from './moved-hypotheses.ts';
import { type Form, type Term, termsOf } from './pair-terms.ts';
import type { Scene } from './scene.ts';

/** A row of the output, and what is wrong with it. */
export interface Wrong {
  readonly row: number;
  /** What is wrong, projected, and its size without that. */
  readonly off: readonly number[];
  readonly size: number;
  /** How far off it may be by rounding. */
  readonly noise: number;
}
/** The terms of a row, and their projections. */
export interface Projected {
  readonly terms: readonly Term[];
  readonly sums: readonly Float64Array[];
}

/** The same numbers in every run, of both signs. */
const project = (n: number, which: number): number => Math.sin(1 + 12.9898 * n + 78.233 * which);
/** Relative errors of stored numbers, with some room. */
const NOISE = { f16: 2 ** -10, bf16: 2 ** -7, f32: 2 ** -20, f64: 2 ** -20 } as const;

/** The rows of the output that fails, in one form. */
export class PairRows {
  /** Rows of which something fails. */
  readonly failing: readonly number[];
  readonly width: number;
  /** Whether rows are those of keys. */
  readonly byKey: boolean;
  readonly #scene: Scene;
  readonly #form: Form;
  readonly #channels: readonly number[];
  readonly #actual: ArrayLike<number>;
  readonly #truth: ArrayLike<number>;
  readonly #known = new Map<number, Projected>();

  constructor(scene: Scene, form: Form) {
    const { output } = form;
    this.#scene = scene;
    this.#form = form;
    const width = output === 'lse' || output === 'dm_rows' ? 1 : scene.d;
    this.width = width;
    this.byKey = output === 'dk' || output === 'dv';
    this.failing = failingRows(scene, width);
    this.#channels = Array.from({ length: width }, (_, c) => c).filter((c) => {
      for (let at = c; at < scene.failing.length; at += width) if (scene.failing[at] > 0) return true;
      return false;
    });
    this.#actual = scene.outputs[output].data;
    this.#truth = scene.truth(output);
  }

  /** KV head b G + g of a row. */
  headOf(row: number): number {
    return this.byKey || this.#form.output === 'dm_rows' ? Math.floor(row / this.#scene.N) : this.#scene.headOf(row);
  }

  /** What is wrong with a row, unless that is not finite. */
  wrong(row: number): Wrong | undefined {
    const { width } = this;
    const off = [0, 0];
    let [size, squares] = [0, 0];
    for (const c of this.#channels) {
      const at = row * width + c;
      const x = this.#form.off(this.#actual[at], this.#truth[at]);
      if (!Number.isFinite(x)) return undefined;
      off[0] += (width === 1 ? 1 : project(c, 0)) * x;
      off[1] += project(c, 1) * x;
      size += x * x;
      squares += this.#actual[at] ** 2;
    }
    if (width === 1) off.length = 1;
    return { row, off, size: Math.sqrt(size), noise: NOISE[this.#scene.dtype] * (Math.sqrt(squares) + 1e-3) };
  }

  /** Of the failing rows, up to `most` of which what is wrong is far above rounding. */
  clearest(most: number): readonly Wrong[] {
    const wrong = this.failing.map((row) => this.wrong(row)).filter((each): each is Wrong => each !== undefined);
    const sorted = wrong.sort((a, b) => b.size / b.noise - a.size / a.noise);
    const clear = sorted.slice(0, Math.max(most, sorted.length >> 1));
    return clear.filter((_, n) => n % Math.ceil(clear.length / most) === 0).slice(0, most);
  }

  /** The terms among which a rule may choose. */
  terms(row: number): Projected {
    let made = this.#known.get(row);
    if (!made) this.#known.set(row, made = this.#project(row));
    return made;
  }

  #project(row: number): Projected {
    const terms = termsOf(this.#scene, this.#form, row);
    const { width } = this;
    const sums = Array.from({ length: width === 1 ? 1 : 2 }, (_, which) => Float64Array.from(terms, (term) => {
      let total = 0;
      for (const c of this.#channels) {
        total += (width === 1 ? 1 : project(c, which)) * this.#form.term(row, term, c, this.#actual[row * width + c]);
      }
      return total;
    }));
    return { terms, sums };
  }
}
