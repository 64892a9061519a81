/**
 * What happens when stdout or stderr can no longer be written: never a stack, and never the end of work that is saved
 * elsewhere.
 * @module
 */
import { closeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { oneLine } from './errors.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file would be larger than allowed',
  EIO: 'the terminal or the device is gone',
  EBADF: 'it is not open for writing',
  EAGAIN: 'it takes no more for now',
};

/**
 * A reader of stdout may leave early, as in `natsearch ... | head`: that ends the process quietly. Any other error
 * there loses results: one line, exit code 1. What stderr cannot show is progress, and a training goes on without it.
 */
export function guardStreams(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`natsearch: ${cannotWriteResults(error)}\n`);
    process.exit(Number(process.exitCode) || 1);
  });
  // Node restores the terminal at the end, and aborts where it is gone by then: it leaves closed files alone.
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    for (const fd of terminals) if (!isatty(fd)) close(fd);
  });
}

function close(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It was closed.
  }
}

/** What to say when results could not be written to stdout. */
export function cannotWriteResults({ code, message }: NodeJS.ErrnoException): string {
  return `cannot write the results to stdout: ${(code !== undefined && REASONS[code]) || oneLine(message)}`;
}
