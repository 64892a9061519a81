/**
 * ZIP archives as NumPy writes them, with members stored or deflated and sizes in 32 or 64 bits
 * (APPNOTE.TXT 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT). Before any member is unpacked, the
 * directory at the end is checked as a whole: against itself, against each member's own header, and against a limit.
 * @module
 */
import { FileFormatError, ValueError } from '../core/errors.ts';
import { shown } from './safetensors-header.ts';

/** A member that has passed every check that is possible without unpacking it. */
export interface ZipMember {
  readonly name: string;
  readonly deflated: boolean;
  /** How many bytes it must unpack to. */
  readonly size: number;
  /** The CRC-32 of those bytes. */
  readonly crc: number;
  /** Its bytes as they are in the archive. */
  readonly packed: Uint8Array;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
/** What a field of 32 bits, and one of 16, holds if the value is in a zip64 field instead. */
const MORE = 0xffffffff;
const MORE16 = 0xffff;
/** The flags that are supported: levels of deflate, sizes after the data, and names in UTF-8. */
const [AFTER, UTF8] = [1 << 3, 1 << 11];
const FLAGS = (1 << 1) | (1 << 2) | AFTER | UTF8;
const DEFLATE = 8;
/** The highest ratio of deflate, which spends at least two bits on 258 bytes. */
const MOST_RATIO = 1032;
/** How many deflated bytes are passed on at once, so that even runtimes that unpack them all stop within 4 MiB. */
const PIECE = 4096;

function fail(what: string): never {
  throw new FileFormatError(what);
}

/**
 * Lists the members without unpacking any.
 *
 * @param bytes The whole archive.
 * @param limit The most bytes that all members together may unpack to.
 * @returns The members in the directory's order.
 * @throws {FileFormatError} If the archive contradicts the format or itself, or if members overlap, share a name, are
 * encrypted, are packed by an unknown method, or declare more bytes than the limit or than deflate can yield.
 */
export function listZip(bytes: Uint8Array, limit: number): ZipMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, begin, end } = findDirectory(view);
  const members: ZipMember[] = [];
  const ranges: { readonly from: number; readonly to: number; readonly name: string }[] = [];
  const names = new Set<string>();
  let [at, total] = [begin, 0];
  for (let n = 0; n < count; n++) {
    const entry = readEntry(view, at, end);
    const { name, size, offset } = entry;
    if (names.has(name)) fail(`it has two members '${shown(name)}': write it again`);
    names.add(name);
    total += size;
    if (total > limit) fail(`its members declare ${total} bytes or more, above the limit of ${limit}: if you trust it, raise the limit`);
    const from = checkLocal(view, entry, begin);
    const to = from + entry.packed;
    ranges.push({ from: offset, to, name });
    members.push({ name, deflated: entry.method === DEFLATE, size, crc: entry.crc, packed: bytes.subarray(from, to) });
    at = entry.end;
  }
  if (at !== end) fail(`its directory has ${end - at} bytes more than its ${count} members need: it is damaged, copy it again`);
  ranges.sort((a, b) => a.from - b.from).forEach(({ from, name }, n) => {
    const before = ranges[n - 1];
    if (before && before.to > from) fail(`its members '${shown(before.name)}' and '${shown(name)}' overlap: it is damaged, or made to mislead`);
  });
  return members;
}

/** Reads a 64-bit whole number that float64 holds exactly. */
function whole(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) fail(`it gives a size or place of ${value}: it is damaged, copy it again`);
  return Number(value);
}

