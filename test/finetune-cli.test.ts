/** `natsearch finetune` and `export` as processes: files, threads, Ctrl-C, refusals before anything is written. */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkAdapter, readAdapter } from '../src/model/folder/adapter.ts';
import { readModelFolder, writeModelFolder } from '../src/model/folder/model-folder.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/formats/safetensors.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { bytes, natsearch, steps } from './support/run-command.ts';
import { some, THOROUGH } from './support/thorough.ts';

const FILES = ['adapter_config.json', 'adapter_model.safetensors', 'finetune-state.safetensors', 'log.jsonl'];
const config = parseConfig({
  vocab_size: 258, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
});

/** A model in the form of published ones: biases, half precision, a tokenizer of its own. */
const publishedConfig = parseConfig({
  model_type: 'qwen2', vocab_size: 1056, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 32, bos_token_id: 1, eos_token_id: [2, 3],
});
const tokenizer = fileURLToPath(new URL('./fixtures/hf/tokenizers/sentencepiece/tokenizer.json', import.meta.url));

let root: string;
let base: string;
let published: string;
let out: string;
let text: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-finetune-'));
  text = join(root, 'text.txt');
  writeFileSync(text, 'The quick brown fox jumps over the lazy dog. '.repeat(10));
  base = join(root, 'base');
  await writeModelFolder(base, config, initialWeights(config, 1));
  published = join(root, 'published');
  await writeModelFolder(published, publishedConfig, initialWeights(publishedConfig, 1), { dtype: 'F16' });
  copyFileSync(tokenizer, join(published, 'tokenizer.json'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => void (out = join(mkdtempSync(join(root, 'run-')), 'out')));

const finetune = (folder: string, ...more: string[]): string[] =>
  ['finetune', '--model', base, '--text', text, '--out', folder, '--batch', '2', ...more];
const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');

describe('natsearch finetune', () => {
  it('writes an adapter for its base, a state and a log, and does not change the base', async () => {
    const before = hash(join(base, 'model.safetensors'));
    const held = ['--validation', text, '--validation-tokens', '40'];
    const { code, stdout, stderr } = await natsearch(finetune(out, '--steps', '4', '--keep', '0.3', '--chunk', '2', '--local-window', '7', ...held, '--json'));
    expect(stderr).toMatch(/step 4: validation loss \d+\.\d\d% over 40 tokens, kept \d+\.\d%/);
    expect(stderr).toMatch(/fine-tuned 4 steps into .*: keeps \d+\.\d%/);
    expect(code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(FILES);
    expect(steps(out)).toEqual([1, 2, 3, 4]);
    const adapter = await readAdapter(out);
    expect(adapter).toMatchObject({ baseModel: 'base', window: 2, localWindow: 7, chunk: 2, targetKeep: 0.3, context: 32, steps: 4, seed: 0 });
    expect(adapter.lambda).toBeGreaterThan(0);
    const { kept, keptByLayer } = adapter;
    expect(JSON.parse(stdout)).toMatchObject({ step: 4, measured: { kept, keptByLayer } });
    expect(() => checkAdapter(adapter, config)).not.toThrow();
    expect([...adapter.weights.values()].flatMap(({ data }) => [...data]).some((x) => x !== 0)).toBe(true);
    expect(hash(join(base, 'model.safetensors'))).toBe(before);
    await readModelFolder(base);
  }, 60_000);

  it.each(some(1, ['published', 'base']))('writes the same bytes on any number of threads (%s)', async (model) => {
    const run = (folder: string, threads: string) => natsearch([
      'finetune', '--model', join(root, model), '--text', text, '--out', folder, '--batch', '3', '--steps', '3',
      '--threads', threads,
    ]);
    expect(await run(out, '1')).toMatchObject({ code: 0 });
    expect(await run(`${out}-3`, '3')).toMatchObject({ code: 0, stdout: '' });
    for (const file of FILES.slice(0, 3)) expect(bytes(`${out}-3`, file).equals(bytes(out, file)), file).toBe(true);
  }, 60_000);

  it.each(some(1, ['2', '1']))('ends with the named error of a sequence on %s threads', async (threads) => {
    const broken = join(mkdtempSync(join(root, 'broken-')), 'base');
    const weights = initialWeights(config, 1);
    await writeModelFolder(broken, config, weights);
    weights.get('model.embed_tokens.weight')!.data.fill(NaN);
    const tensors = [...weights].map(([name, each]) => [name, { ...each, dtype: 'F32' }] as const);
    writeFileSync(join(broken, 'model.safetensors'), encodeSafetensors(tensors));
    const args = ['--text', text, '--out', out, '--batch', '2', '--threads', threads];
    const { code, stderr } = await natsearch(['finetune', '--model', broken, ...args]);
    expect(stderr).toMatch(/^natsearch: step 1: [^\n]* the weight 'model\.embed_tokens\.weight' holds NaN[^\n]*\n$/);
    expect(code).toBe(1);
  });

  if (THOROUGH) it('saves at Ctrl-C, says how to resume, and resumes on other threads with the bytes of an uninterrupted run', async () => {
    const options = ['--steps', '60', '--save-every', '1000'];
    const log = join(out, 'log.jsonl');
    const interruptWhen = () => existsSync(log) && readFileSync(log, 'utf8').split('\n').length > 3;
    const stopped = await natsearch(finetune(out, ...options, '--threads', '2'), { interruptWhen });
    expect(stopped.code).toBe(130);
    expect(stopped.stderr).toMatch(/saved in .*--resume/);
    expect(readdirSync(out).sort()).toEqual(FILES);
    expect((await readAdapter(out)).steps).toBe(steps(out).length);
    expect(steps(out).length).toBeLessThan(60);
    expect(await natsearch(finetune(out, ...options, '--threads', '1', '--resume'))).toMatchObject({ code: 0 });
    expect(steps(out)).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
    expect(await natsearch(finetune(`${out}-whole`, ...options))).toMatchObject({ code: 0 });
    for (const file of FILES.slice(0, 3)) {
      expect(bytes(out, file).equals(bytes(`${out}-whole`, file)), file).toBe(true);
    }
  }, 120_000);

  it('refuses, in one line and before anything is written, what no run can use', async () => {
    const latin = join(root, 'latin1.txt');
    writeFileSync(latin, Buffer.from([0x63, 0x61, 0x66, 0xe9]));
    const searched = join(root, 'searched');
    const nats = parseConfig({ ...JSON.parse(readFileSync(join(base, 'config.json'), 'utf8')) as object, nats: { window: 4 } });
    await writeModelFolder(searched, nats, initialWeights(nats, 1));
    const cases: [string[], RegExp, number][] = [
      [['finetune', '--model', base, '--text', latin, '--out', out], /latin1\.txt is not UTF-8 text/, 1],
      [['finetune', '--model', join(root, 'bose'), '--text', text, '--out', out], /did you mean .*base\?/, 1],
      [['finetune', '--model', base, '--text', join(root, 'nowhere'), '--out', out], /nowhere/, 1],
      [['finetune', '--model', searched, '--text', text, '--out', out], /already has learned types/, 1],
      [finetune(out, '--context', '5000'), /452 tokens but a context of 5000 needs 5001/, 1],
      [finetune(out, '--keep', '0.2', '--lambda', '0.1'), /--keep 0\.2 steers lambda and --lambda 0\.1 fixes it/, 2],
      [finetune(out, '--keep', '1'), /argument '1' is invalid\. It must be a share between 0 and 1/, 2],
      [finetune(out, '--keep', '0'), /argument '0' is invalid\. It must be a share between 0 and 1/, 2],
      [finetune(out, '--lr', '0'), /argument '0' is invalid\. It must be a number above 0/, 2],
      [finetune(out, '--keep', 'much'), /--keep.*'much' is invalid/, 2],
      [finetune(out, '--window', '1.5'), /--window.*'1\.5' is invalid/, 2],
      [finetune(out, '--temperature', '0'), /--temperature.*above 0/, 2],
      [finetune(out, '--context', '8', '--chunk', '4'), /a context of 8 tokens has no chunk of 4/, 2],
      [finetune(base), /is the model's own folder/, 2],
      [finetune(out, '--pooling', 'sum'), /Allowed choices are mean, max/, 2],
      [finetune(out, '--threads', '0'), /--threads.*'0' is invalid/, 2],
    ];
    for (const [args, message, exit] of some(5, cases)) {
      const { code, stderr } = await natsearch(args);
      expect(stderr).toMatch(message);
      expect(stderr.trim()).toMatch(/^natsearch: [^\n]*$/);
      expect(code).toBe(exit);
      expect(existsSync(out), 'nothing half-written').toBe(false);
    }
  }, 60_000);
});

describe('natsearch export', () => {
  it('writes only the scorers, in float32, under the authors\' names', async () => {
    expect(await natsearch(finetune(out, '--steps', '1'))).toMatchObject({ code: 0 });
    const file = join(out, 'authors.safetensors');
    expect(await natsearch(['export', '--adapter', out, '--format', 'authors', '--out', file]))
      .toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^2 scorers in .*authors\.safetensors\n$/) });
    const { tensors } = decodeSafetensors(readFileSync(file));
    const { weights } = await readAdapter(out);
    expect([...tensors.keys()]).toEqual([0, 1].map((n) => `model.layers.${n}.self_attn.proj_layer.weight`));
    for (const [key, { data, dtype, shape }] of tensors) {
      expect({ data, dtype, shape }).toEqual({ ...weights.get(key)!, dtype: 'F32' });
    }
  }, 60_000);

  it('refuses formats and folders that it does not know', async () => {
    const none = await natsearch(['export', '--adapter', base, '--out', join(root, 'x')]);
    expect([none.code, none.stderr]).toEqual([1, expect.stringMatching(/has no adapter_config\.json/)]);
    const format = await natsearch(['export', '--adapter', base, '--format', 'onnx', '--out', join(root, 'x')]);
    expect([format.code, format.stderr]).toEqual([2, expect.stringMatching(/'onnx' is invalid/)]);
    expect(existsSync(join(root, 'x'))).toBe(false);
  });
});
