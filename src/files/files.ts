/**
 * Files, by what builtin() gives: the only place outside the command line that reads and writes them. A browser can
 * import it; there every function throws a StorageError.
 * @module
 */
import { StorageError } from '../core/errors.ts';
import { builtin } from './builtin.ts';
import { findPlace } from './place.ts';
import { named } from './storage-error.ts';
import { writeInto } from './write-into.ts';

export { writeFileAtomic, writeFilesAtomic } from './atomic.ts';

/** The whole file. @throws {StorageError} If it cannot be read. */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  const { readFile } = builtin('node:fs/promises');
  return readFile(path).catch(named('read', path));
}

/** The whole file as UTF-8, without a byte order mark. @throws {StorageError} If it cannot be read. */
export async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readFileBytes(path));
}

/** A file that is read in parts. */
export interface OpenFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Fills `into` from byte `at` on. @throws {StorageError} If the file cannot be read or ends before. */
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
        if (bytesRead === 0) throw new StorageError(`cannot read ${path}: it ended at byte ${at + done} while it was read`);
        done += bytesRead;
      }
    },
    close: () => file.close(),
  };
}

/** Whether there is a file or folder at `path`. @throws {StorageError} If that cannot be told. */
export async function fileExists(path: string): Promise<boolean> {
  const { stat } = builtin('node:fs/promises');
  return stat(path).then(() => true, (error: NodeJS.ErrnoException) => {
    return error.code !== 'ENOENT' && error.code !== 'ENOTDIR' && named('look at', path)(error);
  });
}

/** The names in a folder; none where it is no folder. @throws {StorageError} If it cannot be read. */
export async function listFolder(path: string): Promise<string[]> {
  const { readdir } = builtin('node:fs/promises');
  return readdir(path).catch((error: NodeJS.ErrnoException) => {
    return error.code === 'ENOTDIR' ? [] : named('read', path)(error);
  });
}

/**
 * Makes a folder and those above it; a link that leads to nothing gets a folder there.
 *
 * @throws {StorageError} If it cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  // Step by step: with `recursive`, Node 20 tries for ever where a file system makes no folders, such as /proc.
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

/** Writes at the end of a file, which is made if there is none. @throws {StorageError} If it cannot be written. */
export async function appendText(path: string, text: string): Promise<void> {
  await writeInto(path, text, { make: true });
}
