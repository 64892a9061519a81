/**
 * Node's built-in modules, which Deno has too. They are looked up at run time and never imported, so that any bundler
 * can build the library for a browser without configuration.
 * @module
 */
import type * as crypto from 'node:crypto';
import type * as fs from 'node:fs';
import type * as fsPromises from 'node:fs/promises';
import type * as os from 'node:os';
import type * as path from 'node:path';
import type * as workerThreads from 'node:worker_threads';
import { StorageError } from '../core/errors.ts';

/** The modules that the library uses. */
interface Builtins {
  'node:crypto': typeof crypto;
  'node:fs': typeof fs;
  'node:fs/promises': typeof fsPromises;
  'node:os': typeof os;
  'node:path': typeof path;
  'node:worker_threads': typeof workerThreads;
}

interface Process {
  readonly getBuiltinModule?: (name: string) => unknown;
}

/** Whether there are any. */
export const hasBuiltins = (): boolean =>
  typeof (globalThis as { process?: Process }).process?.getBuiltinModule === 'function';

/**
 * A built-in module of Node (20.16 or later) or Deno.
 *
 * @throws {StorageError} In a browser, where there is none.
 */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] {
  const found = (globalThis as { process?: Process }).process?.getBuiltinModule?.(name);
  if (found) return found as Builtins[Name];
  throw new StorageError(`files cannot be reached here (there is no ${name}): in a browser, fetch the bytes and pass them instead of a path; on a server, use Node >= 20.16 or Deno >= 2.1`);
}
