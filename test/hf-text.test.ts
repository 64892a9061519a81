/** A model in the form of a published one, from bytes and with its tokenizer, gives the same text on every platform. */
import { expect, it } from 'vitest';
import { loadModel } from '../src/load.ts';
import { ASKED, CONTINUATION, PROMPT, publishedModel } from './support/hf-published.ts';

it('a published model in memory continues with the same text as in Node', async () => {
  const { shards, ...files } = await publishedModel();
  const model = await loadModel({ ...files, weights: [...shards.values()] });
  const pieces: string[] = [];
  for await (const piece of model.generate(PROMPT, ASKED)) pieces.push(piece);
  model.dispose();
  expect(pieces.join('')).toBe(CONTINUATION);
  expect(pieces.length).toBeGreaterThan(20);
});
