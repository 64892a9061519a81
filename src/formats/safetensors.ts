/**
 * The safetensors format: an 8-byte length, a JSON header, and the tensors' bytes. Every length and offset of a file is
 * checked before it is used, and no more memory is allocated than the file's size justifies.
 * @module
 */
import { FileFormatError, ValueError } from '../core/errors.ts';
import { type FloatArray, type NDArray, sizeOf } from '../core/tensor.ts';
import { type WeightDtype, widenInto } from '../core/stored.ts';
import { foreignWeights, packedBy, TELLING } from './foreign-files.ts';
import {
  byName, BYTES, checkNamed, type FloatDtype, inFile, type IntegerDtype, LAYOUTS, type NamedTensor, readElements,
  SETTERS,
} from './named-tensor.ts';
import { type HeaderEntry, METADATA_KEY, parseHeader, shown } from './safetensors-header.ts';

/** Element types of weights. All of them can be read; F64, F32 and F16 can also be written. */
export type Dtype = FloatDtype;

/** A tensor of a file. */
export interface StoredTensor extends NDArray {
  readonly dtype: Dtype;
}

/** A tensor as its file stores it. */
export interface StoredBytes {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian, row-major. */
  readonly bytes: Uint8Array;
}

const FLOATS: readonly string[] = ['F64', 'F32', 'F16', 'BF16'] satisfies Dtype[];
/** The format's own limit on the size of the header. */
const MAX_HEADER = 100_000_000;

/**
 * Reads the weights of a safetensors file. F64 stays float64; F32, F16 and BF16 become float32.
 *
 * @param bytes The whole file.
 * @param file Its name in error messages.
 * @returns Tensors by name, and the metadata.
 * @throws {FileFormatError} If anything about the file contradicts the format or itself.
 */
export function decodeSafetensors(
  bytes: Uint8Array, file = 'the safetensors file',
): { tensors: Map<string, StoredTensor>; metadata: Record<string, string> } {
  return decode(bytes, file, FLOATS, load);
}

/**
 * The weights of a safetensors file as it stores them, without a copy.
 *
 * @throws {FileFormatError} As decodeSafetensors does.
 */
export function storedWeights(bytes: Uint8Array, file = 'the safetensors file'): Map<string, StoredBytes> {
  return decode(bytes, file, FLOATS, ({ dtype, shape, begin, end }, data) => {
    return { dtype: dtype as Dtype, shape, bytes: data.subarray(begin, end) };
  }).tensors;
}

/**
 * Reads every tensor of a safetensors file: floats as float64, integers and bools as 32-bit integers.
 * The tensors take at most four times the memory of the file (float16 to float64, bool to 32 bits).
 *
 * @param bytes The whole file.
 * @param file Its name in error messages.
 * @returns Tensors by name, in the header's order, and the metadata as an object without prototype.
 * @throws {FileFormatError} If anything about the file contradicts the format or itself, a dtype is none of
 * F64, F32, F16, BF16, I64, I32, U8, BOOL, an I64 does not fit 32 bits, or a BOOL is neither 0 nor 1.
 */
export function readSafetensors(
  bytes: Uint8Array, file = 'the safetensors file',
): { tensors: Map<string, NamedTensor>; metadata: Record<string, string> } {
  return decode(bytes, file, Object.keys(BYTES), ({ name, dtype, shape, begin, end }, data) => {
    const layout = LAYOUTS[dtype as FloatDtype | IntegerDtype]; // checked before
    return { ...readElements(layout, data.subarray(begin, end), true, `tensor '${shown(name)}'`), shape };
  });
}

/** A file's array in the narrowest kind that holds it: F64 in float64, other floats in float32, integers in int32. */
export type StoredArray = StoredTensor | (NDArray<Int32Array> & { readonly dtype: IntegerDtype });

/** An array that is written without conversion. */
export type WritableArray =
  | (NDArray & { readonly dtype: Exclude<Dtype, 'BF16'> }) | (NDArray<Int32Array> & { readonly dtype: 'I32' | 'U8' });

/**
 * Reads every array of a safetensors file, each in the narrowest kind that holds it.
 *
 * @throws {FileFormatError} As readSafetensors does.
 */
