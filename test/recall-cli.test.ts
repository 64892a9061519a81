/** `natsearch recall write` and `recall test` as processes: files, adapters, matched patterns, refusals. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, measureRecall, parsePolicy, type Recall, type RecallDocument } from '../src/index.ts';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { some } from './support/thorough.ts';

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const config = parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 300, bos_token_id: 256, eos_token_id: 257, tie_word_embeddings: true,
});

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-recall-'));
  await writeModelFolder(join(root, 'base'), config, initialWeights(config, 1));
  const name = 'model.layers.0.self_attn.proj_layer.weight';
  const data = Float64Array.from({ length: 24 }, (_, n) => Math.sin(n * n)); // any preferences will do
  await writeAdapter(join(root, 'adapter'), {
    baseModel: 'base', base: baseFields(config), window: 8, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.3, kept: 0.3, keptByLayer: [0.3], context: 300, steps: 1, seed: 0, packageVersion: '0',
    weights: new Map([[name, { data, shape: [3, 8] }]]),
  });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function natsearch(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [main, 'recall', ...args], { cwd: root, env: { ...process.env, NO_COLOR: '1' } });
  const ended = { code: null as number | null, stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => void (ended.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => void (ended.stderr += data.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ ...ended, code })));
}

const write = (out: string, ...more: string[]) =>
  natsearch('write', '--out', out, '--documents', '5', '--tests', '3', '--length', '200', ...more);
const questionsOf = (folder: string): RecallDocument[] =>
  readFileSync(join(root, folder, 'questions.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as RecallDocument);

describe('natsearch recall', () => {
  it('writes training text, and questions that it does not contain, with the same bytes for the same seed', async () => {
    const { code, stdout } = await write('one');
    expect(stdout).toMatch(/^5 documents in one\/train\.txt, 3 questions in one\/questions\.jsonl\n$/);
    expect(code).toBe(0);
    const text = readFileSync(join(root, 'one/train.txt'), 'utf8');
    expect(text.trim().split('\n')).toHaveLength(5);
    for (const { prompt, answer } of questionsOf('one')) {
      expect(prompt).toContain(`The pass key is ${answer}. `);
      expect(text).not.toContain(prompt);
    }
    await write('two');
    await write('three', '--seed', '1');
    for (const file of ['train.txt', 'questions.jsonl']) {
      const [one, two, three] = ['one', 'two', 'three'].map((folder) => readFileSync(join(root, folder, file), 'utf8'));
      expect(two).toBe(one);
      expect(three).not.toBe(one);
    }
  });

  it('cuts filler from texts', async () => {
    writeFileSync(join(root, 'filler.txt'), 'Call me Ishmael. '.repeat(40));
    const { code, stderr } = await write('filled', '--filler', 'filler.txt');
    expect([code, stderr]).toEqual([0, '']);
    for (const { prompt } of questionsOf('filled')) expect(prompt).toMatch(/Call me Ishmael\. /);
  });

  it('tests an adapter, and patterns that keep as much; --json prints what measureRecall() returns', async () => {
    await write('asked');
    const args = ['test', '--model', 'base', '--adapter', 'adapter', '--questions', 'asked/questions.jsonl', '--match', 'window', 'streaming', 'h2o', '--cache', 'f16'];
    const [json, text] = await Promise.all([natsearch(...args, '--json'), natsearch(...args, '--max-documents', '2')]);
    type Document = { results: Recall[]; match: { policy: string; by: string }[] };
    const { results, match } = JSON.parse(json.stdout) as Document;
    const kinds = results.map(({ policy }) => policy.split(':')[0]);
    expect(kinds.slice(0, 2)).toEqual(['nats', 'full']);
    expect(new Set(kinds.slice(2))).toEqual(new Set(['window', 'streaming', 'h2o', 'growing']));
    const model = await loadModel(join(root, 'base'), { adapter: join(root, 'adapter') });
    for (const result of results) {
      expect(result).toEqual(await measureRecall(model, questionsOf('asked'), { policy: parsePolicy(result.policy), cache: 'f16' }));
    }
    model.dispose();
    const near = (a: number, b: number) => expect(Math.abs(a - b)).toBeLessThan(0.02);
    for (const { policy, by } of match) {
      const result = results.find((each) => each.policy === policy)!;
      if (by !== 'end') near(result.meanLiveShare, results[0].meanLiveShare);
      if (by !== 'mean') near(result.residentShare, results[0].residentShare);
    }
    expect(match.map(({ by }) => by)).toEqual(['mean', 'end', 'both'].flatMap((by) => [by, by, by]));
    expect(text.stdout).toMatch(/^base: 2 questions\n\npolicy +same +nats vs\. +s\.e\. +right +tokens right +at \d+ /);
    expect(text.stdout).toMatch(/\n-[- ]+\nnats +\d+\.\d% /);
    expect([json.code, text.code]).toEqual([0, 0]);
  });

  it.each(some<[string, string[], RegExp]>(2, [
    ['a mistyped path', ['--model', 'base', '--questions', 'askd/questions.jsonl'], /askd\/questions\.jsonl/],
    ['a file without questions', ['--model', 'base', '--questions', 'empty.jsonl'], /empty\.jsonl is empty: write/],
    ['questions that are none', ['--model', 'base', '--questions', 'broken.jsonl'], /broken\.jsonl line 2 is not a question/],
    ['an adapter that is not there', ['--model', 'base', '--adapter', 'adaptor', '--questions', 'good.jsonl'], /adaptor/],
    ['--match without learned types', ['--model', 'base', '--questions', 'good.jsonl', '--match'], /--match compares with learned types/],
  ]))('refuses %s by name', async (_, args, message) => {
    const good = JSON.stringify({ prompt: 'The pass key is 1. The pass key is ', answer: '1', distance: 35 });
    writeFileSync(join(root, 'empty.jsonl'), '\n');
    writeFileSync(join(root, 'good.jsonl'), `${good}\n`);
    writeFileSync(join(root, 'broken.jsonl'), `${good}\n${good.slice(0, 20)}\n`);
    const { code, stdout, stderr } = await natsearch('test', ...args);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(1);
    expect(stdout).toBe('');
  });
});
