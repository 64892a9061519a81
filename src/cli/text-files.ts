/**
 * Finds the files that --text PATH... stands for: files, all .txt and .md files in folders and below, and `-` for
 * stdin.
 * @module
 */
import { type Dirent, readdirSync, realpathSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { StorageError, ValueError } from '../core/errors.ts';
import { UsageError } from './errors.ts';
import { find } from './paths.ts';

/** What --text and similar options accept, for --help. */
export const TEXT_HELP = 'text files, folders with .txt and .md files in or below them, or - for stdin';

/** The name of stdin on the command line. */
export const STDIN = '-';

const REMEDY = 'pass text files, folders of .txt and .md files, or - for stdin';
const TEXT = /\.(txt|md)$/i;

/** A text to read. */
export interface TextFile {
  /** `-` for stdin. */
  readonly path: string;
  /** In bytes; undefined for stdin, pipes and devices. */
  readonly size: number | undefined;
  /** Whether the user named the file itself, not a folder above it. Then it must not be empty. */
  readonly named: boolean;
}

/**
 * Lists the texts under `paths` without reading them, in the order given, with those of a folder sorted by path. Hidden
 * files and folders below a folder are left out, and so is a folder that a link leads to a second time.
 *
 * @throws {StorageError} If a path does not exist or cannot be read.
 * @throws {ValueError} If a file in `paths` is empty, a folder holds no text, or stdin is named twice.
 */
export function listTexts(paths: readonly string[]): TextFile[] {
  if (paths.length === 0) throw new ValueError(`no text was given: ${REMEDY}`);
  if (paths.filter((path) => path === STDIN).length > 1) throw new UsageError('stdin (-) is named twice: it can be read only once');
  return paths.flatMap((path) => {
    if (path === STDIN) return [{ path, size: undefined, named: true }];
    const found = find(path, 'file or folder', REMEDY);
    if (found.isDirectory()) return textsBelow(path);
    if (found.isFile() && found.size === 0) throw isEmpty(path);
    return [{ path, size: sizeOf(found), named: true }];
  });
}

/** The error for a file without text. */
export function isEmpty(path: string): ValueError {
  return new ValueError(`${path === STDIN ? 'stdin' : path} is empty: pass files with text in them`);
}

function textsBelow(folder: string): TextFile[] {
  const names: string[] = [];
  walk(folder, '', new Set(), names);
  if (names.length === 0) throw new ValueError(`the folder ${folder} has no .txt or .md files: ${REMEDY}`);
  const files = names.sort().map((name) => {
    const path = join(folder, name);
    return { path, size: sizeOf(look(path)), named: false };
  });
  const texts = files.filter(({ size }) => size !== 0);
  if (texts.length > 0) return texts;
  throw new ValueError(`the folder ${folder} has ${files.length} .txt or .md files and no text in them: ${REMEDY}`);
}

function look(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw new StorageError(`cannot read ${path} (${(error as NodeJS.ErrnoException).code}): a link to nothing? remove it, or check permissions`);
  }
}

/** Adds the texts of `folder`/`below`, by their paths from `folder`. */
function walk(folder: string, below: string, seen: Set<string>, names: string[]): void {
  const here = join(folder, below);
  let entries: Dirent[];
  try {
    const real = realpathSync(here);
    if (seen.has(real)) return;
    seen.add(real);
    entries = readdirSync(here, { withFileTypes: true });
  } catch (error) {
    throw new StorageError(`cannot read ${here} (${(error as NodeJS.ErrnoException).code}): check its permissions`);
  }
  // Visits real folders first, so that of two ways to a folder the one through a link is left out.
  for (const entry of entries.sort((a, b) => Number(a.isSymbolicLink()) - Number(b.isSymbolicLink()))) {
    if (entry.name.startsWith('.')) continue;
    const name = join(below, entry.name);
    const isFolder = entry.isDirectory() || (entry.isSymbolicLink() && leadsToFolder(join(here, entry.name)));
    if (isFolder) walk(folder, name, seen, names);
    else if (TEXT.test(entry.name)) names.push(name);
  }
}

function leadsToFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false; // a link to nothing or to itself, which look() refuses later if it is named like a text
  }
}

function sizeOf(found: Stats): number | undefined {
  return found.isFile() ? found.size : undefined;
}
