/** Folders as published on the command line: inspected, continued and evaluated, or refused in one line. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseFields, writeAdapter } from '../src/model/folder/adapter.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { loadModel } from '../src/load.ts';
import { expectedWeights, parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { ndarray, sizeOf } from '../src/core/tensor.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const fixtures = fileURLToPath(new URL('./fixtures/hf/', import.meta.url));
const CONFIG = {
  model_type: 'mistral', vocab_size: 1056, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2,
  num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64, sliding_window: 24, bos_token_id: 1,
  eos_token_id: 2,
};

interface Result { readonly code: number; readonly stdout: string; readonly stderr: string }
const natsearch = (...args: string[]): Promise<Result> => new Promise((resolve) => {
  execFile(process.execPath, [MAIN, ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
    resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
  });
});

let folder = '';
const path = (name: string): string => join(folder, name);
const config = parseConfig(CONFIG);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'natsearch-hf-cli-'));
  await writeModelFolder(path('base'), config, initialWeights(config, 1), { dtype: 'F16' });
  await cp(`${fixtures}tokenizers/sentencepiece/tokenizer.json`, path('base/tokenizer.json'));
  const scorer = ndarray(Float64Array.from({ length: 6 * 8 }, (_, n) => Math.sin(12.9898 * (n + 1))), [6, 8]);
  await writeAdapter(path('adapter'), {
    baseModel: 'base', base: baseFields(config), window: 6, chunk: 1, pooling: 'mean', temperature: 1, lambda: 0.1,
    targetKeep: 0.25, kept: 0.25, keptByLayer: [0.1, 0.4], context: 64, steps: 1, seed: 0, packageVersion: '0',
    weights: new Map([0, 1].map((n) => [`model.layers.${n}.self_attn.proj_layer.weight`, scorer])),
  });
  await writeFile(path('text.txt'), 'It was a damp, drizzly November in my soul — naïve, perhaps.\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('natsearch inspect', () => {
  it('prints what the folder contains, and the bytes that a cache will take', async () => {
    const { code, stdout, stderr } = await natsearch('inspect', '--model', path('base'), '--json');
    const report = JSON.parse(stdout) as Record<string, unknown>;
    const parameters = [...expectedWeights(config).values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
    expect(report).toMatchObject({
      architecture: 'MistralForCausalLM', parameters, stored: { F16: 2 * parameters }, files: 1, kept: null,
      tokenizer: { kind: 'tokenizer.json', tokens: 1056 },
    });
    // What the cache itself reports: when the next token comes, 23 of the 24 tokens in the model's window are old ones.
    const model = await loadModel(path('base'));
    const session = model.session({ blockSize: 1 });
    await session.step(Int32Array.from({ length: 40 }, () => 5));
    const bytes = (await session.stats()).flatMap((layer) => [...layer.bytes]).reduce((a, b) => a + b);
    const cache = report['cache'] as { policy: string; tokens: number; bytes: number }[];
    expect(cache.find(({ policy, tokens }) => policy === 'full' && tokens === 4096)!.bytes).toBe(bytes);
    expect(report['bytesPerToken']).toBe(bytes / 23);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('adds what an adapter keeps, layer by layer', async () => {
    const { stdout } = await natsearch('inspect', '--model', path('base'), '--adapter', path('adapter'));
    expect(stdout).toMatch(/^\S+base: MistralForCausalLM, [\d,]+ parameters\n/);
    expect(stdout).toMatch(/kept +25\.0% at 64 tokens; by layer 10\.0% 40\.0%/);
    expect(stdout).toMatch(/^cache +4k tokens +32k tokens +128k tokens\n/m);
    for (const policy of ['full', 'window:6', 'nats']) expect(stdout).toMatch(new RegExp(`^${policy} +[\\d.]+ \\w+ +`, 'm'));
  });
});

describe('a folder as published', () => {
  it('is continued and evaluated, with and without its adapter', async () => {
    for (const more of [[], ['--adapter', path('adapter')]]) {
      const asked = ['--model', path('base'), ...more, '--json'];
      const made = await natsearch('generate', ...asked, '--prompt', 'naïve', '--max-new-tokens', '5');
      expect(made.stderr).toBe('');
      const policy = more.length > 0 ? 'nats' : 'full';
      expect(JSON.parse(made.stdout)).toMatchObject({ policy, newTokens: expect.any(Number) as number });
      const measured = await natsearch('eval', ...asked, '--text', path('text.txt'), '--policy', policy, '--step', '4');
      const { results } = JSON.parse(measured.stdout) as { results: { perplexity: number; bitsPerByte: number }[] };
      expect(results[0].perplexity).toBeGreaterThan(900); // untrained: about the 1056 tokens of the vocabulary
      expect(results[0].perplexity).toBeLessThan(1200);
      expect(Number.isFinite(results[0].bitsPerByte)).toBe(true);
    }
  });

  it.each([
    ['generate', '--prompt', 'x'], ['eval', '--text', 'TEXT'],
  ])('is refused by %s if it has no tokenizer', async (command, flag, value) => {
    const text = value === 'TEXT' ? path('text.txt') : value;
    const { code, stdout, stderr } = await natsearch(command, '--model', `${fixtures}models/mistral-full`, flag, text);
    expect(stderr).toMatch(/^natsearch: the model has 89 tokens but no tokenizer\.json[^\n]+\n$/);
    expect(stdout).toBe('');
    expect(code).toBe(1);
  });
});
