/**
 * Reads the prompt of `generate` from the command line, a file or stdin, and splits it into tokens.
 * @module
 */
import { ValueError } from '../core/errors.ts';
import type { Model } from '../model/model.ts';
import { withStarts } from '../model/tokenizer/tokenizer.ts';
import { UsageError } from './errors.ts';
import { createProgress, type Progress } from './terminal.ts';
import { STDIN } from './text-files.ts';
import { readDocuments } from './text.ts';

/** After how many ms of work a progress bar appears. */
const PATIENCE = 1000;

/**
 * The text of --prompt or --prompt-file. One newline at the end of a file, as editors add it, is left out.
 *
 * @throws {UsageError} If there is none, or more than one.
 */
export async function readPrompt({ prompt, promptFile }: { prompt?: string; promptFile?: string }): Promise<string> {
  if (prompt !== undefined && promptFile !== undefined) throw new UsageError('--prompt and --prompt-file are both given: give only one');
  if (prompt === '') throw new UsageError('the prompt is empty: give --prompt at least one character');
  if (prompt !== undefined && prompt !== STDIN) return prompt;
  const path = promptFile ?? prompt;
  if (path === undefined) throw new UsageError('there is no prompt: give --prompt <text>, --prompt-file <path>, or - for stdin');
  const documents = await readDocuments([path]);
  if (documents.length !== 1) throw new ValueError(`${path} holds ${documents.length} texts: name one file`);
  const text = documents[0].replace(/\r?\n$/, '');
  if (text === '') throw new ValueError(`${path === STDIN ? 'stdin' : path} is empty: a prompt needs at least one character`);
  return text;
}

/** A progress bar that appears once the work has taken long. finish() removes it. */
export function patientProgress(label: string): { update(done: number, total: number): void; finish(): void } {
  const begin = performance.now();
  let progress: Progress | undefined;
  return {
    update(done, total) {
      if (performance.now() - begin < PATIENCE) return;
      progress ??= createProgress({ label, total });
      progress.update(done);
    },
    finish() {
      progress?.finish();
      progress = undefined;
    },
  };
}

/** The tokens of a prompt. */
export interface PromptTokens {
  /** The tokens to feed, including those that the tokenizer puts before the prompt. */
  readonly fed: Int32Array;
  /** How many of them are the prompt's own. */
  readonly own: number;
}

/** Splits a prompt into tokens. */
export function tokensOf({ tokenizer }: Model, prompt: string): PromptTokens {
  const progress = patientProgress('split into tokens (characters)');
  try {
    const own = tokenizer.encode(prompt, { onProgress: (done, total) => progress.update(done, total) });
    return { fed: withStarts(tokenizer, own), own: own.length };
  } finally {
    progress.finish();
  }
}
