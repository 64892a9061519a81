/**
 * The rows of an output that hypotheses are held against, and how well they explain them.
 * @module
 */
import type { FloatDtype } from '../../formats/named-tensor.ts';
import { roundTo } from '../../formats/rounding.ts';
import { STORAGE } from '../judge/budget.ts';
import { isInteger } from '../judge/compare.ts';
import { type Hypothesis, rowWidth } from './hypothesis.ts';
import { brain, half } from './narrow-floats.ts';
import type { Scene } from './scene.ts';
import type { OutputName } from '../types.ts';

/** Which rows to look at. */
export interface SampleOptions {
  /** Flat indices that are not compared. */
  readonly skip: ReadonlySet<number>;
  /** The first flat index that fails. */
  readonly first: number;
  /** Whether a flat index is looked at at all. Default: all. */
  readonly within?: (at: number) => boolean;
}

/** How far the shares of positive errors may differ; of fifty elements, chance rarely makes it more. */
const UNEVEN = 0.4;
/** More than 1 by more than the roundings of sums of squares. */
const LOOSE = 1 + 1e-9;
/** How far, relatively to its row, a number must be from a prediction to contradict it; the same in 16 bits. */
const [APART, APART_NARROW] = [0.01, 0.1];
/** How many rows must show an error before its distribution says anything. */
const MANY_ROWS = 12;

/** Rows of an output: the first that fails, some of those furthest off, and some spread over all. */
export class Sample {
  readonly #scene: Scene;
  readonly #output: OutputName;
  readonly #width: number;
  readonly #rows: readonly number[];
  readonly #spread: readonly number[];
  readonly #skip: ReadonlySet<number>;
  readonly #exact: boolean;
  /** How many of the first rows, those furthest off, refute a hypothesis that leaves most of them unexplained. */
  readonly #strict: number = 0;
  readonly #squares: number;
  /** The places in #rows, those that refute most for their price first: each row alone may refute a hypothesis. */
  readonly #order: readonly number[];
  /** Rounds a prediction as the outputs are stored. */
  readonly #stored: (x: number) => number;

