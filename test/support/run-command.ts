/**
 * Runs `natsearch train` and `finetune` as processes, and reads what they write to their folders.
 * @module
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const MAIN: string = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** The exit code and output of a process. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command, and sends SIGINT as soon as `interruptWhen` holds. `limit` caps the size of files, in KiB. */
export function natsearch(
  args: readonly string[], { interruptWhen, limit }: { interruptWhen?: () => boolean; limit?: number } = {},
): Promise<Ended> {
  const command = limit === undefined
    ? [process.execPath, MAIN, ...args]
    : ['bash', '-c', `ulimit -f ${limit}; exec "$@"`, 'bash', process.execPath, MAIN, ...args];
  const child = spawn(command[0], command.slice(1), { env: { ...process.env, NO_COLOR: '1' } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data: Buffer) => void (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => void (stderr += data.toString()));
  const poll = setInterval(() => {
    if (!interruptWhen?.()) return;
    clearInterval(poll);
    child.kill('SIGINT');
  }, 2);
  return new Promise((resolve) => child.on('close', (code) => {
    clearInterval(poll);
    resolve({ code, stdout, stderr });
  }));
}

export const bytes = (folder: string, file: string): Buffer => readFileSync(join(folder, file));

/** The numbers of the steps that a run has logged. */
export function steps(folder: string): number[] {
  const lines = readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => (JSON.parse(line) as { step: number }).step);
}
