/**
 * Reads the weights of safetensors files from the disk in parts: the headers alone, or one tensor after another.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { type FloatArray, sizeOf } from '../core/tensor.ts';
import { type OpenFile, openFile } from './files.ts';
import { foreignWeights, TELLING } from '../formats/foreign-files.ts';
import { BYTES, inFile } from '../formats/named-tensor.ts';
import { announcedLength, declaredWeights, type Dtype, readWeights, type StoredTensor } from '../formats/safetensors.ts';
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

/**
 * Reads tensors one after the other, file by file. F64 stays float64; F32, F16 and BF16 become float32.
 *
 * @param options.memory `reuse`: each tensor takes the memory of the one before, use or copy it before asking for the
 *   next. `shared`: each lies on shared memory of its own, which threads hand over without a copy.
 * @param options.onProgress Called with the bytes read so far and those of all tensors.
 * @param options.digests Gets the digest of every tensor, by name, for weightsHash().
 */
export async function* readTensors(
  places: ReadonlyMap<string, TensorPlace>,
  { memory: kind, onProgress, digests }: {
    memory?: 'reuse' | 'shared'; onProgress?: (done: number, total: number) => void; digests?: Map<string, string>;
  } = {},
): AsyncGenerator<[string, StoredTensor]> {
  const total = [...places.values()].reduce((sum, { begin, end }) => sum + end - begin, 0);
  const part = new Uint8Array(Math.min(BLOCK * 8, total));
  const memory = kind === 'reuse' ? { F32: new Float32Array(0), F64: new Float64Array(0) } : kind;
  let done = 0;
  let file: OpenFile | undefined;
  try {
    for (const [name, { path, dtype, shape, begin, end }] of places) {
      if (file?.path !== path) {
        await file?.close();
        file = await openFile(path);
      }
      const data = room(memory, dtype, sizeOf(shape), places);
      const digest = digests && new TensorDigest();
      for (let at = begin; at < end;) {
        const bytes = part.subarray(0, Math.min(BLOCK * BYTES[dtype], end - at));
        await file.read(at, bytes);
        const first = (at - begin) / BYTES[dtype];
        const block = data.subarray(first, first + bytes.length / BYTES[dtype]);
        readWeights(dtype, bytes, block);
        await digest?.add(block);
        at += bytes.length;
        done += bytes.length;
        onProgress?.(done, total);
      }
      if (digest) digests.set(name, await digest.end());
      yield [name, { data, shape, dtype }];
    }
  } finally {
    await file?.close();
  }
}

/** Memory for `count` elements: new, or that of the largest tensor, made once. */
function room(
  memory: { F32: Float32Array; F64: Float64Array } | 'shared' | undefined, dtype: Dtype, count: number,
  places: ReadonlyMap<string, TensorPlace>,
): FloatArray {
  const wide = dtype === 'F64';
  if (memory === 'shared') {
    const buffer = new SharedArrayBuffer((wide ? 8 : 4) * count);
    return wide ? new Float64Array(buffer) : new Float32Array(buffer);
  }
  if (!memory) return wide ? new Float64Array(count) : new Float32Array(count);
  const most = () => Math.max(...[...places.values()].map((place) => sizeOf(place.shape)));
  if (wide) return (memory.F64 = memory.F64.length < count ? new Float64Array(most()) : memory.F64).subarray(0, count);
  return (memory.F32 = memory.F32.length < count ? new Float32Array(most()) : memory.F32).subarray(0, count);
}
