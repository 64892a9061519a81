/** Pipes whose other end is not opened: a command refuses them or waits, and a signal ends the wait at once. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { writeFileAtomic } from '../src/files/atomic.ts';
import { appendText } from '../src/files/files.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { some, THOROUGH } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 64, bos_token_id: 256, eos_token_id: 257, tie_word_embeddings: true,
});
const small = [
  '--text', '../text.txt', '--steps', '1', '--batch', '1', '--context', '16', '--threads', '1', '--hidden', '8',
  '--heads', '1', '--kv-heads', '1', '--layers', '1', '--intermediate', '8',
];

let root: string;
let folder: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-pipes-'));
  writeFileSync(join(root, 'text.txt'), 'The quick brown fox jumps over the lazy dog. '.repeat(8));
  await writeModelFolder(join(root, 'model'), config, initialWeights(config, 1));
  const weights = new Map([['model.layers.0.self_attn.proj_layer.weight', { data: new Float64Array(24), shape: [3, 8] }]]);
  await writeAdapter(join(root, 'adapter'), {
    baseModel: 'model', base: baseFields(config), window: 8, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.3, kept: 0.3, keptByLayer: [0.3], context: 64, steps: 1, seed: 0, packageVersion: '0', weights,
  });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (folder = mkdtempSync(join(root, 'case-'))));

const at = (...names: string[]): string => join(folder, ...names);
const pipe = (...names: string[]): void => void execFileSync('mkfifo', [at(...names)]);

interface Ended { code: number | null; signal: NodeJS.Signals | null; stderr: string; seconds: number }

/** Runs the command; after `ms` it gets SIGTERM, and ten seconds later SIGKILL. `seconds` count from SIGTERM. */
function natsearch(args: readonly string[], ms: number = 20_000): Promise<Ended> {
  const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: ['pipe', 'ignore', 'pipe'] });
  let [stderr, asked] = ['', 0];
  child.stderr.on('data', (data: Buffer) => void (stderr += data.toString()));
  const term = setTimeout(() => {
    asked = performance.now();
    child.kill('SIGTERM');
  }, ms);
  const kill = setTimeout(() => child.kill('SIGKILL'), ms + 10_000);
  return new Promise((resolve) => child.on('close', (code, signal) => {
    clearTimeout(term);
    clearTimeout(kill);
    resolve({ code, signal, stderr, seconds: asked === 0 ? 0 : (performance.now() - asked) / 1000 });
  }));
}

/** Ended with an exit code, or, if Node waits in a system call, by the signal itself. Shells report 143 for both. */
const isStopped = ({ code, signal }: Ended): boolean => code === 143 || signal === 'SIGTERM';

describe.skipIf(process.platform === 'win32')('a pipe in the place of a file that is to be written', () => {
  it.each(some(3, [
    ['train', 'log.jsonl', small], ['train', 'training-state.safetensors', [...small, '--force']],
    ['train', 'training-state.safetensors', [...small, '--resume']],
    ['finetune', 'adapter_config.json', ['--model', '../model', ...small.slice(0, 10)]],
    ['recall write', 'train.txt', ['--documents', '1', '--tests', '1']], ['vectors', 'manifest.json', []],
  ] as const))('is refused by %s: %s', async (command, name, args) => {
    mkdirSync(at('out'));
    pipe('out', name);
    const { code, stderr } = await natsearch([...command.split(' '), ...args, '--out', 'out']);
    expect(stderr).toBe(`natsearch: ${join('out', name)} is a pipe, and a file is written there: remove it, or choose another folder\n`);
    expect(code).toBe(1);
    expect(readdirSync(at('out'))).toEqual([name]);
  });

  it('that took the place of the log later is refused too if it has no reader', async () => {
    pipe('log');
    await expect(appendText(at('log'), 'line\n')).rejects.toThrow(/cannot write .*log: nothing reads what is written there/);
  });
});

describe.skipIf(process.platform === 'win32')('a pipe that is named as the output', () => {
  it('receives all of a content larger than its buffer, as fast as its reader reads', async () => {
    pipe('pipe');
    const content = new Uint8Array(1 << 20).map((_, n) => n % 251);
    const slow = 'sleep 0.3; head -c 100000; sleep 0.3; cat';
    const reading = new Promise<Buffer>((resolve) => {
      execFile('sh', ['-c', `(${slow}) < pipe`], { cwd: folder, encoding: 'buffer', maxBuffer: 1 << 22 }, (_, out) => resolve(out));
    });
    await writeFileAtomic(at('pipe'), content);
    expect((await reading).equals(content)).toBe(true);
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
  });

  if (THOROUGH) it('and has no reader is waited for, and SIGTERM ends the wait', async () => {
    pipe('pipe');
    const ended = await natsearch(['export', '--adapter', '../adapter', '--out', 'pipe'], 4000);
    const { stderr, seconds } = ended;
    expect([isStopped(ended), stderr]).toEqual([true, 'natsearch: stopped by SIGTERM\n']);
    expect(seconds).toBeLessThan(5);
  });
});

describe.skipIf(process.platform === 'win32')('a pipe to be read that has no writer', () => {
  if (THOROUGH) it('is waited for, like a silent stdin, and SIGTERM ends the wait', async () => {
    pipe('pipe');
    const model = ['--model', '../model'];
    const all = [
      ['eval', ...model, '--text', 'pipe'], ['eval', ...model, '--text', '-'],
      ['start', ...model, '--dense', '../model', '--text', 'pipe'], ['generate', ...model, '--prompt-file', 'pipe'],
      ['train', '--text', 'pipe', '--out', 'out'],
      ['recall', 'test', ...model, '--questions', 'pipe'],
    ];
    const ended = await Promise.all(all.map(async (args) => [args, await natsearch(args, 4000)] as const));
    for (const [args, each] of ended) {
      const { stderr, seconds } = each;
      expect([args, isStopped(each)]).toEqual([args, true]);
      expect(stderr).toMatch(/^natsearch: (stopped by SIGTERM|reading of (pipe|stdin) was stopped)\n$/);
      expect(seconds).toBeLessThan(5);
    }
    expect(readdirSync(folder, { recursive: true }).sort()).toEqual(['out', 'pipe']); // without a lock
  });

  it('is read like a file once it has a writer', async () => {
    pipe('pipe');
    execFile('sh', ['-c', '(head -c 100 ../text.txt; sleep 0.3; tail -c +101 ../text.txt) > pipe'], { cwd: folder });
    const run = (text: string) => natsearch(['train', ...small, '--text', text, '--out', `of-${text.replace(/\W/g, '')}`]);
    expect((await run('pipe')).code).toBe(0);
    expect((await run('../text.txt')).code).toBe(0);
    const weights = (name: string): Buffer => readFileSync(at(name, 'model.safetensors'));
    expect(weights('of-pipe').equals(weights('of-texttxt'))).toBe(true);
  });
});
