/**
 * How a command ends: one line on stderr and an exit code.
 * 0 done, 1 a named error, 2 wrong usage, 70 a bug (with its stack), 128 + n stopped by signal n.
 * @module
 */
import { CommanderError } from 'commander';
import { isNamedError, StoppedError } from '../core/errors.ts';

/** Options that are wrong in themselves or contradict each other, whatever the files hold. Exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Returns what `check` returns, and turns its named errors into usage errors. */
export function usage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw isNamedError(error) ? new UsageError(error.message) : error;
  }
}

/** A message, joined into one line. */
export function oneLine(message: string): string {
  return message.trim().replace(/\s*\n\s*/g, ' ');
}

/** Reports `error` to the user, and returns the exit code. */
export function report(error: unknown, write: (text: string) => unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has written it
  if (error instanceof UsageError || isNamedError(error)) {
    write(`natsearch: ${oneLine(error.message)}\n`);
    if (error instanceof UsageError) return 2;
    return error instanceof StoppedError ? Number(process.exitCode) || 130 : 1;
  }
  const details = error instanceof Error ? (error.stack ?? error.message) : String(error);
  write(`natsearch: this is a bug, please report it\n${details}\n`);
  return 70;
}
