/**
 * Reads the weights of safetensors files from the disk in parts: the headers alone, or one tensor after another.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { widen, widenInto } from '../core/stored.ts';
import { sizeOf } from '../core/tensor.ts';
import { type OpenFile, openFile } from './files.ts';
import { foreignWeights, TELLING } from '../formats/foreign-files.ts';
import { BYTES, inFile } from '../formats/named-tensor.ts';
import { announcedLength, declaredWeights, type Dtype, storedAs, type StoredBytes, type StoredTensor } from '../formats/safetensors.ts';
import { BLOCK, TensorDigest } from '../formats/weights-hash.ts';

/** Where a tensor is stored. */
export interface TensorPlace {
  readonly path: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Where its bytes begin and end in the file. */
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads the header of a file and checks it against the file's size.
 *
 * @param ignored Whether to leave out a tensor of this name, whatever its dtype.
 * @throws {StorageError} If the file cannot be read.
 * @throws {FileFormatError} If it is truncated, or contradicts the format or itself.
 */
export async function tensorPlaces(
  path: string, ignored: (name: string) => boolean = () => false,
): Promise<Map<string, TensorPlace>> {
  const file = await openFile(path);
  try {
    const start = new Uint8Array(Math.min(TELLING, file.size));
    await file.read(0, start);
    const what = foreignWeights(start, file.size);
    if (what !== undefined) throw new FileFormatError(what);
    const length = announcedLength(start, file.size);
    const header = new Uint8Array(length);
    await file.read(8, header);
    const data = 8 + length;
    return new Map(declaredWeights(header, file.size - data, ignored).map(({ name, dtype, shape, begin, end }) => {
      return [name, { path, dtype: dtype as Dtype, shape, begin: data + begin, end: data + end }];
    }));
  } catch (error) {
    throw inFile(path, error);
  } finally {
    await file.close();
  }
}

/** Whether two tensors hold the same numbers, by shape, dtype and bytes. */
export async function sameNumbers(a: TensorPlace, b: TensorPlace): Promise<boolean> {
  if (a.dtype !== b.dtype || String(a.shape) !== String(b.shape)) return false;
  const files = [await openFile(a.path), await openFile(b.path)] as const;
  try {
    for (let at = 0; at < a.end - a.begin; at += PART) {
      const count = Math.min(PART, a.end - a.begin - at);
      const [one, other] = [new Uint8Array(count), new Uint8Array(count)];
      await files[0].read(a.begin + at, one);
      await files[1].read(b.begin + at, other);
      if (one.some((byte, n) => byte !== other[n])) return false;
    }
    return true;
  } finally {
    for (const file of files) await file.close();
  }
}

/** Bytes of each file in memory at once. */
const PART = 4 << 20;

/** How to read tensors. */
export interface ReadOptions {
  /** Called with the number of bytes read so far, and that of all tensors. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Gets the digest of every tensor, by name, for weightsHash(). */
  readonly digests?: Map<string, string>;
}

/**
 * Reads tensors one after the other, file by file. Each overwrites the memory of the one before: use or copy it before
 * asking for the next.
 */
export async function* readStored(
  places: ReadonlyMap<string, TensorPlace>, { onProgress, digests }: ReadOptions = {},
): AsyncGenerator<[string, StoredBytes]> {
  const sizes = [...places.values()].map(({ begin, end }) => end - begin);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const memory = new Uint8Array(sizes.reduce((a, b) => Math.max(a, b), 0));
  let done = 0;
  let file: OpenFile | undefined;
  try {
    for (const [name, { path, dtype, shape, begin, end }] of places) {
      if (file?.path !== path) {
        await file?.close();
        file = await openFile(path);
      }
      const bytes = memory.subarray(0, end - begin);
      const digest = digests && new TensorDigest();
      for (let at = 0; at < bytes.length;) {
        const part = bytes.subarray(at, at + BLOCK * BYTES[dtype]);
        await file.read(begin + at, part);
        await digest?.add(widen(part, storedAs(dtype)));
        at += part.length;
        done += part.length;
        onProgress?.(done, total);
      }
      if (digest) digests.set(name, await digest.end());
      yield [name, { dtype, shape, bytes }];
    }
  } finally {
    await file?.close();
  }
}

/**
 * Reads tensors one after the other, file by file. F64 stays float64; F32, F16 and BF16 become float32.
 *
 * @param options.shared Puts each on shared memory of its own, which threads hand over without a copy.
 */
export async function* readTensors(
  places: ReadonlyMap<string, TensorPlace>, { shared = false, ...options }: ReadOptions & { shared?: boolean } = {},
): AsyncGenerator<[string, StoredTensor]> {
  for await (const [name, { dtype, shape, bytes }] of readStored(places, options)) {
    const wide = dtype === 'F64';
    const size = (wide ? 8 : 4) * sizeOf(shape);
    const buffer = shared ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
    const data = wide ? new Float64Array(buffer) : new Float32Array(buffer);
    widenInto(bytes, storedAs(dtype), data);
    yield [name, { data, shape, dtype }];
  }
}
