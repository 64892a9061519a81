/**
 * Turns documents into tokens piece by piece, so that no text is ever in memory as a whole.
 * @module
 */
import { expectPieces, expectSignal, of, optional, record, wholeFrom } from '../core/arguments.ts';
import { StoppedError } from '../core/errors.ts';
import { expectKnown } from '../core/known-options.ts';
import { expectTokenizer, repeatsStarts, type Tokenizer } from '../model/tokenizer/tokenizer.ts';
import { endOf } from './data.ts';
import { type TokenSource, TokenStore } from './token-store.ts';

/** A document in pieces, which joined together are its text. A piece never ends within a character. */
export type DocumentPieces = Iterable<string> | AsyncIterable<string>;

/** Options of tokenizeStream(). */
export interface TokenizeOptions {
  /** Stop after this many tokens, and read no more than they need. */
  readonly maxTokens?: number;
  /** Leave out the tokens before the first document and after the last, as evaluate() expects. */
  readonly bare?: boolean;
  readonly signal?: AbortSignal;
  /** Called for every document that already begins with the tokenizer's `starts`, which are then not repeated. */
  readonly onRepeatedStarts?: () => void;
  /** Called after every piece with the number of tokens so far. */
  readonly onProgress?: (tokens: number) => void;
}

const OPTIONS = [
  'maxTokens', 'bare', 'signal', 'onRepeatedStarts', 'onProgress',
] as const satisfies readonly (keyof TokenizeOptions)[];

/** How many characters to encode at once: at least LEAST, and PER_TOKEN for each token still wanted. */
const [LEAST, PER_TOKEN] = [4096, 8];

/**
 * Does what tokenizeDocuments() does, for documents that come in pieces.
 *
 * @returns The tokens. Those of a ByteTokenizer take one byte each, so that a text takes no more memory than its file.
 * @throws {StoppedError} If `signal` aborts.
 * @example
 * ```ts
 * import { ByteTokenizer, tokenizeStream } from 'neural-attention-search';
 * const tokens = await tokenizeStream(new ByteTokenizer(), [['a', 'b'], [], ['c']]);
 * console.log([...tokens.slice(0, tokens.length)]); // [256,97,98,257,256,99,257]
 * ```
 */
export async function tokenizeStream(
  tokenizer: Tokenizer,
  documents: Iterable<DocumentPieces> | AsyncIterable<DocumentPieces>,
  options: TokenizeOptions = {},
): Promise<TokenSource> {
  expectTokenizer('tokenizer', tokenizer);
  expectPieces('documents', documents);
  expectKnown('tokenizeStream()', options, OPTIONS);
  record({
    maxTokens: optional(wholeFrom(0)), bare: optional(of('boolean')), signal: optional(expectSignal),
    onRepeatedStarts: optional(of('function')), onProgress: optional(of('function')),
  })('options', options);
  const { maxTokens = Infinity, bare = false, signal, onProgress, onRepeatedStarts } = options;
  const store = new TokenStore();
  const push = (tokens: ArrayLike<number>): void => {
    const room = maxTokens - store.length;
    store.push(tokens.length <= room ? tokens : Array.prototype.slice.call(tokens, 0, room));
  };
  let documentsDone = 0;
  for await (const document of documents) {
    expectPieces('a document', document);
    const encoder = tokenizer.encoder();
    let begun = false;
    const take = (tokens: Int32Array): void => {
      if (tokens.length === 0) return;
      if (!begun && documentsDone > 0) push(endOf(tokenizer)); // ends the previous document
      const repeats = !begun && repeatsStarts(tokenizer, tokens);
      if (repeats) onRepeatedStarts?.();
      if (!begun && !repeats && !(bare && documentsDone === 0)) push(tokenizer.starts);
      begun = true;
      push(tokens);
    };
    for await (const piece of document) {
      of('string')('a piece of a document', piece);
      for (const part of parts(piece, () => maxTokens - store.length)) {
        if (signal?.aborted) throw new StoppedError(`reading was stopped after ${store.length} tokens`);
        take(encoder.push(part));
        if (store.length >= maxTokens) return store;
      }
      onProgress?.(store.length);
    }
    take(encoder.end());
    if (begun) documentsDone++;
    if (store.length >= maxTokens) return store;
  }
  if (documentsDone > 0 && !bare) push(endOf(tokenizer));
  return store;
}

/** Cuts `piece` between characters into parts no longer than the tokens still wanted need. */
function* parts(piece: string, wanted: () => number): Generator<string> {
  for (let from = 0; from < piece.length;) {
    const most = Math.max(LEAST, PER_TOKEN * wanted());
    let end = Math.min(piece.length, from + most);
    const last = piece.charCodeAt(end - 1);
    if (end < piece.length && last >= 0xd800 && last < 0xdc00) end++; // keeps a surrogate pair together
    yield piece.slice(from, end);
    from = end;
  }
}
