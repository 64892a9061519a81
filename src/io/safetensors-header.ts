/**
 * The header of a safetensors file, read by a parser of exactly its grammar:
 *
 *     { name: { "dtype": string, "shape": [whole...], "data_offsets": [begin, end] }, ..., "__metadata__": { string: string } }
 *
 * JSON.parse would hide duplicate keys, turn long numbers into nearby ones, and spend many times the
 * header's size on nesting that has no place here. Whatever leaves the grammar is refused where it does.
 * @module
 */
import { FileFormatError } from '../errors.ts';

/** One tensor as the header declares it; nothing is checked against the data yet. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** What a header says. */
export interface Header {
  readonly entries: readonly HeaderEntry[];
  readonly metadata: ReadonlyMap<string, string>;
}

/** The key that holds metadata and therefore cannot name a tensor. */
export const METADATA_KEY = '__metadata__';
/** What to do about a file that is not as it was written. */
export const DAMAGED = 'the file is damaged, so download or write it again';
/** More axes than any weight has. */
export const MAX_AXES = 32;

/** A name for a message: quoted, on one line, not too long. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
}

/**
 * Reads the header's JSON.
 *
 * @param text The header, decoded from UTF-8, padding included.
 * @returns Its tensors in the order written, and its metadata.
 * @throws {FileFormatError} At the first character that no header can have there.
 */
export function parseHeader(text: string): Header {
  const reader = new Reader(text);
  const entries: HeaderEntry[] = [];
  let metadata: ReadonlyMap<string, string> = new Map();
  reader.members('the header', (key) => {
    if (key === METADATA_KEY) metadata = readMetadata(reader);
    else entries.push(readEntry(reader, key));
  });
  reader.end();
  return { entries, metadata };
}

function readMetadata(reader: Reader): Map<string, string> {
  const metadata = new Map<string, string>();
  reader.members(METADATA_KEY, (key) => metadata.set(key, reader.string(`${METADATA_KEY} ${quoted(key)}`)));
  return metadata;
}

function readEntry(reader: Reader, name: string): HeaderEntry {
  const what = `tensor ${quoted(name)}`;
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  reader.members(what, (key) => {
    if (key === 'dtype') dtype = reader.string(`${what}: dtype`);
    else if (key === 'shape') shape = reader.wholes(`${what}: shape`, MAX_AXES);
    else if (key === 'data_offsets') offsets = reader.wholes(`${what}: data_offsets`, 2);
    else throw new FileFormatError(`${what} has a field ${quoted(key)}: only dtype, shape and data_offsets are known`);
  });
  if (dtype === undefined || shape === undefined || offsets === undefined) {
    const missing = dtype === undefined ? 'dtype' : shape === undefined ? 'shape' : 'data_offsets';
    throw new FileFormatError(`${what} has no ${missing}: ${DAMAGED}`);
  }
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined) {
    throw new FileFormatError(`${what}: data_offsets is [${offsets}]: it must be [begin,end]; ${DAMAGED}`);
  }
  return { name, dtype, shape, begin, end };
}

/** Walks the text once; `what` names the value for messages. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** An object, whose values `member` reads. */
  members(what: string, member: (key: string) => void): void {
    const seen = new Set<string>();
    this.#expect('{', what);
    if (this.#take('}')) return;
    do {
      const key = this.string(`a key of ${what}`);
      if (seen.has(key)) throw new FileFormatError(`${what} has the key ${quoted(key)} twice: ${DAMAGED}`);
      seen.add(key);
      this.#expect(':', what);
      member(key);
    } while (this.#take(','));
    this.#expect('}', what);
  }

  /** An array of at most `most` whole numbers. */
  wholes(what: string, most: number): number[] {
    const values: number[] = [];
    this.#expect('[', what);
    if (this.#take(']')) return values;
    do {
      if (values.length === most) throw new FileFormatError(`${what} has more than ${most} numbers: ${DAMAGED}`);
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
      if (!(code >= SPACE)) this.#fail('a closing "', what); // a control character, or NaN at the end
      if (code === BACKSLASH) {
        plain = false;
        this.#at++;
      }
    }
    const inside = this.#text.slice(start, this.#at++);
    if (plain) return inside;
    try {
      return JSON.parse(`"${inside}"`) as string;
    } catch {
      throw new FileFormatError(`${what}: ${quoted(inside)} has an escape that JSON does not know: ${DAMAGED}`);
    }
  }

  /** Nothing but padding may be left. */
  end(): void {
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail('the end', 'the header');
  }

  #whole(what: string): number {
    this.#skipSpace();
    const start = this.#at;
    while (!DELIMITERS.includes(this.#text.charAt(this.#at))) this.#at++; // '' at the end is included in any string
    const token = this.#text.slice(start, this.#at);
    const value = token.length <= 16 && /^(0|[1-9]\d*)$/.test(token) ? Number(token) : NaN;
    if (!Number.isSafeInteger(value)) {
      throw new FileFormatError(`${what} holds ${quoted(token)}: it must be a whole number, 0 to ${Number.MAX_SAFE_INTEGER}; ${DAMAGED}`);
    }
    return value;
  }

  #skipSpace(): void {
    while (' \t\n\r'.includes(this.#text.charAt(this.#at)) && this.#at < this.#text.length) this.#at++;
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
    const found = this.#at < this.#text.length ? quoted(this.#text.charAt(this.#at)) : 'the end';
    throw new FileFormatError(
      `the safetensors header is not valid at character ${this.#at}, in ${what}: expected ${expected} but found ${found}; ${DAMAGED}`,
    );
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
/** What ends a number. */
const DELIMITERS = ',]}[{:" \t\n\r';
