/**
 * Reads and recognises the files of `natsearch recall write`.
 * @module
 */
import { join } from 'node:path';
import { FileFormatError, isNamedError } from '../core/errors.ts';
import type { RecallDocument } from '../evaluate/recall/documents.ts';
import { TASKS } from '../evaluate/recall/tasks/index.ts';
import { readText } from '../files/files.ts';
import type { OutFolder } from './out.ts';
import { find } from './paths.ts';

/** The text to train on. */
export const TEXT_FILE = 'train.txt';
/** The questions to ask. */
export const QUESTIONS_FILE = 'questions.jsonl';

/** The folder that `recall write` writes. Both files are recognised by all of their lines. */
export const RECALL_FOLDER: OutFolder = {
  what: 'files of recall write',
  files: [TEXT_FILE, QUESTIONS_FILE],
  isOurs: async (folder, names) => {
    const [text, questions] = [names.includes(TEXT_FILE), names.includes(QUESTIONS_FILE)];
    return (text || questions) && (!text || await isRecallText(join(folder, TEXT_FILE))) &&
      (!questions || await areQuestions(join(folder, QUESTIONS_FILE)));
  },
};

/** Whether every line ends as the documents of one task do. */
async function isRecallText(path: string): Promise<boolean> {
  const lines = (await readText(path)).trimEnd().split('\n');
  return Object.values(TASKS).some((task) => lines.every((line) => task.isLine(line)));
}

function areQuestions(path: string): Promise<boolean> {
  return readQuestions(path).then(() => true, (error: unknown) => {
    if (isNamedError(error)) return false;
    throw error;
  });
}

/** Reads questions.jsonl. @throws {FileFormatError} If a line is not a question, or there is none. */
export async function readQuestions(path: string): Promise<RecallDocument[]> {
  find(path, 'file', 'pass the questions.jsonl of `natsearch recall write`');
  const lines = (await readText(path)).split('\n').filter((line) => line !== '');
  if (lines.length === 0) throw new FileFormatError(`${path} is empty: write the file again with natsearch recall write`);
  return lines.map((line, n) => {
    const damaged = new FileFormatError(`${path} line ${n + 1} is not a question: write the file again with natsearch recall write`);
    let value: Partial<RecallDocument> | null;
    try {
      value = JSON.parse(line) as Partial<RecallDocument> | null;
    } catch {
      throw damaged;
    }
    const { prompt, answer, distance } = value ?? {};
    if (typeof prompt !== 'string' || typeof answer !== 'string' || answer === '' || typeof distance !== 'number') throw damaged;
    return { prompt, answer, distance };
  });
}
