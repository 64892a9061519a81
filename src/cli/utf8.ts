/**
 * Decodes UTF-8 that comes in chunks. Invalid bytes are refused with their place, and a byte order mark is dropped.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';

/** Decodes one text. Its pieces end between characters, wherever the chunks end. */
export class Utf8Decoder {
  readonly #name: string;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  /** The bytes of a character that is not yet complete. */
  #carry: Uint8Array = new Uint8Array(0);
  /** How many bytes have been decoded. */
  #at = 0;
  #begun = false;

  /** @param name The name of the file in error messages. */
  constructor(name: string) {
    this.#name = name;
  }

  /** The characters that `chunk` completes. @throws {FileFormatError} If the bytes are not UTF-8 text. */
  push(chunk: Uint8Array): string {
    const bytes = this.#carry.length === 0 ? chunk : joined(this.#carry, chunk);
    const end = completeEnd(bytes);
    this.#carry = bytes.slice(end);
    return this.#decode(bytes.subarray(0, end));
  }

  /** Ends the text, which adds nothing. @throws {FileFormatError} If it ends in the middle of a character. */
  end(): string {
    return this.#decode(this.#carry);
  }

  #decode(bytes: Uint8Array): string {
    const zero = bytes.indexOf(0);
    if (zero >= 0) {
      throw new FileFormatError(`${this.#name} is not text: byte ${this.#at + zero} is 0, as in binary files and UTF-16; convert it to UTF-8, or pass another file`);
    }
    let text: string;
    try {
      text = this.#decoder.decode(bytes);
    } catch {
      const place = firstInvalid(bytes);
      const wide = this.#at === 0 && place === 0 && bytes[0] >= 0xfe;
      throw new FileFormatError(`${this.#name} is not UTF-8 text: byte ${this.#at + place} (0x${bytes[place].toString(16)}) begins no character${wide ? ', but a text in UTF-16' : ''}; convert it to UTF-8, or pass another file`);
    }
    this.#at += bytes.length;
    if (this.#begun || text === '') return text;
    this.#begun = true;
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  }
}

/** Where an incomplete last character begins; the length if there is none. */
function completeEnd(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) break;
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** The first byte that begins no well-formed sequence (Unicode, table 3-7); the length if there is none. */
export function firstInvalid(bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at];
    const more = lead < 0x80 ? 0 : lead < 0xc2 || lead > 0xf4 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (more < 0) return at;
    for (let n = 1; n <= more; n++) {
      const low = n > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
      const high = n > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
      const byte = bytes[at + n] ?? 0;
      if (byte < low || byte > high) return at;
    }
    at += more + 1;
  }
  return at;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
