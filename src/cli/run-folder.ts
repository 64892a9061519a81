/**
 * Recognises the folder of a run of `train` or `finetune`.
 * @module
 */
import { join } from 'node:path';
import { readText } from '../files/files.ts';
import { LOG_FILE } from '../train/checkpoint.ts';
import type { OutFolder } from './out.ts';

/**
 * The folder that a run writes.
 *
 * @param files The files of the run, beginning with the state file, by which the folder is recognised.
 */
export function runFolder(what: string, files: readonly string[]): OutFolder {
  return {
    what, files,
    isOurs: async (folder, names) => names.includes(files[0]) ||
      (names.length === 1 && names[0] === LOG_FILE && await isLog(join(folder, LOG_FILE))),
  };
}

/** Whether each line is the report of a step, as in the log of a run that ended before its first checkpoint. */
async function isLog(path: string): Promise<boolean> {
  const lines = (await readText(path)).split('\n').filter((line) => line !== '');
  return lines.every((line) => {
    try {
      return typeof (JSON.parse(line) as { step?: unknown } | null)?.step === 'number';
    } catch {
      return false;
    }
  });
}
