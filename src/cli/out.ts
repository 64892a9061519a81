/**
 * --out: what may be written where. One rule for all commands: into what is not there yet or is empty, or over what
 * the same command wrote; anything else only with --force, which replaces the files that the command writes and no
 * others. Devices are never replaced.
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
  /** As in: the folder holds other things and no `what`. */
  readonly what: string;
  /** The files that it writes. */
  readonly files: readonly string[];
  /**
   * Whether what is in the folder was written by the same command.
   *
   * @param names Of all that counts there, which is not hidden and not temporary.
   */
  isOurs(folder: string, names: readonly string[]): Promise<boolean>;
}

/** stdout on the command line. */
export const STDOUT = '-';

/** --force */
export function forceOption(): Option {
  return new Option('--force', 'overwrite what is in --out though this command did not write it').default(false);
}

/**
 * Makes the folder --out, takes its lock and sees what is in it.
 *
 * @returns What gives the lock back, and takes the folder away if nothing was written into it.
 * @throws {StorageError} If the folder holds something else and `force` is not set, if another process works there, or
 * if `path` is no folder.
 */
export async function openOut(path: string, kind: OutFolder, force: boolean): Promise<() => void> {
  if (path === STDOUT) throw new UsageError('--out is -, which stands for stdout: name a folder, or ./- if it is called so');
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
      // A process that gave up has taken the folder away again.
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
 * Refuses, with --force too, what is no file under the name of one: a pipe would be waited on for a reader, or for what
 * is read from it.
 */
async function refuseOddPlaces(folder: string, shown: string, files: readonly string[]): Promise<void> {
  for (const name of files) {
    const place = await findPlace(join(folder, name));
    if (['nothing', 'file', 'stream'].includes(place.kind)) continue;
    throw new StorageError(`${join(shown, name)} is ${nameOf(place)}, and a file is written there: remove it, or choose another folder`);
  }
}

/** a, b and 3 more */
function listed(names: readonly string[]): string {
  if (names.length === 1) return names[0];
  const shown = names.slice(0, names.length > 4 ? 3 : names.length - 1);
  return `${shown.join(', ')} and ${names.length > 4 ? `${names.length - 3} more` : names.at(-1)!}`;
}

/** `path` and the folders above it that are not there, the innermost first. */
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
 * Writes the single file --out: a new one by rename, a pipe or a device by writing into it; `-` is stdout.
 *
 * @param what As in: the file is there and is no `what`.
 * @param isOurs Whether the file there was written by the same command.
 * @returns Whether it went to stdout.
 * @throws {StorageError} If there is another file and `force` is not set, another process writes it or works in its
 * folder, or it cannot be written.
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
    await new Promise((done) => process.stdout.write(content, done)); // src/cli/streams.ts hears of errors
    return true;
  }
  const isFile = place.kind === 'file' || place.kind === 'nothing';
  const unlock = isFile ? lockFile(place.path, path) : undefined;
  try {
    if (place.kind === 'file' && !force && !(await isOurs(path))) {
      throw new StorageError(`${path} is there and is no ${what}: choose another name, or pass --force to overwrite it`);
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
