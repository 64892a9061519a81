/**
 * One process at a time on a folder: a lock file says who has it. That of a process that was killed is taken over.
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

/** The lock within its folder. */
export const LOCK_FILE = '.natsearch.lock';

/** What a lock file says. */
interface Holder extends ProcessIdentity {
  /** Names this lock among all that ever were. */
  readonly id: string;
  /** When it was taken. */
  readonly since: string;
}

/** How long to wait for a process that clears away the lock of a dead one, which takes microseconds; in ms. */
const PATIENCE = 10_000;
/** How long a lock file may be empty before its process writes into it, which takes microseconds too; in ms. */
const EMPTY = 1000;
/** The age of an empty lock file, in ms, at which its process was surely stopped before it wrote. */
const ABANDONED = 60_000;
/** Who left an empty lock file. */
const NOBODY: Holder = { id: '0'.repeat(16), pid: 0, host: '', since: '' };

/**
 * Takes the lock of `folder`; the process's end gives it back too.
 *
 * @param shown The folder as the user named it.
 * @returns What gives the lock back.
 * @throws {StorageError} If another process has it, which the message names, or the folder cannot be written.
 */
export function lockFolder(folder: string, shown: string = folder): () => void {
  return lock(join(folder, LOCK_FILE), shown);
}

/**
 * The same for a single file, which need not be there: not two processes at once write it, nor one that has the file's
 * folder and another.
 */
export function lockFile(file: string, shown: string = file): () => void {
  try {
    accessSync(dirname(file), constants.W_OK);
  } catch {
    return () => undefined; // it cannot be written, which is to be said of the file and not of its lock
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
  // Lock files of those who took over from the dead and were killed amid that; none of them counts any more.
  for (const name of readdirSync(dirname(path))) {
    const isOfThis = name.startsWith(basename(path)) && /^(\.[0-9a-f]{16})+$/.test(name.slice(basename(path).length));
    if (isOfThis) rmSync(join(dirname(path), name), { force: true });
  }
  const release = (): void => {
    process.off('exit', release);
    try {
      if (read(path)?.id === own.id) rmSync(path, { force: true });
    } catch {
      // The disk is gone; whoever comes next sees that this process is.
    }
  };
  process.on('exit', release);
  return release;
}

/**
 * Makes the lock file, or returns who has it. A dead holder's may be removed only by the process that has the lock
 * named after it, and only while the file is still that holder's: two that find it cannot both remove it, or one of
 * them remove what the other has made since. The lock for this is taken in the same way.
 */
function take(path: string, own: Holder): Holder | undefined {
  const begin = performance.now();
  for (;;) {
    if (create(path, own)) return undefined;
    const holder = read(path, performance.now() - begin > EMPTY);
    if (!holder) continue; // given back meanwhile, or not written yet
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

/** Makes a file with all of its content at once, unless there is one: links and exclusive creation are atomic. */
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

/** For file systems that have no links. What could not be written would be a lock of nobody. */
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

/** Who has the lock, if anyone. A file without content may be one that is just being written, or left by nobody. */
function read(path: string, emptyIsDamaged = false): Holder | undefined {
  let text: string;
  try {
    // A pipe of that name would be waited on for ever, deaf to every signal.
    const found = lstatSync(path);
    text = found.isFile() ? readFileSync(path, 'utf8') : 'no regular file';
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
    // Not JSON, as below.
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
  return `${who}, which cannot be asked from here: if it has ended, delete ${path}; else choose another --out`;
}
