/**
 * Central differences with bounds on their error.
 *
 * D(h) = (f(x+h) - f(x-h)) / 2h is off by a h² + b h⁴ + ...; (4 D(h/2) - D(h)) / 3 cancels the first term, and
 * |D(h/2) - D(h)| = 3/4 |a| h² bounds what is left. If each f is known to `noise`, D(h) is off by noise / h
 * and D(h/2) by twice that, so the combination by at most 3 noise / h.
 * @module
 */
import { type Bounded, exact, Rounding } from './tolerance.ts';

const STEP = 2 ** -10;

/** float64, the arithmetic in which differences are computed. */
export const ruler: Rounding = new Rounding('float64');

/**
 * df/dx[n] for every n, with bounds. `f` must leave `x` alone; `noise` bounds the rounding error of f. `step` must be
 * so small that f is close to a cubic within it.
 */
export function centralDifferences(
  f: (x: Float64Array) => number, x: Float64Array, noise: number, step: number = STEP,
): Bounded[] {
  const moved = Float64Array.from(x);
  const slope = (n: number, h: number): number => {
    moved[n] = x[n] + h;
    const above = f(moved);
    moved[n] = x[n] - h;
    const below = f(moved);
    moved[n] = x[n];
    return (above - below) / (2 * h);
  };
  return Array.from(x, (_, n) => {
    const coarse = slope(n, step);
    const fine = slope(n, step / 2);
    return { value: (4 * fine - coarse) / 3, error: Math.abs(fine - coarse) + (3 * noise) / step };
  });
}

/** The differences, with error bounds increased by how far the engine may be from the derivative itself. */
export function widened(differences: readonly Bounded[], budget: readonly Bounded[]): Bounded[] {
  return differences.map(({ value, error }, n) => ({ value, error: error + budget[n].error }));
}

/** Differences of the loss sum(f(x) * dy), whose gradient a backward gives. The noise follows from the bounds of f. */
export function differencesOf(f: (x: Float64Array) => Bounded[], x: Float64Array, dy: ArrayLike<number>): Bounded[] {
  const loss = (moved: Float64Array): Bounded => ruler.sum(f(moved).map((y, n) => ruler.multiply(y, exact(dy[n]))));
  // Twice the bound at x, since the noise is that of points near x.
  return centralDifferences((moved) => loss(moved).value, x, 2 * loss(x).error);
}
