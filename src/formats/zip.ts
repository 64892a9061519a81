/**
 * Lists ZIP archives as NumPy writes them, with members stored or deflated and sizes in 32 or 64 bits
 * (APPNOTE.TXT 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT). Before any member is unpacked, the
 * directory at the end is checked as a whole: against itself, against each member's own header, and against a limit.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { shown } from './safetensors-header.ts';
import { CENTRAL, END, END64, LOCAL, LOCATOR64, MORE, MORE16, UTF8 } from './zip-records.ts';

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

/** The flags that are supported: levels of deflate, sizes after the data, and names in UTF-8. */
const AFTER = 1 << 3;
const FLAGS = (1 << 1) | (1 << 2) | AFTER | UTF8;
const DEFLATE = 8;
/** The highest ratio of deflate, which spends at least two bits on 258 bytes. */
const MOST_RATIO = 1032;

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
