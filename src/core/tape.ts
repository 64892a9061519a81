/**
 * Reverse-mode differentiation in one small class. A tape records the backward of each operation, sums the gradients of
 * shared inputs, and owns every intermediate tensor until it is disposed of.
 * @module
 */
import type { Engine, Tensor } from './engine.ts';
import { requireTraining, type TrainingEngine } from './training-engine.ts';

/** Records operations; without `recording` it only owns intermediate tensors. */
export class Tape {
  readonly engine: Engine;
  readonly recording: boolean;
  #steps: (() => void)[] = [];
  #gradients = new Map<Tensor, Tensor>();
  #owned = new Set<Tensor>();

  /** @throws {UnsupportedError} If it is to record but the engine cannot train. */
  constructor(engine: Engine, recording = true) {
    this.engine = recording ? requireTraining(engine) : engine;
    this.recording = recording;
  }

  /** The engine, for backward operations and losses. @throws {UnsupportedError} If it cannot train. */
  get training(): TrainingEngine {
    return requireTraining(this.engine);
  }

  /** Takes over a tensor, which is then freed by dispose(). */
  own(tensor: Tensor): Tensor {
    this.#owned.add(tensor);
    return tensor;
  }

  /** Takes over `output`. The backward pass calls `backward` with its gradient, if there is one. */
  record(output: Tensor, backward: (dOut: Tensor) => void): Tensor {
    if (this.recording) {
      this.#steps.push(() => {
        const dOut = this.#gradients.get(output);
        if (dOut) backward(dOut);
      });
    }
    return this.own(output);
  }

  /** Adds `gradient` to the gradient of `tensor`. */
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

  /** Frees intermediate tensors early. A tape that records keeps them for the backward pass. */
  release(...tensors: readonly Tensor[]): void {
    if (this.recording) return;
    for (const tensor of tensors) if (this.#owned.delete(tensor)) tensor.dispose();
  }

  /** Frees all tensors that it owns. Idempotent. */
  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
    this.#owned.clear();
    this.#gradients.clear();
    this.#steps = [];
  }
}
