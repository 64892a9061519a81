/** Checkpoints of fine-tuning: the files from which a run resumes. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { FileFormatError } from '../src/core/errors.ts';
import { Model } from '../src/model/model.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { loadFinetune, saveFinetune } from '../src/train/finetune-checkpoint.ts';
import { configOf, NATS, optionsOf, tokens, weightsOf } from './support/finetune-setup.ts';

describe('a checkpoint of fine-tuning', () => {
  it('has the state, the price and what run it is, bit for bit', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'natsearch-finetune-'));
    try {
      const base = new Model(createEngine(), configOf(), weightsOf(configOf()));
      const finetuner = new Finetuner(base, NATS, optionsOf(), tokens);
      for (let n = 0; n < 3; n++) await finetuner.next();
      const { config, options } = finetuner;
      const record = { baseModel: 'base', config, options, textHash: 'x', packageVersion: '1' };
      await saveFinetune(folder, finetuner, record);
      const { state, run } = await loadFinetune(folder);
      expect(run).toEqual(record);
      expect(state).toEqual(await finetuner.state());
      const path = join(folder, 'finetune-state.safetensors');
      writeFileSync(path, readFileSync(path).subarray(0, -8));
      await expect(loadFinetune(folder)).rejects.toThrow(FileFormatError);
      writeFileSync(path, readFileSync(join(folder, 'adapter_model.safetensors')));
      await expect(loadFinetune(folder)).rejects.toThrow(/not a state of fine-tuning/);
      const files = ['adapter_config.json', 'adapter_model.safetensors', 'finetune-state.safetensors'];
      expect(readdirSync(folder).sort()).toEqual(files);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
