/**
 * Which exercises are right, kept in a file beside the answers.
 * @module
 */
import { basename, dirname, join } from 'node:path';
import { FileFormatError } from '../../core/errors.ts';
import { fileExists, writeFileAtomic } from '../../files/files.ts';
import { readJson } from '../../files/json-file.ts';

/** The name of the file. */
export const PROGRESS = 'natsearch-learn.json';

/** The steps that were right when they were last graded, by the file of answers. */
type Right = Readonly<Record<string, readonly string[]>>;

const FORMAT = 'natsearch-learn';

/**
 * The progress kept in a folder.
 *
 * @throws {FileFormatError} If a file of that name is something else.
 */
async function read(folder: string): Promise<Right> {
  const path = join(folder, PROGRESS);
  if (!await fileExists(path)) return {};
  let said: { format?: unknown; right?: unknown } | null;
  try {
    said = await readJson(path) as typeof said;
  } catch {
    throw new FileFormatError(`${path} cannot be read: delete it to begin anew`);
  }
  const right = said?.right;
  const ours = said?.format === FORMAT && typeof right === 'object' && right !== null &&
    Object.values(right).every((names) => Array.isArray(names) && names.every((name) => typeof name === 'string'));
  if (!ours) throw new FileFormatError(`${path} is no record of progress: delete it to begin anew`);
  return right as Right;
}

/** The steps that are right in any file of answers of a folder. */
export async function rightIn(folder: string): Promise<Set<string>> {
  return new Set(Object.values(await read(folder)).flat());
}

/**
 * Adds what was graded to the progress of a file of answers.
 *
 * @returns The steps that are right in that file, and in all files of answers beside it.
 * @throws {FileFormatError} If a file of that name is something else.
 */
export async function keepProgress(
  file: string, graded: readonly { step: string; right: boolean }[],
): Promise<{ own: Set<string>; all: Set<string> }> {
  const before = await read(dirname(file));
  const right = new Set(before[basename(file)] ?? []);
  for (const { step, right: now } of graded) {
    if (now) right.add(step);
    else right.delete(step);
  }
  const after = { ...before, [basename(file)]: [...right] };
  const content = { format: FORMAT, version: 1, right: after };
  await writeFileAtomic(join(dirname(file), PROGRESS), `${JSON.stringify(content, null, 2)}\n`);
  return { own: right, all: new Set(Object.values(after).flat()) };
}
