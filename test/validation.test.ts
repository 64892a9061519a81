/** The loss on held-out text while a model is trained or fine-tuned, on every exact engine. */
import { describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { type ModelConfig, parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import { Model } from '../src/model/model.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { Trainer } from '../src/train/trainer.ts';
import { validationWindows } from '../src/train/validation.ts';
import { describeEngines, EXACT } from './support/engines.ts';

const bytes = new ByteTokenizer();
const tokens = tokenizeDocuments(bytes, ['It was the best of times, it was the worst of times. '.repeat(4)]);
const held = tokenizeDocuments(bytes, ['it was the age of wisdom']);
const settings = { ...DEFAULT_TRAIN_OPTIONS, seed: 3, batch: 2, context: 24, warmup: 2, steps: 4 };

const configOf = (policy: string): ModelConfig => parseConfig({
  vocab_size: 258, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true, bos_token_id: 256, eos_token_id: 257,
  ...(policy !== 'full' && { nats: { policy, window: 2, lambda: 0.001 } }),
});

describe('validation', () => {
  it('cuts the first tokens into windows whose targets follow one another', () => {
    const windows = validationWindows(Int32Array.from({ length: 100 }, (_, n) => n), 4, 10);
    expect(windows.map((window) => [...window])).toEqual([[0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9, 10]]);
    expect(() => validationWindows(Int32Array.of(1), 4)).toThrow(ValueError);
  });
});

describeEngines('validation', ({ engine: current }) => {
  it.each(['full', 'nats', 'window:2'])('of %s is the loss of decoding through the cache, and changes nothing', async (policy) => {
    const [config, options, engine] = [configOf(policy), { ...settings, context: 32 }, current()];
    const trainer = new Trainer(engine, config, options, tokens);
    const before = await trainer.state();
    const { loss, tokens: scored, kept } = await trainer.validate(held);
    // evaluate() puts bos first itself; the window has it as its first token.
    const model = new Model(engine, config, initialWeights(config, options.seed), bytes);
    const decoded = await evaluate(model, held.slice(1), { context: 32 });
    expect(scored).toBe(held.length - 1);
    expect(loss).toBeCloseTo(Math.log(decoded.perplexity), 10);
    if (policy === 'full') expect(kept).toBe(24 / 25); // 2/N^2 for each pair, and nothing on the diagonal (§7)
    else expect(kept).toBeLessThan(1);
    expect(await trainer.state()).toEqual(before);
  });

  it('of fine-tuning is its loss without noise', async () => {
    const [config, engine] = [configOf('full'), current()];
    const base = new Model(engine, config, initialWeights(config, 1), bytes);
    const options = { ...settings, keep: 0.5 };
    const full = new Finetuner(base, { window: 32 }, options, tokens); // a window that hides nothing
    expect(await full.validate(held)).toMatchObject({ tokens: held.length - 1, loss: 0, relativeLoss: 0 });
    // The state of a run with known weights: scorers that choose every type.
    const fresh = await new Finetuner(base, { window: 1 }, options, tokens).state();
    for (const { data } of fresh.weights.values()) data.forEach((_, n) => (data[n] = Math.sin(12.9898 * (n + 1))));
    const { loss, relativeLoss, kept } =
      await new Finetuner(base, { window: 1 }, options, tokens, { from: fresh }).validate(held);
    expect(loss).toBeGreaterThan(0);
    expect(relativeLoss! / loss).toBeCloseTo(1, 2); // hidden states after the last norm have a mean square of about 1
    expect(kept).toBeLessThan(0.9);
  });
}, EXACT);
