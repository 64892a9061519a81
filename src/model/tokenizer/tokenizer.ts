/**
 * Text to tokens and back. Models here read bytes; the interface leaves room for other vocabularies.
 * @module
 */

import { type Expected, expectIterable, numbers, of, record, wholeFrom } from '../../core/arguments.ts';
import { expectWhole } from '../../core/shape.ts';

/** How much of a text to encode, and who is told. */
export interface EncodeOptions {
  /** Stop at this many tokens (default: all): the first ones of what the whole text would give. */
  readonly maxTokens?: number;
  /** Called now and then, and at the end, with the characters that are done and those in all. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** `maxTokens` once it is checked, where none is given all. */
export function mostTokens(maxTokens: number | undefined): number {
  if (maxTokens === undefined) return Infinity;
  expectWhole('maxTokens', maxTokens, 0);
  return maxTokens;
}

/** Encodes a text that comes in pieces: all that it returns together is what encode() makes of the whole text. */
export interface TextStream {
  /** The tokens that no later text can change. */
  push(text: string): Int32Array;
  /** The rest; the stream is then ready for another text. */
  end(): Int32Array;
}

/** What a model needs of a tokenizer. */
export interface Tokenizer {
  readonly vocabSize: number;
  /** The token that starts texts where one is needed, whether or not texts are fed with it (see `starts`). */
  readonly bos: number;
  /** Tokens that stand before every text that is fed to the model; none where its tokenizer puts none. */
  readonly starts: readonly number[];
  /** Tokens that its tokenizer puts behind every whole text; none for most. A prompt, which goes on, has none. */
  readonly ends: readonly number[];
  /** Ends a document; generation stops at it. -1 where there is none, as for bos. */
  readonly eos: number;
  /** Tokens of `text`, without starts and ends. */
  encode(text: string, options?: EncodeOptions): Int32Array;
  /** The same for a text that comes in pieces. */
  encoder(): TextStream;
  /** The whole text of `tokens`; specials give nothing. */
  decode(tokens: Iterable<number>): string;
  /**
   * A decoder for a stream: each token gives the text that is complete by now, maybe ''. With `specials`, special
   * tokens give what they are written as, where the tokenizer knows it.
   */
  decoder(options?: { specials?: boolean }): { push(token: number): string; end(): string };
  /** UTF-8 bytes that `token` stands for, 0 for specials: what bits per byte divides by. */
  byteLength(token: number): number;
}

/**
 * What is fed for a text that begins with `tokens`: the tokenizer's starts before them, but not a second time where
 * the text begins with them already.
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

/** The same tokenizer, but it puts nothing before texts. */
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

/** Whether a text brings along the tokens that its tokenizer would put before it. */
export function repeatsStarts({ starts }: Pick<Tokenizer, 'starts'>, tokens: ArrayLike<number>): boolean {
  return starts.length > 0 && starts.every((token, n) => tokens[n] === token);
}

/** Refuses what is no tokenizer. */
export const expectTokenizer: Expected = (name, value) => {
  record({ vocabSize: wholeFrom(1), encode: of('function'), decode: of('function') })(name, value);
};

/**
 * UTF-8 bytes 0..255, then bos 256 and eos 257.
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

  /** @param options.bos Whether bos stands before every text (default true). */
  constructor(options: { bos?: boolean } = {}) {
    record()('options', options);
    const { bos = true } = options;
    this.starts = bos ? [this.bos] : [];
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    of('string')('text', text);
    record()('options', options);
    const { maxTokens, onProgress } = options;
    const most = mostTokens(maxTokens);
    const some = text.slice(0, most + 1); // a code unit is at least one byte, a whole character no less than its units
    const bytes = new Int32Array(new TextEncoder().encode(some));
    onProgress?.(text.length, text.length);
    return bytes.length > most ? bytes.slice(0, most) : bytes;
  }

  encoder(): TextStream {
    let half = ''; // the first code unit of a character that is not whole yet
    return {
      push: (text) => {
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
    expectIterable('tokens', tokens);
    const ids = [...tokens];
    numbers(true)('tokens', ids);
    return new TextDecoder().decode(Uint8Array.from(ids.filter((token) => token < 256)));
  }

  decoder(): { push(token: number): string; end(): string } {
    const decoder = new TextDecoder();
    return {
      push: (token) => (token < 256 ? decoder.decode(Uint8Array.of(token), { stream: true }) : ''),
      end: () => decoder.decode(),
    };
  }

  byteLength(token: number): number {
    of('number')('token', token);
    return token < 256 ? 1 : 0;
  }
}
