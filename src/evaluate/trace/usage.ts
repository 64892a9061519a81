/**
 * Which queries used which entries: attention weights (§3) over what a cache held, from the keys and queries it was
 * given, added up in float64.
 * @module
 */
import { TOP_KEYS, TOP_QUERIES } from './trace.ts';

/** The sizes of a layer. */
interface Sizes {
  readonly kvHeads: number;
  /** Query heads per KV head. */
  readonly group: number;
  readonly headDim: number;
}

/** What the queries of one KV head used, over N tokens. */
export class Usage {
  readonly received: Float32Array;
  readonly users: Int32Array;
  readonly userWeights: Float32Array;
  readonly used: Int32Array;
  readonly usedWeights: Float32Array;
  readonly #keys: Float64Array;
  readonly #sizes: Sizes;
  readonly #g: number;

  /** @param g Which KV head it is. */
  constructor(tokens: number, g: number, sizes: Sizes) {
    this.#g = g;
    this.#sizes = sizes;
    this.#keys = new Float64Array(tokens * sizes.headDim);
    this.received = new Float32Array(tokens);
    this.users = new Int32Array(tokens * TOP_QUERIES).fill(-1);
    this.userWeights = new Float32Array(tokens * TOP_QUERIES);
    this.used = new Int32Array(tokens * TOP_KEYS).fill(-1);
    this.usedWeights = new Float32Array(tokens * TOP_KEYS);
  }

  /**
   * Takes query i, which sees the entries at the positions `visible`, its own included.
   *
   * @param q Of all query heads, [H,d]. @param k Of all KV heads, [G,d].
   */
  add(i: number, visible: readonly number[], q: ArrayLike<number>, k: ArrayLike<number>, scale: number): void {
    const { group, headDim: d } = this.#sizes;
    for (let n = 0; n < d; n++) this.#keys[i * d + n] = k[this.#g * d + n];
    const mean = new Float64Array(visible.length);
    for (let h = 0; h < group; h++) {
      const at = (this.#g * group + h) * d;
      const scores = visible.map((j) => {
        let sum = 0;
        for (let n = 0; n < d; n++) sum += q[at + n] * this.#keys[j * d + n];
        return scale * sum;
      });
      const max = scores.reduce((a, b) => Math.max(a, b), -Infinity);
      const exponentials = scores.map((s) => Math.exp(s - max));
      const Z = exponentials.reduce((a, b) => a + b, 0);
      for (let n = 0; n < mean.length; n++) mean[n] += exponentials[n] / Z / group;
    }
    for (const [n, j] of visible.entries()) {
      this.received[j] += mean[n];
      keep(this.users, this.userWeights, j * TOP_QUERIES, TOP_QUERIES, i, mean[n]);
      keep(this.used, this.usedWeights, i * TOP_KEYS, TOP_KEYS, j, mean[n]);
    }
  }
}

/** Inserts a number into a list of the heaviest, which begins at `start`; of equal ones, the earlier stays before. */
function keep(
  names: Int32Array, weights: Float32Array, start: number, most: number, name: number, weight: number,
): void {
  const rounded = Math.fround(weight);
  let at = start + most;
  while (at > start && (names[at - 1] < 0 || weights[at - 1] < rounded)) at--;
  if (at === start + most) return;
  names.copyWithin(at + 1, at, start + most - 1);
  weights.copyWithin(at + 1, at, start + most - 1);
  names[at] = name;
  weights[at] = rounded;
}
