/**
 * The safetensors format: an 8-byte length, a JSON header, and the tensors' bytes. Every length and offset
 * of a file is checked before it is used; nothing is allocated that the file's size does not back.
 * @module
 */
import { FileFormatError, ValueError } from '../errors.ts';
import { type FloatArray, type NDArray, sizeOf } from '../tensor.ts';
import { fromBfloat16, fromFloat16, toFloat16 } from './float16.ts';
import { parseJsonStrict } from './json.ts';

/** Element types that are read; F64, F32 and F16 are also written. */
export type Dtype = 'F64' | 'F32' | 'F16' | 'BF16';

/** A tensor of a file. */
export interface StoredTensor extends NDArray {
  readonly dtype: Dtype;
}

const BYTES: Readonly<Record<Dtype, number>> = { F64: 8, F32: 4, F16: 2, BF16: 2 };
/** The format's own bound on the header. */
const MAX_HEADER = 100_000_000;

interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

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
  const fail = (what: string): never => {
    throw new FileFormatError(`${file}: ${what}`);
  };
  if (bytes.length < 8) fail(`${bytes.length} bytes are too few for a header: the file is empty or truncated, copy it again`);
  const announced = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (announced > BigInt(MAX_HEADER)) fail(`a header of ${announced} bytes is announced, above the format's ${MAX_HEADER}: not a safetensors file`);
  const headerLength = Number(announced);
  if (8 + headerLength > bytes.length) {
    fail(`a header of ${headerLength} bytes is announced but the file has ${bytes.length}: it is truncated, copy it again`);
  }
  let header: Map<string, unknown>;
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, 8 + headerLength));
    const parsed = parseJsonStrict(text);
    if (!(parsed instanceof Map)) throw new SyntaxError('it is not an object');
    header = parsed;
  } catch (error) {
    return fail(`the header is not valid JSON (${(error as Error).message}): the file is damaged, copy it again`);
  }
  const metadata = readMetadata(header.get('__metadata__'), fail);
  const data = bytes.subarray(8 + headerLength);
  const entries = [...header].filter(([name]) => name !== '__metadata__').map(([name, entry]) => readEntry(name, entry, fail));
  checkCoverage(entries, data.length, fail);
  const tensors = new Map(entries.map((entry) => [entry.name, load(entry, data)] as const));
  return { tensors, metadata };
}

/** The tensors tile the data exactly: no gap, no overlap, no rest. */
function checkCoverage(entries: readonly Entry[], length: number, fail: (what: string) => never): void {
  let at = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (end > length) fail(`tensor '${name}' ends at byte ${end} but the data has ${length}: the file is truncated, copy it again`);
    if (begin !== at) fail(`tensor '${name}' begins at byte ${begin} but the one before ends at ${at}: tensors must touch without overlap`);
    at = end;
  }
  if (at !== length) fail(`the tensors end at byte ${at} but the data has ${length}: ${length - at} bytes belong to none`);
}

function readEntry(name: string, entry: unknown, fail: (what: string) => never): Entry {
  if (!(entry instanceof Map)) return fail(`tensor '${name}' is not described by an object`);
  for (const key of entry.keys()) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') fail(`tensor '${name}' has an unknown field '${String(key)}'`);
  }
  const dtype: unknown = entry.get('dtype');
  if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype)) {
    return fail(`tensor '${name}' has dtype ${JSON.stringify(dtype)}: only ${Object.keys(BYTES).join(', ')} are read`);
  }
  const shape: unknown = entry.get('shape');
  if (!isWholeArray(shape)) return fail(`tensor '${name}' has a shape that is not a list of whole numbers >= 0`);
  const offsets: unknown = entry.get('data_offsets');
  if (!isWholeArray(offsets) || offsets.length !== 2) return fail(`tensor '${name}' has data_offsets that are not two whole numbers >= 0`);
  const [begin, end] = offsets as [number, number];
  if (end < begin) fail(`tensor '${name}' ends at byte ${end}, before it begins at ${begin}`);
  const needed = sizeOf(shape) * BYTES[dtype as Dtype];
  if (needed !== end - begin) {
    fail(`tensor '${name}' is ${dtype} [${shape}], ${needed} bytes, but data_offsets [${begin},${end}] give ${end - begin}`);
  }
  return { name, dtype: dtype as Dtype, shape, begin, end };
}

function isWholeArray(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0);
}

function readMetadata(value: unknown, fail: (what: string) => never): Record<string, string> {
  const metadata = Object.create(null) as Record<string, string>;
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) return fail('__metadata__ is not an object of strings');
  for (const [key, text] of value as Map<string, unknown>) {
    if (typeof text !== 'string') return fail(`__metadata__ '${key}' is not a string`);
    metadata[key] = text;
  }
  return metadata;
}

function load({ dtype, shape, begin, end }: Entry, data: Uint8Array): StoredTensor {
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
  const header: string[] = metadata ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  const names = new Set<string>(['__metadata__']);
  let length = 0;
  for (const [name, { data, shape, dtype }] of list) {
    if (names.has(name)) throw new ValueError(`the name '${name}' is taken: every tensor needs its own, other than __metadata__`);
    names.add(name);
    if (sizeOf(shape) !== data.length) throw new ValueError(`tensor '${name}' is [${shape}] but has ${data.length} elements`);
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
