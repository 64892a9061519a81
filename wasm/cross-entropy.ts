/**
 * The loss and its gradient (kernels/training.ts).
 * @module
 */
import type { Machine, WasmArray } from './machine.ts';

interface LogitSizes {
  readonly rows: number;
  readonly V: number;
}

/** What a logit costs, in products. */
const WEIGHT = 8;

/** The loss of each row of logits [...,V], 0 where the target is -1. */
export function crossEntropy(on: Machine, logits: WasmArray, targets: WasmArray, { rows, V }: LogitSizes): WasmArray {
  return on.withIntegers(targets.integers!, (list) => {
    const loss = on.make(targets.shape);
    const z = on.real(logits);
    on.together(on.own('crossEntropy'), on.ranges(rows, 1, rows * V * WEIGHT).map(([from, to]) => [
      z + from * V * on.size, list + from * 4, loss.at + from * on.size, to - from, V,
    ]));
    return loss;
  });
}

/** weight (softmax(z) - [target]). */
export function crossEntropyBackward(
  on: Machine, logits: WasmArray, targets: WasmArray, weight: number, { rows, V }: LogitSizes,
): WasmArray {
  return on.withIntegers(targets.integers!, (list) => {
    const dLogits = on.make(logits.shape);
    const z = on.real(logits);
    on.together(on.own('crossEntropyBackward'), on.ranges(rows, 1, 2 * rows * V * WEIGHT).map(([from, to]) => [
      z + from * V * on.size, list + from * 4, dLogits.at + from * V * on.size, to - from, V, weight,
    ]));
    return dLogits;
  });
}
