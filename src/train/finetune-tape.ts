/**
 * A tape for models of which only a small part is trained. The gradients of frozen weights are never computed.
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { TrainingEngine } from '../core/training-engine.ts';
import { Tape } from '../core/tape.ts';

/** A gradient that is computed only if it is needed. */
class Deferred implements Tensor {
  readonly kind = 'float';
  readonly dtype = 'f64';
  readonly compute: () => Tensor;
  readonly shape: readonly number[];

  constructor(shape: readonly number[], compute: () => Tensor) {
    this.shape = shape;
    this.compute = compute;
  }
  dispose(): void {}
  [Symbol.dispose](): void {}
}

/** `engine` with deferred gradients of weight matrices, which FrozenTape computes once it knows whose they are. */
function deferring(engine: TrainingEngine): TrainingEngine {
  const linearBackwardWeight: TrainingEngine['linearBackwardWeight'] = (dOut, x) => {
    const shape = [dOut.shape.at(-1)!, x.shape.at(-1)!];
    return new Deferred(shape, () => engine.linearBackwardWeight(dOut, x));
  };
  const embeddingBackward: TrainingEngine['embeddingBackward'] = (dOut, ids, vocabulary) => {
    const shape = [vocabulary, dOut.shape.at(-1)!];
    return new Deferred(shape, () => engine.embeddingBackward(dOut, ids, vocabulary));
  };
  const deferred: Partial<TrainingEngine> = { linearBackwardWeight, embeddingBackward };
  return new Proxy(engine, {
    get: (target, name) => {
      if (Object.hasOwn(deferred, name)) return deferred[name as keyof TrainingEngine];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) as unknown : value;
    },
  });
}

/** A tape that drops the gradients of `frozen` tensors; those of matrices are not even computed. */
export class FrozenTape extends Tape {
  readonly #frozen: ReadonlySet<Tensor>;

  constructor(engine: TrainingEngine, frozen: Iterable<Tensor>) {
    super(deferring(engine));
    this.#frozen = new Set(frozen);
  }

  override addGradient(tensor: Tensor, gradient: Tensor): void {
    // A frozen gradient is not disposed of yet, as a sum passes one gradient to both of its terms.
    if (this.#frozen.has(tensor)) this.own(gradient);
    else super.addGradient(tensor, gradient instanceof Deferred ? gradient.compute() : gradient);
  }
}
