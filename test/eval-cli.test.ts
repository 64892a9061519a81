/** `natsearch eval` as users run it: its table, its document, and what the library says of the same texts. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { entryBytes } from '../src/core/cache.ts';
import {
  type Difference, evaluate, type Evaluation, loadModel, parsePolicy, perplexityDifference, tokenizeDocuments,
} from '../src/index.ts';
import { deleteFolder, ESCAPE, makeFolder, natsearch, path, TEXT } from './support/cli-folder.ts';

beforeAll(makeFolder);
afterAll(deleteFolder);

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