  constructor(scene: Scene, output: OutputName, { skip, first, within = () => true }: SampleOptions) {
    const truth = scene.expected[output];
    this.#scene = scene;
    this.#output = output;
    this.#width = rowWidth(output, scene.d);
    this.#skip = skip;
    this.#exact = isInteger(truth) && output !== 'cache_bytes';
    const count = truth.data.length / this.#width;
    const all = Array.from({ length: count }, (_, row) => row).filter((row) => within(row * this.#width));
    this.#stored = this.#storage();
    this.#spread = spread(all, 64);
    if (this.#exact) this.#rows = all;
    else {
      const off = new Map(all.map((row) => [row, this.#deviation(row)] as const));
      const worst = all.filter((row) => off.get(row)! > 0).sort((a, b) => off.get(b)! - off.get(a)! || a - b);
      const most = scene.N > 1000 ? 4 : 10;
      const furthest = Array.from({ length: most }, (_, n) =>
        worst[Math.floor(n * worst.length / (2 * most))] ?? all[0]);
      const own = Math.floor(first / this.#width);
      this.#rows = [...new Set([...furthest, ...(within(first) ? [own] : []), ...spread(all, 2 * most)])];
      const most0 = off.get(this.#rows[0]) ?? 0;
      this.#strict = this.#rows.slice(0, 2).filter((row) => off.get(row)! > 0.5 * most0).length;
    }
    const squares = this.#rows.map((row) => this.#deviation(row) ** 2);
    this.#squares = squares.reduce((sum, each) => sum + each, 0);
    const worth = squares.map((each, n) => each / this.#price(this.#rows[n]));
    this.#order = [...this.#rows.keys()].sort((a, b) => worth[b] - worth[a] || a - b);
  }

  /** How many pairs a row sums over, about. */
  #price(row: number): number {
    const { N, chunks, parameters: { chunk } } = this.#scene;
    if (this.#output === 'dv' || this.#output === 'dk') return N - row % N;
    if (this.#output === 'dw' || this.#output === 'dl') return N - row % chunks * chunk;
    return ['out', 'lse', 'dq', 'dm_rows', 'cache_out'].includes(this.#output) ? 1 + row % N : 1;
  }

  /** How many numbers of these rows are off. */
  get off(): number {
    let count = 0;
    for (const row of this.#rows) this.#numbers(row, (actual, truth) => void (count += Number(actual !== truth)));
    return count;
  }

  /** How many numbers the rows hold. */
  get size(): number {
    return this.#rows.length * this.#width;
  }

  #storage(): (x: number) => number {
    const actual = this.#scene.outputs[this.#output];
    const { dtype } = this.#scene;
    const claimed: FloatDtype | undefined = dtype === 'f16' ? 'F16' : dtype === 'bf16' ? 'BF16' : undefined;
    const stored = actual.dtype === 'F16' || actual.dtype === 'BF16' ? actual.dtype : claimed;
    if (!stored || isInteger(actual)) return (x) => x;
    return actual.data.every((x) => Number.isNaN(x) || roundTo(x, stored) === x) ? (x) => roundTo(x, stored) : (x) => x;
  }

  #numbers(row: number, use: (actual: number, truth: number, n: number) => boolean | void): boolean {
    const [actual, truth] = [this.#scene.outputs[this.#output].data, this.#scene.truth(this.#output)];
    for (let c = 0; c < this.#width; c++) {
      const at = row * this.#width + c;
      if (this.#skip.has(at)) continue;
      if (use(actual[at], truth[at], c) === false) return false;
    }
    return true;
  }

  /** The distance to the truth. An output that is not finite counts as being as far off as the truth is from 0. */
  #deviation(row: number): number {
    let squares = 0;
    this.#numbers(row, (actual, truth) => {
      const off = Number.isFinite(actual) ? actual - truth : Math.abs(truth) + 1e-6;
      squares += Number.isFinite(off) ? off * off : 0;
    });
    return Math.sqrt(squares);
  }

  /** The share of the deviation that a hypothesis leaves unexplained, or Infinity if it is more than `plausible`. */
  unexplained({ predict }: Hypothesis, plausible: number): number {
    const most = plausible * plausible * this.#squares;
    const made: ArrayLike<number>[] = [];
    let sum = 0;
    for (const n of this.#order) {
      made[n] = predict(this.#rows[n]);
      const own = this.#leaves(n, made[n], 0, most * LOOSE);
      sum += own;
      // Sums in another order differ by roundings, which only the sum in the order of rows is to decide about.
      const alone = n < this.#strict ? plausible * this.#deviation(this.#rows[n]) ** 2 * LOOSE : Infinity;
      if (!(sum <= most * LOOSE) || own > alone) return Infinity;
    }
    let left = 0;
    for (const [n, row] of this.#rows.entries()) {
      const before = left;
      left = this.#leaves(n, made[n], left, most);
      const alone = n < this.#strict ? plausible * this.#deviation(row) ** 2 : Infinity;
      if (!(left <= most) || left - before > alone) return Infinity;
    }
    return Math.sqrt(left / this.#squares);
  }

  /** Whether some number is clearly another one than a hypothesis makes it, by more than roundings. */
  contradicts({ predict }: Hypothesis): boolean {
    const { dtype } = this.#scene;
    const apart = dtype === 'f16' || dtype === 'bf16' ? APART_NARROW : APART;
    const clip = this.#output === 'last' ? (x: number): number => Math.min(x, this.#scene.N - 1) : (x: number): number => x;
    return this.#order.some((n) => {
      const made = predict(this.#rows[n]);
      let size = 0;
      this.#numbers(this.#rows[n], (_, truth, c) => void (size = Math.max(size, Math.abs(truth), Math.abs(made[c]))));
      return !this.#numbers(this.#rows[n], (actual, _, c) => {
        if (this.#exact) return clip(actual) === clip(made[c]);
        if (!Number.isFinite(actual) || !Number.isFinite(made[c])) return true;
        return Math.abs(actual - made[c]) <= apart * size;
      });
    });
  }

  /** `left` and the squares that `made` leaves unexplained in a row, or Infinity if they are more than `most`. */
  #leaves(n: number, made: ArrayLike<number>, left: number, most: number): number {
    const clip = this.#output === 'last' ? (x: number): number => Math.min(x, this.#scene.N - 1) : (x: number): number => x;
    let total = left;
    const fits = this.#numbers(this.#rows[n], (actual, _, c) => {
      const [a, p] = [clip(actual), this.#exact ? clip(made[c]) : this.#stored(made[c])];
      if (Object.is(a, p) || a === p) return;
      if (this.#exact || !Number.isFinite(a) || !Number.isFinite(p)) return false;
      total += (a - p) ** 2;
      return total <= most;
    });
    return fits ? total : Infinity;
  }

  /** Whether the outputs are stored in 16 bits, where sums that were rounded leave no trace of their own. */
  get narrow(): boolean {
    return this.#stored(1 / 3) !== 1 / 3;
  }

  /**
   * Whether results lie where sums that are rounded to float16 or bfloat16 after each term leave them: on the numbers
   * of that dtype, before they are divided by Z or multiplied by the scale.
   */
  onGrid(name: string): boolean {
    const round = name === 'accumulated-f16' ? half : name === 'accumulated-bf16' ? brain : undefined;
    if (!round || this.#width === 1) return false;
    let [on, all] = [0, 0];
    for (const row of this.#spread) {
      const numbers: number[] = [];
      this.#numbers(row, (actual, truth) => {
        if (actual !== truth && Number.isFinite(actual) && actual !== 0) numbers.push(actual);
      });
      const of = (factor: number): number =>
        numbers.filter((x) => Math.abs(x * factor / round(x * factor) - 1) < 2 ** -17).length;
      all += numbers.length;
      on += Math.max(...this.#factors(row, round).map(of));
    }
    return all > 0 && on > 0.5 * all;
  }

  /** What a row may have been divided by after it was summed: Z, also by rounded scores that its lse tells of. */
  #factors(row: number, round: (x: number) => number): readonly number[] {
    const { parameters: { scale }, outputs } = this.#scene;
    if (this.#output !== 'out') return this.#output === 'cache_out' ? [Math.exp(this.#scene.lse(row) - this.#scene.shift(row))] : [1, 1 / scale];
    const [m, lse] = [this.#scene.shift(row), outputs.lse?.data[row] ?? NaN];
    const right = Math.exp(this.#scene.lse(row) - m);
    if (!Number.isFinite(lse) || this.#width < 3) return [right];
    const unit = 2 ** (Math.floor(Math.log2(Math.abs(m / scale) || 1)) - (round === half ? 10 : 7));
    const near = Array.from({ length: 17 }, (_, n) => scale * (round(m / scale) + (n - 8) * unit));
    return [right, ...near.map((top) => Math.exp(lse - top))];
  }

  /** Whether some number is not finite. */
  hasNaN(): boolean {
    return this.#rows.some((row) => !this.#numbers(row, (actual) => Number.isFinite(actual)));
  }

  /**
   * How far the sizes of the errors of many rows are from those of a hypothesis whose errors depend on an order that is
   * not known: 0 if they are the same, undefined if they are not alike. They are alike if the median of their ratios is
   * within 2^0.8 of 1, the middle half of the ratios within a factor of 4 (8 where a row is one number), and errors
   * are as often positive, and lead as often away from 0, but for a fifth of them. Rows where the hypothesis has no
   * error beyond that of storage say nothing, unless the outputs have one there, which refutes it.
   */
  likeness({ predict }: Hypothesis): number | undefined {
    if (this.#exact) return undefined;
    const s = Math.max(STORAGE[this.#scene.dtype], STORAGE.f32);
    const ratios: number[] = [];
    let contradictions = 0;
    let [grows, growth, signs, sign, elements] = [0, 0, 0, 0, 0];
    for (const row of this.#spread) {
      const made = predict(row);
      let [ours, theirs, size, n] = [0, 0, 0, 0];
      this.#numbers(row, (actual, truth, c) => {
        theirs += (actual - truth) ** 2;
        ours += (made[c] - truth) ** 2;
        size += truth * truth;
        n++;
        if (actual === truth || made[c] === truth) return;
        grows += Math.sign((actual - truth) * truth);
        growth += Math.sign((made[c] - truth) * truth);
        signs += Math.sign(actual - truth);
        sign += Math.sign(made[c] - truth);
        elements++;
      });
      const floor = s * Math.sqrt(size);
      if (n === 0 || !Number.isFinite(theirs + ours)) continue;
      if (Math.sqrt(ours) > floor && theirs > 0) {
        ratios.push(Math.log2(Math.sqrt(theirs / (ours + (0.4 * s) ** 2 * size))));
      } else if (Math.sqrt(theirs) > 4 * floor) contradictions++;
    }
    if (ratios.length < MANY_ROWS || contradictions > 0) return undefined;
    if (Math.abs(grows - growth) > UNEVEN * elements || Math.abs(signs - sign) > UNEVEN * elements) return undefined;
    ratios.sort((a, b) => a - b);
    const quantile = (part: number): number => ratios[Math.floor(part * (ratios.length - 1))];
    const [median, width] = [quantile(0.5), quantile(0.75) - quantile(0.25)];
    if (Math.abs(median) > 0.8 || width > (this.#width > 1 ? 2 : 3)) return undefined;
    return Math.abs(median) + width / 2;
  }
}

function spread(all: readonly number[], most: number): readonly number[] {
  if (all.length <= most) return all;
  return Array.from({ length: most }, (_, n) => all[Math.floor((n + 0.5) * all.length / most)]);
}
