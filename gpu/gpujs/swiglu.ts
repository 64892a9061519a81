/**
 * The gated activation silu(gate) * up and its gradients.
 * @module
 */
import type { Memory, Scope } from './device.ts';
import { kernel } from './kernel.ts';

const SWIGLU = kernel('swiglu', 'gate up', `
  const x = gate[this.thread.x];
  return x / (1 + Math.exp(-x)) * up[this.thread.x];`, { flat: true });

/** x sigmoid(x) u, element by element. */
export function swiglu(scope: Scope, gate: Memory, up: Memory, length: number): Promise<Memory> {
  return scope.run(SWIGLU, [length], [gate, up]);
}

const DGATE = kernel('swiglu backward gate', 'dOut gate up', `
  const x = gate[this.thread.x];
  const s = 1 / (1 + Math.exp(-x));
  return dOut[this.thread.x] * up[this.thread.x] * s * (1 + x * (1 - s));`, { flat: true });

const DUP = kernel('swiglu backward up', 'dOut gate', `
  const x = gate[this.thread.x];
  return dOut[this.thread.x] * x / (1 + Math.exp(-x));`, { flat: true });

/** dGate = dy u s (1 + x (1 - s)) and dUp = dy x s, with s = sigmoid(x). */
export async function swigluBackward(
  scope: Scope, dOut: Memory, gate: Memory, up: Memory, length: number,
): Promise<[dGate: Memory, dUp: Memory]> {
  return [
    await scope.run(DGATE, [length], [dOut, gate, up]),
    await scope.run(DUP, [length], [dOut, gate]),
  ];
}
