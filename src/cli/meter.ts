/**
 * Measures how long a run has taken, and how fast it is.
 * @module
 */

/** Measures the time since it was made, and the speed over the last steps. */
export class Meter {
  readonly #start = performance.now();
  readonly #times: number[] = [this.#start];
  readonly #tokensPerStep: number;

  constructor(tokensPerStep: number) {
    this.#tokensPerStep = tokensPerStep;
  }

  /** Seconds so far, to the millisecond. */
  get seconds(): number {
    return Math.round(performance.now() - this.#start) / 1000;
  }

  /** Tokens per second over the last steps, at most 20. */
  get speed(): number {
    const [first, last] = [this.#times[0], this.#times[this.#times.length - 1]];
    return (this.#tokensPerStep * (this.#times.length - 1) * 1000) / (last - first);
  }

  /** Counts a step. */
  tick(): void {
    this.#times.push(performance.now());
    if (this.#times.length > 20) this.#times.shift();
  }

  /** Leaves the time since the last tick() out of the speed. */
  skip(): void {
    const lost = performance.now() - this.#times.at(-1)!;
    this.#times.forEach((time, n) => (this.#times[n] = time + lost));
  }
}
