/**
 * What commands say on stderr although nothing is wrong.
 * @module
 */
import { repeatsStarts, type Tokenizer } from '../model/tokenizer/tokenizer.ts';

/** Says that `what` begins with what its tokenizer puts before every text. */
export function noteRepeated(what: string): void {
  const remedy = 'leave it out, or pass --no-bos';
  process.stderr.write(`natsearch: note: ${what} begins with the token that its tokenizer puts before every text: it is fed once; ${remedy}\n`);
}

/** Says so if a text begins with what its tokenizer puts before every text. @returns Whether it does. */
export function noteIfRepeated(tokenizer: Tokenizer, text: string, what: string): boolean {
  const first = tokenizer.encode(text, { maxTokens: tokenizer.starts.length });
  const repeated = repeatsStarts(tokenizer, first);
  if (repeated) noteRepeated(what);
  return repeated;
}
