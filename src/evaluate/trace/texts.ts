/**
 * What single tokens stand for, for people to read.
 * @module
 */
import type { Tokenizer } from '../../model/tokenizer/tokenizer.ts';

/** The text of each token by its number, '' if it has none; bytes that are no whole character are written <E2>. */
export function textsOf(tokenizer: Tokenizer, tokens: Iterable<number>): Record<number, string> {
  const texts: Record<number, string> = {};
  for (const token of new Set(tokens)) {
    const decoder = tokenizer.decoder({ specials: true });
    const text = decoder.push(token) + decoder.end();
    texts[token] = text.includes('\ufffd') && token < 256 && tokenizer.vocabSize === 258
      ? `<${token.toString(16).toUpperCase().padStart(2, '0')}>` : text;
  }
  return texts;
}

/** The text that each token completes; what is left at the end belongs to the last. */
export function piecesOf(tokenizer: Tokenizer, tokens: Int32Array): string[] {
  const decoder = tokenizer.decoder({ specials: true });
  const pieces = Array.from(tokens, (token) => decoder.push(token));
  pieces[pieces.length - 1] += decoder.end();
  return pieces;
}
