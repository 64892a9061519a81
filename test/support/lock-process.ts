/**
 * A program for tests that takes the lock of a folder again and again. It is bundled and run by Node as `node
 * lock-process.mjs FOLDER ROUNDS`. It waits for FOLDER/go. Whenever it holds the lock, it makes a file that no other
 * process may have at the same time. It prints how many rounds it won and lost. The file FOLDER/racer-PID is its own;
 * the process that started it removes it.
 * @module
 */
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lockFolder } from '../../src/cli/lock.ts';
import { stateOf, thisProcess } from '../../src/cli/process-identity.ts';

const [folder, rounds] = [process.argv[2], Number(process.argv[3])];
const alone = join(folder, 'alone');
const self = join(folder, `racer-${process.pid}`);
writeFileSync(self, String(process.pid));
const counts = { won: 0, lost: 0 };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

while (!existsSync(join(folder, 'go'))) await pause(1);
for (let round = 0; round < rounds; round++) {
  let release: () => void;
  try {
    release = lockFolder(folder);
  } catch (error) {
    if (!/is in use by process \d+ of .* since \d{4}-/.test((error as Error).message)) throw error;
    counts.lost++;
    await pause(Math.random() * 4);
    continue;
  }
  counts.won++;
  if (existsSync(alone)) {
    const { began: _, ...own } = thisProcess();
    const pid = Number(readFileSync(alone, 'utf8'));
    if (stateOf({ ...own, pid }) === 'running') throw new Error(`${pid} has the lock too`);
    rmSync(alone); // left by a process that was killed
  }
  // Throws if another process holds the lock too. A link exists with its content or not at all, even if this process is
  // killed.
  linkSync(self, alone);
  if (Math.random() < 0.5) await pause(Math.random() * 3);
  rmSync(alone);
  release();
}
process.stdout.write(JSON.stringify(counts));
