/**
 * Files of JSON that are wrong somewhere.
 * @module
 */
import type { Generator } from '../../src/core/random.ts';

const VALUES: readonly unknown[] = [
  null, -1, 0.5, 1e10, 2147483648, 0, 1, '', 'x', '▁', [], {}, true, false, [[]], ['a', 'b'], { type: 'Sequence' }, 'a b c',
];

/** A copy of `json` with one to three values put in the place of others, or taken out. */
export function mutated(json: unknown, random: Generator): unknown {
  const copy = structuredClone(json);
  for (let n = 1 + random.below(3); n > 0; n--) mutate(copy, random);
  return JSON.parse(JSON.stringify(copy)) as unknown; // as a file would be
}

/** Goes down at random, and changes something on the way. */
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
