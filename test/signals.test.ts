/** Signals: closing the terminal saves as Ctrl-C does, and every command ends with a line. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { loadCheckpoint } from '../src/train/checkpoint.ts';

const hasPython = spawnSync('python3', ['-c', 'import os, pty; os.waitstatus_to_exitcode']).status === 0;
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 64, bos_token_id: 256, eos_token_id: 257, tie_word_embeddings: true,
});

let root: string;
let out: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-signals-'));
  writeFileSync(join(root, 'text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
  await writeModelFolder(join(root, 'base'), config, initialWeights(config, 1));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (out = join(mkdtempSync(join(root, 'run-')), 'out')));

const sizes = ['--hidden', '8', '--heads', '1', '--kv-heads', '1', '--layers', '1', '--intermediate', '8'];
const long = ['--text', 'text.txt', '--batch', '1', '--context', '16', '--steps', '1000000', '--save-every', '1000000'];
const train = (): string[] => ['train', ...long, ...sizes, '--threads', '1', '--out', out];
const finetune = (): string[] => ['finetune', '--model', 'base', ...long, '--threads', '1', '--out', out];

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const lines = (): number => {
  const log = join(out, 'log.jsonl');
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n').length : 0;
};
const start = (args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess =>
  spawn(process.execPath, [main, ...args], { cwd: root, env: { ...process.env, _: 'sh', ...env } });
/** The exit code as a shell tells it: that of a process that a signal ended is 128 + its number. */
async function ended(child: ChildProcess): Promise<{ code: number; stderr: string }> {
  let stderr = '';
  child.stderr?.on('data', (data: Buffer) => void (stderr += data.toString()));
  const code = await new Promise<number>((resolve) => {
    child.on('close', (own, signal) => resolve(own ?? 128 + constants.signals[signal!]));
  });
  return { code, stderr };
}

describe('SIGHUP', () => {
  it.each([['train', train], ['finetune', finetune]] as const)('saves a run of %s whose terminal is gone', async (name, args) => {
    const child = start(args());
    const end = ended(child);
    while (lines() < 4) await pause(5);
    child.stdout!.destroy(); // every write from here on fails
    child.stderr!.destroy();
    child.kill('SIGHUP');
    child.kill('SIGHUP'); // as the shell passes on the kernel's signal
    expect((await end).code).toBe(129);
    const state = name === 'train' ? 'training-state.safetensors' : 'finetune-state.safetensors';
    expect(readdirSync(out)).toContain(state);
    if (name === 'train') expect((await loadCheckpoint(out)).state.step).toBe(lines() - 1);
  });

  it('is ignored if nohup started the process', async () => {
    const child = start(train(), { _: '/usr/bin/nohup' });
    const end = ended(child);
    while (lines() < 4) await pause(5);
    const before = lines();
    child.kill('SIGHUP');
    while (lines() < before + 20 && child.exitCode === null) await pause(5);
    child.kill('SIGTERM');
    expect((await end).code).toBe(143);
  });

  it.runIf(hasPython)('of a closed terminal saves too', async () => {
    // The other end of the terminal is closed: reads and writes fail from then on, and the kernel sends SIGHUP.
    const script = [
      'import os, pty, signal, sys, time',
      'pid, terminal = pty.fork()',
      'if pid == 0: os.execv(sys.argv[1], sys.argv[1:])',
      'while not os.path.exists(sys.argv[-1] + "/log.jsonl"): time.sleep(0.01)',
      'time.sleep(0.3)',
      'os.close(terminal)',
      'print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))',
    ].join('\n');
    const child = spawn('python3', ['-c', script, process.execPath, main, ...train()], {
      cwd: root, env: { ...process.env, _: 'sh' },
    });
    let stdout = '';
    child.stdout.on('data', (data: Buffer) => void (stdout += data.toString()));
    await ended(child);
    expect(stdout).toBe('129\n');
    (await loadModel(out)).dispose();
    expect(readdirSync(out).sort())
      .toEqual(['config.json', 'log.jsonl', 'model.safetensors', 'training-state.safetensors']);
  });
});

describe('a signal before the work has begun', () => {
  it.each([['SIGINT', 130], ['SIGHUP', 129]] as const)('ends with a line, and leaves nothing behind: %s', async (signal, code) => {
    const child = start(['train', '--text', '-', ...sizes, '--out', out]); // stdin stays silent
    const end = ended(child);
    while (!existsSync(out) && child.exitCode === null) await pause(5);
    await pause(100);
    child.kill(signal);
    expect(await end).toEqual({ code, stderr: `natsearch: stopped by ${signal}\n` });
    expect(existsSync(join(out, '.natsearch.lock'))).toBe(false);
  });
});
