/**
 * The checks of mass rules, and of the snapshots of caches under them.
 * @module
 */
import { type Expected, finite, numbers, oneOf, optional, record, wholeFrom } from './arguments.ts';
import type { CacheLayout, CacheSnapshot } from './cache.ts';
import { fail } from './described.ts';
import { ShapeError, ValueError } from './errors.ts';
import { endWithin, FOREVER } from './lifetime.ts';
import { type MassOptions, type MassRule, scoreWidth } from './mass.ts';

const share: Expected = (name, value) => {
  if (typeof value !== 'number' || !((value as number) >= 0 && (value as number) <= 1)) fail(name, value, 'a number from 0 to 1');
};

const odd: Expected = (name, value) => {
  wholeFrom(1, 65535)(name, value);
  if ((value as number) % 2 === 0) throw new ValueError(`${name} is ${String(value)}: it must be odd, so that the entry is in the middle`);
};

/** Refuses an invalid rule. */
export function checkMassOptions({ mass, reach }: MassOptions): void {
  record({
    score: record({ by: oneOf('attention', 'key-norm', 'age', 'types') }),
    budget: record({ base: finite, perToken: share }),
    recent: record({ share, most: (name, most) => most === Infinity || optional(wholeFrom(0))(name, most) }),
    first: optional(wholeFrom(0)),
  })('mass', mass);
  if (mass.score.by === 'attention') {
    record({ queries: optional(wholeFrom(1, 65536)), pool: optional(odd), heads: oneOf('group', 'layer') })('score', mass.score);
  }
  optional(wholeFrom(0))('reach', reach);
}

/** A copy of a rule that was checked, so that it cannot change if the caller's does. */
export function massOf({ score, budget, recent, ...rest }: MassRule): MassRule {
  return { ...rest, score: { ...score }, budget: { ...budget }, recent: { ...recent } };
}

/** Checks what a snapshot under a mass rule holds in addition to what every snapshot holds. */
export function checkMassSnapshot(snapshot: CacheSnapshot, options: CacheLayout & MassOptions): void {
  const { batch: B, kvHeads: G, mass, reach } = options;
  const { seen, live, positions, last, open, scores } = snapshot;
  optional(numbers())('the snapshot\'s scores', scores);
  const wanted = positions.length * scoreWidth(mass);
  if ((scores?.length ?? 0) !== wanted) {
    throw new ShapeError(`the snapshot has ${scores?.length ?? 0} scores but must have ${wanted}: ${positions.length} entries are live`);
  }
  const oneSet = mass.score.by === 'attention' && mass.score.heads === 'layer';
  for (let head = 0, at = 0; head < B * G; at += live[head++]) {
    const tokens = seen[Math.floor(head / G)];
    for (let n = at; n < at + live[head]; n++) {
      const [j, most] = [positions[n], endWithin(FOREVER, positions[n], reach)];
      if (!(j >= 0 && j < tokens)) throw new ValueError(`entry ${n} of the snapshot has position ${j} but its sequence has seen ${tokens} tokens: it is damaged`);
      if (open[n] !== 0 || !(last[n] === most || (last[n] >= j && last[n] < Math.min(tokens, most)))) {
        throw new ValueError(`entry ${n} of the snapshot, at position ${j}, lives until ${last[n]} and is marked ${open[n]}: under a budget it must be ${most}, or an earlier query, and 0`);
      }
    }
    if (!oneSet || head % G === 0) continue;
    const [other, own] = [positions.subarray(at - live[head - 1], at), positions.subarray(at, at + live[head])];
    if (String(other) !== String(own)) throw new ValueError(`heads ${head - 1} and ${head} of the snapshot hold different positions, but this rule keeps one set per layer: it is damaged`);
  }
}

/**
 * A budget decides by attention what to keep, so exactly one attend() must follow each append() before anything else.
 */
export class AttendOnce {
  #pending = false;

  appended(): void {
    this.#pending = true;
  }

  /** Called before the queries attend. */
  attend(): void {
    if (!this.#pending) throw new ValueError('attend() has no new tokens: append() them first, and attend to them once');
    this.#pending = false;
  }

  /** Refuses any other call between the two. */
  expectAttended(what: string): void {
    if (this.#pending) throw new ValueError(`${what} was called between append() and its attend(): under a budget, what is kept depends on what the new tokens attend to, so attend() first`);
  }

  clear(): void {
    this.#pending = false;
  }
}
