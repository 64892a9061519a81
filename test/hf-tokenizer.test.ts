/** Tokenizers in the form of published ones give the ids and text of transformers, and stream whole characters. */
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../src/core/errors.ts';
import { createHfTokenizer } from '../src/model/tokenizer/hf-tokenizer.ts';
import { expectedTokens, tokenizerJson } from './support/hf-tokenizers.ts';

const config = { vocabSize: 1056, bosTokenId: 1, eosTokenId: 2 };

describe.each(['byte-level', 'sentencepiece'] as const)('a %s tokenizer', (name) => {
  const made = tokenizerJson(name).then((json) => createHfTokenizer(json, config));

  it('gives the ids of transformers for 1,000 tricky strings', async () => {
    const [tokenizer, rows] = [await made, await expectedTokens(name)];
    expect(rows.length).toBe(1000);
    const wrong = rows.filter(([text, ids]) => String(tokenizer.encode(text)) !== String(ids));
    expect(wrong.map(([text, ids]) => [text, ids, [...tokenizer.encode(text)]])).toEqual([]);
  });

  it('gives the text of transformers for their ids', async () => {
    const [tokenizer, rows] = [await made, await expectedTokens(name)];
    const wrong = rows.filter(([, ids, decoded]) => tokenizer.decode(ids, { specials: true }) !== decoded);
    expect(wrong.map(([, ids, decoded]) => [decoded, tokenizer.decode(ids, { specials: true })])).toEqual([]);
  });

  it('streams whole characters as soon as they are complete', async () => {
    const tokenizer = await made;
    for (const text of ['naïve café', '日本語のテキスト', '👩‍👩‍👧‍👦 🇫🇷', 'Ελληνικά', 'plain words']) {
      const decoder = tokenizer.decoder();
      const pieces = [...tokenizer.encode(text)].map((token) => decoder.push(token));
      expect(pieces.join('').trimStart()).toBe(text);
      expect(pieces.filter((piece) => /\p{Surrogate}/u.test(piece))).toEqual([]);
      expect(pieces.join('')).not.toContain('\ufffd');
      expect(decoder.end()).toBe('');
    }
    const [first] = tokenizer.encode('👍').filter((token) => tokenizer.byteLength(token) === 1).slice(-1);
    const decoder = tokenizer.decoder();
    expect(decoder.push(first) + decoder.end()).toBe('\ufffd'); // a byte that is not a complete character
  });

  it('divides the bytes of a text among its tokens', async () => {
    const tokenizer = await made;
    for (const text of [' to be, or not to be', ' naïve', ' 日本語']) {
      const bytes = [...tokenizer.encode(text)].reduce((sum, token) => sum + tokenizer.byteLength(token), 0);
      const front = name === 'sentencepiece' ? 1 : 0; // the space that it puts before a text
      expect(bytes).toBe(new TextEncoder().encode(text).length + front);
    }
  });

  it('is refused if its ids exceed the vocabulary of the model', async () => {
    const json = await tokenizerJson(name);
    const made = createHfTokenizer(json, { ...config, vocabSize: 300 });
    await expect(made).rejects.toThrow(/ids up to \d+ but the model's vocabulary has 300/);
    await expect(made).rejects.toThrow(ConfigError);
  });
});

describe('a tokenizer.json', () => {
  it('is refused if it is not a tokenizer, or decodes in an unsupported way', async () => {
    for (const json of [null, 3, [], {}, { model: { type: 'BPE' } }]) {
      await expect(createHfTokenizer(json, config)).rejects.toThrow(ConfigError);
    }
    const json = await tokenizerJson('byte-level') as object;
    await expect(createHfTokenizer({ ...json, decoder: { type: 'WordPiece', prefix: '##', cleanup: true } }, config))
      .rejects.toThrow(/decoder "WordPiece" is not supported/);
  });
});
