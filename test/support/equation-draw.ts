/**
 * Random inputs for the chapter's equations, and how closely both sides must agree.
 *
 * Tolerance: both sides are float64 evaluations of fewer than 1,000 operations in different orders, so they
 * differ by less than 1,000 roundings (2^-53 each, 1.1e-13 in total) of the largest intermediate magnitude; 1e-12
 * of that magnitude leaves room for exp and log, which no standard requires to be correctly rounded.
 * @module
 */
import fc, { type GeneratorValue } from 'fast-check';
import { expect } from 'vitest';
import { lifetime } from '../../reference/public/lifetime.ts';
import { FOREVER } from '../../src/core/lifetime.ts';
import { ndarray, type NDArray } from '../../src/core/tensor.ts';
import type { Scope } from './mathjs.ts';

/** A sequence of N tokens (types t per chunk of C, lifetimes), head size d. */
export interface DrawnSequence {
  readonly N: number;
  readonly d: number;
  readonly W: number;
  readonly C: number;
  readonly Nc: number;
  readonly t: number[];
  readonly last: Int32Array;
}

/** The source of random inputs of a check. */
export interface Draw {
  whole(min: number, max: number): number;
  /** Multiples of 1/64 up to `most` in magnitude, which are exact in decimal too, and have ties. */
  reals(length: number, most?: number): Float64Array;
  sequence(chunked?: boolean): DrawnSequence;
}

/** Draws from fast-check's generator. */
export function drawFrom(gen: GeneratorValue): Draw {
  const whole = (min: number, max: number): number => gen(fc.integer, { min, max });
  return {
    whole,
    reals: (length, most = 3) => Float64Array.from({ length }, () => whole(-64 * most, 64 * most) / 64),
    sequence(chunked = false) {
      const [N, d, C] = [whole(1, 7), whole(1, 3), chunked ? whole(1, 4) : 1];
      const [W, Nc, only] = [whole(0, N + 1), Math.ceil(N / C), whole(-3, 2)];
      const t = Array.from({ length: Nc }, () => only < 0 ? whole(0, 2) : only);
      return { N, d, W, C, Nc, t, last: lifetime(oneHead(t), { window: W, chunk: C, length: N }).data };
    },
  };
}

/** The types of a batch of one sequence with one head. */
export const oneHead: (t: readonly number[]) => NDArray<Int32Array> = (t) =>
  ndarray(Int32Array.from(t), [1, 1, t.length]);
/** One row. */
export const row: (data: Float64Array) => NDArray = (data) => ndarray(data, [1, data.length]);
/** Lifetimes with FOREVER as Infinity, as the equations write it. */
export const finite: (last: Int32Array) => number[] = (last) => [...last].map((n) => n === FOREVER ? Infinity : n);

/** All numbers of nested arrays. */
export function flat(value: unknown): number[] {
  return Array.isArray(value) ? value.flatMap(flat) : typeof value === 'number' ? [value] : [];
}

/**
 * Checks agreement within 1e-12 of the largest magnitude among inputs, intermediate values and results of the equation.
 */
export function agree(actual: ArrayLike<number>, expected: unknown, scope: Scope): void {
  const truth = flat(expected);
  const magnitudes = flat(Object.values(scope)).filter(Number.isFinite).map(Math.abs);
  const magnitude = Math.max(1, ...magnitudes);
  expect(actual.length).toBe(truth.length);
  truth.forEach((x, n) => expect(Math.abs(actual[n] - x)).toBeLessThanOrEqual(1e-12 * magnitude));
}
