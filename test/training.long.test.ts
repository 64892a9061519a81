/** Slow tests of training on the engines for CPUs: a text is learned. */
import { expect, it } from 'vitest';
import { parseConfig } from '../src/model/config/config.ts';
import { ByteTokenizer } from '../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { DEFAULT_TRAIN_OPTIONS } from '../src/train/options.ts';
import { Trainer } from '../src/train/trainer.ts';
import { ENGINES, forEachEngine } from './support/engines.ts';

const TEXT = 'It was the best of times, it was the worst of times, it was the age of wisdom. '.repeat(3);

forEachEngine('training', ({ create }) => {
  it('lets a tiny model learn a short text by heart', async () => {
    const config = parseConfig({
      vocab_size: 258, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4,
      num_key_value_heads: 2, max_position_embeddings: 24, tie_word_embeddings: true,
      nats: { policy: 'nats', window: 4, lambda: 0.02 },
    });
    const rates = { learningRate: 1e-2, minLearningRate: 1e-3, warmup: 10, weightDecay: 0 };
    const options = { ...DEFAULT_TRAIN_OPTIONS, steps: 150, batch: 4, context: 24, seed: 11, ...rates };
    const losses: number[] = [];
    const engine = await create();
    const trainer = new Trainer(engine, config, options, tokenizeDocuments(new ByteTokenizer(), [TEXT]));
    await trainer.run({ onStep: ({ loss }) => void losses.push(loss) });
    engine.dispose();
    expect(losses[0]).toBeGreaterThan(5); // log 258 = 5.55
    expect(losses.at(-1)).toBeLessThan(0.7);
  }, 120_000);
}, ENGINES.filter(({ trains }) => trains));
