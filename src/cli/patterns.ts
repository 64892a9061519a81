/**
 * Patterns of names, as in --only tile-*,head-64.
 * @module
 */
import { ValueError } from '../core/errors.ts';
import { editDistance } from '../core/spelling.ts';

/**
 * Whether a name matches one of the patterns, in which * stands for any letters.
 *
 * @param patterns Separated by commas.
 * @param names The names that exist.
 * @throws {ValueError} If a pattern matches none of them.
 */
export function matching(patterns: string, names: readonly string[]): (name: string) => boolean {
  const each = patterns.split(',').map((text) => {
    const pattern = text.trim();
    const words = pattern.split('*').map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return { pattern, test: new RegExp(`^${words.join('.*')}$`) };
  });
  for (const { pattern, test } of each) {
    if (names.some((name) => test.test(name))) continue;
    const near = names.find((name) => editDistance(name, pattern) <= 0.4 * name.length);
    throw new ValueError(`--only ${pattern} matches no case: ${near ? `did you mean ${near}?` : `the first are ${names.slice(0, 3).join(', ')}`}`);
  }
  return (name) => each.some(({ test }) => test.test(name));
}
