/**
 * Reverse-mode differentiation in one small class: a tape records how to go back, sums the gradients of
 * shared inputs, and owns every intermediate until it is disposed of.
 * @module
 */
import type { Engine, Tensor } from './engine.ts';
import { requireTraining, type TrainingEngine } from './training-engine.ts';

/** Records operations; with `recording` false it only owns intermediates. */
export class Tape {
  readonly engine: Engine;
  readonly recording: boolean;
  #steps: (() => void)[] = [];
  #gradients = new Map<Tensor, Tensor>();
  #owned = new Set<Tensor>();

  /** @throws {UnsupportedError} If it is to record on an engine that does not train. */
  constructor(engine: Engine, recording = true) {
    this.engine = recording ? requireTraining(engine) : engine;
    this.recording = recording;
  }

  /** The engine, for the way back and for losses. @throws {UnsupportedError} If it does not train. */
  get training(): TrainingEngine {
    return requireTraining(this.engine);
  }

  /** Takes charge of a tensor: it lives until dispose(). */
  own(tensor: Tensor): Tensor {
    this.#owned.add(tensor);
    return tensor;
  }

  /** Owns `output`, and calls `backward` with its gradient when going back, if it has one. */
  record(output: Tensor, backward: (dOut: Tensor) => void): Tensor {
    if (this.recording) {
      this.#steps.push(() => {
        const dOut = this.#gradients.get(output);
        if (dOut) backward(dOut);
      });
    }
    return this.own(output);
  }

  /** Starts going back: `gradient` becomes part of the gradient of `tensor`. Shared inputs sum. */
  addGradient(tensor: Tensor, gradient: Tensor): void {
    const sum = this.#gradients.get(tensor);
    if (sum) this.#gradients.set(tensor, this.own(this.engine.add(sum, gradient)));
    else this.#gradients.set(tensor, gradient);
    this.own(gradient);
  }

  /** Runs the recorded steps in reverse. */
  backward(): void {
    for (const step of this.#steps.reverse()) step();
    this.#steps = [];
  }

  /** The gradient of `tensor`, which now belongs to the caller; undefined if it had no part in the result. */
  takeGradient(tensor: Tensor): Tensor | undefined {
    const gradient = this.#gradients.get(tensor);
    if (gradient) this.#owned.delete(gradient);
    return gradient;
  }

  /** Frees intermediates now that nothing needs any more; a tape that records keeps them, to go back. */
  release(...tensors: readonly Tensor[]): void {
    if (this.recording) return;
    for (const tensor of tensors) if (this.#owned.delete(tensor)) tensor.dispose();
  }

  /** Frees every intermediate. Idempotent. */
  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
    this.#owned.clear();
    this.#gradients.clear();
    this.#steps = [];
  }
}
