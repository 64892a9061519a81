/**
 * Training text: documents become one stream of tokens, and batches are random windows of the stream.
 * @module
 */
import {
  expectAttached, expectInt32, expectIterable, expectSignal, type Expected, of, optional, record, wholeFrom,
} from '../core/arguments.ts';
import { fail } from '../core/described.ts';
import type { Engine } from '../core/engine.ts';
import { ValueError } from '../core/errors.ts';
import { expectKnown } from '../core/known-options.ts';
import { expectEngine } from '../core/expect-engine.ts';
import { requireTraining, type TrainingEngine } from '../core/training-engine.ts';
import { expectConfig } from '../model/config/expect-config.ts';
import { expectTokenizer, type Tokenizer, withStarts } from '../model/tokenizer/tokenizer.ts';
import { generator, Stream } from '../core/random.ts';
import type { TokenSource } from './token-store.ts';

/**
 * Joins the tokens of documents, each with what the tokenizer puts before and after a text, and eos. Empty documents
 * are left out.
 *
 * @example
 * ```ts
 * import { ByteTokenizer, tokenizeDocuments } from 'neural-attention-search';
 * console.log([...tokenizeDocuments(new ByteTokenizer(), ['a', '', 'b'])]); // [256,97,257,256,98,257]
 * ```
 */
export function tokenizeDocuments(tokenizer: Tokenizer, documents: Iterable<string>): Int32Array {
  expectTokenizer('tokenizer', tokenizer);
  expectIterable('documents', documents);
  const parts: Int32Array[] = [];
  for (const text of documents) {
    of('string')('a document', text);
    const tokens = tokenizer.encode(text);
    if (tokens.length > 0) parts.push(withStarts(tokenizer, tokens), Int32Array.from(endOf(tokenizer)));
  }
  const stream = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    stream.set(part, at);
    at += part.length;
  }
  return stream;
}

/** The tokens after a document: those that its tokenizer puts there, and eos, if there is one, exactly once. */
export function endOf({ ends, eos }: Pick<Tokenizer, 'ends' | 'eos'>): readonly number[] {
  return eos < 0 || ends.at(-1) === eos ? ends : [...ends, eos];
}

/** Checks an engine and a config that a run is to use, and returns the engine as one that trains. */
export function expectRun(engine: Engine, config: unknown): TrainingEngine {
  expectEngine('engine', engine);
  expectConfig('config', config);
  return requireTraining(engine);
}

/** Refuses tokens from which windows cannot be cut. */
export const expectTokens: Expected = (name, tokens) => {
  const { length, slice } = (tokens ?? {}) as Partial<TokenSource>;
  if (typeof tokens !== 'object' || Array.isArray(tokens)) fail(name, tokens, 'an Int32Array, or what tokenizeStream() gives');
  wholeFrom(0)(`the length of ${name}`, length);
  of('function')(`slice() of ${name}`, slice);
  expectAttached(name, tokens);
};

/** Checks the callbacks of run() of either kind of training. */
export function expectCallbacks(callbacks: unknown): void {
  expectKnown('run()', callbacks, ['onStep', 'signal']);
  record({ onStep: optional(of('function')), signal: optional(expectSignal) })('callbacks', callbacks);
}

/** Refuses text that cannot fill one training window: `context` tokens and the target of the last. */
export function checkLongEnough(tokens: { readonly length: number }, context: number, text = 'the training text'): void {
  expectTokens('tokens', tokens);
  if (tokens.length === 0) throw new ValueError(`${text} is empty: pass files with text in them`);
  if (tokens.length < context + 1) {
    throw new ValueError(`${text} has ${tokens.length} tokens but a context of ${context} needs ${context + 1}: add text or lower --context`);
  }
}

/** Window `index` of step `step`: context + 1 tokens, each the target of the one before. */
export function trainingWindow(
  tokens: TokenSource, context: number, seed: number, step: number, index: number,
): Int32Array {
  const start = generator(seed, [Stream.BATCH, step, index]).below(tokens.length - context);
  return cut(tokens, start, start + context + 1);
}

/** A part of the tokens, checked because the caller may have implemented slice(). */
export function cut(tokens: TokenSource, start: number, end: number): Int32Array {
  const part = tokens.slice(start, end);
  expectInt32('what slice() of the tokens gives', part);
  return part;
}
