/**
 * The log of a run of `train` or `finetune`, with one line of JSON per step. It belongs to the checkpoint beside it: a
 * run that starts over replaces neither until it has a checkpoint of its own.
 * @module
 */
import { join } from 'node:path';
import { appendText, writeFileAtomic } from '../files/files.ts';
import { LOG_FILE } from '../train/checkpoint.ts';

/** Writes the steps of a run to its log. */
export class RunLog {
  readonly #path: string;
  /** Lines that wait for the first checkpoint. */
  #waiting: string[] | undefined;

  private constructor(path: string, waiting: string[] | undefined) {
    this.#path = path;
    this.#waiting = waiting;
  }

  /**
   * Begins the log of the run in `folder`.
   *
   * @param lines The lines of the steps already done.
   * @param overOther Whether the checkpoint in the folder is that of another run, which this one will replace.
   */
  static async open(folder: string, lines: readonly object[], overOther: boolean): Promise<RunLog> {
    const path = join(folder, LOG_FILE);
    const text = lines.map(lineOf);
    if (!overOther) await writeFileAtomic(path, text.join(''));
    return new RunLog(path, overOther ? text : undefined);
  }

  /** Adds a step. */
  async add(step: object): Promise<void> {
    if (this.#waiting) this.#waiting.push(lineOf(step));
    else await appendText(this.#path, lineOf(step));
  }

  /** Must be called after each checkpoint. */
  async saved(): Promise<void> {
    if (!this.#waiting) return;
    await writeFileAtomic(this.#path, this.#waiting.join(''));
    this.#waiting = undefined;
  }
}

function lineOf(step: object): string {
  return `${JSON.stringify(step)}\n`;
}
