/**
 * Finds passages among tokens, to watch them.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import type { Tokenizer } from '../../model/tokenizer/tokenizer.ts';
import type { Mark } from './trace.ts';

/**
 * The tokens of the first place of a passage.
 *
 * @param tokens As they are fed.
 * @throws {ValueError} If they do not contain it.
 */
export function markOf(tokenizer: Pick<Tokenizer, 'decoder' | 'byteLength'>, tokens: Int32Array, passage: string): Mark {
  // ends[n]: the characters that are complete once token n has been read
  const decoder = tokenizer.decoder();
  let text = '';
  const ends = Array.from(tokens, (token) => (text += decoder.push(token)).length);
  text += decoder.end();
  const at = text.indexOf(passage);
  if (passage === '' || at < 0) throw new ValueError(`the ${tokens.length} tokens that are read do not contain ${JSON.stringify(passage)}, which is to be watched`);
  // The bytes of a character count from its first, and specials, which have no text, do not belong to it.
  let begin = ends.findLastIndex((end, n) => end <= at && end > (ends[n - 1] ?? 0)) + 1;
  while (tokenizer.byteLength(tokens[begin]) === 0) begin++;
  const last = ends.findIndex((end) => end >= at + passage.length);
  return { name: passage, begin, end: (last < 0 ? tokens.length - 1 : last) + 1 };
}
