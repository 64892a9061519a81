/**
 * Where a path leads, through symbolic links: to a file, a folder, or something that is neither.
 * @module
 */
import { builtin } from './builtin.ts';
import { named } from './storage-error.ts';

/** What a path leads to. */
export interface Place {
  /** The path after following all symbolic links. */
  readonly path: string;
  /** `pipe` is a named pipe; `stream` is a terminal, another device, or an open file of this process. */
  readonly kind: 'nothing' | 'file' | 'folder' | 'pipe' | 'stream' | 'disk' | 'socket';
  /** Its permissions. */
  readonly mode?: number;
}

/** How many links in a row Linux allows. */
const MOST_LINKS = 40;
/** The open files of this process. Their links may lead to no path, and they are written into, never replaced. */
const OPEN_FILE = /^(\/dev\/(stdin|stdout|stderr|fd\/\d+)|\/proc\/.*\/fd\/\d+)$/;

/**
 * Follows `path`, whose last link may lead to nothing.
 *
 * @throws {StorageError} If links lead round in a circle, or through something that may not be read.
 */
export async function findPlace(path: string): Promise<Place> {
  const { lstat, readlink, realpath } = builtin('node:fs/promises');
  const { basename, dirname, join, resolve } = builtin('node:path');
  let at = path;
  for (let links = 0; links <= MOST_LINKS; links++) {
    if (OPEN_FILE.test(at)) return { path: at, kind: 'stream' };
    const there = await lstat(at).catch((error: NodeJS.ErrnoException) => {
      return error.code === 'ENOENT' ? undefined : named('look at', path)(error);
    });
    if (there === undefined) return { path: at, kind: 'nothing' };
    if (there.isFile()) return { path: at, kind: 'file', mode: there.mode & 0o777 };
    if (there.isDirectory()) return { path: at, kind: 'folder' };
    if (there.isBlockDevice()) return { path: at, kind: 'disk' };
    if (there.isFIFO()) return { path: at, kind: 'pipe' };
    if (there.isSocket()) return { path: at, kind: 'socket' };
    if (!there.isSymbolicLink()) return { path: at, kind: 'stream' };
    const folder = await realpath(dirname(at)).catch(named('look at', path));
    if (OPEN_FILE.test(join(folder, basename(at)))) return { path: join(folder, basename(at)), kind: 'stream' };
    at = resolve(folder, await readlink(at).catch(named('look at', path)));
  }
  return named('look at', path)({ code: 'ELOOP' });
}
