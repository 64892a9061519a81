/**
 * Reads --text PATH...: files, and folders of .txt files.
 * @module
 */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FileFormatError, StorageError, ValueError } from '../errors.ts';
import { find } from './paths.ts';

/**
 * The documents under `paths`, in the order given, those of a folder sorted by path.
 *
 * @throws {StorageError} If a path does not exist or cannot be read.
 * @throws {ValueError} If a file named here is empty, or a folder holds no text.
 * @throws {FileFormatError} If a file is not UTF-8.
 */
export async function readDocuments(paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) throw new ValueError('no text was given: pass --text with files or folders of .txt files');
  const documents: string[] = [];
  for (const path of paths) {
    const remedy = 'pass text files, or folders of .txt files';
    if (!find(path, 'file or folder', remedy).isDirectory()) {
      const text = await readDocument(path);
      if (text === '') throw new ValueError(`${path} is empty: pass files with text in them`);
      documents.push(text);
      continue;
    }
    const files = listTexts(path);
    const texts = await Promise.all(files.map((file) => readDocument(join(path, file))));
    if (texts.every((text) => text === '')) {
      throw new ValueError(`the folder ${path} has ${files.length} .txt files and no text in them: ${remedy}`);
    }
    documents.push(...texts.filter((text) => text !== ''));
  }
  return documents;
}

/** Paths for a message: the first, and how many more. */
export function listed([first, ...more]: readonly string[]): string {
  return more.length === 0 ? first! : `${first} and ${more.length} more`;
}

function listTexts(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.txt')).sort();
  } catch (error) {
    throw unreadable(folder, error);
  }
}

function unreadable(path: string, error: unknown): StorageError {
  return new StorageError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code}): check its permissions`);
}

async function readDocument(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new FileFormatError(`${path} is not UTF-8 text: convert it, or pass another file`);
  }
}
