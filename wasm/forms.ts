/**
 * The forms of a decoder layer in one call: the kernels of single operations, without copies between them. Sums and
 * rotations happen in place, the products of one input are one job for all threads, and heads of a single token need
 * no new order.
 * @module
 */
import type { FeedForwardInputs, Forms, Norm, Projected, ProjectInputs, Projection } from '../src/core/forms.ts';
import { sizeOf } from '../src/core/tensor.ts';
import { addBias, multiply } from './linear.ts';
import { type Machine, WasmArray } from './machine.ts';
import { rmsNorm } from './rmsnorm.ts';

/** The forms on a machine. `argmax` gives integers. */
export function formsOf(
  on: Machine, argmax: (x: WasmArray, sizes: { rows: number; D: number }) => WasmArray,
): Partial<Omit<Forms<WasmArray>, 'layers'>> {
  const logits = (x: WasmArray, norm: Norm<WasmArray>, head: WasmArray): WasmArray => {
    const made = on.make([...x.shape.slice(0, -1), head.shape[0]]);
    withNormed(on, x, norm, (normed, rows) => multiply(on, normed.at, rows, [[head, made.at]]));
    return made;
  };
  return {
    project: (inputs) => project(on, inputs),
    output: (x, attended, weight) => output(on, x, attended, weight),
    feedForward: (inputs) => feedForward(on, inputs),
    logits,
    nextToken(x, norm, head) {
      const made = logits(x, norm, head);
      const D = head.shape[0];
      const tokens = argmax(made, { rows: sizeOf(made.shape) / D, D });
      on.free(made.at);
      return tokens;
    },
  };
}

/** The norm of rows of x [...,D]. */
function normOf(on: Machine, x: WasmArray, { weight, epsilon }: Norm<WasmArray>): [normed: WasmArray, rows: number] {
  const D = x.shape[x.shape.length - 1];
  const rows = sizeOf(x.shape) / D;
  return [rmsNorm(on, x, weight, epsilon, { rows, D }), rows];
}

function withNormed(
  on: Machine, x: WasmArray, norm: Norm<WasmArray>, work: (normed: WasmArray, rows: number) => void,
): void {
  const [normed, rows] = normOf(on, x, norm);
  work(normed, rows);
  on.free(normed.at);
}

function project(on: Machine, { x, norm, q, k, v, cos, sin }: ProjectInputs<WasmArray>): Projected<WasmArray> {
  const [B, N] = x.shape;
  const [hidden, rows] = normOf(on, x, norm);
  const all = [q, k, v].map((projection) => {
    return { projection, flat: on.take(rows * projection.weight.shape[0] * on.size) };
  });
  multiply(on, hidden.at, rows, all.map(({ projection: { weight }, flat }) => [weight, flat]));
  const [c, s] = [on.real(cos), on.real(sin)];
  const made = all.map(({ projection, flat }, n) => {
    const { heads, weight, bias } = projection;
    const [M] = weight.shape;
    if (bias) addBias(on, flat, bias, rows, M);
    const split = normedHeads(on, headsOf(on, flat, [B, heads, N, M / heads]), projection);
    if (n < 2) rotate(on, split, c, s);
    return split;
  });
  return { hidden, q: made[0], k: made[1], v: made[2] };
}

/** Heads [B,heads,N,d] of rows [B,N,heads*d] at an address, which are the same numbers if N is 1. */
function headsOf(on: Machine, flat: number, shape: readonly [number, number, number, number]): WasmArray {
  const [B, heads, N, d] = shape;
  if (N === 1) return new WasmArray(shape, flat, on.dtype);
  const made = on.make(shape);
  on.call('swapAxes', flat, made.at, B, N, heads, d * on.size);
  on.free(flat);
  return made;
}

function normedHeads(on: Machine, split: WasmArray, { norm }: Projection<WasmArray>): WasmArray {
  if (!norm) return split;
  const [normed] = normOf(on, split, norm);
  on.free(split.at);
  return normed;
}

/** Rotation in place. */
function rotate(on: Machine, x: WasmArray, cos: number, sin: number): void {
  const [B, heads, N, d] = x.shape;
  on.run('rope', x.at, cos, sin, x.at, B, heads, N, d, 1);
}

function output(on: Machine, x: WasmArray, attended: WasmArray, weight: WasmArray): WasmArray {
  const [B, heads, N, d] = attended.shape;
  const made = on.make(x.shape);
  const from = on.real(attended);
  const project = (rows: number): void => multiply(on, rows, B * N, [[weight, made.at]]);
  if (N === 1) project(from);
  else {
    on.within(sizeOf(attended.shape) * on.size, (merged) => {
      on.call('swapAxes', from, merged, B, heads, N, d * on.size);
      project(merged);
    });
  }
  on.flat('add', [on.real(x), made.at, made.at], sizeOf(x.shape), 1);
  return made;
}

function feedForward(on: Machine, { x, norm, gate, up, down }: FeedForwardInputs<WasmArray>): WasmArray {
  const made = on.make(x.shape);
  const [F] = gate.shape;
  withNormed(on, x, norm, (normed, rows) => on.within(2 * rows * F * on.size, (g) => {
    const u = g + rows * F * on.size;
    multiply(on, normed.at, rows, [[gate, g], [up, u]]);
    on.flat('swiglu', [g, u, g], rows * F, 16);
    multiply(on, g, rows, [[down, made.at]]);
  }));
  on.flat('add', [on.real(x), made.at, made.at], sizeOf(x.shape), 1);
  return made;
}
