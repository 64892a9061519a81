/**
 * The safetensors format: an 8-byte length, a JSON header, and the tensors' bytes. Every length and offset
 * of a file is checked before it is used; nothing is allocated that the file's size does not back.
 * @module
 */
import { FileFormatError, ValueError } from '../errors.ts';
import { type FloatArray, type NDArray, sizeOf } from '../tensor.ts';
import { fromBfloat16, fromFloat16, toFloat16 } from './float16.ts';
import { type HeaderEntry, METADATA_KEY, parseHeader, shown } from './safetensors-header.ts';

/** Element types that are read; F64, F32 and F16 are also written. */
export type Dtype = 'F64' | 'F32' | 'F16' | 'BF16';

/** A tensor of a file. */
export interface StoredTensor extends NDArray {
  readonly dtype: Dtype;
}

const BYTES: Readonly<Record<Dtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };
/** The format's own bound on the header. */
const MAX_HEADER = 100_000_000;

/**
 * Reads a safetensors file. F64 stays float64; F32, F16 and BF16 become float32.
 *
 * @param bytes The whole file.
 * @param file What to call it in errors.
 * @returns Tensors by name, and the metadata.
 * @throws {FileFormatError} If anything about the file contradicts the format or itself.
 */
export function decodeSafetensors(
  bytes: Uint8Array, file = 'the safetensors file',
): { tensors: Map<string, StoredTensor>; metadata: Record<string, string> } {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof FileFormatError) throw new FileFormatError(`${file}: ${error.message}`);
    throw error;
  }
}

function decode(bytes: Uint8Array): ReturnType<typeof decodeSafetensors> {
  if (bytes.length < 8) fail(`${bytes.length} bytes are too few for a header: the file is empty or truncated, copy it again`);
  const announced = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (announced > BigInt(MAX_HEADER)) fail(`a header of ${announced} bytes is announced, above the format's ${MAX_HEADER}: not a safetensors file`);
  const headerLength = Number(announced);
  if (8 + headerLength > bytes.length) {
    fail(`a header of ${headerLength} bytes is announced but the file has ${bytes.length}: it is truncated, copy it again`);
  }
  const { entries, metadata } = parseHeader(decodeUtf8(bytes.subarray(8, 8 + headerLength)));
  const data = bytes.subarray(8 + headerLength);
  for (const entry of entries) checkEntry(entry);
  checkCoverage(entries, data.length);
  return { tensors: new Map(entries.map((entry) => [entry.name, load(entry, data)] as const)), metadata };
}

function fail(what: string): never {
  throw new FileFormatError(what);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail('the header is not valid UTF-8: the file is damaged, copy it again');
  }
}

/** The tensors tile the data exactly: no gap, no overlap, no rest. */
function checkCoverage(entries: readonly HeaderEntry[], length: number): void {
  let at = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > length) fail(`tensor '${shown(name)}' ends at byte ${end} but the data has ${length}: the file is truncated, copy it again`);
    if (begin !== at) fail(`tensor '${shown(name)}' begins at byte ${begin} but the one before ends at ${at}: tensors must touch without overlap`);
    at = end;
  }
  if (at !== length) fail(`the tensors end at byte ${at} but the data has ${length}: ${length - at} bytes belong to none`);
}

/** What a tensor says of itself must be one story. */
function checkEntry({ name, dtype, shape, begin, end }: HeaderEntry): void {
  const what = `tensor '${shown(name)}'`;
  if (!Object.hasOwn(BYTES, dtype)) {
    fail(`${what} has dtype "${shown(dtype)}": only ${Object.keys(BYTES).join(', ')} are read, convert it to one of them`);
  }
  if (end < begin) fail(`${what} ends at byte ${end}, before it begins at ${begin}: the file is damaged, copy it again`);
  const needed = sizeOf(shape) * BYTES[dtype as Dtype];
  if (needed !== end - begin) {
    fail(`${what} is ${dtype} [${shape}], ${needed} bytes, but data_offsets [${begin},${end}] give ${end - begin}: copy the file again`);
  }
}

function load({ dtype: named, shape, begin, end }: HeaderEntry, data: Uint8Array): StoredTensor {
  const dtype = named as Dtype; // checked before
  const raw = data.subarray(begin, end);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const count = raw.length / BYTES[dtype];
  const array: FloatArray = dtype === 'F64' ? new Float64Array(count) : new Float32Array(count);
  for (let n = 0; n < count; n++) {
    if (dtype === 'F64') array[n] = view.getFloat64(8 * n, true);
    else if (dtype === 'F32') array[n] = view.getFloat32(4 * n, true);
    else array[n] = (dtype === 'F16' ? fromFloat16 : fromBfloat16)(view.getUint16(2 * n, true));
  }
  return { data: array, shape, dtype };
}

/**
 * Writes a safetensors file, tensors in the order given, header padded to 8 bytes. F16 rounds to nearest even.
 *
 * @param tensors Name, elements, shape and dtype of each.
 * @param metadata Strings by name.
 * @returns The file's bytes.
 * @throws {ValueError} If a name occurs twice or is '__metadata__', or a shape does not fit its elements.
 */
export function encodeSafetensors(
  tensors: Iterable<readonly [string, NDArray & { readonly dtype: Exclude<Dtype, 'BF16'> }]>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const list = [...tensors];
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
    for (const x of data) {
      if (dtype === 'F64') view.setFloat64(at, x, true);
      else if (dtype === 'F32') view.setFloat32(at, x, true);
      else view.setUint16(at, toFloat16(x), true);
      at += BYTES[dtype];
    }
  }
  return bytes;
}
