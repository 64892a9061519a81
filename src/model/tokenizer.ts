/**
 * Text to tokens and back. Models here read bytes; the interface leaves room for other vocabularies.
 * @module
 */

/** What a model needs of a tokenizer. */
export interface Tokenizer {
  readonly vocabSize: number;
  /** Starts every sequence. */
  readonly bos: number;
  /** Tokens that stand before every text that is fed to the model; none where its tokenizer puts none. */
  readonly starts: readonly number[];
  /** Ends a document; generation stops at it. */
  readonly eos: number;
  /** Tokens of `text`, without bos and eos. */
  encode(text: string): Int32Array;
  /** The whole text of `tokens`; specials give nothing. */
  decode(tokens: Iterable<number>): string;
  /** A decoder for a stream: each token gives the text that is complete by now, maybe ''. */
  decoder(): { push(token: number): string; end(): string };
  /** UTF-8 bytes that `token` stands for, 0 for specials: what bits per byte divides by. */
  byteLength(token: number): number;
}

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
  readonly starts: readonly number[] = [256];
  readonly eos: number = 257;

  encode(text: string): Int32Array {
    return Int32Array.from(new TextEncoder().encode(text));
  }

  decode(tokens: Iterable<number>): string {
    return new TextDecoder().decode(Uint8Array.from([...tokens].filter((token) => token < 256)));
  }

  decoder(): { push(token: number): string; end(): string } {
    const decoder = new TextDecoder();
    return {
      push: (token) => (token < 256 ? decoder.decode(Uint8Array.of(token), { stream: true }) : ''),
      end: () => decoder.decode(),
    };
  }

  byteLength(token: number): number {
    return token < 256 ? 1 : 0;
  }
}
