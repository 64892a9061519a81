/**
 * Lets only one process at a time work on a folder, by means of a lock file that says who has it. The lock of a process
 * that was killed is taken over.
 * @module
 */
import {
  accessSync, closeSync, constants, linkSync, lstatSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { basename, dirname, join } from 'node:path';
import { StorageError } from '../core/errors.ts';
import { temporaryName } from '../files/atomic.ts';
import { named } from '../files/storage-error.ts';
import { type ProcessIdentity, stateOf, thisProcess } from './process-identity.ts';

/** The name of the lock file in its folder. */
export const LOCK_FILE = '.natsearch.lock';

/** The contents of a lock file. */
interface Holder extends ProcessIdentity {
  /** A random id of this lock. */
  readonly id: string;
  /** When it was taken. */
  readonly since: string;
}

/** How many ms to wait while another process removes the lock of a dead one, which takes it microseconds. */
const PATIENCE = 10_000;
/** How many ms a lock file may stay empty until its process has written it, which takes microseconds. */
const EMPTY = 1000;
/** The age in ms at which the process of an empty lock file must have been stopped before it could write. */
const ABANDONED = 60_000;
/** The unknown holder of an abandoned empty lock file. */
const NOBODY: Holder = { id: '0'.repeat(16), pid: 0, host: '', since: '' };

/**
 * Takes the lock of `folder`.
 *
 * @param shown The folder as the user named it.
 * @returns A function that gives the lock back, which the end of the process does too.
 * @throws {StorageError} If another process has it, which the message names, or the folder cannot be written.
 */
export function lockFolder(folder: string, shown: string = folder): () => void {
  return lock(join(folder, LOCK_FILE), shown);
}

/**
 * Takes the lock of a single file, which need not exist. It is refused while another process writes the file, or has
 * the lock of its folder.
 */
export function lockFile(file: string, shown: string = file): () => void {
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch {
    return () => undefined; // the file cannot be written either, and that error will name the file instead of its lock
  }
  const folder = join(dirname(file), LOCK_FILE);
  const holder = read(folder);
  if (holder && holder !== NOBODY && stateOf(holder) !== 'ended') {
    throw new StorageError(heldBy(holder, thisProcess(), folder, dirname(shown)));
  }
  return lock(join(dirname(file), `.${basename(file)}${LOCK_FILE}`), shown);
}

function lock(path: string, shown: string): () => void {
  const own: Holder = { id: randomBytes(8).toString('hex'), ...thisProcess(), since: new Date().toISOString() };
  const other = take(path, own);
  if (other) throw new StorageError(heldBy(other, own, path, shown));
  // Removes lock files left by processes that were killed while they took over from others. They are void now.
  for (const name of readdirSync(dirname(path))) {
    const isOfThis = name.startsWith(basename(path)) && /^(\.[0-9a-f]{16})+$/.test(name.slice(basename(path).length));
    if (isOfThis) rmSync(join(dirname(path), name), { force: true });
  }
  const release = (): void => {
    process.off('exit', release);
    try {
      if (read(path)?.id === own.id) rmSync(path, { force: true });
    } catch {
      // The disk is gone. The next process will see that this one has ended.
    }
  };
  process.on('exit', release);
  return release;
}

/**
 * Makes the lock file, or returns who has it. The lock of a dead holder may be removed only by the process that has a
 * second lock, named after that holder and taken in the same way, and only while the file is still the dead holder's.
 * So of two processes that find it, one cannot remove what the other has made in the meantime.
 */
function take(path: string, own: Holder): Holder | undefined {
  const begin = performance.now();
  for (;;) {
    if (create(path, own)) return undefined;
    const holder = read(path, performance.now() - begin > EMPTY);
    if (!holder) continue; // it was given back in the meantime, or is not written yet
    if (holder !== NOBODY && stateOf(holder, own) !== 'ended') return holder;
    const removal = `${path}.${holder.id}`;
    const remover = take(removal, own);
    if (remover) {
      if (performance.now() - begin > PATIENCE) return remover;
      sleep(5);
      continue;
    }
    try {
      if (read(path)?.id === holder.id) rmSync(path, { force: true });
    } finally {
      rmSync(removal, { force: true });
    }
  }
}

/** Makes a file with all of its content at once, unless it exists. Links and exclusive creation are atomic. */
function create(path: string, own: Holder): boolean {
  const text = `${JSON.stringify(own)}\n`;
  const temporary = temporaryName(path);
  try {
    writeFileSync(temporary, text, { flag: 'wx' });
    try {
      linkSync(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      writeWithoutLinks(path, text);
    }
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EEXIST' ? false : named('write', path)(error);
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** For file systems without links. A file that cannot be written is removed, as it would be a lock without holder. */
function writeWithoutLinks(path: string, text: string): void {
  const file = openSync(path, 'wx');
  try {
    writeFileSync(file, text);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Who has the lock, if anyone. An empty file may be about to be written, or may have been abandoned. */
function read(path: string, emptyIsDamaged = false): Holder | undefined {
  let text: string;
  try {
    // Checks that it is a file, as reading from a pipe could wait for ever, unresponsive to signals.
    const found = lstatSync(path);
    text = found.isFile() ? readFileSync(path, 'utf8') : 'not a regular file';
    if (text === '' && Date.now() - found.mtimeMs > ABANDONED) return NOBODY;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : named('read', path)(error);
  }
  if (text === '' && !emptyIsDamaged) {
    sleep(5);
    return undefined;
  }
  try {
    const holder = JSON.parse(text) as Partial<Holder> | null;
    if (Number.isSafeInteger(holder?.pid) && typeof holder?.host === 'string' && /^[0-9a-f]{16}$/.test(holder.id ?? '')) {
      return holder as Holder;
    }
  } catch {
    // It is not JSON, which is reported below.
  }
  throw new StorageError(`${path} is ${text === '' ? 'empty' : 'damaged'}, and does not say who works in its folder: if no natsearch does, delete it`);
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function heldBy(holder: Holder, own: ProcessIdentity, path: string, shown: string): string {
  const { pid, host, since } = holder;
  const who = `${shown} is in use by process ${pid} of ${host} since ${since}`;
  if (stateOf(holder, own) === 'running') return `${who}: wait for it to end, or choose another --out`;
  return `${who}, which cannot be checked from here: if it has ended, delete ${path}; otherwise choose another --out`;
}
