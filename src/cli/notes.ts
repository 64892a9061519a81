/**
 * Notes that commands write to stderr although nothing is wrong.
 * @module
 */
import { repeatsStarts, type Tokenizer } from '../model/tokenizer/tokenizer.ts';

/** Notes that `what` begins with the tokens that the tokenizer puts before every text. */
export function noteRepeated(what: string): void {
  const remedy = 'leave it out, or pass --no-bos';
  process.stderr.write(`natsearch: note: ${what} begins with the token that the tokenizer puts before every text, so it is fed only once; ${remedy}\n`);
}

/** Notes it if a text begins with the tokens that the tokenizer puts before every text. @returns Whether it does. */
export function noteIfRepeated(tokenizer: Tokenizer, text: string, what: string): boolean {
  const first = tokenizer.encode(text, { maxTokens: tokenizer.starts.length });
  const repeated = repeatsStarts(tokenizer, first);
  if (repeated) noteRepeated(what);
  return repeated;
}
