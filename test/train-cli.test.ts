/** `natsearch train` as a process: files, threads, resuming, refusals. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.ts';
import { loadCheckpoint } from '../src/train/checkpoint.ts';
import { bytes, natsearch, steps } from './support/run-command.ts';
import { some, THOROUGH } from './support/thorough.ts';

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

  it.each(some(1, ['streaming:2+4', 'full', 'window:4']))('trains the fixed pattern %s', async (types) => {
    expect(await natsearch(train(out, '--steps', '1', '--batch', '1', '--types', types))).toMatchObject({ code: 0 });
    const model = await loadModel(out);
    expect(model.config.nats.policy).toBe(types);
    expect([...model.weights.keys()].some((name) => name.includes('proj_layer'))).toBe(false);
    model.dispose();
  });

  if (THOROUGH) {
    it('takes the tokenizer of a model, and begins with the weights of one', async () => {
      const base = fileURLToPath(new URL('../models/base', import.meta.url));
      const few = ['--steps', '1', '--batch', '1'];
      expect(await natsearch(train(out, ...few, '--tokenizer', base, '--types', 'full'))).toMatchObject({ code: 0 });
      expect(bytes(out, 'tokenizer.json').equals(bytes(base, 'tokenizer.json'))).toBe(true);
      const made = await loadModel(out);
      expect(made.config).toMatchObject({ vocabSize: 2048, hiddenSize: 16, bosTokenId: 0 });
      const next = `${out}-next`;
      // Its sizes are those of the first model, whatever the flags say, and types are new.
      expect(await natsearch(['train', '--text', text, '--out', next, ...few, '--context', '32', '--from', out, '--lr', '1e-9'])).toMatchObject({ code: 0 });
      const grown = await loadModel(next);
      expect(grown.config).toMatchObject({ vocabSize: 2048, hiddenSize: 16, layers: 1, nats: { policy: 'nats' } });
      for (const name of made.weights.keys()) {
        const both = [made, grown].map((each) => each.engine.read(each.weights.get(name)!));
        const [before, after] = await Promise.all(both);
        expect(Math.max(...before.map((x, n) => Math.abs(x - after[n]))), name).toBeLessThan(1e-6);
      }
      made.dispose();
      grown.dispose();
      const both = await natsearch(train(`${out}-2`, '--from', out, '--tokenizer', base));
      expect(both.stderr).toContain('brings its own tokenizer: leave out --tokenizer');
      // A finished run of this kind can be extended, too.
      const longer = ['train', '--text', text, '--context', '32', '--batch', '1', '--from', out, '--lr', '1e-9', '--out', next];
      expect(await natsearch([...longer, '--steps', '2', '--resume'])).toMatchObject({ code: 0 });
      expect(steps(next)).toEqual([1, 2]);
    }, 60_000);
  }

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

  it('ends with code 1 if the numbers diverge, says at which step, and leaves an intact checkpoint', async () => {
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

  it('prints and logs the loss on held-out text, and extends a finished run without changing its steps', async () => {
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
    // Without --lambda, so that the run's own value applies.
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

  it('refuses, in one line, folders it cannot write, short or missing text, and invalid numbers', async () => {
    const cases: [string[], RegExp, number][] = [
      [train(join(text, 'below')), /is a file, not a folder/, 1],
      [['train', '--text', join(root, 'nowhere'), '--out', out], /nowhere/, 1],
      [train(out, '--context', '5000'), /452 tokens but a context of 5000 needs 5001/, 1],
      [train(out, '--hidden', '15'), /--hidden \(15\) must be a multiple of --heads \(2\)/, 2],
      [train(out, '--lambda', 'abc'), /'--lambda <nats>' argument 'abc' is invalid\. It must be a number, 0 or more/, 2],
      [train(out, '--steps', '0'), /'--steps <n>' argument '0' is invalid\. It must be a whole number, 1 or more/, 2],
      [train(out, '--lr', '0'), /'--lr <rate>' argument '0' is invalid\. It must be a number above 0/, 2],
      [train(out, '--window', '1.5'), /'--window <tokens>' argument '1\.5' is invalid/, 2],
      [train(out, '--types', 'best'), /policy 'best'/, 2],
      [train(out, '--mask-gradient', 'none'), /argument 'none' is invalid\. Allowed choices are bounded, exact/, 2],
      [train(out, '--validate-every', '5'), /--validate-every 5 has nothing to validate on: add --validation PATH/, 2],
      [train(out, '--threads', '0'), /'--threads <n>' argument '0' is invalid/, 2],
    ];
    for (const [args, message, exit] of some(4, cases)) {
      const { code, stderr } = await natsearch(args);
      expect(stderr).toMatch(message);
      expect(stderr.trim()).toMatch(/^natsearch: [^\n]*$/);
      expect(code).toBe(exit);
      expect(existsSync(out), 'nothing half-written').toBe(false);
    }
  }, 60_000);
});
