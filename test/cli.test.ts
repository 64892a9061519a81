/** The command as users run it: a process, its two streams, its exit code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { entryBytes } from '../src/core/cache.ts';
import {
  type Difference, evaluate, type Evaluation, loadModel, parsePolicy, perplexityDifference, tokenizeDocuments,
} from '../src/index.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import type { ModelConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { some } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const TEXT = 'It was a damp, drizzly November in my soul; and I quietly took to the ship.\n';
const ESCAPE = '\u001b';
const COMMANDS = [
  'start', 'train', 'finetune', 'export', 'eval', 'generate', 'chat', 'inspect', 'plan', 'vectors', 'verify',
];

let folder = '';
const path = (...names: string[]) => join(folder, ...names);

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): { child: ChildProcess; result: Promise<Result> } {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env: { ...process.env, ...env } });
  const result = new Promise<Result>((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, result };
}

const natsearch = (...args: string[]) => start(args).result;

function config(policy: string): ModelConfig {
  return {
    vocabSize: 258, hiddenSize: 8, intermediateSize: 12, layers: 2, heads: 2, kvHeads: 1, headDim: 4,
    maxPositions: 32, rmsNormEpsilon: 1e-5, ropeTheta: 10000, tieWordEmbeddings: true, bosTokenId: 256, eosTokenId: 257,
    nats: { policy, window: policy === 'nats' ? 3 : 0, chunk: 1, pooling: 'mean', lambda: 0.1, temperature: 1 },
  };
}

/** A tiny untrained model with varied scorers, so that every type occurs. */
async function writeModel(name: string, policy: string): Promise<void> {
  const weights = initialWeights(config(policy), 1);
  for (const [weight, { data }] of weights) {
    if (weight.endsWith('proj_layer.weight')) data.forEach((_, n) => (data[n] = Math.sin(12.9898 * (n + 1))));
  }
  await mkdir(path(name), { recursive: true });
  await writeModelFolder(path(name), config(policy), weights);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'natsearch-cli-'));
  await mkdir(path('models'));
  await writeModel('models/nats', 'nats');
  await writeModel('models/full', 'full');
  await cp(path('models/nats'), path('models/truncated'), { recursive: true });
  const size = (await readFile(path('models/nats/model.safetensors'))).length;
  await truncate(path('models/truncated/model.safetensors'), size - 100);
  await mkdir(path('books/more'), { recursive: true });
  await writeFile(path('books/b.txt'), TEXT);
  await writeFile(path('books/a.txt'), TEXT);
  await writeFile(path('books/more/c.txt'), TEXT);
  await writeFile(path('books/notes.html'), 'neither .txt nor .md');
  await writeFile(path('empty.txt'), '');
  await writeFile(path('latin1.txt'), Uint8Array.of(0x61, 0xe9, 0x62));
  await writeFile(path('long.txt'), TEXT.repeat(5000));
  await mkdir(path('nothing'));
});

afterAll(async () => rm(folder, { recursive: true, force: true }));

/** Expects a refusal: one line on stderr, nothing on stdout. */
async function expectRefusal(args: readonly string[], code: number, message: string | RegExp): Promise<void> {
  const result = await natsearch(...args);
  expect(result.stderr).toMatch(/^natsearch: [^\n]+\n$/);
  expect(result.stderr).toMatch(message);
  expect(result.stdout).toBe('');
  expect(result.code).toBe(code);
}

