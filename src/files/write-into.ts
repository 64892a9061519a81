/**
 * Writes into what is already there: the end of a file, a pipe, a device. Nothing here blocks in a system call, be it
 * to wait for a pipe's reader or for room in the pipe, because a signal would end neither such a call nor its process.
 * @module
 */
import { builtin } from './builtin.ts';
import { named } from './storage-error.ts';

/** How long to wait before trying again, in ms. */
const AGAIN = 20;

/**
 * Writes to the end of what is at `path`.
 *
 * @param options.make Whether to create a file if there is none.
 * @param options.wait Whether to wait for a pipe's reader; otherwise a pipe without a reader is refused.
 * @throws {StorageError} If it cannot be written.
 */
export async function writeInto(
  path: string, content: Uint8Array | string, { make = false, wait = false }: { make?: boolean; wait?: boolean } = {},
): Promise<void> {
  const { constants, open } = builtin('node:fs/promises');
  const flags = constants.O_WRONLY | constants.O_APPEND | (constants.O_NONBLOCK ?? 0) | (make ? constants.O_CREAT : 0);
  const isLater = ({ code }: NodeJS.ErrnoException): boolean => code === 'EAGAIN' || (code === 'ENXIO' && wait);
  const file = await patiently(() => open(path, flags, 0o666), isLater).catch(named('write', path));
  try {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    for (let at = 0; at < bytes.length;) {
      at += (await patiently(() => file.write(bytes, at), isLater).catch(named('write', path))).bytesWritten;
    }
  } finally {
    await file.close();
  }
}

/** Repeats `what` at intervals for as long as it fails for a reason that passes. */
async function patiently<T>(what: () => Promise<T>, passes: (error: NodeJS.ErrnoException) => boolean): Promise<T> {
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (!passes(error as NodeJS.ErrnoException)) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}