export function decodeArrays(
  bytes: Uint8Array, file = 'the safetensors file',
): { tensors: Map<string, StoredArray>; metadata: Record<string, string> } {
  return decode(bytes, file, Object.keys(BYTES), (entry, data): StoredArray => {
    if (FLOATS.includes(entry.dtype)) return load(entry, data);
    const layout = LAYOUTS[entry.dtype as IntegerDtype]; // checked before
    const elements = readElements(layout, data.subarray(entry.begin, entry.end), true, `tensor '${shown(entry.name)}'`);
    return { data: elements.data as Int32Array, dtype: entry.dtype as IntegerDtype, shape: entry.shape };
  });
}

function decode<T>(
  bytes: Uint8Array, file: string, dtypes: readonly string[], read: (entry: HeaderEntry, data: Uint8Array) => T,
): { tensors: Map<string, T>; metadata: Record<string, string> } {
  try {
    const { entries, metadata, data } = open(bytes);
    checkEntries(entries, data.length, dtypes);
    return { tensors: new Map(entries.map((entry) => [entry.name, read(entry, data)] as const)), metadata };
  } catch (error) {
    throw inFile(file, error);
  }
}

function open(bytes: Uint8Array): ReturnType<typeof parseHeader> & { data: Uint8Array } {
  const what = foreignWeights(bytes.subarray(0, TELLING), bytes.length);
  if (what !== undefined) fail(what);
  const headerLength = announcedLength(bytes, bytes.length);
  const header = parseHeader(decodeUtf8(bytes.subarray(8, 8 + headerLength)));
  return { ...header, data: bytes.subarray(8 + headerLength) };
}

/** The size of the header in bytes, as the first 8 bytes of a file of `size` bytes announce it. */
export function announcedLength(bytes: Uint8Array, size: number): number {
  if (size < 8) fail(`${size} bytes are too few for a header: the file is empty or truncated, copy it again`);
  const announced = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (announced > BigInt(MAX_HEADER)) fail(`a header of ${announced} bytes is announced, above the format's ${MAX_HEADER}: not a safetensors file`);
  const headerLength = Number(announced);
  if (8 + headerLength > size) {
    fail(`a header of ${headerLength} bytes is announced but the file has ${size}: it is truncated, copy it again`);
  }
  return headerLength;
}

/**
 * The weights that a header declares, checked against the `length` bytes of data that follow it. Tensors that are
 * `ignored` may have any dtype.
 */
export function declaredWeights(
  header: Uint8Array, length: number, ignored: (name: string) => boolean,
): HeaderEntry[] {
  const { entries } = parseHeader(decodeUtf8(header));
  const weights = entries.filter(({ name }) => !ignored(name));
  checkEntries(weights, length, FLOATS, entries);
  return weights;
}

function checkEntries(
  entries: readonly HeaderEntry[], length: number, dtypes: readonly string[], all: readonly HeaderEntry[] = entries,
): void {
  const packed = dtypes === FLOATS ? packedBy(entries.map(({ name }) => name)) : undefined;
  if (packed !== undefined) fail(packed);
  for (const entry of entries) checkEntry(entry, dtypes);
  checkCoverage(all, length);
}

function fail(what: string): never {
  throw new FileFormatError(what);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.slice()); // a copy, as decode() refuses shared memory
  } catch {
    return fail('the header is not valid UTF-8: the file is damaged, copy it again');
  }
}

/** Checks that the tensors cover the data exactly, without gap, overlap or remainder. */
function checkCoverage(entries: readonly HeaderEntry[], length: number): void {
  let at = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > length) fail(`tensor '${shown(name)}' ends at byte ${end} but the data has ${length}: the file is truncated, copy it again`);
    if (begin !== at) fail(`tensor '${shown(name)}' begins at byte ${begin} but the one before ends at ${at}: tensors must touch without overlap`);
    at = end;
  }
  if (at !== length) fail(`the tensors end at byte ${at} but the data has ${length}: ${length - at} bytes belong to none`);
}

