/**
 * How the life of an entry ended, and what ended it, in data and in words.
 * @module
 */
import { record } from '../../core/arguments.ts';
import { chunkEnd, chunkOf, FOREVER, TOKEN_TYPE_NAMES, TokenType, windowEnd } from '../../core/lifetime.ts';
import type { MassScore } from '../../core/mass.ts';
import { expectWhole } from '../../core/shape.ts';
import { kindOf, parsePolicy, type Policy } from '../../policies/index.ts';
import { arrayOf, expectRules } from './checks.ts';
import type { HeadTrace, PolicyTrace } from './trace.ts';

/**
 * What ended an entry: nothing yet, a GLOBAL that closed it, the window of its type, the model's own window, or the
 * budget, as the entry with the least score or because it could keep none at all.
 */
export type EndingKind = 'held' | 'closed' | 'window' | 'reach' | 'budget';

/** The end of an entry. */
export interface Ending {
  readonly kind: EndingKind;
  /** The last query that saw it, after whose step it was evicted; undefined if it is held. */
  readonly after?: number;
  /** The position of the GLOBAL that closed it. */
  readonly closedBy?: number;
  /** A sentence without its subject: 'LOCAL, closed by the GLOBAL at 512'. */
  readonly words: string;
}

/** How sentences call budgets that have names of their own. */
const NAMES: Readonly<Record<string, string>> = { 'h2o': 'H2O', 'h2o-mean': 'H2O by the mean', 'tova': 'TOVA', 'snapkv': 'SnapKV' };

/**
 * What ended the life of entry j of a head.
 *
 * @throws {ValueError} If there is no such entry, or an argument is no part of a trace.
 * @example
 * ```ts
 * import { endingOf } from 'neural-attention-search';
 * const policy = { policy: 'nats', lifetimes: { window: 2, chunk: 1 } };
 * const head = { types: Uint8Array.of(0, 1, 2, 0, 0), last: Int32Array.of(2147483647, 3, 4, 2147483647, 2147483647) };
 * console.log(endingOf(policy, head, 1).words); // LOCAL, closed by the GLOBAL at 3
 * console.log(endingOf(policy, head, 2).words); // WINDOW, out of reach after 2 queries
 * const second = { policy: 'nats', lifetimes: { window: 1, localWindow: 2, chunk: 1 } };
 * console.log(endingOf(second, head, 1).words); // LOCAL, out of its second window after 2 queries
 * ```
 */
export function endingOf(
  traced: Pick<PolicyTrace, 'policy' | 'lifetimes' | 'reach'>, head: Pick<HeadTrace, 'types' | 'last'>, j: number,
): Ending {
  expectRules('traced', traced);
  record({ types: arrayOf('Uint8Array'), last: arrayOf('Int32Array') })('head', head);
  const { policy, lifetimes, reach } = traced;
  const { types, last } = head;
  arrayOf('Uint8Array', last.length)('types', types);
  expectWhole('j', j, 0, last.length - 1);
  const after = last[j];
  const type = types[j] as TokenType;
  const named = lifetimes ? TOKEN_TYPE_NAMES[type] : 'an entry';
  if (after === FOREVER) {
    if (policy === 'full') return { kind: 'held', words: 'never forgotten: full attention keeps everything' };
    return { kind: 'held', words: lifetimes ? heldWords(type, lifetimes, reach) : 'held to the end of the text' };
  }
  const own = lifetimes && type !== TokenType.GLOBAL && ownEnd(type, j, types, lifetimes);
  if (reach !== undefined && after === j + reach && own !== after) {
    return { kind: 'reach', after, words: `${named}, out of the model's own window after ${reach} queries` };
  }
  if (!lifetimes) {
    return { kind: 'budget', after, words: evictedWords(parsePolicy(policy)) };
  }
  const queries = `${after - j} ${after - j === 1 ? 'query' : 'queries'}`;
  if (type === TokenType.LOCAL && lifetimes.localWindow !== undefined) {
    return { kind: 'window', after, words: `LOCAL, out of its second window after ${queries}` };
  }
  if (type === TokenType.LOCAL) {
    const at = lifetimes.chunk === 1 ? `the GLOBAL at ${after}` : `the GLOBAL chunk that ended at ${after}`;
    return { kind: 'closed', after, closedBy: after, words: `LOCAL, closed by ${at}` };
  }
  return { kind: 'window', after, words: `WINDOW, out of reach after ${queries}` };
}

/** Which policy evicted, and what it looks for. */
function evictedWords(policy: Policy): string {
  const kind = kindOf(policy);
  const rule = kind.rule(policy, { window: 0, chunk: 1 });
  return `evicted by ${NAMES[kind.name] ?? kind.name}${'mass' in rule ? `: ${leastWords(rule.mass.score)}` : ''}`;
}

/** What entries with the lowest score have in common. */
function leastWords(score: MassScore): string {
  if (score.by !== 'attention') {
    return { 'key-norm': 'the largest key', 'age': 'the oldest', 'types': 'the lowest score as GLOBAL' }[score.by];
  }
  const { queries, mean, pool = 1 } = score;
  const newest = queries === 1 ? 'query' : `${queries} queries`;
  const from = queries !== undefined ? ` from the newest ${newest}` : mean ? ' per query' : '';
  return `least attention${from}${pool > 1 ? ', with its neighbours' : ''}`;
}

/** How entries with types end. */
type Lifetimes = NonNullable<PolicyTrace['lifetimes']>;

function heldWords(type: TokenType, { chunk, localWindow }: Lifetimes, reach: number | undefined): string {
  if (type === TokenType.GLOBAL) return reach === undefined ? 'GLOBAL, never forgotten' : 'GLOBAL, still in the model\'s own window';
  if (type === TokenType.LOCAL && localWindow !== undefined) return 'LOCAL, still within its second window';
  if (type === TokenType.LOCAL) return 'LOCAL, and no GLOBAL has closed it';
  return chunk === 1 ? 'WINDOW, still within reach' : 'WINDOW, still within reach of its chunk';
}

/** last(j) as the type alone would have it; undefined if it ends with the next GLOBAL, and none follows. */
function ownEnd(
  type: TokenType, j: number, types: Uint8Array, { window, localWindow, chunk }: Lifetimes,
): number | undefined {
  const c = chunkOf(j, chunk);
  if (type === TokenType.WINDOW) return windowEnd(c, chunk, window);
  if (localWindow !== undefined) return windowEnd(c, chunk, localWindow);
  for (let end = chunkEnd(c + 1, chunk); end < types.length; end += chunk) {
    if (types[end] === TokenType.GLOBAL) return end;
  }
  return undefined;
}
