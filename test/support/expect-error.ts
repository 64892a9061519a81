/**
 * Expects work to fail by a named error.
 * @module
 */
import { expect } from 'vitest';

export type ErrorClass = new (message: string) => Error;

/** Fails unless `work` ends with an error of that class and that message, on one line. */
export async function expectError(work: () => unknown, type: ErrorClass, message: string | RegExp): Promise<void> {
  const error: unknown = await (async () => work())().then(() => undefined, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(type);
  const text = (error as Error).message;
  if (typeof message === 'string') expect(text).toBe(message);
  else expect(text).toMatch(message);
  expect(text).not.toContain('\n');
}