/** Checks that dtype, shape and offsets of a tensor agree. */
function checkEntry({ name, dtype, shape, begin, end }: HeaderEntry, dtypes: readonly string[]): void {
  const what = `tensor '${shown(name)}'`;
  if (!dtypes.includes(dtype)) {
    fail(`${what} has dtype "${shown(dtype)}": only ${dtypes.join(', ')} are read, convert it to one of them`);
  }
  if (end < begin) fail(`${what} ends at byte ${end}, before it begins at ${begin}: the file is damaged, copy it again`);
  const needed = sizeOf(shape) * BYTES[dtype as Dtype];
  if (needed !== end - begin) {
    fail(`${what} is ${dtype} [${shape}], ${needed} bytes, but data_offsets [${begin},${end}] give ${end - begin}: copy the file again`);
  }
}

function load({ dtype: named, shape, begin, end }: HeaderEntry, data: Uint8Array): StoredTensor {
  const dtype = named as Dtype; // checked before
  const count = (end - begin) / BYTES[dtype];
  const array: FloatArray = dtype === 'F64' ? new Float64Array(count) : new Float32Array(count);
  widenInto(data.subarray(begin, end), storedAs(dtype), array);
  return { data: array, shape, dtype };
}

/** The name that engines use for the dtype. */
export const storedAs = (dtype: Dtype): WeightDtype => dtype.toLowerCase() as WeightDtype;

/**
 * Writes a safetensors file with the tensors in the order given and the header padded to 8 bytes. F16 rounds to
 * nearest, ties to even.
 *
 * @param tensors Name, elements, shape and dtype of each.
 * @param metadata Strings by name.
 * @returns The file's bytes.
 * @throws {ValueError} If a name occurs twice or is '__metadata__', or a shape does not fit its elements.
 */
export function encodeSafetensors(
  tensors: Iterable<readonly [string, WritableArray]>, metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  return encode([...tensors], metadata);
}

/**
 * Writes a safetensors file of any dtypes that can be read. The same tensors give the same bytes in any order: as in
 * the format's own library, the widest elements come first, so that each tensor is aligned, then names decide.
 *
 * @param tensors A Map of tensors by name, or a list of pairs. Floats round to nearest, ties to even.
 * @param metadata Strings by name.
 * @returns The file's bytes.
 * @throws {ValueError} If a name occurs twice or is '__metadata__', a shape does not fit its elements, an integer does
 * not fit its dtype, or metadata holds something other than strings.
 */
export function writeSafetensors(
  tensors: Iterable<readonly [string, NamedTensor]>, metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const list = [...tensors];
  for (const [name, tensor] of list) checkNamed(name, tensor);
  list.sort((a, b) => BYTES[b[1].dtype] - BYTES[a[1].dtype] || byName(a, b));
  if (metadata === undefined) return encode(list);
  const pairs = Object.entries(metadata).sort(byName);
  for (const [key, value] of pairs) {
    if (typeof value !== 'string') throw new ValueError(`metadata '${shown(key)}' is not a string: the format allows only strings there`);
  }
  return encode(list, Object.fromEntries(pairs));
}

/** A tensor to write without conversion. */
interface Writable {
  readonly data: FloatArray | Int32Array;
  readonly shape: readonly number[];
  readonly dtype: FloatDtype | IntegerDtype;
}

function encode(
  list: readonly (readonly [string, Writable])[], metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const header: string[] = metadata ? [`"${METADATA_KEY}":${JSON.stringify(metadata)}`] : [];
  const names = new Set<string>([METADATA_KEY]);
  let length = 0;
  for (const [name, { data, shape, dtype }] of list) {
    if (names.has(name)) throw new ValueError(`the name '${shown(name)}' is taken: every tensor needs its own, other than __metadata__`);
    names.add(name);
    if (sizeOf(shape) !== data.length) throw new ValueError(`tensor '${shown(name)}' is [${shape}] but has ${data.length} elements`);
    const end = length + data.length * BYTES[dtype];
    header.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [length, end] })}`);
    length = end;
  }
  const json = new TextEncoder().encode(`{${header.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + padded + length).fill(0x20, 8, 8 + padded);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(padded), true);
  bytes.set(json, 8);
  let at = 8 + padded;
  for (const [, { data, dtype }] of list) {
    const set = SETTERS[dtype];
    for (const x of data) {
      set(view, at, x);
      at += BYTES[dtype];
    }
  }
  return bytes;
}