/** The number of members, and where the directory begins and ends. Only the closing records may follow it. */
function findDirectory(view: DataView): { count: number; begin: number; end: number } {
  const length = view.byteLength;
  let at = length - 22;
  // A comment of up to 64 KiB may follow the last record, which states its length.
  const isEnd = () => view.getUint32(at, true) === END && view.getUint16(at + 20, true) === length - 22 - at;
  while (at >= 0 && at >= length - 22 - MORE16 && !isEnd()) at--;
  if (at < 0 || at < length - 22 - MORE16) fail(`its ${length} bytes do not end as a ZIP archive does: it is truncated or another format`);
  let end = at;
  let count = view.getUint16(at + 10, true);
  let [size, begin] = [view.getUint32(at + 12, true), view.getUint32(at + 16, true)];
  let disks = view.getUint16(at + 4, true) | view.getUint16(at + 6, true) | (view.getUint16(at + 8, true) ^ count);
  if (at >= 20 && view.getUint32(at - 20, true) === LOCATOR64) {
    end = whole(view, at - 12);
    if (end > at - 20 - 56 || view.getUint32(end, true) !== END64 || whole(view, end + 4) !== at - 20 - end - 12) {
      fail('its zip64 record is not where it should be: it is damaged, copy it again');
    }
    const wide = [whole(view, end + 32), whole(view, end + 40), whole(view, end + 48)] as const;
    const narrow = [[count, MORE16], [size, MORE], [begin, MORE]] as const;
    if (narrow.some(([value, more], n) => value !== more && value !== wide[n])) fail('its two records of the directory differ: it is damaged');
    disks = view.getUint32(end + 16, true) | view.getUint32(end + 20, true) | Number(whole(view, end + 24) !== wide[0]);
    [count, size, begin] = wide;
  }
  if (disks !== 0) fail('it is one of several parts: join them into one archive');
  if (begin + size !== end) fail(`its directory of ${size} bytes at ${begin} does not end at ${end}, where it should: it is damaged, copy it again`);
  return { count, begin, end };
}

interface Entry {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
  readonly end: number;
}

function readEntry(view: DataView, at: number, end: number): Entry {
  if (at + 46 > end || view.getUint32(at, true) !== CENTRAL) fail(`its directory has no member at byte ${at}, where one is announced: it is damaged`);
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const nameEnd = at + 46 + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const next = extraEnd + view.getUint16(at + 32, true);
  if (next > end) fail(`its directory ends within the member at byte ${at}: it is damaged, copy it again`);
  const nameBytes = bytesOf(view, at + 46, nameEnd);
  const name = decodeName(nameBytes, (flags & UTF8) !== 0);
  const what = `member '${shown(name)}'`;
  if (flags & 1) fail(`${what} is encrypted: write it without a password`);
  if (flags & ~FLAGS) fail(`${what} has the flags 0x${flags.toString(16)}, which are not known: write it with numpy.savez`);
  if (method !== 0 && method !== DEFLATE) fail(`${what} is compressed by method ${method}: only stored and deflated members are read`);
  const narrow = [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  const [size, packed, offset] = widen(narrow, bytesOf(view, nameEnd, extraEnd), what) as [number, number, number];
  if (method === 0 && packed !== size) fail(`${what} is stored in ${packed} bytes but declares ${size}: it is damaged, copy it again`);
  if (size > packed * MOST_RATIO) fail(`${what} declares ${size} bytes but ${packed} deflated ones cannot hold so many: it is damaged, or made to mislead`);
  return { name, nameBytes, flags, method, crc: view.getUint32(at + 16, true), packed, size, offset, end: next };
}

function bytesOf(view: DataView, from: number, to: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + from, to - from);
}

/** In old archives, bytes above 127 may belong to any code page. Such names are refused rather than guessed. */
function decodeName(bytes: Uint8Array, utf8: boolean): string {
  try {
    const name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (utf8 || bytes.every((byte) => byte < 0x80)) return name;
  } catch { /* refused below */ }
  return fail('it has a member whose name is neither ASCII nor marked as valid UTF-8: write it with numpy.savez');
}

/** Replaces each value whose bits are all ones by the next value of the zip64 field. */
function widen(narrow: readonly number[], extra: Uint8Array, what: string): number[] {
  if (!narrow.includes(MORE)) return [...narrow];
  const view = new DataView(extra.buffer, extra.byteOffset, extra.byteLength);
  let [at, end] = [0, 0];
  for (let field = 0; field + 4 <= extra.length; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) === 1) [at, end] = [field + 4, field + 4 + view.getUint16(field + 2, true)];
  }
  return narrow.map((value) => {
    if (value !== MORE) return value;
    if (at + 8 > end || end > extra.length) fail(`${what} lacks the zip64 field that its sizes need: it is damaged, copy it again`);
    at += 8;
    return whole(view, at - 8);
  });
}

