/** If stdout or stderr cannot be written, the command prints one line, and never a stack trace. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { encodeSafetensors } from '../src/formats/safetensors.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { THOROUGH } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const FULL = '/dev/full'; // every write to it fails with ENOSPC
const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 300, bos_token_id: 256, eos_token_id: 257, tie_word_embeddings: true,
});

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-stdout-'));
  await writeModelFolder(join(root, 'model'), config, initialWeights(config, 1));
  const data = Float64Array.from({ length: 24 }, (_, n) => Math.sin(n));
  await writeAdapter(join(root, 'adapter'), {
    baseModel: 'model', base: baseFields(config), window: 8, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.3, kept: 0.3, keptByLayer: [0.3], context: 300, steps: 1, seed: 0, packageVersion: '0',
    weights: new Map([['model.layers.0.self_attn.proj_layer.weight', { data, shape: [3, 8] }]]),
  });
  writeFileSync(join(root, 'text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
  const out = { data: new Float64Array(8), shape: [1, 2, 1, 4], dtype: 'F32' as const };
  writeFileSync(join(root, 'one-token.safetensors'), encodeSafetensors([['out', out]]));
  const question = { prompt: 'The pass key is 1. The pass key is ', answer: '1', distance: 35 };
  writeFileSync(join(root, 'questions.jsonl'), `${JSON.stringify(question)}\n`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Ended { code: number | null; stdout: string; stderr: string }

/** Runs the command with stdout or stderr redirected to `to`, or closed; the other one is a pipe. */
function natsearch(args: readonly string[], to: { stdout?: string; stderr?: string } = {}): Promise<Ended> {
  const fds = [to.stdout, to.stderr].map((path) => (path === undefined ? 'pipe' : openSync(path, 'w')));
  const child = spawn(process.execPath, [main, ...args], { cwd: root, stdio: ['ignore', ...fds] });
  const ended: Ended = { code: null, stdout: '', stderr: '' };
  child.stdout?.on('data', (data: Buffer) => void (ended.stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => void (ended.stderr += data.toString()));
  return new Promise((resolve) => child.on('close', (code) => {
    for (const fd of fds) if (typeof fd === 'number') closeSync(fd);
    resolve({ ...ended, code });
  }));
}

const text = ['--text', 'text.txt'];
const small = ['--steps', '1', '--batch', '1', '--context', '16', '--threads', '1'];
const sizes = ['--hidden', '8', '--heads', '1', '--kv-heads', '1', '--layers', '1', '--intermediate', '8'];
const quick: string[][] = [
  ['--help'], ['eval', '--help'], ['--version'],
  ['eval', '--model', 'model', ...text, '--max-tokens', '20', '--policy', 'full', '--json'],
  ['generate', '--model', 'model', '--prompt', 'a', '--max-new-tokens', '20'],
];
const others: string[][] = [
  ['help'], ['recall', '--help'],
  ['eval', '--model', 'model', ...text, '--max-tokens', '20', '--policy', 'full'],
  ['generate', '--model', 'model', '--prompt', 'a', '--max-new-tokens', '20', '--json'],
  ['inspect', '--model', 'model'], ['inspect', '--model', 'model', '--json'],
  ['recall', 'test', '--model', 'model', '--questions', 'questions.jsonl'],
  ['recall', 'test', '--model', 'model', '--questions', 'questions.jsonl', '--json'],
  ['recall', 'write', '--out', 'recall', '--documents', '1', '--tests', '1'],
  ['recall', 'write', '--out', 'recall-json', '--documents', '1', '--tests', '1', '--json'],
  ['export', '--adapter', 'adapter', '--out', 'scorers.safetensors'],
  ['start', '--model', 'model', '--dense', 'model', ...text, '--max-new-tokens', '3'],
  ['start', '--model', 'model', '--dense', 'model', ...text, '--max-new-tokens', '3', '--json'],
  ['train', ...text, '--out', 'trained', ...small, ...sizes, '--json'],
  ['finetune', '--model', 'model', ...text, '--out', 'finetuned', ...small, '--json'],
  ['vectors', '--out', 'vectors'], ['vectors', '--out', 'vectors', '--json'],
  ['verify', 'one-token.safetensors', '--vectors', 'vectors'],
  ['verify', 'one-token.safetensors', '--vectors', 'vectors', '--json'],
];

describe.skipIf(!existsSync(FULL))('a full disk under stdout', () => {
  it.each(THOROUGH ? [...quick, ...others] : quick)('makes natsearch %s %s %s fail, in one line', async (...args) => {
    const { code, stderr } = await natsearch(args, { stdout: FULL });
    const line = 'natsearch: cannot write the results to stdout: no space left on the device';
    expect(stderr.trimEnd().split('\n').at(-1)).toBe(line);
    expect(stderr).not.toMatch(/^ +at /m);
    expect(code).toBe(1);
  });

  it('does not change the exit code for a wrong flag, also if stderr is on it', async () => {
    expect(await natsearch(['eval', '--modle', 'x'], { stdout: FULL })).toMatchObject({ code: 2 });
    expect(await natsearch(['eval', '--modle', 'x'], { stderr: FULL })).toMatchObject({ code: 2, stdout: '' });
  });

  it('does not keep a training from being saved if stderr is on it', async () => {
    const args = ['train', ...text, '--out', 'silent', ...small, ...sizes, '--json'];
    const { code, stdout } = await natsearch(args, { stderr: FULL });
    expect(JSON.parse(stdout)).toMatchObject({ step: 1 });
    expect(code).toBe(0);
    expect(existsSync(join(root, 'silent/model.safetensors'))).toBe(true);
  });
});

describe('a stdout that is not open for writing', () => {
  /** `redirect` is the redirection in shell syntax. */
  const shell = (redirect: string): Promise<Ended> => {
    const child = spawn('sh', ['-c', `"$0" "$1" --version ${redirect}`, process.execPath, main], { cwd: root });
    const ended: Ended = { code: null, stdout: '', stderr: '' };
    child.stdout.on('data', (data: Buffer) => void (ended.stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => void (ended.stderr += data.toString()));
    return new Promise((resolve) => child.on('close', (code) => resolve({ ...ended, code })));
  };

  it('causes one line', async () => {
    expect(await shell('1</dev/null')).toEqual({
      code: 1, stdout: '', stderr: 'natsearch: cannot write the results to stdout: it is not open for writing\n',
    });
  });

  it('causes no stack trace if it was closed', async () => {
    expect((await shell('>&-')).stderr).not.toMatch(/^ +at /m);
    expect((await shell('>&- 2>&-')).stdout).toBe('');
  });
});
