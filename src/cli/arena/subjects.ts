/**
 * What `natsearch arena` measures policies on: texts, and files of questions.
 * @module
 */
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type { RecallDocument } from '../../evaluate/recall/documents.ts';
import { readFileBytes } from '../../files/files.ts';
import type { Tokenizer } from '../../model/tokenizer/tokenizer.ts';
import { UsageError } from '../errors.ts';
import { QUESTIONS_FILE, readQuestions } from '../recall-files.ts';
import { readTokens } from '../text.ts';
import { listTexts, STDIN } from '../text-files.ts';

/** Something to measure policies on. Its content is read when it is needed. */
export interface Subject {
  /** The name in tables: that of the file or folder, or for questions that of their folder. */
  readonly name: string;
  readonly kind: 'text' | 'questions';
  readonly path: string;
  /** The SHA-256 of the content. */
  readonly hash: string;
}

/** The subjects under the paths, with names that tell them apart. @throws {StorageError} If one cannot be read. */
export async function findSubjects(texts: readonly string[], questions: readonly string[]): Promise<Subject[]> {
  if ([...texts, ...questions].includes(STDIN)) {
    throw new UsageError('the arena reads its texts again when it goes on: name files and folders, not - for stdin');
  }
  const found = [
    ...texts.map((path) => ({ path, kind: 'text' as const, name: basename(path) })),
    ...questions.map((path) => ({ path, kind: 'questions' as const, name: nameOfQuestions(path) })),
  ];
  return Promise.all(found.map(async ({ path, kind, name }, n) => {
    const files = kind === 'text' ? listTexts([path]).map((file) => file.path) : [path];
    if (kind === 'questions') await readQuestions(path); // refuses what is not a file of questions
    const again = found.findIndex((other) => other.name === name) < n;
    return { name: again ? path : name, kind, path, hash: await hashOf(files) };
  }));
}

const nameOfQuestions = (path: string): string =>
  (basename(path) === QUESTIONS_FILE && dirname(path) !== '.' ? basename(dirname(path)) : basename(path));

/** The SHA-256 of the contents of files. */
export async function hashOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) {
    const bytes = await readFileBytes(path);
    hash.update(`${bytes.length}\n`).update(bytes);
  }
  return hash.digest('hex');
}

/** The first tokens of a text. */
export async function tokensOf(
  subject: Subject, tokenizer: Tokenizer, maxTokens: number, signal: AbortSignal,
): Promise<Int32Array> {
  const read = await readTokens(tokenizer, [subject.path], { bare: true, maxTokens, signal });
  return read.slice(0, read.length);
}

/** The first questions. */
export async function questionsOf(subject: Subject, most: number): Promise<RecallDocument[]> {
  return (await readQuestions(subject.path)).slice(0, most);
}
