/**
 * The header of a safetensors file, read by a parser of exactly its grammar:
 *
 *     { name: { "dtype": string, "shape": [whole...], "data_offsets": [begin, end] }, ...,
 *       "__metadata__": { key: string, ... } }
 *
 * JSON.parse would hide keys that occur twice, and spend minutes and gigabytes on nesting that the format does not
 * allow. Whatever departs from the grammar is refused at the character where it does.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';

/** One tensor as the header declares it, not yet checked against the data. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** The key of the metadata, which no tensor can have as its name. */
export const METADATA_KEY = '__metadata__';
/** More axes than any weight has. The limit keeps the shapes of hostile files short. */
export const MAX_AXES = 32;

/** Text from a file as it appears in messages: on one line, and not too long. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text).slice(1, -1);
}

/**
 * Reads the header's JSON.
 *
 * @param text The decoded header, with its padding.
 * @returns Its tensors in the order written, and its metadata as an object without prototype.
 * @throws {FileFormatError} If the text departs from the grammar, or a key occurs twice.
 */
export function parseHeader(text: string): { entries: HeaderEntry[]; metadata: Record<string, string> } {
  const reader = new Reader(text);
  const entries: HeaderEntry[] = [];
  const metadata = Object.create(null) as Record<string, string>;
  reader.members('the header', (name) => {
    if (name !== METADATA_KEY) entries.push(readEntry(reader, name));
    else reader.members(METADATA_KEY, (key) => void (metadata[key] = reader.string(`${METADATA_KEY} '${shown(key)}'`)));
  });
  reader.end();
  return { entries, metadata };
}

function readEntry(reader: Reader, name: string): HeaderEntry {
  const what = `tensor '${shown(name)}'`;
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  reader.members(what, (key) => {
    if (key === 'dtype') dtype = reader.string(`the dtype of ${what}`);
    else if (key === 'shape') shape = reader.wholes(`the shape of ${what}`, MAX_AXES);
    else if (key === 'data_offsets') offsets = reader.wholes(`data_offsets of ${what}`, 2);
    else throw new FileFormatError(`${what} has an unknown field '${shown(key)}': dtype, shape and data_offsets are known`);
  });
  const [begin, end] = offsets ?? [];
  if (dtype === undefined || shape === undefined || begin === undefined || end === undefined) {
    throw new FileFormatError(`${what} needs a dtype, a shape and two data_offsets: the file is damaged, copy it again`);
  }
  return { name, dtype, shape, begin, end };
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;

/** Walks through the text once. `what` is the name of the value being read, for error messages. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Reads an object; `member` reads the value of each key. */
  members(what: string, member: (key: string) => void): void {
    const seen = new Set<string>();
    this.#expect('{', what);
    if (this.#take('}')) return;
    do {
      const key = this.string(`a key of ${what}`);
      if (seen.has(key)) throw new FileFormatError(`in ${what} the key '${shown(key)}' occurs twice: write the file again`);
      seen.add(key);
      this.#expect(':', what);
      member(key);
    } while (this.#take(','));
    this.#expect('}', what);
  }

  /** Reads an array of at most `most` whole numbers. */
  wholes(what: string, most: number): number[] {
    const values: number[] = [];
    this.#expect('[', what);
    if (this.#take(']')) return values;
    do {
      if (values.length === most) throw new FileFormatError(`${what} has more than ${most} numbers: the file is damaged`);
      values.push(this.#whole(what));
    } while (this.#take(','));
    this.#expect(']', what);
    return values;
  }

  string(what: string): string {
    this.#expect('"', what);
    const start = this.#at;
    let plain = true;
    for (; ; this.#at++) {
      const code = this.#text.charCodeAt(this.#at);
      if (code === QUOTE) break;
      if (!(code >= SPACE)) this.#fail('a closing quote', what); // a control character, or NaN at the end
      if (code !== BACKSLASH) continue;
      plain = false;
      this.#at++;
    }
    const inside = this.#text.slice(start, this.#at++);
    if (plain) return inside;
    try {
      return JSON.parse(`"${inside}"`) as string;
    } catch {
      throw new FileFormatError(`${what} is '${shown(inside)}', with an escape that JSON lacks: the file is damaged`);
    }
  }

  /** Checks that only padding is left. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail('nothing more', 'the header');
  }

  #whole(what: string): number {
    this.#skipSpace();
    const start = this.#at;
    while (this.#at < this.#text.length && !',]}[{:" \t\n\r'.includes(this.#text.charAt(this.#at))) this.#at++;
    if (this.#at === start) this.#fail('a number', what);
    const token = this.#text.slice(start, this.#at);
    const value = token.length <= 16 && /^(0|[1-9]\d*)$/.test(token) ? Number(token) : NaN;
    if (Number.isSafeInteger(value)) return value;
    throw new FileFormatError(`${what} holds ${shown(token)}: it must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`);
  }

  #skipSpace(): void {
    while (this.#at < this.#text.length && ' \t\n\r'.includes(this.#text.charAt(this.#at))) this.#at++;
  }

  #take(mark: string): boolean {
    this.#skipSpace();
    if (this.#text.charAt(this.#at) !== mark) return false;
    this.#at++;
    return true;
  }

  #expect(mark: string, what: string): void {
    if (!this.#take(mark)) this.#fail(mark, what);
  }

  #fail(expected: string, what: string): never {
    const found = this.#at < this.#text.length ? `'${shown(this.#text.charAt(this.#at))}'` : 'its end';
    throw new FileFormatError(
      `the header is not valid at character ${this.#at}, in ${what}: expected ${expected} but found ${found}; the file is damaged, copy it again`,
    );
  }
}
