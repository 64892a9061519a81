/**
 * Safetensors files with a seal that breaks when any bit changes. The first entry of their metadata is the SHA-256 of
 * the whole file, computed with 64 zeros in place of that entry.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import {
  decodeArrays, decodeSafetensors, encodeSafetensors, type StoredTensor, type WritableArray,
} from './safetensors.ts';
import { sha256 } from './sha256.ts';

const KEY = 'sha256';
/** A second entry that says that there is a seal, in case the name of the first is damaged. */
const MARK = 'sealed';
const NONE = '0'.repeat(64);
/** How the header of a sealed file begins, at the ninth byte of the file. The hash follows. */
const BEGIN = `{"__metadata__":{"${KEY}":"`;
const PLACE = 8 + BEGIN.length;

/**
 * Writes a safetensors file with a seal.
 *
 * @param metadata Strings by name, other than `sha256` and `sealed`.
 */
export async function encodeSealed(
  tensors: Iterable<readonly [string, WritableArray]>,
  metadata: Readonly<Record<string, string>>,
): Promise<Uint8Array> {
  const bytes = encodeSafetensors(tensors, { [KEY]: NONE, [MARK]: '1', ...metadata });
  write(bytes, await sha256(bytes));
  return bytes;
}

/**
 * Reads a safetensors file, and checks its seal if it has one.
 *
 * @param bytes The whole file.
 * @param file Its name in error messages.
 * @param remedy What to do about a broken seal.
 * @returns The tensors and the metadata. `sealed` is false if the file was written without a seal.
 * @throws {FileFormatError} If a byte differs from what was written.
 */
export async function decodeSealed(bytes: Uint8Array, file: string, remedy: string): Promise<{
  tensors: Map<string, StoredTensor>; metadata: Record<string, string>; sealed: boolean;
}> {
  const sealed = await checkSeal(bytes, file, remedy);
  const { tensors, metadata } = decodeSafetensors(bytes, file);
  checkMarks(metadata, sealed, file, remedy);
  return { tensors, metadata, sealed };
}

/**
 * Does the same for a file that may hold integers and must have a seal.
 *
 * @throws {FileFormatError} If a byte differs from what was written, or there is no seal.
 */
export async function decodeSealedArrays(
  bytes: Uint8Array, file: string, remedy: string,
): Promise<ReturnType<typeof decodeArrays>> {
  const sealed = await checkSeal(bytes, file, remedy);
  const decoded = decodeArrays(bytes, file);
  checkMarks(decoded.metadata, sealed, file, remedy);
  if (!sealed) throw new FileFormatError(`${file} has no checksum, so nothing vouches for it: ${remedy}`);
  return decoded;
}

/** Whether there is a seal. @throws {FileFormatError} If it is broken. */
async function checkSeal(bytes: Uint8Array, file: string, remedy: string): Promise<boolean> {
  const first = bytes.findIndex((byte) => byte !== 0);
  if (bytes.length === 0) throw new FileFormatError(`${file} is empty: ${remedy}`);
  if (first < 0 || first >= 16) throw new FileFormatError(`${file} begins with zeros, as after a power failure: ${remedy}`);
  const found = new TextDecoder('latin1').decode(bytes.slice(8, PLACE + 64)); // a copy, since TextDecoder refuses shared memory
  const sealed = bytes.length >= PLACE + NONE.length && found.startsWith(BEGIN);
  if (sealed) {
    const written = found.slice(BEGIN.length);
    const zeroed = bytes.slice();
    write(zeroed, NONE);
    const actual = await sha256(zeroed);
    if (actual !== written) throw new FileFormatError(`${file} is not as it was written (its SHA-256 is ${actual}, not ${written}): ${remedy}`);
  }
  return sealed;
}

/** A file with a mark but without a seal had a seal that was damaged. */
function checkMarks(metadata: Readonly<Record<string, string>>, sealed: boolean, file: string, remedy: string): void {
  if (!sealed && (KEY in metadata || MARK in metadata)) {
    throw new FileFormatError(`${file} is not as it was written (its seal is damaged): ${remedy}`);
  }
}

function write(bytes: Uint8Array, hash: string): void {
  bytes.set(new TextEncoder().encode(hash), PLACE);
}
