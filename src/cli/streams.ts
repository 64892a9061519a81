/**
 * Handles the case that stdout or stderr can no longer be written. It never prints a stack, and never ends work whose
 * results are saved elsewhere.
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
  EAGAIN: 'it accepts no more for now',
};

/**
 * Handles errors on stdout and stderr. If a reader of stdout leaves early, as in `natsearch ... | head`, the process
 * ends quietly. Any other error there loses results, which gives one line and exit code 1. Errors on stderr are
 * ignored, as they only lose progress, without which training can continue.
 */
export function guardStreams(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`natsearch: ${cannotWriteResults(error)}\n`);
    process.exit(Number(process.exitCode) || 1);
  });
  // At exit, Node restores the terminal and aborts if it has gone. Closing the file makes Node leave it alone.
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  process.on('exit', () => {
    for (const fd of terminals) if (!isatty(fd)) close(fd);
  });
}

function close(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It was closed already.
  }
}

/** What to say when results could not be written to stdout. */
export function cannotWriteResults({ code, message }: NodeJS.ErrnoException): string {
  return `cannot write the results to stdout: ${(code !== undefined && REASONS[code]) || oneLine(message)}`;
}
