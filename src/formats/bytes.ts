/**
 * Bytes and JSON in any form: as fetch() returns them, as readFile() does, or as another thread shares them.
 * @module
 */
import { expectAttached } from '../core/arguments.ts';
import { described } from '../core/described.ts';
import { ConfigError, ValueError } from '../core/errors.ts';

/** Bytes in memory: Node's Buffer and every other view, an ArrayBuffer, or a SharedArrayBuffer. */
export type Bytes = ArrayBufferView | ArrayBufferLike;

/**
 * The same bytes as a Uint8Array, without a copy.
 *
 * @param what Their name in error messages.
 * @throws {ValueError} If they are not bytes.
 */
export function bytesOf(bytes: Bytes, what: string): Uint8Array {
  expectAttached(what, bytes);
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isBuffer(bytes)) return new Uint8Array(bytes);
  throw new ValueError(`${what} is ${described(bytes)}: pass the file's bytes, a Uint8Array or an ArrayBuffer`);
}

/** Whether `value` is bytes in any form. */
export function isBytes(value: unknown): value is Bytes {
  return ArrayBuffer.isView(value) || isBuffer(value);
}

/** Tells by the tag, as instanceof fails for buffers of another realm. */
function isBuffer(value: unknown): value is ArrayBufferLike {
  const tag = Object.prototype.toString.call(value);
  return tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]';
}

/** The value of a JSON file, which may be given parsed, as text, or as bytes. */
export function jsonOf(given: unknown, file: string): unknown {
  const text = isBytes(given) ? decoded(bytesOf(given, file), file) : given;
  if (typeof text !== 'string') return text;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new ConfigError(`${file} is not valid JSON (${(error as Error).message.replace(/\s+/g, ' ')}): copy it again`);
  }
}

function decoded(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes.slice()); // a copy, as decode() refuses shared memory
  } catch {
    throw new ConfigError(`${file} is not valid UTF-8: copy it again`);
  }
}
