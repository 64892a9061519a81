/** Fine-tuning of models as published: the teacher is the model that transformers runs. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { createEngine } from '../src/engines.ts';
import { readModelFolder } from '../src/model/folder/model-folder.ts';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { uploadWeights } from '../src/model/decoder.ts';
import { Finetuner } from '../src/train/finetune.ts';
import { finetuneGradients } from '../src/train/finetune-gradients.ts';
import { scorerNames } from '../src/model/config/names.ts';
import { DEFAULT_FINETUNE_OPTIONS } from '../src/train/finetune-options.ts';

const MODELS = [
  'llama-grouped', 'llama-tied-scaled', 'llama-sharded', 'mistral-window', 'mistral-full', 'qwen2-biased', 'qwen2-window',
  'qwen3-tied-shard', 'qwen3-yarn',
];

it.each(MODELS)('the teacher of %s has the hidden states of transformers, and only scorers get gradients', async (name) => {
  const folder = fileURLToPath(new URL(`fixtures/hf/models/${name}`, import.meta.url));
  const { config: base, weights } = await readModelFolder(folder);
  const { tensors } = readSafetensors(readFileSync(`${folder}/expected.safetensors`));
  const { data: ids, shape } = tensors.get('ids')!;
  const hidden = tensors.get('hidden')!.data as Float64Array;
  const [B, N] = shape as [number, number];
  const windows = Array.from({ length: B }, (_, b) => Int32Array.from(ids).slice(b * N, (b + 1) * N));
  const engine = createEngine();
  const model = { engine, config: base, weights: uploadWeights(engine, weights) };
  const options = { ...DEFAULT_FINETUNE_OPTIONS, batch: B, context: N, steps: 2 };
  const stream = Int32Array.from([...ids, ...ids]);
  const finetuner = new Finetuner(model, { window: 4 }, options, stream);
  const state = await finetuner.state();
  const all = new Map([...model.weights, ...uploadWeights(engine, state.weights)]);
  const { gradients, signal, loss, kept } = await finetuneGradients(engine, finetuner.config, options, all, windows, {
    step: 1, sequences: windows.map((_, b) => b),
  });
  const expected = hidden.reduce((sum, x) => sum + x * x, 0) / base.hiddenSize;
  expect(Math.abs(signal - expected)).toBeLessThan(1e-9 * expected);
  expect(loss).toBeGreaterThan(0); // tokens were hidden
  expect(kept).toBeLessThan(B);
  expect([...gradients.keys()]).toEqual(scorerNames(base));
  await finetuner.run();
  expect((await finetuner.keptByLayer()).every((share) => share > 0 && share < 1)).toBe(true);
});
