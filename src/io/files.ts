/**
 * Files, by what builtin() gives: the only place outside the command line that reads and writes them. A browser can
 * import it; there every function throws a StorageError.
 * @module
 */
import { StorageError } from '../errors.ts';
import { builtin } from './builtin.ts';

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder: check the path',
  EACCES: 'permission denied: choose a path you may use',
  EPERM: 'not permitted: choose a path you may use',
  EROFS: 'the file system is read-only: choose another folder',
  ENOSPC: 'no space left on the device: free some, the file that was there is unchanged',
  EDQUOT: 'the disk quota is used up: free some, the file that was there is unchanged',
  EISDIR: 'it is a folder: name a file',
  ENOTDIR: 'a part of the path is a file, not a folder: check the path',
  EEXIST: 'a file of that name stands in the way: choose another folder',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than one read allows (2 GiB): split it into shards',
  EFBIG: 'the file would be larger than allowed here: choose another folder',
};

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

/** Makes a folder and those above it. @throws {StorageError} If it cannot be made. */
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
    const there = await stat(path).then((found) => found.isDirectory(), () => false);
    if (!there) named('make the folder', path)(error);
  }
}

/** Writes at the end of a file, which is made if there is none. @throws {StorageError} If it cannot be written. */
export async function appendText(path: string, text: string): Promise<void> {
  const { appendFile } = builtin('node:fs/promises');
  await appendFile(path, text).catch(named('write', path));
}

/**
 * Writes a file so that it appears whole or not at all: a temporary file beside it, flushed to the disk,
 * then renamed. On any failure the file that was there is left as it was.
 *
 * @throws {StorageError} If it cannot be written.
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string): Promise<void> {
  await writeFilesAtomic([[path, content]]);
}

/**
 * Writes files that belong together, each as writeFileAtomic does; none is renamed before all are on the disk.
 *
 * @throws {StorageError} If one cannot be written.
 */
export async function writeFilesAtomic(files: readonly (readonly [string, Uint8Array | string])[]): Promise<void> {
  const { open, rename, rm } = builtin('node:fs/promises');
  const temporary = (path: string) => `${path}.tmp`;
  let current = '';
  try {
    for (const [path, content] of files) {
      current = path;
      const file = await open(temporary(path), 'w');
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    for (const [path] of files) {
      current = path;
      await rename(temporary(path), path);
    }
  } catch (error) {
    for (const [path] of files) await rm(temporary(path), { force: true }).catch(() => undefined);
    named('write', current)(error);
  }
}

/** Turns a system error into a StorageError that says what to do. */
function named(action: string, path: string): (error: unknown) => never {
  return (error) => {
    const { code, message } = error as { code?: string; message: string };
    throw new StorageError(`cannot ${action} ${path}: ${(code && REMEDIES[code]) ?? message.replace(/\s+/g, ' ')}`);
  };
}
