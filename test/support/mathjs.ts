/**
 * The chapter's equations, evaluated by mathjs for tests. Nothing here comes from reference/: the strings are those of
 * docs/equations.ts, and mathjs does the arithmetic.
 * @module
 */
import type { MathJsInstance } from 'mathjs';
import { equation } from '../../docs/equations.ts';
import { createMathematics, evaluateDefinitions, type Scope } from '../../docs/mathematics.ts';

export type { Scope };

/** mathjs in float64. */
export const math: MathJsInstance = createMathematics();

/** The names of token types, as the equations use them. */
export const TYPE_NAMES: Scope = { GLOBAL: 0, LOCAL: 1, WINDOW: 2 };

/** `scope` together with what the equation called `id` defines. */
export function evaluateEquation(id: string, scope: Scope, instance: MathJsInstance = math): Scope {
  return evaluateDefinitions(instance, equation(id), { ...TYPE_NAMES, ...scope });
}

/** The window W, the chunk size C and the length N of a sequence. */
export interface Sequence {
  readonly window: number;
  readonly chunk: number;
  readonly length: number;
}

/** §5's mask [N][N] for (g, l, w) per chunk, 0 above the diagonal. */
export function relaxedMaskByMathjs(
  soft: readonly (readonly number[])[], { window, chunk, length }: Sequence,
): number[][] {
  const [g, l, w] = [0, 1, 2].map((c) => soft.map((triple) => triple[c]));
  const id = chunk === 1 ? 'relaxed-mask' : 'relaxed-chunk-mask';
  return evaluateEquation(id, { g, l, w, N: length, Nc: soft.length, W: window, C: chunk })['M'] as number[][];
}

/** §5's mask at one-hot types. */
export function oneHotMaskByMathjs(types: readonly number[], sequence: Sequence): number[][] {
  return relaxedMaskByMathjs(types.map((type) => [0, 1, 2].map((c) => Number(c === type))), sequence);
}

/** A flat array as rows of `width` numbers. */
export function rowsOf<T>(data: readonly T[], width: number): T[][] {
  return Array.from({ length: data.length / width }, (_, n) => data.slice(n * width, (n + 1) * width));
}
