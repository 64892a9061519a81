/**
 * The noise of a training run. A thread draws that of the next step while the engine computes this one; where there is
 * no thread, or it is late, the noise is drawn when it is needed. The numbers are the same.
 * @module
 */
import { drawGumbel, stateOf, Stream } from '../core/random.ts';
import { type Drawn, type NoiseThread, startNoiseThread } from './noise-thread.ts';

/** Numbers of a step from which a thread is worth it: they take about a millisecond. */
const MANY = 2 ** 16;

type Numbers = Float32Array | Float64Array;

/** A draw of a step. */
interface Asked {
  readonly sequence: number;
  readonly layer: number;
  readonly length: number;
  readonly narrow: boolean;
}

/** Gumbel noise that depends only on the seed, the step, the sequence and the layer. */
export class Noise {
  readonly #seed: number;
  readonly #many: number;
  /** What the current step has asked for. */
  #asked: Asked[] = [];
  /** What the thread was asked for, and what it has drawn of it. */
  #wanted: { readonly step: number; readonly asked: readonly Asked[] } | undefined;
  readonly #drawn = new Map<string, Numbers>();
  /** Null where there is none. */
  #thread: NoiseThread | null | undefined;

  /** @param many Numbers of a step from which a thread draws them. */
  constructor(seed: number, many: number = MANY) {
    this.#seed = seed;
    this.#many = many;
  }

  /** How many draws of the thread wait to be used, for tests. */
  get ready(): number {
    return this.#drawn.size;
  }

  /** Fills `to` with the noise of a sequence in a layer. */
  fill(step: number, sequence: number, layer: number, to: Numbers): void {
    this.#asked.push({ sequence, layer, length: to.length, narrow: to instanceof Float32Array });
    const drawn = this.#drawn.get([step, sequence, layer].join());
    if (drawn?.length === to.length && drawn instanceof Float32Array === to instanceof Float32Array) to.set(drawn);
    else drawGumbel(this.#seed, [Stream.NOISE, step, sequence, layer], to);
  }

  /** Lets the thread draw for `step` what was asked for since the last call. What nobody took is forgotten. */
  ahead(step: number): void {
    const asked = this.#asked;
    this.#asked = [];
    this.#drawn.clear();
    this.#wanted = undefined;
    const lengths = asked.map(({ length }) => length);
    if (lengths.length === 0 || lengths.reduce((a, b) => a + b) < this.#many || this.#thread === null) return;
    this.#thread ??= startNoiseThread((drawn) => this.#take(drawn), () => (this.#thread = null)) ?? null;
    this.#wanted = { step, asked };
    const states = asked.map(({ sequence, layer }) => stateOf(this.#seed, [Stream.NOISE, step, sequence, layer]));
    this.#thread?.ask({ step, states, lengths, narrow: asked[0].narrow });
  }

  #take({ step, noise }: Drawn): void {
    if (!noise || this.#wanted?.step !== step) return;
    let at = 0;
    for (const { sequence, layer, length } of this.#wanted.asked) {
      this.#drawn.set([step, sequence, layer].join(), noise.subarray(at, at + length));
      at += length;
    }
  }

  /** Ends the thread. Another call of ahead() starts one again. */
  dispose(): void {
    this.#thread?.end();
    this.#thread = undefined;
    this.#drawn.clear();
    this.#wanted = undefined;
  }
}
