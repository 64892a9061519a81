/** `natsearch train` as a process: files, threads, Ctrl-C, resuming, full disks. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.ts';
import { loadCheckpoint } from '../src/train/checkpoint.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SIZES = [
  '--hidden', '16', '--heads', '2', '--kv-heads', '1', '--layers', '1', '--intermediate', '16', '--context', '32',
];
const FILES = ['config.json', 'log.jsonl', 'model.safetensors', 'training-state.safetensors'];

let root: string;
let out: string;
let text: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-train-'));
  text = join(root, 'text.txt');
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (out = join(mkdtempSync(join(root, 'run-')), 'out')));

interface Ended { code: number | null; stdout: string; stderr: string }

/** Runs the command, and sends SIGINT as soon as `interruptWhen` holds. `limit` caps the size of files, in KiB. */
function natsearch(
  args: string[], { interruptWhen, limit }: { interruptWhen?: () => boolean; limit?: number } = {},
): Promise<Ended> {
  const command = limit === undefined
    ? [process.execPath, main, ...args]
    : ['bash', '-c', `ulimit -f ${limit}; exec "$@"`, 'bash', process.execPath, main, ...args];
  const child = spawn(command[0], command.slice(1), { env: { ...process.env, NO_COLOR: '1' } });
  const ended: Ended = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => void (ended.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => void (ended.stderr += data.toString()));
  const poll = setInterval(() => {
    if (!interruptWhen?.()) return;
    clearInterval(poll);
    child.kill('SIGINT');
  }, 2);
  return new Promise((resolve) => child.on('close', (code) => {
    clearInterval(poll);
    resolve({ ...ended, code });
  }));
}

const train = (folder: string, ...more: string[]): string[] => ['train', '--text', text, '--out', folder, ...SIZES, ...more];
const bytes = (folder: string, file: string): Buffer => readFileSync(join(folder, file));
const steps = (folder: string): number[] => {
  const lines = readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n');
  return lines.map((line) => (JSON.parse(line) as { step: number }).step);
};

