/**
 * The noise of a training run, drawn while a GPU computes: to draw it takes about as long as a step does there.
 * @module
 */
import { gumbelNoise, Stream } from '../core/random.ts';

/** Gumbel noise that depends only on the seed, the step, the sequence and the layer. */
export class Noise {
  readonly #seed: number;
  readonly #drawn = new Map<string, Float64Array>();
  /** What the current step has asked for. */
  #asked: (readonly [sequence: number, layer: number, length: number])[] = [];

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** The noise of a sequence in a layer. */
  of(step: number, sequence: number, layer: number, length: number): Float64Array {
    this.#asked.push([sequence, layer, length]);
    const key = [step, sequence, layer, length].join();
    const ready = this.#drawn.get(key);
    this.#drawn.delete(key);
    return ready ?? gumbelNoise(this.#seed, [Stream.NOISE, step, sequence, layer], length);
  }

  /** Draws for `step` what was asked for since the last call. What nobody took is forgotten. */
  ahead(step: number): void {
    this.#drawn.clear();
    for (const [sequence, layer, length] of this.#asked) {
      const noise = gumbelNoise(this.#seed, [Stream.NOISE, step, sequence, layer], length);
      this.#drawn.set([step, sequence, layer, length].join(), noise);
    }
    this.#asked = [];
  }
}