/** Compares the header in front of a member with the directory, and returns where the member's data begins. */
function checkLocal(view: DataView, entry: Entry, directory: number): number {
  const { name, nameBytes, offset, packed } = entry;
  const what = `member '${shown(name)}'`;
  if (offset + 30 > directory || view.getUint32(offset, true) !== LOCAL) fail(`${what} is not at byte ${offset}, where the directory places it: it is damaged`);
  const nameEnd = offset + 30 + view.getUint16(offset + 26, true);
  const from = nameEnd + view.getUint16(offset + 28, true);
  if (from + packed > directory) fail(`${what} has ${packed} bytes from ${from}, beyond the members' end at ${directory}: it is truncated, copy it again`);
  const localName = bytesOf(view, offset + 30, nameEnd);
  const same = localName.length === nameBytes.length && localName.every((byte, n) => byte === nameBytes[n])
    && view.getUint16(offset + 6, true) === entry.flags && view.getUint16(offset + 8, true) === entry.method;
  const sizes = [view.getUint32(offset + 22, true), view.getUint32(offset + 18, true)];
  const agree = (): boolean => {
    const [size, localPacked] = widen(sizes, bytesOf(view, nameEnd, from), what);
    return view.getUint32(offset + 14, true) === entry.crc && size === entry.size && localPacked === packed;
  };
  // With the flag AFTER, CRC and sizes follow the data; the directory has them in any case.
  if (!same || !(entry.flags & AFTER || agree())) fail(`${what} has a header that differs from the directory: it is damaged, or made to mislead`);
  return from;
}

/**
 * Unpacks a member, never holding more than 4 MiB and three times what it has yielded so far.
 *
 * @param member One of {@link listZip}.
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

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** The CRC-32 that ZIP uses (ISO 3309). */
export function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (let n = 0; n < bytes.length; n++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[n]) & 0xff];
  return ~crc >>> 0;
}

/** A record of little-endian fields, each given by its width in bytes and its value. */
function record(...fields: readonly (readonly [bytes: 2 | 4 | 8, value: number])[]): Uint8Array {
  const bytes = new Uint8Array(fields.reduce((sum, [width]) => sum + width, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  }
  return bytes;
}

/** 1 January 1980, the first day that ZIP can express, so that bytes do not depend on when they are written. */
const DAY = (1 << 5) | 1;

/**
 * Writes an archive of stored members in the order given. The same members give the same bytes.
 *
 * @param members Name and bytes of each.
 * @param zip64From The least size or offset that is written in 64 bits. Only tests lower it.
 * @returns The archive's bytes.
 * @throws {ValueError} If a name takes more than 65,535 bytes.
 */
export function writeZip(members: readonly (readonly [string, Uint8Array])[], zip64From: number = MORE): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  const put = (part: Uint8Array): void => {
    parts.push(part);
    at += part.length;
  };
  const narrow = (value: number): number => value >= zip64From ? MORE : value;
  const zip64 = (values: readonly number[]): Uint8Array => values.length === 0
    ? record()
    : record([2, 1], [2, 8 * values.length], ...values.map((value) => [8, value] as const));
  for (const [name, data] of members) {
    const text = new TextEncoder().encode(name);
    if (text.length > MORE16) throw new ValueError(`a name of ${text.length} bytes is too long for ZIP: shorten '${shown(name)}'`);
    const [size, offset] = [data.length, at];
    const sizes = size >= zip64From ? [size, size] : []; // unpacked and packed
    const places = offset >= zip64From ? [offset] : [];
    const common = (extra: Uint8Array) => [
      [2, extra.length > 0 ? 45 : 20], // the version that can read it
      [2, text.length === name.length ? 0 : UTF8], [2, 0], [2, 0], [2, DAY],
      [4, crc32(data)], [4, narrow(size)], [4, narrow(size)], [2, text.length], [2, extra.length],
    ] as const;
    const [local, central] = [zip64(sizes), zip64([...sizes, ...places])];
    for (const part of [record([4, LOCAL], ...common(local)), text, local, data]) put(part);
    directory.push(
      record([4, CENTRAL], [2, 45], ...common(central), [2, 0], [2, 0], [2, 0], [4, 0], [4, narrow(offset)]),
      text, central,
    );
  }
  const [count, begin] = [members.length, at];
  directory.forEach(put);
  const [end, size] = [at, at - begin];
  if (count >= MORE16 || size >= zip64From || begin >= zip64From) {
    put(record([4, END64], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, count], [8, count], [8, size], [8, begin]));
    put(record([4, LOCATOR64], [4, 0], [8, end], [4, 1]));
  }
  const short = Math.min(count, MORE16);
  put(record([4, END], [2, 0], [2, 0], [2, short], [2, short], [4, narrow(size)], [4, narrow(begin)], [2, 0]));
  const bytes = new Uint8Array(at);
  let to = 0;
  for (const part of parts) {
    bytes.set(part, to);
    to += part.length;
  }
  return bytes;
}
