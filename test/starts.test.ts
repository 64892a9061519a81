/** Everything that feeds text to a model puts the tokenizer's start tokens before it, once, or none. */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import { evaluate } from '../src/evaluate/evaluate.ts';
import { measureRecall } from '../src/evaluate/recall/measure.ts';
import { writeModelFolder } from '../src/model/folder/model-folder.ts';
import { loadModel } from '../src/load.ts';
import { parseConfig } from '../src/model/config/config.ts';
import { initialWeights } from '../src/model/init.ts';
import type { Model } from '../src/model/model.ts';
import { withoutStarts } from '../src/model/tokenizer/tokenizer.ts';
import { tokenizeDocuments } from '../src/train/data.ts';
import { tokenizeStream } from '../src/train/token-stream.ts';

const field = fileURLToPath(new URL('./field/tokenizers/', import.meta.url));
const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const TEXT = 'It was a damp, drizzly November in my soul, and the sea was calm.';
const config = parseConfig({
  model_type: 'llama', vocab_size: 970, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2,
  max_position_embeddings: 64, bos_token_id: 1, eos_token_id: 2,
});
const weights = initialWeights(config, 3);

let root: string;
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-starts-'));
  for (const style of ['llama-2', 'yi', 'llama-2-with-end', 'odd-steps']) {
    await writeModelFolder(join(root, style), config, weights);
    const file = (name: string) => cpSync(join(field, style, name), join(root, style, name));
    file('tokenizer.json');
    if (style !== 'odd-steps') file('tokenizer_config.json');
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The mean loss of the tokens from `from` on, each given all tokens before it, in one step. */
async function meanLoss(model: Model, tokens: readonly number[], from: number): Promise<number> {
  const session = model.session();
  const logits = await session.step(Int32Array.from(tokens.slice(0, -1)));
  session.dispose();
  const V = model.config.vocabSize;
  const losses = tokens.slice(from).map((token, n) => {
    const row = Array.from(logits.subarray((from + n - 1) * V, (from + n) * V));
    return Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0)) - row[token];
  });
  return losses.reduce((a, b) => a + b) / losses.length;
}

describe('a model whose tokenizer puts one token before texts', () => {
  it('is scored on all of the text, and fed the token once if the text begins with it', async () => {
    const model = await loadModel(join(root, 'llama-2'));
    const tokens = model.tokenizer.encode(TEXT);
    const { perplexity, tokens: count } = await evaluate(model, tokens);
    expect(count).toBe(tokens.length);
    expect(Math.log(perplexity)).toBeCloseTo(await meanLoss(model, [1, ...tokens], 1), 10);
    expect(await evaluate(model, Int32Array.of(1, ...tokens))).toMatchObject({ perplexity, tokens: count });
    model.dispose();
  });

  it('continues a prompt in the same way whether or not the prompt begins with it', async () => {
    const model = await loadModel(join(root, 'yi'), { bos: true });
    expect(model.tokenizer.starts).toEqual([]);
    model.dispose();
    const llama = await loadModel(join(root, 'llama-2'));
    const fed: number[] = [];
    for (const prompt of ['the', '<s>the']) {
      const onStep = (session: { lengths: readonly number[] }): void => void fed.push(session.lengths[0]);
      for await (const _ of llama.generate(prompt, { maxNewTokens: 1, temperature: 0, onStep })) continue;
    }
    expect(fed).toEqual([1 + llama.tokenizer.encode('the').length, 1 + llama.tokenizer.encode('the').length]);
    llama.dispose();
  });

  it('is trained on documents that begin with it, and asked questions that follow it', async () => {
    const model = await loadModel(join(root, 'llama-2'));
    const ids = [...model.tokenizer.encode('the sea')];
    expect([...tokenizeDocuments(model.tokenizer, ['the sea', '<s>the sea'])]).toEqual([1, ...ids, 2, 1, ...ids, 2]);
    let repeated = 0;
    const stream = await tokenizeStream(model.tokenizer, [['the sea'], ['<s>', 'the sea']], { onRepeatedStarts: () => void repeated++ });
    expect(stream.length).toBe(2 * (ids.length + 2));
    expect(repeated).toBe(1);
    const asked = await measureRecall(model, [{ prompt: 'the sea', answer: 'x', distance: 1 }]);
    expect(asked.meanTokens).toBe(1 + ids.length + model.tokenizer.encode('x').length - 1);
    model.dispose();
  });
});

