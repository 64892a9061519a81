/** Of many processes, some of which are killed, no two ever hold the lock of one folder. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openOut } from '../src/cli/out.ts';
import { buildRacer, race } from './support/lock-race.ts';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'natsearch-lock-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the lock of a folder', () => {
  it('is never held by two processes, although some are killed at any moment', async () => {
    const program = await buildRacer(folder);
    let [won, killed] = [0, 0];
    for (let n = 0; n < 10; n++) {
      const racers = await race(program, folder, 10, { rounds: 100, killed: 7, killedWithin: 200 });
      for (const { code, signal, stderr } of racers) {
        expect(stderr).toBe('');
        expect(signal ?? code).toBe(signal === null ? 0 : 'SIGKILL');
      }
      won += racers.reduce((sum, racer) => sum + racer.won, 0);
      killed += racers.filter(({ signal }) => signal !== null).length;
      rmSync(join(folder, 'go'));
    }
    expect(won).toBeGreaterThan(10);
    expect(killed).toBeGreaterThan(30);
    // What killed processes leave is removed by the next one.
    rmSync(join(folder, 'alone'), { force: true });
    (await openOut(folder, { what: 'race', files: [], isOurs: async () => true }, false))();
    expect(readdirSync(folder)).toEqual(['lock-process.mjs']);
  }, 120_000);
});
