/**
 * Reads JSON files, and recognises what a failed download leaves in their place.
 * @module
 */
import { FileFormatError } from '../core/errors.ts';
import { readFileBytes } from './files.ts';
import { foreign, TELLING } from '../formats/foreign-files.ts';
import { shown } from '../formats/safetensors-header.ts';

/**
 * Reads and parses a file.
 *
 * @throws {StorageError} If it cannot be read.
 * @throws {FileFormatError} If it is not JSON; the message says what it is instead.
 */
export async function readJson(path: string): Promise<unknown> {
  const bytes = await readFileBytes(path);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    const what = foreign(bytes.subarray(0, TELLING), bytes.length);
    if (what !== undefined) throw new FileFormatError(`${path}: ${what}`);
    throw new FileFormatError(`${path} is not valid JSON (${(error as Error).message.replace(/\s+/g, ' ')}): copy it again`);
  }
  const { error } = (json ?? {}) as { error?: unknown };
  if (typeof error === 'string' && Object.keys(json as object).length <= 2) {
    throw new FileFormatError(`${path}: it is the error message of a server, '${shown(error)}': download the file again`);
  }
  return json;
}
