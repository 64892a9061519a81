/** Only one process at a time uses an --out: the refusal names it, and the lock of a killed process is taken over. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { LOCK_FILE, lockFolder } from '../src/cli/lock.ts';
import { stateOf, thisProcess } from '../src/cli/process-identity.ts';
import { buildRacer, race } from './support/lock-race.ts';
import { cases, some } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const onLinux = existsSync('/proc/self/stat');

let root: string;
let folder: string;
beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-lock-'))));
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (folder = mkdtempSync(join(root, 'case-'))));
afterEach(() => void vi.restoreAllMocks());

/** The id of a process that has ended. */
const dead = (): number => Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }));
const leave = (holder: object): void => {
  const all = { id: '0123456789abcdef', ...thisProcess(), since: '2026-01-02T03:04:05.000Z', ...holder };
  writeFileSync(join(folder, LOCK_FILE), JSON.stringify(all));
};

describe('the lock of a folder', () => {
  it('is held by one process, which refusals name with host and time, until it is released', () => {
    const release = lockFolder(folder, 'my-run');
    expect(() => lockFolder(folder, 'my-run')).toThrow(
      new RegExp(`^my-run is in use by process ${process.pid} of ${hostname()} since 20[^ ]+Z: wait for it to end, or choose`),
    );
    release();
    release();
    expect(readdirSync(folder)).toEqual([]);
    lockFolder(folder)();
  });

  it('is taken over from a process that has ended, and nothing of the old lock remains', () => {
    leave({ pid: dead() });
    writeFileSync(join(folder, `${LOCK_FILE}.0123456789abcdef`), JSON.stringify({ // left by a process that was killed while it took over
      id: 'fedcba9876543210', ...thisProcess(), pid: dead(), since: '2026-01-02T03:04:05.000Z',
    }));
    const release = lockFolder(folder);
    expect(readdirSync(folder)).toEqual([LOCK_FILE]);
    expect(readFileSync(join(folder, LOCK_FILE), 'utf8')).toContain(`"pid":${process.pid},`);
    release();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('is left to another process that takes it over after this one has found its holder dead', () => {
    leave({ pid: dead() });
    vi.spyOn(process, 'kill').mockImplementationOnce(() => { // called to find out whether the holder runs
      leave({ id: 'fedcba9876543210' }); // this process plays the other
      throw Object.assign(new Error('no such process'), { code: 'ESRCH' });
    });
    expect(() => lockFolder(folder, 'my-run')).toThrow(`my-run is in use by process ${process.pid} of`);
    expect(readFileSync(join(folder, LOCK_FILE), 'utf8')).toContain('fedcba9876543210');
    expect(readdirSync(folder)).toEqual([LOCK_FILE]);
  });

  it('of a dead holder is removed by one process at a time, and a second one waits for the first', () => {
    const pid = dead();
    leave({ pid });
    const [lock, removal] = [join(folder, LOCK_FILE), join(folder, `${LOCK_FILE}.0123456789abcdef`)];
    // This process plays the first.
    writeFileSync(removal, JSON.stringify({ id: 'fedcba9876543210', ...thisProcess(), since: '2026-01-02T03:04:05.000Z' }));
    const kill = process.kill.bind(process);
    let looks = 0;
    vi.spyOn(process, 'kill').mockImplementation((asked, signal) => {
      if (asked === process.pid && ++looks === 3) {
        expect(existsSync(lock)).toBe(true);
        for (const file of [lock, removal]) rmSync(file);
      }
      return kill(asked, signal);
    });
    lockFolder(folder)();
    expect(looks).toBe(3);
    expect(readdirSync(folder)).toEqual([]);
  });

  if (onLinux) it('is taken over from an earlier process of the same id, and from before a restart', () => {
    leave({ began: '1' });
    lockFolder(folder)();
    leave({ boot: 'another' });
    lockFolder(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('of another machine or container is not touched, and the message says what to delete if its process has ended', () => {
    for (const holder of [{ host: 'elsewhere', pid: dead() }, ...(onLinux ? [{ namespace: 'pid:[1]', pid: dead() }] : [])]) {
      leave(holder);
      const path = join(folder, LOCK_FILE);
      expect(() => lockFolder(folder)).toThrow(`which cannot be checked from here: if it has ended, delete ${path}; otherwise choose`);
      expect(existsSync(path)).toBe(true);
    }
  });

  it('that is damaged is refused by name', () => {
    writeFileSync(join(folder, LOCK_FILE), '{"pid": ');
    expect(() => lockFolder(folder)).toThrow(/\.natsearch\.lock is damaged, .*: if no natsearch does, delete it$/);
  });

  it('that is empty is waited for and refused after a second; if it is old, no one is writing it, and it is taken over', () => {
    const [path, begin] = [join(folder, LOCK_FILE), performance.now()];
    writeFileSync(path, '');
    expect(() => lockFolder(folder)).toThrow(/\.natsearch\.lock is empty, .*: if no natsearch does, delete it$/);
    expect(performance.now() - begin).toBeLessThan(5000);
    const old = Date.now() / 1000 - 3600;
    utimesSync(path, old, old);
    const release = lockFolder(folder);
    expect(readFileSync(path, 'utf8')).toContain(`"pid":${process.pid},`);
    release();
    expect(readdirSync(folder)).toEqual([]);
  });

  if (onLinux) it('that is a pipe is refused too, without waiting', () => {
    execFileSync('mkfifo', [join(folder, LOCK_FILE)]);
    expect(() => lockFolder(folder)).toThrow(/\.natsearch\.lock is damaged/);
  });

  if (onLinux) it('is not held by a process that was killed but not yet waited for', async () => {
    // The shell becomes a program that waits for no child. Killed any earlier, the child might be waited for.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60']);
    const pid = await new Promise<number>((done) => {
      parent.stdout.once('data', (data: Buffer) => done(Number(data.toString())));
    });
    const until = async (file: string, text: RegExp): Promise<void> => {
      while (!text.test(readFileSync(file, 'utf8'))) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    try {
      await until(`/proc/${parent.pid}/comm`, /^sleep$/m);
      process.kill(pid, 'SIGKILL');
      await until(`/proc/${pid}/stat`, /\) Z /);
      const { began: _, ...own } = thisProcess();
      expect(stateOf({ ...own, pid })).toBe('ended');
    } finally {
      parent.kill();
    }
  });

  it('goes to one of many processes that find it stale at the same moment', async () => {
    const program = await buildRacer(folder);
    for (let n = 0; n < cases(1, 10); n++) {
      leave({ pid: dead() });
      rmSync(join(folder, 'go'), { force: true });
      const racers = await race(program, folder, 6, { rounds: 3 });
      for (const { code, stderr } of racers) expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(racers.reduce((sum, { won }) => sum + won, 0)).toBeGreaterThan(0);
      expect(readdirSync(folder).sort()).toEqual(['go', 'lock-process.mjs']);
    }
  });
});

describe('two trainings of one --out', () => {
  const sizes = ['--hidden', '8', '--heads', '1', '--kv-heads', '1', '--layers', '1', '--intermediate', '8'];
  const args = (...more: string[]) => [
    main, 'train', '--text', join(folder, 'text.txt'), '--out', join(folder, 'out'), '--batch', '1', '--context', '16',
    '--threads', '1', ...sizes, ...more,
  ];
  const ended = (child: ChildProcess): Promise<{ code: number | null; stderr: string }> => {
    let stderr = '';
    child.stderr!.on('data', (data: Buffer) => void (stderr += data.toString()));
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, stderr })));
  };

  it('let one continue and the other say who holds the lock; after kill -9 the next one takes over', async () => {
    writeFileSync(join(folder, 'text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
    const first = spawn(process.execPath, args('--steps', '1000000', '--save-every', '5'));
    const over = ended(first);
    const state = join(folder, 'out', 'training-state.safetensors');
    while (!existsSync(state) && first.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const more of some(1, [['--force'], [], ['--resume']])) {
      const { code, stderr } = await ended(spawn(process.execPath, args('--steps', '1', ...more)));
      expect(stderr).toMatch(new RegExp(`^natsearch: [^\\n]*out is in use by process ${first.pid} of [^\\n]*\\n$`));
      expect(code).toBe(1);
    }
    expect(first.exitCode).toBe(null);
    first.kill('SIGKILL');
    await over;
    expect(readdirSync(join(folder, 'out'))).toContain(LOCK_FILE);
    const next = await ended(spawn(process.execPath, args('--steps', '1', '--force')));
    expect(next).toMatchObject({ code: 0 });
    expect(readdirSync(join(folder, 'out')).sort())
      .toEqual(['config.json', 'log.jsonl', 'model.safetensors', 'training-state.safetensors']);
  });
});