describe('a model whose tokenizer puts none', () => {
  it('is scored on every token except the first of each context', async () => {
    const model = await loadModel(join(root, 'yi'));
    const tokens = [...model.tokenizer.encode(TEXT)];
    const { perplexity, bitsPerByte, fullEntries } = await evaluate(model, Int32Array.from(tokens), { step: 5 });
    const loss = await meanLoss(model, tokens, 1);
    expect(Math.log(perplexity)).toBeCloseTo(loss, 10);
    const bytes = tokens.slice(1).reduce((sum, token) => sum + model.tokenizer.byteLength(token), 0);
    expect(bitsPerByte).toBeCloseTo((loss * (tokens.length - 1)) / Math.LN2 / bytes, 10);
    expect(fullEntries).toBe(tokens.length - 1); // the last token is not fed
    const [a, b] = [tokens.slice(0, 8), tokens.slice(8, 16)];
    const two = await evaluate(model, Int32Array.from(tokens.slice(0, 17)), { context: 8 }); // the last follows nothing
    expect(Math.log(two.perplexity)).toBeCloseTo((await meanLoss(model, a, 1) + await meanLoss(model, b, 1)) / 2, 10);
    model.dispose();
  });

  it('refuses a text of one token, and contexts of one', async () => {
    const model = await loadModel(join(root, 'yi'));
    for (const [text, context] of [[[5], 64], [[5, 6, 7], 1]] as const) {
      const scored = evaluate(model, Int32Array.from(text), { context });
      await expect(scored).rejects.toThrow(/a context of 1 tokens leaves none to score/);
      await expect(scored).rejects.toThrow(ValueError);
    }
    model.dispose();
  });

  it('is what a model with one becomes with { bos: false }', async () => {
    const [none, off] = [await loadModel(join(root, 'yi')), await loadModel(join(root, 'llama-2'), { bos: false })];
    const bytes = await loadModel(fileURLToPath(new URL('../models/nats', import.meta.url)), { bos: false });
    expect(off.tokenizer.starts).toEqual([]);
    expect(bytes.tokenizer.starts).toEqual([]);
    expect(bytes.tokenizer.decode(bytes.tokenizer.encode('é'))).toBe('é');
    const ids = none.tokenizer.encode(TEXT);
    expect((await evaluate(off, ids)).perplexity).toBe((await evaluate(none, ids)).perplexity);
    for (const model of [none, off, bytes]) model.dispose();
  });
});

it('tokens that end texts end documents, but not prompts', async () => {
  const model = await loadModel(join(root, 'llama-2-with-end'));
  const ids = [...model.tokenizer.encode('the sea')];
  expect([...tokenizeDocuments(model.tokenizer, ['the sea'])]).toEqual([1, ...ids, 2]);
  expect([...tokenizeDocuments({ ...withoutStarts(model.tokenizer), eos: 7 }, ['the sea'])]).toEqual([...ids, 2, 7]);
  expect([...tokenizeDocuments({ ...withoutStarts(model.tokenizer), ends: [], eos: -1 }, ['the sea'])]).toEqual(ids);
  model.dispose();
});

it('a model with neither bos nor eos is read, and its texts end only at the limit or a stop', async () => {
  const json = JSON.parse(readFileSync(join(root, 'yi/config.json'), 'utf8')) as object;
  writeFileSync(join(root, 'yi/config.json'), JSON.stringify({ ...json, bos_token_id: null, eos_token_id: null }));
  const model = await loadModel(join(root, 'yi'));
  expect(model.config).toMatchObject({ bosTokenId: -1, eosTokenId: -1, eosTokenIds: [] });
  let text = '';
  for await (const piece of model.generate('the', { maxNewTokens: 3, temperature: 0 })) text += piece;
  expect(text).not.toBe('');
  model.dispose();
  writeFileSync(join(root, 'yi/config.json'), JSON.stringify(json));
});

it('natsearch reports a prompt that begins with the start token, and --no-bos feeds none', async () => {
  const natsearch = (...args: string[]): Promise<{ out: string; err: string }> => new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { timeout: 60_000 }, (_, out, err) => resolve({ out, err }));
  });
  const asked = ['--model', join(root, 'llama-2'), '--json'];
  const generate = (prompt: string, ...more: string[]) =>
    natsearch('generate', ...asked, '--prompt', prompt, '--max-new-tokens', '2', ...more);
  writeFileSync(join(root, 'text.txt'), `<s>${TEXT}`);
  const [plain, own, none, read] = await Promise.all([
    generate('the'), generate('<s>the'), generate('<s>the', '--no-bos'),
    natsearch('eval', ...asked, '--text', join(root, 'text.txt'), '--policy', 'full'),
  ]);
  const entries = ({ out }: { out: string }): number => (JSON.parse(out) as { cache: { full: number } }).cache.full;
  expect(plain.err).toBe('');
  expect(own.err).toMatch(/^natsearch: note: the prompt begins with the token that the tokenizer puts before every/);
  expect(own.err).toMatch(/it is fed only once[^\n]*--no-bos\n$/);
  expect(entries(own)).toBe(entries(plain));
  expect(none.err).toBe('');
  expect(entries(none)).toBe(entries(plain)); // here the token is the prompt's own
  expect(read.err).toMatch(/^natsearch: note: a text in \S+ begins with the token/);
});
