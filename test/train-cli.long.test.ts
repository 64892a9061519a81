/** Slow tests of `natsearch train`: Ctrl-C, --force, stdin, full disks. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.ts';
import { bytes, MAIN, natsearch, steps } from './support/run-command.ts';

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

const train = (folder: string, ...more: string[]): string[] => ['train', '--text', text, '--out', folder, ...SIZES, ...more];

describe('natsearch train', () => {
  it('saves at Ctrl-C, says how to resume, and resumes with the bytes of an uninterrupted run', async () => {
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

  it('leaves the old run and its log intact, even with --force, until the new run has a checkpoint', async () => {
    expect(await natsearch(train(out, '--steps', '3', '--batch', '1'))).toMatchObject({ code: 0 });
    const before = FILES.map((file) => bytes(out, file));
    const wild = ['--types', 'full', '--lr', '1e30', '--min-lr', '1e30', '--warmup', '0', '--steps', '30'];
    expect(await natsearch(train(out, ...wild, '--batch', '1', '--force'))).toMatchObject({ code: 1 });
    expect(FILES.map((file) => bytes(out, file))).toEqual(before);
    expect(await natsearch(train(out, '--steps', '2', '--batch', '1', '--force'))).toMatchObject({ code: 0 });
    expect(steps(out)).toEqual([1, 2]);
  }, 60_000);

  it('reads its text from stdin, with the same bytes as a run that reads the file', async () => {
    const options = ['--steps', '1', '--batch', '1', ...SIZES];
    const piped = spawnSync(
      process.execPath, [MAIN, 'train', '--text', '-', '--out', out, ...options], { input: readFileSync(text) },
    );
    expect(piped.status).toBe(0);
    expect(await natsearch(train(`${out}-file`, '--steps', '1', '--batch', '1'))).toMatchObject({ code: 0 });
    expect(bytes(out, 'model.safetensors').equals(bytes(`${out}-file`, 'model.safetensors'))).toBe(true);
    const none = [MAIN, 'train', '--text', '-', '--out', `${out}-empty`, ...options];
    const empty = spawnSync(process.execPath, none, { input: '' });
    expect(empty.stderr.toString()).toMatch(/^natsearch: stdin is empty/);
    expect([empty.status, existsSync(`${out}-empty`)]).toEqual([1, false]);
  }, 60_000);

  it('leaves the old checkpoint intact if the disk is full', async () => {
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
});
