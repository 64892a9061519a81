/**
 * Reads and writes cases as files of tensors, and reads folders of them.
 * @module
 */
import { of, record } from '../../core/arguments.ts';
import { FileFormatError, isNamedError, StorageError } from '../../core/errors.ts';
import { type Bytes, bytesOf } from '../../formats/bytes.ts';
import type { NamedTensor } from '../../formats/named-tensor.ts';
import { readNpz, writeNpz } from '../../formats/npz.ts';
import { roundArray } from '../../formats/rounding.ts';
import { readSafetensors, writeSafetensors } from '../../formats/safetensors.ts';
import { sha256 } from '../../formats/sha256.ts';
import { expectCase, expectEntries, expectPacking } from './expected.ts';
import {
  type CaseEntry, DTYPES, EXPECTED, type FileFormat, type Heading, type Manifest, MANIFEST_FILE, readManifest,
  type TensorEntry,
} from './manifest.ts';
import type { OracleCase, Tensors } from '../types.ts';

/**
 * Packs a case into the bytes of its file, and makes its entry of the manifest.
 *
 * @param options.fileFormat `safetensors`, or `npz` for NumPy.
 * @param options.dtype What floats are rounded to. The inputs of drawn cases are exact in every dtype.
 * @returns The entry, and the bytes to write as `entry.file`.
 * @example
 * ```ts
 * import { makeCase, packCase, SUITES } from 'neural-attention-search/vectors';
 * const { entry, bytes } = await packCase(await makeCase(SUITES.small[0]!), { fileFormat: 'npz', dtype: 'f32' });
 * console.log(entry.file, bytes.length > 1000); // one-token.npz true
 * ```
 */
export async function packCase(
  oracleCase: OracleCase, options: Pick<Heading, 'fileFormat' | 'dtype'>,
): Promise<{ entry: CaseEntry; bytes: Uint8Array }> {
  expectCase('the case', oracleCase);
  expectPacking('options', options);
  const { name, why, parameters, inputs, expected, notCompared } = oracleCase;
  const { fileFormat, dtype } = options;
  const wanted = DTYPES[dtype];
  const stored = (tensors: Tensors): Tensors => Object.fromEntries(Object.entries(tensors).map(([key, tensor]) => {
    if (tensor.data instanceof Int32Array) return [key, tensor];
    // NumPy has no bfloat16, but float32 holds its values exactly.
    const as = wanted === 'BF16' && fileFormat === 'npz' ? 'F32' : wanted;
    return [key, { dtype: as, shape: tensor.shape, data: roundArray(tensor.data, wanted) } as NamedTensor];
  }));
  const about = (tensors: Tensors): Record<string, TensorEntry> =>
    Object.fromEntries(Object.entries(tensors).map(([key, { dtype, shape }]) => [key, { dtype, shape }]));
  const [given, truths] = [stored(inputs), stored(expected)];
  const all = [...Object.entries(given), ...Object.entries(truths).map(([key, x]) => [EXPECTED + key, x] as const)];
  const bytes = fileFormat === 'npz' ? writeNpz(all) : writeSafetensors(all);
  const entry: CaseEntry = {
    name, file: `${name}.${fileFormat}`, sha256: await sha256(bytes), why, parameters,
    inputs: about(given), expected: about(truths), notCompared,
  };
  return { entry, bytes };
}

/**
 * Reads the case of `entry` from the bytes of its file. The truths are as rounded for the file.
 *
 * @throws {FileFormatError} If the file is damaged or contradicts the entry.
 */
export async function unpackCase(entry: CaseEntry, bytes: Uint8Array, fileFormat: FileFormat): Promise<OracleCase> {
  const { name, file, why, parameters, notCompared } = entry;
  const tensors = fileFormat === 'npz' ? await readNpz(bytes, { file }) : readSafetensors(bytes, file).tensors;
  const take = (entries: CaseEntry['inputs'], prefix: string): Tensors =>
    Object.fromEntries(Object.entries(entries).map(([key, { dtype, shape }]) => {
      const tensor = tensors.get(prefix + key);
      if (!tensor) return fail(`${file} has no tensor ${prefix}${key}, which the manifest lists`);
      if (tensor.dtype !== dtype || String(tensor.shape) !== String(shape)) {
        fail(`${file}: ${prefix}${key} is ${tensor.dtype} [${tensor.shape}], the manifest says ${dtype} [${shape}]`);
      }
      return [key, tensor];
    }));
  return { name, why, parameters, inputs: take(entry.inputs, ''), expected: take(entry.expected, EXPECTED), notCompared };
}

/** A folder of vectors that is open for reading. */
export interface Vectors {
  readonly manifest: Manifest;
  /** Reads one of `manifest.cases` and checks its hash. */
  read(entry: CaseEntry): Promise<OracleCase>;
}

/**
 * Opens a folder of vectors, wherever it is.
 *
 * @param read Gives the bytes of a file of the folder by its name, from a disk or by fetch.
 * @throws {StorageError} If a file cannot be read.
 * @throws {FileFormatError} If the manifest is damaged, incomplete, of another version, or contradicts itself or a
 * file.
 * @example
 * ```ts
 * import { formatManifest, makeCase, openVectors, packCase, SUITES } from 'neural-attention-search/vectors';
 * const how = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
 * const { entry, bytes } = await packCase(await makeCase(SUITES.small[0]!), how);
 * const text = formatManifest({ format: 'natsearch-vectors', version: 1, ...how, complete: true, cases: [entry] });
 * const files = { 'manifest.json': new TextEncoder().encode(text), [entry.file]: bytes }; // or readFile, or fetch
 * const { manifest, read } = await openVectors(async (file) => files[file]!);
 * console.log((await read(manifest.cases[0]!)).inputs.q!.shape); // [1,2,1,4]
 * ```
 */
export async function openVectors(read: (file: string) => Promise<Bytes>): Promise<Vectors> {
  of('function')('read', read);
  const given = async (file: string): Promise<Bytes> => {
    try {
      return await read(file);
    } catch (error) {
      if (isNamedError(error)) throw error;
      throw new StorageError(`cannot read ${file} (${String(error)}): write the vectors again`);
    }
  };
  const contents = async (file: string): Promise<Uint8Array> => bytesOf(await given(file), file).slice();
  const manifest = readManifest(new TextDecoder().decode(await contents(MANIFEST_FILE)));
  if (!manifest.complete) fail(`${MANIFEST_FILE} has ${manifest.cases.length} cases and is incomplete: run natsearch vectors again`);
  return {
    manifest,
    read: async (entry) => {
      record({
        name: of('string'), file: of('string'), sha256: of('string'), inputs: expectEntries, expected: expectEntries,
      })('entry', entry);
      const bytes = await contents(entry.file);
      if (await sha256(bytes) !== entry.sha256) fail(`${entry.file} is not the file that the manifest was written with: write the vectors again`);
      return unpackCase(entry, bytes, manifest.fileFormat);
    },
  };
}

function fail(what: string): never {
  throw new FileFormatError(what);
}
