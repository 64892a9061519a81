/**
 * The layers of the engine's contract on a tape, which records each forward operation together with its backward.
 * @module
 */
import type { Tensor } from './engine.ts';
import { ValueError } from './errors.ts';
import type { Tape } from './tape.ts';

/** The rows of the table that `ids` select. */
export function embedding(tape: Tape, weight: Tensor, ids: Tensor): Tensor {
  return tape.record(tape.engine.embedding(weight, ids), (dOut) => {
    tape.addGradient(weight, tape.training.embeddingBackward(dOut, ids, weight.shape[0]));
  });
}

/** The rows of x [...,D] that `rows` selects. Only for inference, as it has no backward. */
export function pickRows(tape: Tape, x: Tensor, rows: Tensor): Tensor {
  if (tape.recording) throw new ValueError('pickRows has no backward: pick rows where no gradient is wanted');
  return tape.own(tape.engine.pickRows(x, rows));
}

/** The index of the largest element of each row. Only for inference, as it has no backward. */
export function argmax(tape: Tape, x: Tensor): Tensor {
  if (tape.recording) throw new ValueError('argmax has no backward: choose where no gradient is wanted');
  return tape.own(tape.engine.argmax(x));
}

/** x Wᵀ, plus a bias if there is one. With `detach`, no gradient goes into x. */
export function linear(
  tape: Tape, x: Tensor, weight: Tensor,
  { bias, detach = false }: { bias?: Tensor | undefined; detach?: boolean } = {},
): Tensor {
  return tape.record(tape.engine.linear(x, weight, bias), (dOut) => {
    const engine = tape.training;
    if (!detach) tape.addGradient(x, engine.linearBackwardInput(dOut, weight));
    tape.addGradient(weight, engine.linearBackwardWeight(dOut, x));
    if (bias) tape.addGradient(bias, engine.linearBackwardBias(dOut));
  });
}

/** Root-mean-square norm over the last axis. */
export function rmsNorm(tape: Tape, x: Tensor, weight: Tensor, epsilon: number): Tensor {
  return tape.record(tape.engine.rmsNorm(x, weight, epsilon), (dOut) => {
    const { dx, dWeight } = tape.training.rmsNormBackward(dOut, x, weight, epsilon);
    tape.addGradient(x, dx);
    tape.addGradient(weight, dWeight);
  });
}

/** silu(gate) * up. */
export function swiglu(tape: Tape, gate: Tensor, up: Tensor): Tensor {
  return tape.record(tape.engine.swiglu(gate, up), (dOut) => {
    const { dGate, dUp } = tape.training.swigluBackward(dOut, gate, up);
    tape.addGradient(gate, dGate);
    tape.addGradient(up, dUp);
  });
}

/** a + b. */
export function add(tape: Tape, a: Tensor, b: Tensor): Tensor {
  return tape.record(tape.engine.add(a, b), (dOut) => {
    tape.addGradient(a, dOut);
    tape.addGradient(b, dOut);
  });
}

/** factor * x for narrow x [...,r], as a product with a diagonal matrix [r,r]. */
export function scaled(tape: Tape, x: Tensor, factor: number): Tensor {
  if (factor === 1) return x;
  const r = x.shape.at(-1)!;
  const diagonal = new Float64Array(r * r);
  for (let n = 0; n < r; n++) diagonal[n * (r + 1)] = factor;
  const weight = tape.own(tape.engine.tensor(diagonal, [r, r]));
  return tape.record(tape.engine.linear(x, weight), (dOut) => {
    tape.addGradient(x, tape.training.linearBackwardInput(dOut, weight));
  });
}

/** [B,N,heads*d] -> [B,heads,N,d]. */
export function splitHeads(tape: Tape, x: Tensor, heads: number): Tensor {
  return tape.record(tape.engine.splitHeads(x, heads), (dOut) => tape.addGradient(x, tape.engine.mergeHeads(dOut)));
}

/** [B,heads,N,d] -> [B,N,heads*d]. */
export function mergeHeads(tape: Tape, x: Tensor): Tensor {
  const heads = x.shape[1];
  return tape.record(tape.engine.mergeHeads(x), (dOut) => tape.addGradient(x, tape.engine.splitHeads(dOut, heads)));
}

/** Rotates queries or keys by their positions. */
export function rope(tape: Tape, x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  return tape.record(tape.engine.rope(x, cos, sin), (dOut) => {
    tape.addGradient(x, tape.engine.rope(dOut, cos, sin, true));
  });
}

/** The losses per token in nats. The backward pass starts from `weight` times their sum. */
export function crossEntropy(tape: Tape, logits: Tensor, targets: Tensor, weight: number): Tensor {
  const losses = tape.own(tape.training.crossEntropy(logits, targets));
  if (tape.recording) tape.addGradient(logits, tape.training.crossEntropyBackward(logits, targets, weight));
  return losses;
}
