/**
 * SwiGLU (Shazeer, 2020): the gated activation of Llama's feed-forward block.
 * @module
 */
import { exp } from '../src/core/elementary.ts';
import { type NDArray, zerosLike } from '../src/core/tensor.ts';

/** y = gate sigmoid(gate) up, all of the same shape. */
export function swiglu(gate: NDArray, up: NDArray): NDArray {
  const out = zerosLike(gate.data, gate.data.length);
  for (let n = 0; n < out.length; n++) out[n] = gate.data[n] * sigmoid(gate.data[n]) * up.data[n];
  return { data: out, shape: gate.shape };
}

/** With s = sigmoid(gate): dGate = dy up s (1 + gate (1 - s)), dUp = dy gate s. */
export function swigluBackward(dOut: NDArray, gate: NDArray, up: NDArray): { dGate: NDArray; dUp: NDArray } {
  const dGate = zerosLike(gate.data, gate.data.length);
  const dUp = zerosLike(gate.data, gate.data.length);
  for (let n = 0; n < dGate.length; n++) {
    const x = gate.data[n];
    const s = sigmoid(x);
    dGate[n] = dOut.data[n] * up.data[n] * s * (1 + x * (1 - s));
    dUp[n] = dOut.data[n] * x * s;
  }
  return { dGate: { data: dGate, shape: gate.shape }, dUp: { data: dUp, shape: gate.shape } };
}

function sigmoid(x: number): number {
  return 1 / (1 + exp(-x));
}
