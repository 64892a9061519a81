/**
 * NumPy's .npz format: a ZIP archive of .npy files, stored (numpy.savez) or deflated (numpy.savez_compressed).
 * @module
 */
import { FileFormatError, ValueError } from '../core/errors.ts';
import { byName, inFile, type NamedTensor } from './named-tensor.ts';
import { NPY_HEADER_END, type NpyHeader, readNpyElements, readNpyHeader, writeNpy } from './npy.ts';
import { shown } from './safetensors-header.ts';
import { listZip, type ZipMember } from './zip.ts';
import { unpackMember } from './zip-unpack.ts';
import { writeZip } from './zip-write.ts';

/** Options of readNpz(). */
export interface NpzOptions {
  /** The most bytes that all members together may unpack to. Default: 4 GiB. */
  readonly limit?: number;
  /** The archive's name in error messages. */
  readonly file?: string;
}

/**
 * Reads a .npz archive. No member is unpacked before the archive's directory has been checked as a whole, nor
 * beyond its header if that contradicts its length, nor beyond the length that it declares. Apart from `bytes`,
 * this takes at most twice the memory of the largest member, and that of the tensors, up to four times that of their
 * members (float16 to float64, bool to 32 bits).
 *
 * @param bytes The whole file.
 * @param options See {@link NpzOptions}.
 * @returns Tensors by their names without '.npy', in the archive's order; see {@link readNpy} for their dtypes.
 * @throws {FileFormatError} If anything about the archive or a member contradicts the format or itself, a member
 * is not a .npy file or has a dtype that is not supported, or the members declare more than the limit.
 */
export async function readNpz(bytes: Uint8Array, options: NpzOptions = {}): Promise<Map<string, NamedTensor>> {
  const { limit = 2 ** 32, file = 'the npz file' } = options;
  if (!(limit >= 0)) throw new ValueError(`limit is ${limit}: it must be a number of bytes >= 0`);
  const tensors = new Map<string, NamedTensor>();
  let place = file;
  try {
    const members = listZip(bytes, limit);
    const other = members.find(({ name }) => !name.endsWith('.npy'));
    if (other) throw new FileFormatError(`its member '${shown(other.name)}' is not named .npy: save arrays alone, with numpy.savez`);
    for (const member of members) {
      place = `${file}: member '${shown(member.name)}'`;
      tensors.set(member.name.slice(0, -'.npy'.length), await readMember(member));
    }
    return tensors;
  } catch (error) {
    throw inFile(place, error);
  }
}

async function readMember(member: ZipMember): Promise<NamedTensor> {
  let header: NpyHeader | undefined;
  const bytes = await unpackMember(member, NPY_HEADER_END, (start) => {
    header = readNpyHeader(start, member.size);
  });
  return readNpyElements(header!, bytes);
}

/**
 * Writes a .npz archive that numpy.load reads. Members are stored without compression, sorted by name and dated 1980,
 * so that the same tensors give the same bytes in any order. BF16, which NumPy lacks, is written as float32.
 *
 * @param tensors A Map of tensors by name, or a list of pairs. Floats round to nearest, ties to even.
 * @returns The file's bytes.
 * @throws {ValueError} If a name occurs twice, holds a NUL, at which NumPy would cut it, or is longer than ZIP allows;
 * if a shape does not fit its elements; or if an integer does not fit its dtype.
 */
export function writeNpz(tensors: Iterable<readonly [string, NamedTensor]>): Uint8Array {
  const names = new Set<string>();
  const members = [...tensors].sort(byName).map(([name, tensor]) => {
    if (names.has(name)) throw new ValueError(`the name '${shown(name)}' is taken: every tensor needs its own`);
    if (name.includes('\0')) throw new ValueError(`the name '${shown(name)}' holds a NUL, at which NumPy would cut it: choose another`);
    names.add(name);
    return [`${name}.npy`, writeNpy(tensor, name)] as const;
  });
  return writeZip(members);
}
