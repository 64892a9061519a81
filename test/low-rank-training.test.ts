/** What changes of q and k of low rank gain in a short run on a model that was trained. */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../src/load.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { DEFAULT_FINETUNE_OPTIONS, type FinetuneOptions } from '../src/train/finetune-options.ts';

describe('a short run on a model that was trained', () => {
  it('comes closer to the teacher than with scorers alone, at the same price', async () => {
    const model = await loadModel(fileURLToPath(new URL('../models/full', import.meta.url)));
    const text = 'My fellow Americans, our union is strong because our people are strong. ';
    const read = tokenizeDocuments(model.tokenizer, [text.repeat(4)]);
    const learn = async (change: Partial<FinetuneOptions>) => {
      const options = { ...DEFAULT_FINETUNE_OPTIONS, keep: 0, context: 64, batch: 1, steps: 16, warmup: 4 };
      const all = { ...options, learningRate: 5e-3, ...change };
      const finetuner = new Finetuner(model, { window: 8, lambda: 10 }, all, read);
      await finetuner.run();
      const { relativeLoss, kept } = await finetuner.validate(read, 256);
      finetuner.dispose();
      return { loss: relativeLoss!, kept };
    };
    const [alone, changed] = [await learn({}), await learn({ rank: 8 })];
    expect(changed.loss).toBeLessThan(alone.loss);
    expect(Math.abs(changed.kept - alone.kept)).toBeLessThan(0.01);
    model.engine.dispose();
  });
});
