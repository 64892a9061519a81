/**
 * Writes ZIP archives as NumPy reads them, of stored members.
 * @module
 */
import { ValueError } from '../core/errors.ts';
import { crc32 } from './crc32.ts';
import { shown } from './safetensors-header.ts';
import { CENTRAL, END, END64, LOCAL, LOCATOR64, MORE, MORE16, UTF8 } from './zip-records.ts';

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
