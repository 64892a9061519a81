/** The control of shuffled types: as many of each, at other places. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { evaluate, evaluateShuffled, loadModel, type Model, parseConfig } from '../src/index.ts';
import { createEngine } from '../src/engines.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model as AnyModel } from '../src/model/model.ts';

const path = (name: string): string => fileURLToPath(new URL(`../models/${name}`, import.meta.url));
const TEXT = 'It was a damp, drizzly November in my soul. '.repeat(4);

describe('evaluateShuffled', () => {
  let model: Model;
  beforeAll(async () => void (model = await loadModel(path('nats'))));
  afterAll(() => model.dispose());

  it('measures what evaluate() measures, and then other places, which the seed chooses', async () => {
    const tokens = model.tokenizer.encode(TEXT);
    const options = { context: 80, step: 16 };
    const plain = await evaluate(model, tokens, options);
    const { learned, shuffled } = await evaluateShuffled(model, tokens, options);
    expect(learned.contexts).toEqual(plain.contexts);
    expect([learned.policy, shuffled.policy]).toEqual(['nats', 'shuffled']);
    expect(shuffled.contexts.map(({ inputs }) => inputs)).toEqual(plain.contexts.map(({ inputs }) => inputs));
    expect(shuffled.perplexity).not.toBe(learned.perplexity);
    // In steps of another size the types reach the same tokens.
    const again = await evaluateShuffled(model, tokens, { ...options, step: 7 });
    expect(again.shuffled.perplexity).toBeCloseTo(shuffled.perplexity, 4);
    expect(again.shuffled.meanLiveShare).toBe(shuffled.meanLiveShare);
    const other = await evaluateShuffled(model, tokens, { ...options, seed: 1 });
    expect(other.shuffled.perplexity).not.toBe(shuffled.perplexity);
  }, 60_000);

  it('changes nothing where all tokens have one type', async () => {
    const config = parseConfig({
      vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 2, num_attention_heads: 2,
      max_position_embeddings: 64, tie_word_embeddings: true, nats: { policy: 'nats', window: 2 },
    });
    const engine = createEngine();
    const even = new AnyModel(engine, config, initialWeights(config, 0)); // scorers of 0, so every token is GLOBAL
    const tokens = even.tokenizer.encode(TEXT).subarray(0, 100);
    const { learned, shuffled } = await evaluateShuffled(even, tokens, { step: 10 });
    expect(learned.meanLiveShare).toBe(1);
    expect(shuffled.contexts).toEqual(learned.contexts);
    even.dispose();
  });

  it('refuses a model without learned types', async () => {
    const dense = await loadModel(path('full'));
    await expect(evaluateShuffled(dense, dense.tokenizer.encode('abc'))).rejects.toThrow('no learned types to shuffle');
    dense.dispose();
  });
});
