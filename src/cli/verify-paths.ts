/**
 * Where `natsearch verify` finds the vectors and someone's outputs for them.
 * @module
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { StorageError, ValueError } from '../core/errors.ts';
import { readFileBytes } from '../files/files.ts';
import { readNpy } from '../formats/npy.ts';
import { readNpz } from '../formats/npz.ts';
import { readSafetensors } from '../formats/safetensors.ts';
import { MANIFEST_FILE } from '../oracle/cases/manifest.ts';
import type { Tensors } from '../oracle/types.ts';
import { openVectors, type Vectors } from '../oracle/cases/vector-files.ts';
import { editDistance } from '../core/spelling.ts';
import { find } from './paths.ts';

const SUFFIX = /\.(safetensors|npz)$/;
const ARRAY = /\.npy$/;

/** The vectors, and the files of outputs by case. */
export interface Found {
  readonly vectors: Vectors;
  /** A file, or a folder of .npy files. */
  readonly files: ReadonlyMap<string, string>;
  /** Why a case cannot be judged although it has files. */
  readonly refused: ReadonlyMap<string, string>;
  /** What is said about files of the folder that belong to no case. */
  readonly strays: readonly string[];
  /** The folder of outputs; undefined if a single file was named. */
  readonly folder: string | undefined;
}

/**
 * Opens the vectors and lists the outputs.
 *
 * @param path A folder of outputs, one file of outputs, or the folder of the vectors, with outputs in its outputs/.
 * @param vectors The folder of the vectors. Default: `path`, or the folder above it.
 * @throws {StorageError} If something does not exist.
 * @throws {ValueError} If no file belongs to a case.
 */
export async function findOutputs(path: string, vectors: string | undefined): Promise<Found> {
  const isFolder = find(path, 'file or folder', 'pass a folder of outputs, or a file of them').isDirectory();
  const home = vectors ?? vectorsAt(isFolder ? path : dirname(path));
  if (!existsSync(join(home, MANIFEST_FILE))) {
    find(home, 'folder', 'pass the folder that natsearch vectors wrote');
    throw new StorageError(`${home} has no ${MANIFEST_FILE}: pass a folder that natsearch vectors wrote`);
  }
  const opened = await openVectors((file) => readFileBytes(join(home, file)));
  const same = isFolder && realpathSync(path) === realpathSync(home);
  const folder = same ? join(path, 'outputs') : path;
  if (same && !existsSync(folder)) throw new StorageError(`${path} holds vectors and no outputs/: put your outputs there, or pass their folder`);
  const isOutput = (name: string): boolean => SUFFIX.test(name) || holdsArrays(join(folder, name));
  const list = isFolder ? readdirSync(folder).filter(isOutput).sort() : [basename(path)];
  const names = opened.manifest.cases.map(({ name }) => name);
  const [files, refused] = [new Map<string, string>(), new Map<string, string>()];
  const strays: string[] = [];
  for (const file of list) {
    const full = isFolder ? join(folder, file) : path;
    if (!isFolder && !SUFFIX.test(file)) throw new ValueError(`${full} is neither .safetensors nor .npz: pass a file of outputs`);
    const name = file.replace(SUFFIX, '');
    if (!names.includes(name)) {
      const near = names.find((each) => editDistance(each, name) <= 0.4 * each.length);
      strays.push(`${full} belongs to no case of ${join(home, MANIFEST_FILE)}: ${near ? `did you mean ${near}?` : 'name it after a case'}`);
    } else if (files.has(name)) refused.set(name, `${name} has two files in ${folder}: keep only one, .safetensors or .npz`);
    else files.set(name, full);
  }
  if (strays.length > 0 && files.size === 0) throw new ValueError(strays[0]);
  return { vectors: opened, files, refused, strays, folder: isFolder ? folder : undefined };
}

/** Whether a path is a folder with arrays of NumPy in it, one file per tensor. */
function holdsArrays(path: string): boolean {
  return statSync(path).isDirectory() && readdirSync(path).some((name) => ARRAY.test(name));
}

function vectorsAt(path: string): string {
  const places = [path, join(path, '..')];
  const place = places.find((each) => existsSync(join(each, MANIFEST_FILE)));
  if (place === undefined) throw new StorageError(`there is no ${MANIFEST_FILE} in ${path} or above it: pass --vectors with the folder that natsearch vectors wrote`);
  return place;
}

/** The tensors of a file, or of a folder of .npy files, by name. @throws {FileFormatError} If it is damaged. */
export async function readOutputs(file: string): Promise<Tensors> {
  if (!SUFFIX.test(file)) {
    const arrays = readdirSync(file).filter((name) => ARRAY.test(name)).sort();
    return Object.fromEntries(await Promise.all(arrays.map(async (name) =>
      [name.replace(ARRAY, ''), readNpy(await readFileBytes(join(file, name)), join(file, name))] as const)));
  }
  const bytes = await readFileBytes(file);
  const tensors = file.endsWith('.npz') ? await readNpz(bytes, { file }) : readSafetensors(bytes, file).tensors;
  const truths = [...tensors.keys()].find((name) => name.startsWith('expected.'));
  if (truths) throw new ValueError(`${file} holds ${truths}: it is a case, not outputs; write yours under the names without 'expected.'`);
  return Object.fromEntries(tensors);
}
