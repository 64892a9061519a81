/**
 * Turns the system's errors about files into errors that say what to do.
 * @module
 */
import { StorageError } from '../core/errors.ts';

const REMEDIES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder: check the path',
  EACCES: 'permission denied: choose a path you may use',
  EPERM: 'not permitted: choose a path you may use',
  EROFS: 'the file system is read-only: choose another folder',
  ENOSPC: 'no space left on the device: free some, the file that was there is unchanged',
  EDQUOT: 'the disk quota is used up: free some, the file that was there is unchanged',
  EISDIR: 'it is a folder: name a file',
  ENOTDIR: 'a part of the path is a file, not a folder: check the path',
  EEXIST: 'there is a file of that name: choose another folder',
  ELOOP: 'its symbolic links lead round in a circle: name a file or folder',
  ENXIO: 'nothing reads what is written there: name a file',
  EBUSY: 'it is in use, or mounted by itself: choose another path',
  EPIPE: 'its reader has closed it: run the command again',
  ENAMETOOLONG: 'the name is too long: choose a shorter one',
  ERR_FS_FILE_TOO_LARGE: 'it is larger than one read allows (2 GiB): split it into shards',
  EFBIG: 'the file would be larger than allowed here: choose another folder',
};

/** Turns a system error into a StorageError that says what to do. */
export function named(action: string, path: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof StorageError) throw error;
    const { code, message } = error as { code?: string; message: string };
    throw new StorageError(`cannot ${action} ${path}: ${(code && REMEDIES[code]) ?? message.replace(/\s+/g, ' ')}`);
  };
}
