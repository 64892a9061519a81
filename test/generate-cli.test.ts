/** `natsearch generate` and `natsearch start` as users run them, to the end or until they are stopped. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { entryBytes } from '../src/core/cache.ts';
import { config, deleteFolder, ESCAPE, makeFolder, natsearch, start, TEXT } from './support/cli-folder.ts';
import type { Ended } from './support/run-command.ts';

beforeAll(makeFolder);
afterAll(deleteFolder);

describe('natsearch generate', () => {
  const args = ['generate', '--model', 'models/nats', '--prompt', 'Call me', '--max-new-tokens', '20', '--seed', '7'];

  test('writes only the text to stdout and the summary to stderr, the same for the same seed', async () => {
    const variants = [args, [...args, '--json'], [...args.slice(0, -1), '8']];
    const results = await Promise.all(variants.map((all) => natsearch(...all)));
    const [plain, json, other] = results as [Ended, Ended, Ended];
    const document = JSON.parse(json.stdout) as { text: string };
    expect(plain.stdout.replace(/\n$/, '')).toBe(document.text.replace(/\n$/, ''));
    expect(other.stdout).not.toBe(plain.stdout);
    expect(document).toMatchObject({ prompt: 'Call me', promptTokens: 7, newTokens: 20, policy: 'nats', seed: 7 });
    expect(plain.stderr).toMatch(/^20 tokens in .* tokens\/s after the prompt; .* \d+ of 56 entries live \(.*%\)/);
    expect(json.stderr).toBe('');
    expect([plain.code, json.code]).toEqual([0, 0]);
  });

  test('--policy full keeps every entry, in the dtype that --cache names', async () => {
    const { stdout } = await natsearch(...args, '--policy', 'full', '--cache', 'f16', '--json');
    const { cache } = JSON.parse(stdout) as { cache: { live: number; full: number; fullBytes: number } };
    const live = 2 * 28; // bos, 7 of the prompt, 20 that were picked; 2 heads
    expect(cache).toMatchObject({ live, full: live, fullBytes: live * entryBytes(config('nats').headDim, 'f16') });
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
    expect(stdout).toMatch(/^models\/nats: .* on the engine wasm float32$/m);
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

  const base = join(import.meta.dirname, '../models/base'); // reads words, where the shipped dense twin reads bytes
  const ofBase = ['start', '--model', base, '--text', 'books/a.txt', '--max-new-tokens', '1'];

  test('compares a model with other tokens than the shipped twin with no twin', async () => {
    const { code, stdout, stderr } = await natsearch(...ofBase);
    expect(stdout).toMatch(/^base, full cache +\d/m);
    expect(stdout).not.toContain('dense twin');
    expect([code, stderr]).toEqual([0, '']);
  });

  test('refuses a twin that was named and has other tokens', async () => {
    const { code, stderr } = await natsearch(...ofBase, '--dense', 'models/full');
    expect(stderr).toMatch(/^natsearch: models\/full makes other tokens .* \S+: pass its twin to --dense\n$/);
    expect(code).toBe(1);
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
