/**
 * The two speeds of the tests: `npm test` touches everything once, `npm run test:all` (NATS_TESTS=all) is thorough.
 * Suites that only the thorough run needs are files named *.long.test.ts.
 * @module
 */

/** Whether this is the thorough run. */
export const THOROUGH: boolean = process.env['NATS_TESTS'] === 'all';

/** How many random cases to draw: `few` in the quick run, `all` in the thorough one. */
export function cases(few: number, all: number): number {
  return THOROUGH ? all : few;
}
