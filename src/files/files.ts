/**
 * Reads and writes files by means of builtin(). Outside the command line, only this folder does. Browsers can import
 * it, but every function throws a StorageError there.
 * @module
 */
import { StorageError } from '../core/errors.ts';
import { builtin } from './builtin.ts';
import { findPlace } from './place.ts';
import { named } from './storage-error.ts';
import { writeInto } from './write-into.ts';

export { writeFileAtomic, writeFilesAtomic } from './atomic.ts';

/** Reads a whole file. @throws {StorageError} If it cannot be read. */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  const { readFile } = builtin('node:fs/promises');
  return readFile(path).catch(named('read', path));
}

/** Reads a whole file as UTF-8, without its byte order mark. @throws {StorageError} If it cannot be read. */
export async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readFileBytes(path));
}

/** A file that is read in parts. */
export interface OpenFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Fills `into` with the bytes from `at` on. @throws {StorageError} If the file cannot be read, or ends too early. */
  read(at: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file to read parts of it. @throws {StorageError} If it cannot be opened. */
export async function openFile(path: string): Promise<OpenFile> {
  const { open } = builtin('node:fs/promises');
  const file = await open(path, 'r').catch(named('read', path));
  const { size } = await file.stat();
  return {
    path,
    size,
    async read(at, into) {
      for (let done = 0; done < into.length;) {
        const { bytesRead } = await file.read(into, done, into.length - done, at + done).catch(named('read', path));
        if (bytesRead === 0) throw new StorageError(`cannot read ${path}: it ended at byte ${at + done} while it was being read`);
        done += bytesRead;
      }
    },
    close: () => file.close(),
  };
}

/** Whether there is a file or folder at `path`. @throws {StorageError} If that cannot be determined. */
export async function fileExists(path: string): Promise<boolean> {
  const { stat } = builtin('node:fs/promises');
  return stat(path).then(() => true, (error: NodeJS.ErrnoException) => {
    return error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && named('look at', path)(error);
  });
}

/** The names in a folder; empty if `path` is not a folder. @throws {StorageError} If it cannot be read. */
export async function listFolder(path: string): Promise<string[]> {
  const { readdir } = builtin('node:fs/promises');
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    return error.code === 'ENOTDIR' ? [] : named('read', path)(error);
  });
}

/**
 * Makes a folder and those above it. If a link leads to nothing, the folder is made where it leads.
 *
 * @throws {StorageError} If it cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  // One level at a time: with `recursive`, Node 20 never returns where folders cannot be made, such as in /proc.
  const { mkdir, stat } = builtin('node:fs/promises');
  const { dirname } = builtin('node:path');
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !(await fileExists(dirname(path)))) {
      await makeFolder(dirname(path));
      await mkdir(path).catch(named('make the folder', path));
      return;
    }
    if (await stat(path).then((found) => found.isDirectory(), () => false)) return;
    const place = await findPlace(path);
    if (code !== 'EEXIST' || place.kind !== 'nothing' || place.path === path) named('make the folder', path)(error);
    await makeFolder(place.path);
  }
}

/** Appends to a file, which is created if there is none. @throws {StorageError} If it cannot be written. */
export async function appendText(path: string, text: string): Promise<void> {
  await writeInto(path, text, { make: true });
}
