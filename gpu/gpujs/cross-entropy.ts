/**
 * Cross-entropy of logits against target tokens, in nats.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const LSE = kernel('log-sum-exp of rows', 'logits | V', `
  let max = logits[this.thread.x * V];
  for (let v = 1; v < V; v++) {
    max = Math.max(max, logits[this.thread.x * V + v]);
  }
  let sum = 0;
  for (let w = 0; w < V; w++) {
    sum += Math.exp(logits[this.thread.x * V + w] - max);
  }
  return max + Math.log(sum);`, { flat: true });

const LOSS = kernel('cross-entropy', 'logits targets lse | V', `
  const target = targets[this.thread.x];
  if (target < 0) {
    return 0;
  }
  return lse[this.thread.x] - logits[at(this.thread.x, V, target)];`, { flat: true });

/** lse(logits) - logits[target] of each row; 0 where the target is -1. */
export async function crossEntropy(
  scope: Scope, logits: Memory, targets: Memory, rows: number, V: number,
): Promise<Memory> {
  const lse = await scope.run(LSE, [rows], [logits], [V]);
  return scope.run(LOSS, [rows], [logits, targets, lse], [V]);
}

const GRADIENT = kernel('cross-entropy backward', 'logits targets lse | V | weight', `
  const target = targets[this.thread.y];
  if (target < 0) {
    return 0;
  }
  let gradient = weight * Math.exp(logits[this.thread.y * V + this.thread.x] - lse[this.thread.y]);
  if (this.thread.x === target) {
    gradient -= weight;
  }
  return gradient;`);

/** weight (softmax(logits) - onehot(target)); 0 where the target is -1. */
export async function crossEntropyBackward(
  scope: Scope, logits: Memory, targets: Memory, weight: number, rows: number, V: number,
): Promise<Memory> {
  const lse = await scope.run(LSE, [rows], [logits], [V]);
  return scope.run(GRADIENT, [V, rows], [logits, targets, lse], [V], [weight]);
}
