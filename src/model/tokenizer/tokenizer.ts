/**
 * The interface that turns text into tokens and back, and its implementation for models that read bytes.
 * @module
 */

import { type Expected, expectIterable, list, numbers, of, optional, record, wholeFrom } from '../../core/arguments.ts';
import { expectKnown } from '../../core/known-options.ts';

/** Options of encode(). */
export interface EncodeOptions {
  /** Return only the first tokens of the text, up to this many. Default: all. */
  readonly maxTokens?: number;
  /** Called occasionally, and at the end, with the characters done and the characters in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Checks the options of encode(). */
export function expectEncodeOptions(options: unknown): void {
  expectKnown('encode()', options, ['maxTokens', 'onProgress']);
  record({ maxTokens: optional(wholeFrom(0)), onProgress: optional(of('function')) })('options', options);
}

/** Encodes a text that comes in pieces. Joined together, its results are what encode() returns for the whole text. */
export interface TextStream {
  /** Returns the tokens that no later text can change. */
  push(text: string): Int32Array;
  /** Returns the remaining tokens. The stream is then ready for another text. */
  end(): Int32Array;
}

/** What a model needs of a tokenizer. */
export interface Tokenizer {
  readonly vocabSize: number;
  /**
   * The token that begins a text if one is needed, whether or not texts are fed with it (see `starts`); -1 for none.
   */
  readonly bos: number;
  /** The tokens to feed before every text; empty if the tokenizer puts none there. */
  readonly starts: readonly number[];
  /** The tokens that the tokenizer puts after every whole text, mostly none. A prompt, which continues, gets none. */
  readonly ends: readonly number[];
  /** The token that ends a document, and at which generation stops; -1 for none. */
  readonly eos: number;
  /** The tokens of `text`, without starts and ends. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** Encodes a text that comes in pieces. */
  encoder(): TextStream;
  /** The whole text of `tokens`, to which special tokens contribute nothing. */
  decode(tokens: Iterable<number>): string;
  /**
   * A decoder for a stream. Each token returns the text that it completes, perhaps ''. With `specials`, special tokens
   * return their written form if the tokenizer knows it.
   */
  decoder(options?: { specials?: boolean }): { push(token: number): string; end(): string };
  /** How many bytes of UTF-8 `token` stands for, 0 for specials. Bits per byte are computed from this. */
  byteLength(token: number): number;
}

/**
 * The tokens to feed for a text that begins with `tokens`: the tokenizer's starts before them, unless the text already
 * begins with these.
 *
 * @example
 * ```ts
 * import { ByteTokenizer, withStarts } from 'neural-attention-search';
 * const tokenizer = new ByteTokenizer();
 * console.log([...withStarts(tokenizer, [65])], [...withStarts(tokenizer, [256, 65])]); // [256,65] [256,65]
 * ```
 */
export function withStarts(tokenizer: Pick<Tokenizer, 'starts'>, tokens: ArrayLike<number>): Int32Array {
  record({ starts: numbers(true) })('tokenizer', tokenizer);
  numbers(true)('tokens', tokens);
  const starts = repeatsStarts(tokenizer, tokens) ? [] : tokenizer.starts;
  const all = new Int32Array(starts.length + tokens.length);
  all.set(starts);
  all.set(tokens, starts.length);
  return all;
}

/** The same tokenizer, except that it puts nothing before texts. */
export function withoutStarts(tokenizer: Tokenizer): Tokenizer {
  if (tokenizer instanceof ByteTokenizer) return new ByteTokenizer({ bos: false });
  const { vocabSize, bos, ends, eos } = tokenizer;
  return {
    vocabSize, bos, ends, eos, starts: [],
    encode: (text, options) => tokenizer.encode(text, options),
    encoder: () => tokenizer.encoder(),
    decode: (tokens) => tokenizer.decode(tokens),
    decoder: (options) => tokenizer.decoder(options),
    byteLength: (token) => tokenizer.byteLength(token),
  };
}

/** Whether a text already begins with the tokens that the tokenizer would put before it. */
export function repeatsStarts({ starts }: Pick<Tokenizer, 'starts'>, tokens: ArrayLike<number>): boolean {
  return starts.length > 0 && starts.every((token, n) => tokens[n] === token);
}

/** Refuses invalid options of a decoder. */
export function expectDecodeOptions(options: unknown): void {
  expectKnown('decoder()', options, ['specials']);
  record({ specials: optional(of('boolean')) })('options', options);
}

/** Tokens as a list. @throws {ValueError} If they are not tokens. */
export function idsOf(tokens: Iterable<number>): number[] {
  expectIterable('tokens', tokens);
  const ids = [...tokens];
  numbers(true)('tokens', ids);
  return ids;
}

/** Refuses anything but a tokenizer. */
export const expectTokenizer: Expected = (name, value) => {
  const method = of('function');
  const special = wholeFrom(-1);
  record({
    vocabSize: wholeFrom(1), bos: special, eos: special, starts: list(wholeFrom(0)), ends: list(wholeFrom(0)),
    encode: method, encoder: method, decode: method, decoder: method, byteLength: method,
  })(name, value);
};

/**
 * A tokenizer whose tokens are the bytes 0..255 of UTF-8, bos 256 and eos 257.
 *
 * @example
 * ```ts
 * import { ByteTokenizer } from 'neural-attention-search';
 * const tokenizer = new ByteTokenizer();
 * console.log([...tokenizer.encode('é!')], tokenizer.decode([195, 169, 33])); // [195,169,33] é!
 * ```
 */
export class ByteTokenizer implements Tokenizer {
  readonly vocabSize: number = 258;
  readonly bos: number = 256;
  readonly starts: readonly number[];
  readonly ends: readonly number[] = [];
  readonly eos: number = 257;

  /** @param options.bos Whether to put bos before every text. Default: true. */
  constructor(options: { bos?: boolean } = {}) {
    expectKnown('ByteTokenizer', options, ['bos']);
    record({ bos: optional(of('boolean')) })('options', options);
    const { bos = true } = options;
    this.starts = bos ? [this.bos] : [];
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    of('string')('text', text);
    expectEncodeOptions(options);
    const { maxTokens, onProgress } = options;
    const most = maxTokens ?? Infinity;
    const some = text.slice(0, most + 1); // enough, as every code unit is at least one byte
    const bytes = new Int32Array(new TextEncoder().encode(some));
    onProgress?.(text.length, text.length);
    return bytes.length > most ? bytes.slice(0, most) : bytes;
  }

  encoder(): TextStream {
    let half = ''; // the first code unit of a character that is not yet complete
    return {
      push: (text) => {
        of('string')('text', text);
        const all = half + text;
        half = /[\uD800-\uDBFF]$/.exec(all)?.[0] ?? '';
        return this.encode(all.slice(0, all.length - half.length));
      },
      end: () => {
        const rest = half;
        half = '';
        return this.encode(rest);
      },
    };
  }

  decode(tokens: Iterable<number>): string {
    return new TextDecoder().decode(Uint8Array.from(idsOf(tokens).filter((token) => token < 256)));
  }

  decoder(options: { specials?: boolean } = {}): { push(token: number): string; end(): string } {
    expectDecodeOptions(options);
    const decoder = new TextDecoder();
    return {
      push: (token) => {
        wholeFrom(0)('token', token);
        return token < 256 ? decoder.decode(Uint8Array.of(token), { stream: true }) : '';
      },
      end: () => decoder.decode(),
    };
  }

  byteLength(token: number): number {
    wholeFrom(0)('token', token);
    return token < 256 ? 1 : 0;
  }
}
