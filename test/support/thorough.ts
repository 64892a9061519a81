/**
 * The two speeds of the tests: `npm test` covers everything once, `npm run test:all` (NATS_TESTS=all) is thorough.
 * Suites that belong only to the thorough run are files named *.long.test.ts.
 * @module
 */

/** Whether this is the thorough run. */
export const THOROUGH: boolean = process.env['NATS_TESTS'] === 'all';

/** How many random cases to draw: `few` in the quick run, `all` in the thorough one. */
export function cases(few: number, all: number): number {
  return THOROUGH ? all : few;
}

/** In the quick run, `few` elements of a list, spread over it; in the thorough one, all. */
export function some<T>(few: number, all: readonly T[]): readonly T[] {
  const share = (n: number): number => Math.floor((n * few) / all.length);
  return THOROUGH ? all : all.filter((_, n) => share(n) > share(n - 1));
}
