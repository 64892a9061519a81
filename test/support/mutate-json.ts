/**
 * Makes JSON documents wrong in a few places.
 * @module
 */
import type { Generator } from '../../src/core/random.ts';

const VALUES: readonly unknown[] = [
  null, -1, 0.5, 1e10, 2147483648, 0, 1, '', 'x', '▁', [], {}, true, false, [[]], ['a', 'b'], { type: 'Sequence' }, 'a b c',
];

/** A copy of `json` in which one to three values are replaced or removed. */
export function mutated(json: unknown, random: Generator): unknown {
  const copy = structuredClone(json);
  for (let n = 1 + random.below(3); n > 0; n--) mutate(copy, random);
  return JSON.parse(JSON.stringify(copy)) as unknown; // as if read from a file
}

/** Descends at random, and changes one value. */
function mutate(json: unknown, random: Generator): void {
  let at = json as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(at);
    if (keys.length === 0) return;
    const key = keys[random.below(keys.length)];
    const value = at[key];
    if (typeof value === 'object' && value !== null && Object.keys(value).length > 0 && random.below(4) > 0) {
      at = value as Record<string, unknown>;
      continue;
    }
    if (random.below(5) === 0) delete at[key];
    else at[key] = structuredClone(VALUES[random.below(VALUES.length)]);
    return;
  }
}
