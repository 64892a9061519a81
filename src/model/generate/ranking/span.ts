/**
 * Consecutive tokens of the order, in which the end of a prefix is searched. They are split until few are left, which
 * are sorted, or only equal ones, which are ordered by their indices.
 * @module
 */
import { type Row, type Split, splitEvenly } from './split.ts';
import { weightAt } from './weights.ts';

/** Up to this many tokens are sorted. */
const FEW = 256;

/** A number of tokens, and the sum of their weights. */
export interface Share {
  readonly count: number;
  readonly weight: number;
}

/** A prefix of the order of tokens. */
export interface Prefix {
  /** The sum of its weights, where the best token has 1. */
  readonly weight: number;
  /** Finds the token that it ends with. Missing if it holds all tokens. */
  readonly last?: () => number;
}

/** Whether a prefix with this number and weight of tokens is enough. If it is, so is any longer one. */
export type Enough = (count: number, weight: number) => boolean;

/** Consecutive tokens of the order of a row. */
export class Span {
  readonly #row: Row;
  readonly #find: () => Int32Array;
  #tokens: Int32Array | undefined;
  #split: Split | undefined;
  readonly #parts = new Map<number, Span>();

  /**
   * @param find Finds the tokens, in the order of their indices. It is called only if they are needed.
   * @param split How they are split, if that is already known.
   */
  constructor(row: Row, find: () => Int32Array, split?: Split) {
    this.#row = row;
    this.#find = find;
    this.#split = split;
  }

  /** The tokens, in the order of their indices. */
  get tokens(): Int32Array {
    return this.#tokens ??= this.#find();
  }

  /** The shortest prefix that is enough, or all tokens of this span if none is. Those before it hold `before`. */
  prefix(before: Share, enough: Enough): Prefix {
    if (!this.#split && this.tokens.length <= FEW) return this.#ofFew(before, enough);
    const split = this.#split ??= splitEvenly(this.#row, this.tokens);
    const { counts, sums } = split;
    let [start, end, part] = [before, before, -1];
    for (let next = 0; next < counts.length && (part < 0 || !enough(end.count, end.weight)); next++) {
      if (counts[next] === 0) continue;
      [start, end, part] = [end, { count: end.count + counts[next], weight: end.weight + sums[next] }, next];
    }
    if (part === split.equal?.part) return this.#ofEqual(start, enough);
    if (counts[part] === this.#tokens?.length) return this.#ofFew(before, enough); // too close to split
    let inner = this.#parts.get(part);
    if (!inner) this.#parts.set(part, inner = new Span(this.#row, () => split.tokens(part)));
    return inner.prefix(start, enough);
  }

  /** The prefix that ends among the equal tokens, found by bisection. */
  #ofEqual(before: Share, enough: Enough): Prefix {
    const { counts, sums, equal } = this.#split!;
    const each = sums[equal!.part] / counts[equal!.part];
    let [low, high] = [1, counts[equal!.part]];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (enough(before.count + middle, before.weight + middle * each)) high = middle;
      else low = middle + 1;
    }
    return { weight: before.weight + low * each, last: () => equal!.nth(low) };
  }

  #ofFew(before: Share, enough: Enough): Prefix {
    const { logits } = this.#row;
    let { count, weight } = before;
    let last = -1;
    for (const token of this.tokens.slice().sort((a, b) => logits[b] - logits[a] || a - b)) {
      weight += this.#weightOf(token);
      last = token;
      if (enough(++count, weight)) break;
    }
    return { weight, last: () => last };
  }

  #weightOf(token: number): number {
    return weightAt((this.#row.top - this.#row.logits[token]) * this.#row.scale);
  }
}