describe('natsearch train', () => {
  it('writes a model that loads, a state and a log, and the same bytes on any number of threads', async () => {
    const one = await natsearch(train(out, '--steps', '4', '--batch', '3', '--threads', '1', '--json'));
    expect(one).toMatchObject({ code: 0 });
    expect(JSON.parse(one.stdout)).toMatchObject({ step: 4, loss: expect.any(Number), kept: expect.any(Number) });
    expect(readdirSync(out).sort()).toEqual(FILES);
    expect(steps(out)).toEqual([1, 2, 3, 4]);
    const two = await natsearch(train(`${out}-2`, '--steps', '4', '--batch', '3', '--threads', '2'));
    expect(two).toMatchObject({ code: 0, stdout: '' });
    for (const file of ['model.safetensors', 'training-state.safetensors']) {
      expect(bytes(`${out}-2`, file).equals(bytes(out, file)), file).toBe(true);
    }
    const model = await loadModel(out);
    expect(model.policy).toEqual({ kind: 'nats' });
    model.dispose();
  }, 60_000);

  it.each(['full', 'window:4', 'streaming:2+4'])('trains the fixed pattern %s', async (types) => {
    expect(await natsearch(train(out, '--steps', '1', '--batch', '1', '--types', types))).toMatchObject({ code: 0 });
    const model = await loadModel(out);
    expect(model.config.nats.policy).toBe(types);
    expect([...model.weights.keys()].some((name) => name.includes('proj_layer'))).toBe(false);
    model.dispose();
  });

  it('saves at Ctrl-C, says how to resume, and resumes to the bytes of an uninterrupted run', async () => {
    const options = ['--steps', '150', '--batch', '2', '--threads', '2', '--save-every', '1000'];
    const log = join(out, 'log.jsonl');
    const interruptWhen = () => existsSync(log) && readFileSync(log, 'utf8').split('\n').length > 3;
    const stopped = await natsearch(train(out, ...options), { interruptWhen });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/saved in .*--resume/);
    expect(readdirSync(out).sort()).toEqual(FILES);
    (await loadModel(out)).dispose();
    const reached = steps(out).length;
    expect(reached).toBeLessThan(150);
    expect(await natsearch(train(out, ...options, '--resume'))).toMatchObject({ code: 0 });
    expect(steps(out)).toEqual(Array.from({ length: 150 }, (_, n) => n + 1));
    expect(await natsearch(train(`${out}-whole`, ...options))).toMatchObject({ code: 0 });
    for (const file of ['model.safetensors', 'training-state.safetensors']) {
      expect(bytes(out, file).equals(bytes(`${out}-whole`, file)), file).toBe(true);
    }
  }, 120_000);

  it('refuses to overwrite a run, and to resume one with other options or without a checkpoint', async () => {
    expect(await natsearch(train(out, '--steps', '1', '--batch', '1'))).toMatchObject({ code: 0 });
    const before = FILES.map((file) => bytes(out, file));
    expect((await natsearch(train(out, '--steps', '1', '--batch', '1'))).stderr).toMatch(/already holds a training run.*--resume/);
    const other = await natsearch(train(out, '--steps', '1', '--batch', '1', '--resume', '--lr', '0.5'));
    expect(other).toMatchObject({ code: 1 });
    expect(other.stderr).toMatch(/learningRate = 0\.002, not 0\.5/);
    expect(FILES.map((file) => bytes(out, file))).toEqual(before);
    expect((await natsearch(train(`${out}-none`, '--resume'))).stderr).toMatch(/no training-state\.safetensors to resume from/);
    expect(existsSync(`${out}-none`)).toBe(false);
  }, 60_000);

  it('ends with code 1 where the numbers run away, says at which step, and leaves a checkpoint that is whole', async () => {
    const wild = ['--types', 'full', '--lr', '1e30', '--min-lr', '1e30', '--warmup', '0', '--steps', '30'];
    const ended = await natsearch(train(out, ...wild, '--batch', '1', '--save-every', '1'));
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).not.toMatch(/trained 30 steps/);
    expect(ended.stderr.trim().split('\n').at(-1)).toMatch(/^natsearch: .* after step \d+ holds .* lower the learning rate$|^natsearch: step \d+: /);
    if (existsSync(join(out, FILES[3]))) {
      const { state } = await loadCheckpoint(out);
      const model = await loadModel(out);
      for (const [, { data }] of state.weights) expect(data.every((x) => Number.isFinite(Math.fround(x)))).toBe(true);
      model.dispose();
    }
  });

  it('leaves a run that it was to start over with --force whole, its log too, where the new one has no checkpoint', async () => {
    expect(await natsearch(train(out, '--steps', '3', '--batch', '1'))).toMatchObject({ code: 0 });
    const before = FILES.map((file) => bytes(out, file));
    const wild = ['--types', 'full', '--lr', '1e30', '--min-lr', '1e30', '--warmup', '0', '--steps', '30'];
    expect(await natsearch(train(out, ...wild, '--batch', '1', '--force'))).toMatchObject({ code: 1 });
    expect(FILES.map((file) => bytes(out, file))).toEqual(before);
    expect(await natsearch(train(out, '--steps', '2', '--batch', '1', '--force'))).toMatchObject({ code: 0 });
    expect(steps(out)).toEqual([1, 2]);
  }, 60_000);

  it('prints and logs the loss on text held out, and extends a finished run whose done steps stay', async () => {
    const held = join(root, 'held.md');
    writeFileSync(held, 'The lazy dog jumps over the quick brown fox. ');
    const options = ['--batch', '1', '--save-every', '2', '--lambda', '0.002'];
    const first = await natsearch(train(out, ...options, '--steps', '3', '--validation', held, '--json'));
    expect(first.stderr).toMatch(/step 2: validation loss \d\.\d{3} nats per token over 46 tokens, kept \d+\.\d%/);
    expect(first.stderr).toMatch(/step 3: validation loss /);
    const lines = () => readFileSync(join(out, 'log.jsonl'), 'utf8').trim().split('\n');
    const done = lines();
    const losses = done.map((line) => (JSON.parse(line) as { validationLoss?: number }).validationLoss);
    expect(losses).toEqual([undefined, expect.any(Number), expect.any(Number)]);
    const end = { step: 3, validationLoss: losses[2], validationKept: expect.any(Number) };
    expect(JSON.parse(first.stdout)).toMatchObject(end);
    // Without --lambda: the run's own.
    const more = await natsearch(train(out, '--batch', '1', '--steps', '5', '--resume', '--threads', '1'));
    const note = /^natsearch: note: the run was planned for 3 steps, has done 3, and continues to 5: .*differs/;
    expect(more.stderr).toMatch(note);
    expect(more.code).toBe(0);
    expect(lines().slice(0, 3)).toEqual(done);
    expect(steps(out)).toEqual([1, 2, 3, 4, 5]);
    expect(await natsearch(train(out, '--batch', '1', '--steps', '4', '--resume'))).toMatchObject({
      code: 1, stderr: expect.stringContaining('the run has done 5 steps, more than --steps 4'),
    });
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')) as { nats: { lambda: number } };
    expect(config.nats.lambda).toBe(0.002);
  }, 60_000);

  it('reads its text from stdin, to the bytes of a run that reads the file', async () => {
    const options = ['--steps', '1', '--batch', '1', ...SIZES];
    const piped = spawnSync(
      process.execPath, [main, 'train', '--text', '-', '--out', out, ...options], { input: readFileSync(text) },
    );
    expect(piped.status).toBe(0);
    expect(await natsearch(train(`${out}-file`, '--steps', '1', '--batch', '1'))).toMatchObject({ code: 0 });
    expect(bytes(out, 'model.safetensors').equals(bytes(`${out}-file`, 'model.safetensors'))).toBe(true);
    const none = [main, 'train', '--text', '-', '--out', `${out}-empty`, ...options];
    const empty = spawnSync(process.execPath, none, { input: '' });
    expect(empty.stderr.toString()).toMatch(/^natsearch: stdin is empty/);
    expect([empty.status, existsSync(`${out}-empty`)]).toEqual([1, false]);
  }, 60_000);

  it('leaves the old checkpoint whole where the disk is full', async () => {
    const options = ['--steps', '6', '--batch', '1', '--threads', '1', '--save-every', '2'];
    await natsearch(train(out, ...options), { interruptWhen: () => existsSync(join(out, 'training-state.safetensors')) });
    const state = bytes(out, 'training-state.safetensors');
    const model = bytes(out, 'model.safetensors');
    const full = await natsearch(train(out, ...options, '--resume'), { limit: 16 });
    expect(full.code).not.toBe(0);
    expect(full.stderr.trim().split('\n').at(-1)).toMatch(/^natsearch: cannot write [^\n]*training-state\.safetensors: /);
    expect(bytes(out, 'training-state.safetensors').equals(state)).toBe(true);
    expect(bytes(out, 'model.safetensors').equals(model)).toBe(true);
    expect(readdirSync(out).filter((file) => file.endsWith('.tmp'))).toEqual([]);
  }, 60_000);

  it('refuses, in one line, folders it cannot write, short or missing text, and numbers that are none', async () => {
    const cases: [string[], RegExp, number][] = [
      [train(join(text, 'below')), /is a file, not a folder/, 1],
      [['train', '--text', join(root, 'nowhere'), '--out', out], /nowhere/, 1],
      [train(out, '--context', '5000'), /452 tokens but a context of 5000 needs 5001/, 1],
      [train(out, '--hidden', '15'), /head_dim is 7\.5/, 2],
      [train(out, '--lambda', 'abc'), /'--lambda <nats>' argument 'abc' is invalid\. It must be a number, 0 or more/, 2],
      [train(out, '--steps', '0'), /'--steps <n>' argument '0' is invalid\. It must be a whole number, 1 or more/, 2],
      [train(out, '--lr', '0'), /'--lr <rate>' argument '0' is invalid\. It must be a number above 0/, 2],
      [train(out, '--window', '1.5'), /'--window <tokens>' argument '1\.5' is invalid/, 2],
      [train(out, '--types', 'best'), /policy 'best'/, 2],
      [train(out, '--mask-gradient', 'none'), /argument 'none' is invalid\. Allowed choices are bounded, exact/, 2],
      [train(out, '--validate-every', '5'), /--validate-every 5 has nothing to validate on: add --validation PATH/, 2],
      [train(out, '--threads', '0'), /'--threads <n>' argument '0' is invalid/, 2],
    ];
    for (const [args, message, exit] of cases) {
      const { code, stderr } = await natsearch(args);
      expect(stderr).toMatch(message);
      expect(stderr.trim()).toMatch(/^natsearch: [^\n]*$/);
      expect(code).toBe(exit);
      expect(existsSync(out), 'nothing half-written').toBe(false);
    }
  }, 60_000);
});
