/**
 * The cross-entropy of the next token, in nats.
 * @module
 */
import { exp } from '../src/core/elementary.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';
import { logSumExp } from './log-sum-exp.ts';

/** loss_n = log sum_v exp(z_nv) - z_n,target: logits [...,V], targets [...] (-1: no loss) -> [...]. */
export function crossEntropy(logits: NDArray, targets: NDArray<Int32Array>, { V }: { V: number }): NDArray {
  const loss = zerosLike(logits.data, targets.data.length);
  targets.data.forEach((target, n) => {
    if (target >= 0) loss[n] = logSumExp(logits.data, n * V, V) - logits.data[n * V + target];
  });
  return { data: loss, shape: targets.shape };
}

/** dz_nv = weight (softmax(z_n)_v - [v = target_n]), 0 where the target is -1. */
export function crossEntropyBackward(
  logits: NDArray, targets: NDArray<Int32Array>, weight: number, { V }: { V: number },
): NDArray {
  const dLogits = zerosLike(logits.data, logits.data.length);
  targets.data.forEach((target, n) => {
    if (target < 0) return;
    const lse = logSumExp(logits.data, n * V, V);
    for (let v = 0; v < V; v++) dLogits[n * V + v] = weight * exp(logits.data[n * V + v] - lse);
    dLogits[n * V + target] = dLogits[n * V + target] - weight;
  });
  return { data: dLogits, shape: logits.shape };
}
