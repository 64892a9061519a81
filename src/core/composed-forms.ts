/**
 * The forms composed of single operations, for engines that do not fuse them, and for training, whose backward pass is
 * recorded operation by operation.
 * @module
 */
import type { Forms, Norm, Projection } from './forms.ts';
import { add, argmax, linear, mergeHeads, rmsNorm, rope, scaled, splitHeads, swiglu } from './layers.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** A low-rank change of a weight W: x Wᵀ becomes x Wᵀ + scale (x Aᵀ) Bᵀ. */
export interface Change {
  /** A [r, D]. */
  readonly a: Tensor;
  /** B [rows, r]. */
  readonly b: Tensor;
  readonly scale: number;
}

/** Changes of projections, by the weights that they change. */
export type Changes = ReadonlyMap<Tensor, Change>;

/** The forms on a tape: those that the engine fuses, and compositions of single operations for the others. */
export function formsOn(tape: Tape): Forms {
  const composed = composedForms(tape);
  const own = tape.recording ? undefined : tape.engine.forms;
  if (!own) return composed;
  const logits: Forms['logits'] = (...inputs) =>
    (own.logits ? tape.own(own.logits(...inputs)) : composed.logits(...inputs));
  return {
    project: (inputs) => {
      if (!own.project) return composed.project(inputs);
      const made = own.project(inputs);
      for (const tensor of Object.values(made)) tape.own(tensor as Tensor);
      return made;
    },
    output: (...inputs) => (own.output ? tape.own(own.output(...inputs)) : composed.output(...inputs)),
    feedForward: (inputs) => (own.feedForward ? tape.own(own.feedForward(inputs)) : composed.feedForward(inputs)),
    logits,
    nextToken: (...inputs) => (own.nextToken ? tape.own(own.nextToken(...inputs)) : largest(tape, logits(...inputs))),
    ...(own.layers && {
      layers: (inputs) => {
        const made = own.layers!(inputs);
        if (made) tape.own(made.x);
        return made;
      },
    }),
    ...(own.drawnToken && { drawnToken: (...inputs) => tape.own(own.drawnToken!(...inputs)) }),
  };
}

/**
 * The forms as single operations, each with its backward if the tape records.
 *
 * @param changes What to add to the products of projections.
 */
export function composedForms(tape: Tape, changes?: Changes): Forms {
  const product = (hidden: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor => {
    const own = linear(tape, hidden, weight, { bias });
    const change = changes?.get(weight);
    if (!change) return own;
    const narrow = linear(tape, hidden, change.a);
    const times = scaled(tape, narrow, change.scale);
    const wide = linear(tape, times, change.b);
    const sum = add(tape, own, wide);
    tape.release(own, narrow, times, wide);
    return sum;
  };
  const heads = (hidden: Tensor, { heads, weight, bias, norm }: Projection): Tensor => {
    const flat = product(hidden, weight, bias);
    const split = splitHeads(tape, flat, heads);
    const normed = norm ? rmsNorm(tape, split, norm.weight, norm.epsilon) : split;
    tape.release(flat, ...(norm ? [split] : []));
    return normed;
  };
  return {
    project({ x, norm, q, k, v, cos, sin }) {
      const hidden = rmsNorm(tape, x, norm.weight, norm.epsilon);
      const rotated = (projection: Projection): Tensor => {
        const y = heads(hidden, projection);
        const turned = rope(tape, y, cos, sin);
        tape.release(y);
        return turned;
      };
      return { hidden, q: rotated(q), k: rotated(k), v: heads(hidden, v) };
    },
    output(x, attended, weight) {
      const merged = mergeHeads(tape, attended);
      const y = linear(tape, merged, weight);
      const sum = add(tape, x, y);
      tape.release(merged, y);
      return sum;
    },
    feedForward({ x, norm, gate, up, down }) {
      const normed = rmsNorm(tape, x, norm.weight, norm.epsilon);
      const [g, u] = [linear(tape, normed, gate), linear(tape, normed, up)];
      const gated = swiglu(tape, g, u);
      tape.release(normed, g, u);
      const y = linear(tape, gated, down);
      const sum = add(tape, x, y);
      tape.release(gated, y);
      return sum;
    },
    logits,
    nextToken: (...inputs) => largest(tape, logits(...inputs)),
  };

  function logits(x: Tensor, norm: Norm, head: Tensor): Tensor {
    const normed = rmsNorm(tape, x, norm.weight, norm.epsilon);
    const y = linear(tape, normed, head);
    tape.release(normed);
    return y;
  }
}

/** The indices of the largest logits, which are freed. */
function largest(tape: Tape, logits: Tensor): Tensor {
  const tokens = argmax(tape, logits);
  tape.release(logits);
  return tokens;
}
