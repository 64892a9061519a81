/**
 * The rule for --out of all commands. They write where there is nothing yet, into empty folders, and over what the same
 * command wrote. Anything else needs --force, which replaces the files that the command writes and no others. Devices
 * are never replaced.
 * @module
 */
import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Option } from 'commander';
import { StorageError } from '../core/errors.ts';
import { removeLeftovers } from '../files/atomic.ts';
import { makeFolder, writeFileAtomic } from '../files/files.ts';
import { findPlace, type Place } from '../files/place.ts';
import { UsageError } from './errors.ts';
import { lockFile, lockFolder } from './lock.ts';

/** What a command writes into a folder. */
export interface OutFolder {
  /** Completes the sentence "the folder holds other things and no ...". */
  readonly what: string;
  /** The files that it writes. */
  readonly files: readonly string[];
  /**
   * Whether the contents of the folder were written by the same command.
   *
   * @param names The files in it, without hidden and temporary ones.
   */
  isOurs(folder: string, names: readonly string[]): Promise<boolean>;
}

/** The name of stdout on the command line. */
export const STDOUT = '-';

/** --force */
export function forceOption(): Option {
  return new Option('--force', 'overwrite what is in --out even if this command did not write it').default(false);
}

/**
 * Makes the folder --out, takes its lock, and checks what is in it.
 *
 * @returns A function that gives the lock back, and removes the folder if nothing was written into it.
 * @throws {StorageError} If the folder holds something else and `force` is not set, if another process works there, or
 * if `path` is not a folder.
 */
export async function openOut(path: string, kind: OutFolder, force: boolean): Promise<() => void> {
  if (path === STDOUT) throw new UsageError('--out is -, which stands for stdout: name a folder, or ./- if that is its name');
  const place = await findPlace(path);
  if (place.kind !== 'folder' && place.kind !== 'nothing') {
    throw new StorageError(`${path} is ${nameOf(place)}: name a folder`);
  }
  const made = missingFolders(place.path);
  const unlock = await makeAndLock(place.path, path);
  const close = (): void => {
    unlock();
    for (const folder of made) if (!removeIfEmpty(folder)) break;
  };
  try {
    await removeLeftovers(place.path);
    await refuseOddPlaces(place.path, path, kind.files);
    if (!force) await refuseOthers(path, kind);
    return close;
  } catch (error) {
    close();
    throw error;
  }
}

async function makeAndLock(folder: string, shown: string): Promise<() => void> {
  for (let attempt = 0; ; attempt++) {
    await makeFolder(folder);
    try {
      return lockFolder(folder, shown);
    } catch (error) {
      // Another process may have given up and removed the folder again.
      if (attempt === 9 || existsSync(folder)) throw error;
    }
  }
}

async function refuseOthers(path: string, { what, files, isOurs }: OutFolder): Promise<void> {
  const names = readdirSync(path).filter((name) => !name.startsWith('.') && !name.endsWith('.tmp')).sort();
  if (names.length === 0 || await isOurs(path, names)) return;
  const lost = files.filter((name) => names.includes(name));
  const force = lost.length > 0 ? `overwrite ${listed(lost)}` : 'write beside it';
  throw new StorageError(`${path} holds ${listed(names)} and no ${what}: choose a new or empty folder, or pass --force to ${force}`);
}

/**
 * Refuses, even with --force, anything but files under the names of the files to write. A pipe, for example, would make
 * the command wait for its other end.
 */
async function refuseOddPlaces(folder: string, shown: string, files: readonly string[]): Promise<void> {
  for (const name of files) {
    const place = await findPlace(join(folder, name));
    if (['nothing', 'file', 'stream'].includes(place.kind)) continue;
    throw new StorageError(`${join(shown, name)} is ${nameOf(place)}, and a file is written there: remove it, or choose another folder`);
  }
}

/** Such as "a, b, c and 3 more". */
function listed(names: readonly string[]): string {
  if (names.length === 1) return names[0];
  const shown = names.slice(0, names.length > 4 ? 3 : names.length - 1);
  return `${shown.join(', ')} and ${names.length > 4 ? `${names.length - 3} more` : names.at(-1)!}`;
}

/** `path` and the folders above it that do not exist, the innermost first. */
function missingFolders(path: string): string[] {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
  return missing;
}

function removeIfEmpty(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

/**
 * Writes the single file --out, by renaming. Pipes and devices are written into, and `-` is stdout.
 *
 * @param what Completes the sentence "the file exists and is no ...".
 * @param isOurs Whether the file there was written by the same command.
 * @returns Whether it went to stdout.
 * @throws {StorageError} If there is another file and `force` is not set, if another process writes the file or works
 * in its folder, or if it cannot be written.
 */
export async function writeOut(
  path: string, content: Uint8Array,
  { force, what, isOurs }: { force: boolean; what: string; isOurs: (path: string) => Promise<boolean> },
): Promise<boolean> {
  const place: Place = path === STDOUT ? { path: '/dev/stdout', kind: 'stream' } : await findPlace(path);
  if (!['nothing', 'file', 'pipe', 'stream'].includes(place.kind)) {
    throw new StorageError(`${path} is ${nameOf(place)}: name a file`);
  }
  if (place.kind === 'stream' && isStdout(place.path)) {
    await new Promise((done) => process.stdout.write(content, done)); // streams.ts handles errors
    return true;
  }
  const isFile = place.kind === 'file' || place.kind === 'nothing';
  const unlock = isFile ? lockFile(place.path, path) : undefined;
  try {
    if (place.kind === 'file' && !force && !(await isOurs(path))) {
      throw new StorageError(`${path} exists and is no ${what}: choose another name, or pass --force to overwrite it`);
    }
    await writeFileAtomic(path, content);
  } finally {
    unlock?.();
  }
  return false;
}

function isStdout(path: string): boolean {
  return ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1', join('/proc', String(process.pid), 'fd/1')].includes(path);
}

function nameOf({ kind }: Place): string {
  return kind === 'stream' ? 'a device' : `a ${kind}`;
}
