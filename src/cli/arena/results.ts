/**
 * The results of an arena, one line of results.jsonl per measurement. A run that goes on takes from there what it would
 * measure again.
 * @module
 */
import { join } from 'node:path';
import { FileFormatError } from '../../core/errors.ts';
import type { Evaluation } from '../../evaluate/evaluate.ts';
import type { Recall } from '../../evaluate/recall/measure.ts';
import { fileExists, readText, writeFileAtomic } from '../../files/files.ts';
import type { OutFolder } from '../out.ts';

export const RESULTS_FILE = 'results.jsonl';
export const REPORT_FILE = 'arena.json';
export const PAGE_FILE = 'arena.html';

/** What was measured, on a text or on questions. */
export type Measured = { readonly kind: 'text'; readonly measured: Evaluation }
  | { readonly kind: 'questions'; readonly measured: Recall };

/** One policy on one subject. */
export type Result = Measured & {
  /** The hash of everything that the numbers depend on. */
  readonly key: string;
  readonly subject: string;
  /** Whose types or scores were used, if the policy uses any. */
  readonly learner: string | null;
  readonly policy: string;
};

/** The folder that `arena` writes, recognised by its results. */
export const ARENA_FOLDER: OutFolder = {
  what: 'results of an arena',
  files: [RESULTS_FILE, REPORT_FILE, PAGE_FILE],
  isOurs: async (folder, names) => names.includes(RESULTS_FILE) &&
    await readResults(folder).then(() => true, () => false),
};

/** What a folder holds already. @throws {FileFormatError} If a line is damaged. */
async function readResults(folder: string): Promise<Map<string, Result>> {
  const path = join(folder, RESULTS_FILE);
  if (!await fileExists(path)) return new Map();
  const lines = (await readText(path)).split('\n').filter((line) => line !== '');
  return new Map(lines.map((line, n) => {
    const result = parsed(line);
    if (typeof result?.key !== 'string' || typeof result.measured !== 'object') {
      throw new FileFormatError(`${path} line ${n + 1} is no result of an arena: remove the line, and it is measured again`);
    }
    return [result.key, result];
  }));
}

function parsed(line: string): Partial<Result> & Result | undefined {
  try {
    return JSON.parse(line) as Result;
  } catch {
    return undefined;
  }
}

/** The results in a folder. Each is on disk before the next one is measured. */
export class Results {
  readonly #folder: string;
  readonly #all: Map<string, Result>;

  private constructor(folder: string, all: Map<string, Result>) {
    this.#folder = folder;
    this.#all = all;
  }

  static async open(folder: string): Promise<Results> {
    return new Results(folder, await readResults(folder));
  }

  get(key: string): Result | undefined {
    return this.#all.get(key);
  }

  async add(result: Result): Promise<void> {
    this.#all.set(result.key, result);
    const lines = [...this.#all.values()].map((each) => `${JSON.stringify(each)}\n`).join('');
    await writeFileAtomic(join(this.#folder, RESULTS_FILE), new TextEncoder().encode(lines));
  }
}
