/**
 * Lets many processes race for one lock.
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** How a process of a race ended. */
export interface Racer {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  readonly won: number;
  readonly lost: number;
}

/** Builds the program of lock-process.ts into `folder`. */
export async function buildRacer(folder: string): Promise<string> {
  const outfile = join(folder, 'lock-process.mjs');
  const entry = fileURLToPath(new URL('./lock-process.ts', import.meta.url));
  await build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm' });
  return outfile;
}

/** Starts `racers` processes at once, and kills `killed` of them within the next `killedWithin` ms. */
export async function race(
  program: string, folder: string, racers: number,
  { rounds = 1, killed = 0, killedWithin = 0 }: { rounds?: number; killed?: number; killedWithin?: number } = {},
): Promise<Racer[]> {
  const children: ChildProcess[] = [];
  const all = Array.from({ length: racers }, () => new Promise<Racer>((resolve) => {
    const child = spawn(process.execPath, [program, folder, String(rounds)]);
    children.push(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (data: Buffer) => void (stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => void (stderr += data.toString()));
    child.on('close', (code, signal) => {
      const counts = stdout === '' ? { won: 0, lost: 0 } : JSON.parse(stdout) as { won: number; lost: number };
      resolve({ code, signal, stderr, ...counts });
    });
  }));
  await new Promise((resolve) => setTimeout(resolve, 50 * racers)); // until most have started
  writeFileSync(join(folder, 'go'), '');
  for (const child of children.slice(0, killed)) setTimeout(() => child.kill('SIGKILL'), Math.random() * killedWithin);
  const ended = await Promise.all(all);
  for (const { pid } of children) rmSync(join(folder, `racer-${pid}`), { force: true });
  return ended;
}
