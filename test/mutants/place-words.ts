/**
 * Words of places that the answers of several sets share.
 * @module
 */

/** Any of these words. */
export const any = (...words: readonly string[]): RegExp => new RegExp(words.join('|'));
/** The words of a place in tiles after the first one of `n` rows. */
export const later = (n: number): string => [
  String.raw`N > ${n}\b`, String.raw`rows from ${n}\b`, String.raw`rows ${n} to \d+`, `rows ${n} and later`,
  String.raw`keys before their tile of ${n}\b`, String.raw`keys that later tiles of ${n}\b`,
].join('|');
/** Batches after the first. */
export const LATER_BATCHES: RegExp =
  /B > 1|in batch 1\b|batches from 1\b|the last batch|all batches but the first|in odd batches/;
/** KV heads after the first, and query heads of them. */
export const LATER_HEADS = 'G > 1|KV heads from [1-9]|all KV heads but the first|in KV head [1-9]|odd KV heads';
export const QUERY_HEADS_OF_THEM: string = String.raw`query heads (from|of KV heads?( from)?) [1-9]|in query head [1-9]\b`;
/** Keys that are hidden, of both types or of one. */
export const HIDING = 'rows that hide a|hidden before the end|tokens that are not GLOBAL';
export const hiding = (type: string): string =>
  `of ${type} tokens(?! (that no|whose window reaches))|rows that hide a (${type} )?key|hidden before the end`;
