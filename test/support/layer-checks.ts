/**
 * Section 10 of docs/equations.ts: mathjs on one side, the function each equation names on the other.
 * @module
 */
import { adamW } from '../../reference/adamw.ts';
import { crossEntropy, crossEntropyBackward } from '../../reference/cross-entropy.ts';
import { linear } from '../../reference/linear.ts';
import { rmsNorm, rmsNormBackward } from '../../reference/rmsnorm.ts';
import { rope } from '../../reference/rope.ts';
import { swiglu, swigluBackward } from '../../reference/swiglu.ts';
import { ndarray, type NDArray } from '../../src/core/tensor.ts';
import { agree, type Draw, row } from './equation-draw.ts';
import { evaluateEquation, rowsOf, type Scope } from './mathjs.ts';

/** One check per equation of section 10, by its name. */
export const layerChecks: Readonly<Record<string, (draw: Draw) => void>> = {
  linear(draw) {
    const [D, M] = [draw.whole(1, 5), draw.whole(1, 5)];
    const [x, weight] = [draw.reals(D), draw.reals(M * D)];
    const scope = evaluateEquation('linear', { D, M, x: [...x], weight: rowsOf([...weight], D) });
    agree(linear(row(x), ndarray(weight, [M, D]), undefined, { rows: 1, M, K: D }).data, scope['y'], scope);
  },
  rmsnorm(draw) {
    const { x, weight, eps, known } = drawNorm(draw);
    const scope = evaluateEquation('rmsnorm', known);
    agree(rmsNorm(row(x), ndarray(weight, [x.length]), eps, { D: x.length }).data, scope['y'], scope);
  },
  'rmsnorm-backward'(draw) {
    const { x, weight, eps, known } = drawNorm(draw);
    const dy = draw.reals(x.length);
    const scope = evaluateEquation('rmsnorm-backward', { ...known, dy: [...dy] });
    const { rstd } = scope as { rstd: number };
    // rstd³ x² dy w, the term that nearly cancels, is at most this.
    const magnitude = { ...scope, largest: rstd ** 3 * x.length * 81 };
    const { dx } = rmsNormBackward(row(dy), row(x), ndarray(weight, [x.length]), eps, { D: x.length });
    agree(dx.data, scope['dx'], magnitude);
  },
  rope(draw) {
    const [a, b] = draw.reals(2) as unknown as [number, number];
    const angle = draw.whole(0, 100);
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const scope = evaluateEquation('rope', { a, b, cos, sin });
    const factor = (x: number): NDArray => ndarray(Float64Array.of(x), [1, 1, 1]);
    const sizes = { B: 1, heads: 1, N: 1, d: 2 };
    const turned = rope(ndarray(Float64Array.of(a, b), [1, 1, 1, 2]), factor(cos), factor(sin), false, sizes);
    agree(turned.data, [scope['aNew'], scope['bNew']], scope);
  },
  swiglu(draw) {
    const [gate, up] = [draw.reals(1), draw.reals(1)];
    const scope = evaluateEquation('swiglu', { gate: gate[0], up: up[0] });
    agree(swiglu(row(gate), row(up)).data, scope['y'], scope);
  },
  'swiglu-backward'(draw) {
    const [gate, up, dy] = [draw.reals(1), draw.reals(1), draw.reals(1)];
    const scope = evaluateEquation('swiglu-backward', { gate: gate[0], up: up[0], dy: dy[0] });
    const { dGate, dUp } = swigluBackward(row(dy), row(gate), row(up));
    agree([dGate.data[0], dUp.data[0]], [scope['dgate'], scope['dup']], scope);
  },
  'cross-entropy'(draw) {
    const [x, target] = drawLogits(draw);
    const scope = evaluateEquation('cross-entropy', { V: x.length, target, x: [...x] });
    agree(crossEntropy(row(x), ndarray(Int32Array.of(target), [1]), { V: x.length }).data, scope['loss'], scope);
  },
  'cross-entropy-backward'(draw) {
    const [x, target] = drawLogits(draw);
    const weight = draw.whole(1, 64) / 64;
    const scope = evaluateEquation('cross-entropy-backward', { V: x.length, target, x: [...x], weight });
    const { data } = crossEntropyBackward(row(x), ndarray(Int32Array.of(target), [1]), weight, { V: x.length });
    agree(data, scope['dx'], scope);
  },
  adamw(draw) {
    const [theta, grad, m] = draw.reals(3) as unknown as [number, number, number];
    const v = draw.whole(0, 64) / 16;
    const options = {
      learningRate: draw.whole(0, 64) / 64, beta1: 0.9, beta2: 0.95, epsilon: 2 ** -20,
      weightDecay: draw.whole(0, 8) / 16, step: draw.whole(1, 9),
    };
    const { learningRate: eta, beta1, beta2, epsilon: eps, weightDecay: omega, step } = options;
    const scope = evaluateEquation('adamw', { theta, grad, m, v, eta, beta1, beta2, eps, omega, step });
    const state = [theta, grad, m, v].map((x) => row(Float64Array.of(x)));
    adamW(state[0], state[1], state[2], state[3], options);
    // A tiny v divides m by little more than eps: the quotient is the largest magnitude on the way.
    const { mHat, vHat } = scope as Record<string, number>;
    const magnitude = { ...scope, quotient: mHat / (Math.sqrt(vHat) + eps) };
    agree([0, 2, 3].map((n) => state[n].data[0]), [scope['thetaNew'], scope['mNew'], scope['vNew']], magnitude);
  },
};

function drawNorm(draw: Draw): { x: Float64Array; weight: Float64Array; eps: number; known: Scope } {
  const D = draw.whole(1, 5);
  const [x, weight, eps] = [draw.reals(D), draw.reals(D), 2 ** -10];
  return { x, weight, eps, known: { D, eps, x: [...x], weight: [...weight] } };
}

function drawLogits(draw: Draw): [x: Float64Array, target: number] {
  const V = draw.whole(1, 7);
  return [draw.reals(V), draw.whole(0, V - 1)];
}
