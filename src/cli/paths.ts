/**
 * Finds files and folders named on the command line, or refuses them with the most similar name that exists.
 * @module
 */
import { existsSync, readdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { StorageError } from '../core/errors.ts';
import { editDistance } from '../core/spelling.ts';

/** The folder of this package: the nearest one above this file that has a package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** `path` in the package, relative to the working directory if it is below it. */
export function shipped(path: string): string {
  const full = join(packageRoot(), path);
  const short = relative(process.cwd(), full);
  return short.startsWith('..') || short === '' ? full : short;
}

/** Whether both paths lead to the same file or folder, which need not exist yet. */
export function isSamePlace(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return resolve(one) === resolve(other); // one of them does not exist
  }
}

/** What is at `path`. @throws {StorageError} If nothing is, with the name of a similar sibling or `remedy`. */
export function find(path: string, what: string, remedy: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new StorageError(`cannot read ${path} (${code}): check its permissions`);
    }
    const similar = nearest(path);
    throw new StorageError(`no such ${what} ${path}: ${similar === undefined ? remedy : `did you mean ${similar}?`}`);
  }
}

/** Refuses a model folder that does not exist. */
export function checkModelFolder(path: string): void {
  const remedy = 'pass a folder with config.json and model.safetensors';
  if (!find(path, 'folder', remedy).isDirectory()) throw new StorageError(`${path} is a file: ${remedy}`);
}

/** Refuses an adapter folder that does not exist. */
export function checkAdapterFolder(path: string): void {
  find(path, 'folder', 'pass a folder that natsearch finetune wrote');
}

/**
 * The sibling of `path` with the most similar name, if any is similar. If a folder above is misspelt, corrects that.
 */
function nearest(path: string): string | undefined {
  const name = basename(path);
  const folder = dirname(path);
  let siblings: string[];
  try {
    siblings = readdirSync(folder);
  } catch {
    const parent = nearest(folder); // the typo is further up
    return parent === undefined || !existsSync(join(parent, name)) ? undefined : join(parent, name);
  }
  const near = siblings
    .map((sibling) => ({ sibling, distance: editDistance(name.toLowerCase(), sibling.toLowerCase()) }))
    .filter(({ sibling, distance }) => distance <= 0.4 * Math.max(name.length, sibling.length))
    .sort((a, b) => a.distance - b.distance)[0];
  if (near === undefined) return undefined;
  return folder === '.' && !path.startsWith(`.${sep}`) ? near.sibling : join(folder, near.sibling);
}
