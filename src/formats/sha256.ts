/**
 * SHA-256 by WebCrypto, which Node, Deno and pages in secure contexts offer.
 * @module
 */
import { StorageError } from '../core/errors.ts';

/** The SHA-256 of `bytes`, as 32 bytes. */
export async function sha256Bytes(bytes: Uint8Array): Promise<Uint8Array> {
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle as SubtleCrypto | undefined;
  if (!subtle) throw new StorageError('this page has no WebCrypto, which computes SHA-256: serve it over https, or from localhost');
  return new Uint8Array(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

/** The SHA-256 of `bytes`, in hexadecimal. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  return hexadecimal(await sha256Bytes(bytes));
}

/** Two digits per byte. */
export function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
