/** A model as published, from bytes and with its tokenizer: the same text on every platform. */
import { expect, it } from 'vitest';
import { loadModel } from '../src/load.ts';
import { ASKED, CONTINUATION, PROMPT, publishedModel } from './support/hf-published.ts';

it('a published model of bytes goes on with the text that it goes on with in Node', async () => {
  const { shards, ...files } = await publishedModel();
  const model = await loadModel({ ...files, weights: [...shards.values()] });
  const pieces: string[] = [];
  for await (const piece of model.generate(PROMPT, ASKED)) pieces.push(piece);
  model.dispose();
  expect(pieces.join('')).toBe(CONTINUATION);
  expect(pieces.length).toBeGreaterThan(20);
});
