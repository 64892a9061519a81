/**
 * Unpacks members of ZIP archives, which are stored or deflated.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { crc32 } from './crc32.ts';
import type { ZipMember } from './zip.ts';

/** How many deflated bytes are passed on at once, so that even runtimes that unpack them all stop within 4 MiB. */
const PIECE = 4096;

function fail(what: string): never {
  throw new FileFormatError(what);
}

/**
 * Unpacks a member, never holding more than 4 MiB and three times what it has yielded so far.
 *
 * @param member One of listZip().
 * @param start How many bytes `check` needs; it gets fewer if the member has fewer.
 * @param check Throws if the first bytes of the member show that the rest is not worth unpacking.
 * @returns Its bytes, which are a view of the archive if the member is stored.
 * @throws {FileFormatError} If it yields more or fewer bytes than it declares, or their CRC-32 is wrong.
 */
export async function unpackMember(
  { deflated, size, crc, packed }: ZipMember, start: number, check: (start: Uint8Array) => void,
): Promise<Uint8Array> {
  if (!deflated) check(packed.subarray(0, start));
  const bytes = deflated ? await inflate(packed, size, start, check) : packed;
  const found = crc32(bytes);
  if (found !== crc) fail(`its bytes have the CRC-32 ${found.toString(16)}, not ${crc.toString(16)}: it is damaged, copy it again`);
  return bytes;
}

async function inflate(
  packed: Uint8Array, size: number, start: number, check: (start: Uint8Array) => void,
): Promise<Uint8Array> {
  let at = 0;
  const pieces = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (at < packed.length) controller.enqueue(packed.slice(at, at += PIECE));
      else controller.close();
    },
  }, { highWaterMark: 0 });
  const reader = pieces.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  const first = Math.min(size, start);
  let bytes = new Uint8Array(Math.max(first, Math.min(size, 4 * PIECE)));
  let length = 0;
  let checked = false;
  try {
    for (; ;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        return fail(`its deflated bytes are damaged (${String(error).replace(/\s+/g, ' ')}): copy it again`);
      });
      if (done) break;
      const end = length + value.length;
      if (end > size) fail(`it unpacks to more than the ${size} bytes that it declares: it is damaged, or made to mislead`);
      if (!checked && end >= first) { // before there is room for the rest of this value
        bytes.set(value.subarray(0, first - length), length);
        check(bytes.subarray(0, first));
        checked = true;
      }
      if (end > bytes.length) bytes = widened(bytes, Math.min(size, Math.max(end, 2 * bytes.length)));
      bytes.set(value, length);
      length = end;
    }
  } finally {
    await reader.cancel().catch(() => undefined); // releases the stream, whatever its state
  }
  if (length !== size) fail(`it unpacks to ${length} bytes but declares ${size}: it is damaged, copy it again`);
  if (!checked) check(bytes); // the member is empty
  return bytes;
}

function widened(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  try {
    const wider = new Uint8Array(length);
    wider.set(bytes);
    return wider;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return fail(`it unpacks to ${length} bytes or more, which is more than there is memory for: split it`);
  }
}