describe('natsearch --help', () => {
  test('lists the commands on stdout', async () => {
    const { code, stdout, stderr } = await natsearch('--help');
    const commands = [...stdout.matchAll(/^ {2}(\w+) \[options\] /gm)].map(([, name]) => name);
    expect(commands).toEqual(COMMANDS);
    expect(stdout).toMatch(/^ {2}recall /m); // it has commands of its own
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test.each(COMMANDS)('describes the flags of %s', async (command) => {
    const { code, stdout } = await natsearch(command, '--help');
    expect(stdout).toContain(`Usage: natsearch ${command}`);
    expect(stdout).toMatch(/^ {2}--\w/m);
    expect(code).toBe(0);
  });

  test('--version prints the version of the package', async () => {
    const manifest = await readFile(new URL('../package.json', import.meta.url), 'utf8');
    const { version } = JSON.parse(manifest) as { version: string };
    expect((await natsearch('--version')).stdout).toBe(`${version}\n`);
  });
});

describe('natsearch refuses wrong usage with exit code 2', () => {
  test('and suggests the nearest flag', () => {
    return expectRefusal(['eval', '--modle', 'models/nats'], 2, /unknown option '--modle' \(Did you mean --model\?\)/);
  });

  test('and suggests the nearest command', () => {
    return expectRefusal(['generat'], 2, /unknown command 'generat' \(Did you mean generate\?\)/);
  });

  test('and says which command help does not know, instead of the whole help', () => {
    return expectRefusal(['help', 'trian'], 2, /unknown command 'trian' \(Did you mean train\?\)/);
  });

  test('and names a required flag that is missing', () => {
    return expectRefusal(['generate', '--prompt', 'x'], 2, /required option '--model <dir>' not specified/);
  });

  test.each(some(4, [
    ['--top-k', '2.5', 'a whole number, 1 or more'],
    ['--top-k', '-1', 'a whole number, 1 or more'],
    ['--top-k', '0', 'a whole number, 1 or more'],
    ['--max-new-tokens', 'many', 'a whole number, 1 or more'],
    ['--max-new-tokens', '', 'a whole number, 1 or more'],
    ['--seed', '1e99', 'a whole number, 0 or more'],
    ['--temperature', '-0.5', 'a number, 0 or more'],
    ['--temperature', 'Infinity', 'a number, 0 or more'],
    ['--policy', 'window', 'window'],
    ['--policy', 'streaming:4', 'streaming'],
    ['--stop', '', 'a text of at least one character'],
  ]))('and names flag and value of %s %j', (flag, value, allowed) => {
    const args = ['generate', '--model', 'models/nats', '--prompt', 'x', flag, value];
    const named = `option '${flag} <.*argument '${value.replace('.', '\\.')}' is invalid\\.`;
    return expectRefusal(args, 2, new RegExp(`${named} .*${allowed}`));
  });

  test.each(some<[string, string[], RegExp]>(5, [
    ['an empty prompt', ['generate', '--model', 'models/nats', '--prompt', ''], /the prompt is empty: give --prompt/],
    ['no prompt', ['generate', '--model', 'models/nats'], /no prompt: give --prompt <text>, --prompt-file <path>, or -/],
    ['two prompts', ['generate', '--model', 'models/nats', '--prompt', 'x', '--prompt-file', 'y'], /both given: give only one/],
    ['log-probabilities in a text', ['generate', '--model', 'models/nats', '--prompt', 'x', '--logprobs', '1'], /needs --json/],
    ['an empty path', ['eval', '--model', '', '--text', 'books'], /option '--model <dir>' is empty: name a file or folder/],
    ['an empty path among others', ['eval', '--model', 'models/nats', '--text', 'books', ''], /'--text <path\.\.\.>' is empty/],
    ['--match among policies without nats', [
      'eval', '--model', 'nowhere', '--text', 'books', '--match', '--policy', 'full',
    ], /nats is not among the policies: add --policy nats/],
    ['documents too short for their facts', [
      'recall', 'write', '--out', 'x', '--kind', 'pairs', '--pairs', '9', '--length', '130',
    ], /no room for 9 facts/],
    ['an unknown format of export', [
      'export', '--adapter', 'x', '--out', 'x', '--format', 'onnx',
    ], /'onnx' is invalid\. Allowed choices are authors/],
    ['a kind that --match cannot match', [
      'eval', '--model', 'models/nats', '--text', 'books', '--match', 'full',
    ], /'--match \[kind\.\.\.\]' argument 'full' is invalid\. It must be streaming, window, h2o, .* or tova\./],
    ['an argument too many', ['inspect', '--model', 'models/nats', 'models/full'], /too many arguments/],
    ['a flag without its value', ['inspect', '--model'], /option '--model <dir>' argument missing/],
  ]))('for %s', (_, args, message) => expectRefusal(args, 2, message));
});

describe('natsearch refuses bad input with exit code 1', () => {
  const evaluating = (model: string, ...text: string[]) => ['eval', '--model', model, '--text', ...text];
  const nats = 'models/nats';

  test.each(some<[string, string[], RegExp]>(5, [
    ['a mistyped model folder', evaluating('models/natz', 'books'), /folder models\/natz: did you mean models\/nats\?/],
    ['a mistyped parent folder', evaluating('model/nats', 'books'), /folder model\/nats: did you mean models\/nats\?/],
    ['a model folder unlike any other', evaluating('elsewhere', 'books'), /folder elsewhere: pass a folder with config\.json/],
    ['a file as model folder', evaluating('empty.txt', 'books'), /empty\.txt is a file: pass a folder/],
    ['a truncated model file', evaluating('models/truncated', 'books'), /model\.safetensors/],
    ['a mistyped text', evaluating(nats, 'boks'), /no such file or folder boks: did you mean books\?/],
    ['an empty text', evaluating(nats, 'books', 'empty.txt'), /empty\.txt is empty: pass files with text in them/],
    ['a folder without texts', evaluating(nats, 'nothing'), /the folder nothing has no \.txt or \.md files/],
    ['text that is not UTF-8', evaluating(nats, 'latin1.txt'), /latin1\.txt is not UTF-8 text/],
    ['a dense twin that is not there', ['start', '--model', nats, '--dense', 'twin'], /no such folder twin/],
  ]))('%s', (_, args, message) => expectRefusal(args, 1, message));

  test('--match for a model without learned types, before any policy runs', () => {
    return expectRefusal([...evaluating('models/full', 'books'), '--match'], 1, /--match .* the model has none: pass --adapter/);
  });

  test('the policy nats for a model without scorers, before any policy runs', () => {
    return expectRefusal([...evaluating('models/full', 'books'), '--policy', 'full', 'nats'], 1, /needs token-type scorers/);
  });
});

describe('natsearch eval', () => {
  test('prints one row for each policy on stdout, and no colour', async () => {
    const { code, stdout, stderr } = await natsearch('eval', '--model', 'models/nats', '--text', 'books');
    for (const policy of ['nats', 'full', 'window:3', 'streaming:4\\+3']) {
      expect(stdout).toMatch(new RegExp(`^${policy} +\\d+\\.\\d+ .*%`, 'm'));
    }
    expect(stdout).not.toContain(ESCAPE);
    expect(stderr).not.toContain('perplexity');
    expect(code).toBe(0);
  });

  test('--json prints what evaluate() returns for the documents in the order of their paths', async () => {
    const policies = ['--policy', 'nats', 'full', '--policy', 'window:2'];
    const args = ['eval', '--model', 'models/nats', '--text', 'books', '--json', '--cache', 'f16'];
    const { code, stdout } = await natsearch(...args, ...policies);
    const document = JSON.parse(stdout) as { results: Record<string, unknown>[] };
    const model = await loadModel(path('models/nats'));
    const tokens = tokenizeDocuments(model.tokenizer, [TEXT, TEXT, TEXT]).subarray(1, -1);
    expect(document).toMatchObject({ tokens: tokens.length, context: 32, step: 1, parameters: model.parameters });
    expect(document.results.map(({ policy }) => policy)).toEqual(['nats', 'full', 'window:2']);
    for (const { msPerToken, ...result } of document.results) {
      const policy = parsePolicy(String(result['policy']));
      const { msPerToken: here, ...expected } = await evaluate(model, tokens, { policy, cache: 'f16' });
      expect(result).toEqual(expected);
      expect(result['fullBytesPerHead']).toBe(entryBytes(model.config.headDim, 'f16') * expected.fullEntries);
      expect(here).toBeGreaterThan(0);
      expect(msPerToken).toBeGreaterThan(0);
    }
    expect(code).toBe(0);
  });

  test('--match adds patterns that keep as much as learned types, in the mean and at the end', async () => {
    const args = ['eval', '--model', 'models/nats', '--text', 'long.txt', '--max-tokens', '64', '--json', '--match', 'streaming', 'h2o', 'tova'];
    const { stdout, code } = await natsearch(...args, '--context', '32');
    type Row = Pick<Evaluation, 'policy' | 'meanLiveShare' | 'endLiveShare' | 'contexts'>;
    type Match = { policy?: string; kind: string; by: string; absent?: string };
    const document = JSON.parse(stdout) as { results: [Row, Row, ...Row[]]; match: (Difference & Match)[] };
    const [nats, full] = document.results;
    expect([nats.policy, full.policy, code]).toEqual(['nats', 'full', 0]);
    const [first, ...matched] = document.match;
    expect(first).toMatchObject({ policy: 'full', kind: null, by: null });
    expect(matched.map(({ kind, by }) => `${kind} ${by}`)).toEqual(
      ['mean', 'end', 'both'].flatMap((by) => ['streaming', 'h2o', 'tova'].map((kind) => `${kind} ${by}`)));
    const measured = matched.filter(({ absent }) => absent === undefined);
    expect(measured.length).toBeGreaterThan(5);
    for (const { policy, by, percent, standardError } of measured) {
      const row = document.results.find((each) => each.policy === policy)!;
      if (by !== 'end') expect(Math.abs(row.meanLiveShare - nats.meanLiveShare)).toBeLessThan(1 / 32);
      if (by !== 'mean') expect(Math.abs(row.endLiveShare - nats.endLiveShare)).toBeLessThanOrEqual(1 / 62);
      expect({ percent, standardError }).toEqual(perplexityDifference(nats.contexts, row.contexts));
    }
  });

  test('--match prints the difference and its error beside each row, and which policies it left out', async () => {
    const args = ['eval', '--model', 'models/nats', '--text', 'long.txt', '--max-tokens', '64', '--context', '32'];
    const { stdout, code } = await natsearch(...args, '--match', 'streaming', '--policy', 'nats');
    expect(stdout).toMatch(/^policy +same +nats vs\. +s\.e\. +perplexity .*\n-[- ]+\nnats +\d+\.\d{3} /m);
    const row = /^streaming:4\+\d+ +(mean|end) +[+-]\d\.\d{2}% +\d\.\d{2}% |^not compared: streaming, same /m;
    expect(stdout).toMatch(row);
    expect(stdout).toMatch(/its standard error, paired over 2 contexts$/m);
    expect(code).toBe(0);
  });

  test('--max-tokens and --context limit what is read, --step does not change the quality', async () => {
    const limits = ['--max-tokens', '50', '--context', '20', '--policy', 'nats', '--json'];
    const args = ['eval', '--model', 'models/nats', '--text', 'long.txt', ...limits];
    const [one, seven] = await Promise.all(['1', '7'].map(async (step) => {
      const { stdout } = await natsearch(...args, '--step', step);
      return (JSON.parse(stdout) as { results: [{ perplexity: number }] }).results[0];
    })) as [{ perplexity: number }, { perplexity: number }];
    expect(one).toMatchObject({ tokens: 50, fullEntries: 20 });
    expect(seven.perplexity / one.perplexity).toBeCloseTo(1, 9);
  });
});

describe('natsearch generate', () => {
  const args = ['generate', '--model', 'models/nats', '--prompt', 'Call me', '--max-new-tokens', '20', '--seed', '7'];

  test('writes only the text to stdout and the summary to stderr, the same for the same seed', async () => {
    const variants = [args, [...args, '--json'], [...args.slice(0, -1), '8']];
    const results = await Promise.all(variants.map((all) => natsearch(...all)));
    const [plain, json, other] = results as [Result, Result, Result];
    const document = JSON.parse(json.stdout) as { text: string };
    expect(plain.stdout.replace(/\n$/, '')).toBe(document.text.replace(/\n$/, ''));
    expect(other.stdout).not.toBe(plain.stdout);
    expect(document).toMatchObject({ prompt: 'Call me', promptTokens: 7, newTokens: 20, policy: 'nats', seed: 7 });
    expect(plain.stderr).toMatch(/^20 tokens in .* tokens\/s after the prompt; .* \d+ of 54 entries live \(.*%\)/);
    expect(json.stderr).toBe('');
    expect([plain.code, json.code]).toEqual([0, 0]);
  });

  test('--policy full keeps every entry, in the dtype that --cache names', async () => {
    const { stdout } = await natsearch(...args, '--policy', 'full', '--cache', 'f16', '--json');
    const { cache } = JSON.parse(stdout) as { cache: { live: number; full: number; fullBytes: number } };
    const [live, { config }] = [2 * 27, await loadModel(path('models/nats'))]; // bos, 7 of the prompt, 19 fed back; 2 heads
    expect(cache).toMatchObject({ live, full: live, fullBytes: live * entryBytes(config.headDim, 'f16') });
  });

  test('warns before it continues beyond the trained context', async () => {
    const { stderr } = await natsearch(...args.slice(0, -4), '--max-new-tokens', '30');
    expect(stderr).toContain('natsearch: note: the text may reach 38 tokens, but the model was trained on 32');
  });
});

describe('natsearch start', () => {
  const models = ['--model', 'models/nats', '--dense', 'models/full'];
  const args = ['start', ...models, '--text', 'books/a.txt', '--max-new-tokens', '5'];

  test('prints quality, cache, types with their legend and a continuation, without colour in a pipe', async () => {
    const { code, stdout, stderr } = await natsearch(...args);
    const rows = ['nats, NAtS cache', 'nats, full cache', 'full \\(dense twin\\), full cache'];
    for (const row of [...rows, 'layer 1, KV head 0', 'all']) {
      expect(stdout).toMatch(new RegExp(`^${row} +\\d`, 'm'));
    }
    for (const legend of ['G GLOBAL', 'L LOCAL', '. WINDOW']) expect(stdout).toContain(`\n${legend} kept`);
    expect(stdout).toMatch(/\nIt was a damp[^\n]*\n[GL. ]+\n/);
    expect(stdout).toMatch(/\n5 tokens in .* tokens\/s/);
    expect(stdout).not.toContain(ESCAPE);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('--json prints one document with the same parts', async () => {
    const { stdout } = await natsearch(...args, '--json');
    const document = JSON.parse(stdout) as {
      results: { name: string; policy: string; live: number[][]; fullBytes: number }[];
      types: { tokens: (string | null)[]; shares: number[] };
      continuation: { newTokens: number; tokensPerSecond: number };
    };
    expect(document.results.map(({ policy }) => policy)).toEqual(['nats', 'full', 'full']);
    expect(document.results[1].live).toEqual([[32], [32]]);
    expect(document.types.tokens).toHaveLength(TEXT.length);
    expect(document.types.tokens.filter((type) => type === null)).toHaveLength(3); // the last token of 3 contexts
    expect(document.types.shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
    expect(document.continuation.newTokens).toBe(5);
  });
});

describe('natsearch stops', () => {
  const generating = ['generate', '--model', 'models/nats', '--prompt', 'Call me', '--max-new-tokens', '1000000'];

  const signals = [['SIGINT', 130], ['SIGTERM', 143]] as const;
  test.each(signals)('a generation at %s, with exit code %d and one line', async (signal, code) => {
    const { child, result } = start(generating);
    child.stdout!.once('data', () => child.kill(signal));
    const { stderr, ...rest } = await result;
    expect(stderr).toMatch(/^natsearch: note: .*\nnatsearch: generation was stopped after \d+ tokens\n$/);
    expect(rest.code).toBe(code);
  });

  test('an evaluation at SIGINT', async () => {
    const models = ['--model', 'models/nats', '--dense', 'models/full'];
    const { child, result } = start(['start', ...models, '--text', 'long.txt']);
    child.stdout!.once('data', () => child.kill('SIGINT'));
    const { code, stderr } = await result;
    expect(stderr).toMatch(/natsearch: evaluation was stopped after \d+ of 380000 tokens\n$/);
    expect(code).toBe(130);
  });

  test('silently when the reader of stdout has gone', async () => {
    const { child, result } = start(generating);
    child.stdout!.once('data', () => child.stdout!.destroy());
    const { code, stderr } = await result;
    expect(stderr).not.toMatch(/EPIPE|^ +at /m);
    expect(code).toBe(0);
  });
});
