/**
 * Training text: documents become one stream of tokens, batches are random windows of it.
 * @module
 */
import { ValueError } from '../errors.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { generator, Stream } from '../random.ts';

/**
 * bos document eos, one after the other; empty documents give nothing.
 *
 * @example
 * ```ts
 * import { ByteTokenizer, tokenizeDocuments } from 'neural-attention-search';
 * console.log([...tokenizeDocuments(new ByteTokenizer(), ['a', '', 'b'])]); // [256,97,257,256,98,257]
 * ```
 */
export function tokenizeDocuments(tokenizer: Tokenizer, documents: Iterable<string>): Int32Array {
  const parts: Int32Array[] = [];
  for (const text of documents) {
    const tokens = tokenizer.encode(text);
    if (tokens.length > 0) parts.push(Int32Array.of(tokenizer.bos), tokens, Int32Array.of(tokenizer.eos));
  }
  const stream = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    stream.set(part, at);
    at += part.length;
  }
  return stream;
}

/** Refuses text that cannot fill one training window of `context` tokens and the target of the last. */
export function checkLongEnough(tokens: Int32Array, context: number, text = 'the training text'): void {
  if (tokens.length === 0) throw new ValueError(`${text} is empty: pass files with text in them`);
  if (tokens.length < context + 1) {
    throw new ValueError(`${text} has ${tokens.length} tokens but a context of ${context} needs ${context + 1}: add text or lower --context`);
  }
}

/** Window number `index` of step `step`: context + 1 tokens, each the target of the one before. */
export function trainingWindow(
  tokens: Int32Array, context: number, seed: number, step: number, index: number,
): Int32Array {
  const start = generator(seed, [Stream.BATCH, step, index]).below(tokens.length - context);
  return tokens.slice(start, start + context + 1);
}
