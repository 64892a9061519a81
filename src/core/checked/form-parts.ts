/**
 * The parts of forms, checked: those that one form has, and that all layers of a decoder have in turn.
 * @module
 */
import { finite } from '../arguments.ts';
import type { FeedForwardInputs, Norm, Projection } from '../forms.ts';
import { expectShape } from '../shape.ts';
import { linearSizes, normSizes, ropeSizes, sameSizes } from '../sizes.ts';
import type { Shaped, Tensor } from '../tensor.ts';

/** The weights of feedForward(). */
type FeedForward<T> = Omit<FeedForwardInputs<T>, 'x'>;

/** Makes parts on arrays from parts on tensors, by what finds the array of a tensor. */
export interface FormParts<A extends Shaped> {
  normed(norm: Norm, x: Shaped): Norm<A>;
  /** @param rotary The tables by which its heads are rotated. */
  projection(given: Projection, x: Shaped, rotary?: readonly [cos: Shaped, sin: Shaped]): Projection<A>;
  feedForward(given: FeedForward<Tensor>, x: Shaped): FeedForward<A>;
}

export function formParts<A extends Shaped>(float: (name: string, x: Tensor) => A): FormParts<A> {
  const normed = ({ weight, epsilon }: Norm, x: Shaped): Norm<A> => {
    finite('epsilon', epsilon);
    const made = { weight: float('norm.weight', weight), epsilon };
    normSizes(x, made.weight);
    return made;
  };
  return {
    normed,
    projection({ heads, weight, bias, norm }, x, rotary) {
      const w = float('weight', weight);
      const { M } = linearSizes(x, w);
      const b = bias && float('bias', bias);
      if (b) expectShape('bias', b, [M], `the weight is [${w.shape}]`);
      const split = { shape: [x.shape[0], heads, x.shape[1], M / heads] };
      if (rotary) ropeSizes(split, ...rotary);
      return { heads, weight: w, ...(b && { bias: b }), ...(norm && { norm: normed(norm, split) }) };
    },
    feedForward(given, x) {
      const norm = normed(given.norm, x);
      const [gate, up, down] = [float('gate', given.gate), float('up', given.up), float('down', given.down)];
      const row = (size: number): Shaped => ({ shape: [...x.shape.slice(0, -1), size] });
      const { M: F } = linearSizes(x, gate);
      expectShape('up', up, gate.shape, 'it must have the shape of gate');
      const { M } = linearSizes(row(F), down);
      sameSizes('x', x, row(M), 'it is added to the result');
      return { norm, gate, up, down };
    },
  };
}
