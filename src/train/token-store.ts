/**
 * Tokens of long texts in little memory: one byte per token if they are bytes, else two or four.
 * @module
 */

import { wholeFrom } from '../core/arguments.ts';

/** A sequence of tokens to cut windows from, such as an Int32Array. */
export interface TokenSource {
  readonly length: number;
  /** The tokens from `start` up to but not including `end`. */
  slice(start: number, end: number): Int32Array;
}

type Block = Uint8Array | Uint16Array | Int32Array;

/** The number of tokens of a block. */
const SIZE = 1 << 18;
/** In a block of bytes, two bytes that never occur in UTF-8 encode bos and eos of a ByteTokenizer. */
const [BOS, EOS, BOS_CODE, EOS_CODE] = [256, 257, 0xfe, 0xff];

/** Grows block by block without copying. Each block is as narrow as its tokens allow. */
export class TokenStore implements TokenSource {
  readonly #blocks: Block[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Adds tokens at the end. */
  push(tokens: ArrayLike<number>): void {
    for (let from = 0; from < tokens.length;) {
      const at = this.#length % SIZE;
      if (at === 0) this.#blocks.push(new Uint8Array(SIZE));
      const count = Math.min(SIZE - at, tokens.length - from);
      let n = 0;
      while (n < count) {
        n = write(this.#blocks.at(-1)!, at, tokens, from, n, count);
        if (n < count) this.#widen(at + n, tokens[from + n]);
      }
      from += count;
      this.#length += count;
    }
  }

  slice(start: number, end: number): Int32Array {
    wholeFrom(0)('start', start);
    wholeFrom(start)('end', end);
    const out = new Int32Array(Math.max(0, Math.min(end, this.#length) - start));
    for (let n = 0; n < out.length;) {
      const at = (start + n) % SIZE;
      const block = this.#blocks[(start + n - at) / SIZE];
      const part = block.subarray(at, at + out.length - n);
      out.set(part, n);
      if (block instanceof Uint8Array) restore(out, n, n + part.length);
      n += part.length;
    }
    return out;
  }

  /** Widens the last block, in which `used` tokens are written, so that `token` fits. */
  #widen(used: number, token: number): void {
    const old = this.#blocks.at(-1)!;
    const short = old instanceof Uint8Array && token >= 0 && token <= 0xffff;
    const wide = short ? new Uint16Array(SIZE) : new Int32Array(SIZE);
    wide.set(old.subarray(0, used));
    if (old instanceof Uint8Array) restore(wide, 0, used);
    this.#blocks[this.#blocks.length - 1] = wide;
  }
}

/** Writes tokens[from + n] up to tokens[from + count - 1] into `block`, as far as they fit; returns the n reached. */
function write(block: Block, at: number, tokens: ArrayLike<number>, from: number, n: number, count: number): number {
  if (block instanceof Uint8Array) {
    for (; n < count; n++) {
      const token = tokens[from + n];
      if (token >= 0 && token < BOS_CODE) block[at + n] = token;
      else if (token === BOS || token === EOS) block[at + n] = token === BOS ? BOS_CODE : EOS_CODE;
      else return n;
    }
    return n;
  }
  for (; n < count; n++) {
    const token = tokens[from + n];
    if (block instanceof Uint16Array && !(token >= 0 && token <= 0xffff)) return n;
    block[at + n] = token;
  }
  return n;
}

/** Decodes bos and eos among tokens from a block of bytes. */
function restore(tokens: Uint16Array | Int32Array, start: number, end: number): void {
  for (let n = start; n < end; n++) {
    if (tokens[n] >= BOS_CODE) tokens[n] = tokens[n] === BOS_CODE ? BOS : EOS;
  }
}
