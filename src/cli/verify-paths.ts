/**
 * Where `natsearch verify` finds the vectors and someone's outputs for them.
 * @module
 */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { StorageError, ValueError } from '../core/errors.ts';
import { readFileBytes } from '../files/files.ts';
import { readNpz } from '../formats/npz.ts';
import { readSafetensors } from '../formats/safetensors.ts';
import { MANIFEST_FILE } from '../oracle/cases/manifest.ts';
import type { Tensors } from '../oracle/types.ts';
import { openVectors, type Vectors } from '../oracle/cases/vector-files.ts';
import { editDistance } from '../core/spelling.ts';
import { find } from './paths.ts';

const SUFFIX = /\.(safetensors|npz)$/;

/** The vectors, and the files of outputs by case. */
export interface Found {
  readonly vectors: Vectors;
  readonly files: ReadonlyMap<string, string>;
  /** The folder of outputs; undefined if a single file was named. */
  readonly folder: string | undefined;
}

/**
 * Opens the vectors and lists the outputs.
 *
 * @param path A folder of outputs, one file of outputs, or the folder of the vectors, with outputs in its outputs/.
 * @param vectors The folder of the vectors. Default: `path`, or the folder above it.
 * @throws {StorageError} If something does not exist.
 * @throws {ValueError} If a file belongs to no case, or a case has two files.
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
  const list = isFolder ? readdirSync(folder).filter((name) => SUFFIX.test(name)).sort() : [basename(path)];
  const names = opened.manifest.cases.map(({ name }) => name);
  const files = new Map<string, string>();
  for (const file of list) {
    const full = isFolder ? join(folder, file) : path;
    if (!SUFFIX.test(file)) throw new ValueError(`${full} is neither .safetensors nor .npz: pass a file of outputs`);
    const name = file.replace(SUFFIX, '');
    if (!names.includes(name)) {
      const near = names.find((each) => editDistance(each, name) <= 0.4 * each.length);
      throw new ValueError(`${full} belongs to no case of ${join(home, MANIFEST_FILE)}: ${near ? `did you mean ${near}?` : 'name it after a case'}`);
    }
    if (files.has(name)) throw new ValueError(`${name} has two files in ${folder}: keep only one, .safetensors or .npz`);
    files.set(name, full);
  }
  return { vectors: opened, files, folder: isFolder ? folder : undefined };
}

function vectorsAt(path: string): string {
  const places = [path, join(path, '..')];
  const place = places.find((each) => existsSync(join(each, MANIFEST_FILE)));
  if (place === undefined) throw new StorageError(`there is no ${MANIFEST_FILE} in ${path} or above it: pass --vectors with the folder that natsearch vectors wrote`);
  return place;
}

/** The tensors of a file by name. @throws {FileFormatError} If it is damaged. */
export async function readOutputs(file: string): Promise<Tensors> {
  const bytes = await readFileBytes(file);
  const tensors = file.endsWith('.npz') ? await readNpz(bytes, { file }) : readSafetensors(bytes, file).tensors;
  const truths = [...tensors.keys()].find((name) => name.startsWith('expected.'));
  if (truths) throw new ValueError(`${file} holds ${truths}: it is a case, not outputs; write yours under the names without 'expected.'`);
  return Object.fromEntries(tensors);
}
