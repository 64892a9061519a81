/** Faulty tokenizer.json files: named errors, never a crash, a hang or an id other than that in the file. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ConfigError, isNamedError, ValueError } from '../src/core/errors.ts';
import { createHfTokenizer } from '../src/model/tokenizer/hf-tokenizer.ts';
import { generator } from '../src/core/random.ts';
import { mutated } from './support/mutate-json.ts';
import { cases } from './support/thorough.ts';

type Json = Record<string, unknown>;
const field = fileURLToPath(new URL('./field/tokenizers/', import.meta.url));
const read = (path: string): Json => JSON.parse(readFileSync(field + path, 'utf8')) as Json;
const rows = 8;
const made = (json: unknown, settings?: unknown, vocabSize = rows) =>
  createHfTokenizer(json, { vocabSize, bosTokenId: 1, eosTokenId: 2 }, settings);

const added = (id: unknown, content: unknown, more: object = {}): object => ({ id, content, special: true, ...more });
/** A tokenizer of a few letters, with changes. */
const file = (model: object = {}, more: object = {}): Json => ({
  added_tokens: [added(0, '<s>')], normalizer: null, pre_tokenizer: null, post_processor: null,
  decoder: { type: 'Fuse' },
  model: { type: 'BPE', vocab: { '<s>': 0, a: 1, b: 2, ab: 3 }, merges: ['a b'], ...model },
  ...more,
});

describe('the vocabulary of a tokenizer.json', () => {
  it('may have gaps', async () => {
    const tokenizer = await made(file({ vocab: { '<s>': 0, a: 2, b: 5, ab: 7 } }));
    expect([...tokenizer.encode('aab')]).toEqual([2, 7]);
    expect(tokenizer.decode([2, 3, 4, 7])).toBe('aab'); // 3 and 4 are gaps
    expect(tokenizer.vocabSize).toBe(8);
  });

  it('may be smaller than the model\'s, and its merges strings or pairs', async () => {
    for (const merges of [['a b'], [['a', 'b']], ['#version: 0.2', 'a b']]) {
      expect([...(await made(file({ merges }), undefined, 1000)).encode('<s>ab')]).toEqual([0, 3]);
    }
  });

  it.each([
    ['duplicate', { a: 1, b: 1, ab: 3 }, /vocab gives the id 1 to both "a" and "b"/],
    ['negative', { a: -1, b: 2, ab: 3 }, /vocab gives "a" the id -1: ids are whole numbers/],
    ['fractional', { a: 1.5, b: 2, ab: 3 }, /vocab gives "a" the id 1.5/],
    ['of text', { a: '1', b: 2, ab: 3 }, /vocab gives "a" the id "1"/],
    ['null', { a: null, b: 2, ab: 3 }, /vocab gives "a" the id null/],
    ['beyond 32 bits', { a: 2 ** 32, b: 2, ab: 3 }, /vocab gives "a" the id 4294967296/],
    ['infinite', { a: Infinity, b: 2, ab: 3 }, /vocab gives "a" the id null|Infinity/],
    ['beyond the model', { a: 2147483648, b: 2, ab: 3 }, /ids up to 2147483648 but the model's vocabulary has 8 tokens/],
  ])('is refused at once with ids that are %s', async (_, vocab, message) => {
    const begin = performance.now();
    await expect(made(file({ vocab }))).rejects.toThrow(message);
    await expect(made(file({ vocab }))).rejects.toThrow(ConfigError);
    expect(performance.now() - begin).toBeLessThan(1000);
  });
});

describe('an added token beyond the rows of the model', () => {
  const json = file({}, {
    added_tokens: [added(0, '<s>'), added(2147483648, '<pad>'), added(9, '<tool>', { special: false })],
  });

  it('is accepted as long as no text uses it', async () => {
    const tokenizer = await made(json);
    expect([...tokenizer.encode('<s>ab<pa')]).toEqual([0, 3, 1]); // characters without a token are dropped, as always
    expect(tokenizer.vocabSize).toBe(4);
  });

  it('is named in the error if a text contains it', async () => {
    const tokenizer = await made(json);
    expect(() => tokenizer.encode('ab<pad>')).toThrow(/the text has the token "<pad>" \(2147483648\).*8 tokens/);
    expect(() => tokenizer.encode('<tool>')).toThrow(ValueError);
    expect(() => tokenizer.encoder().push('<tool>ab ab ab')).not.toThrow(TypeError);
    expect([...tokenizer.encode('ab<pad>', { maxTokens: 1 })]).toEqual([3]);
  });

  it('is refused if every text would contain it', async () => {
    const single = [{ SpecialToken: { id: '<pad>' } }, { Sequence: { id: 'A' } }];
    const post = { type: 'TemplateProcessing', single, special_tokens: { '<pad>': { ids: [2147483648] } } };
    const before = made({ ...json, post_processor: post });
    await expect(before).rejects.toThrow(/puts the token 2147483648 around every text/);
  });
});

describe('a tokenizer.json of another shape', () => {
  it.each([
    ['null', null, /it is not an object/],
    ['a list', [], /it is not an object/],
    ['a number', 3, /it is not an object/],
    ['without a model', { ...file(), model: undefined }, /model is missing/],
    ['with a model of another type', file({ type: 'WordPiece' }), /the model "WordPiece" is not supported/],
    ['of words', file({ type: 'WordLevel' }), /"WordLevel" is not supported/],
    ['of pieces with scores', file({ type: 'Unigram', vocab: [['a', 0]] }), /"Unigram" is not supported/],
    ['without a vocabulary', file({ vocab: undefined }), /vocab is missing/],
    ['with a list for a vocabulary', file({ vocab: ['a'] }), /vocab is \["a"\]/],
    ['without merges', file({ merges: undefined }), /merges is missing/],
    ['with a merge of three', file({ merges: ['a b a'] }), /merges\[0\] is "a b a"/],
    ['with a merge of numbers', file({ merges: [[1, 2]] }), /merges\[0\] is \[1,2\]/],
    ['with a merge of what is no token', file({ merges: ['b a'] }), /merges\[0\] is "b a", but model.vocab has no "ba"/],
    ['with dropout', file({ dropout: 0.1 }), /model.dropout is 0.1/],
    ['with a prefix of subwords', file({ continuing_subword_prefix: '##' }), /continuing_subword_prefix is "##"/],
    ['with added tokens that are none', file({}, { added_tokens: {} }), /added_tokens is \{\}/],
    ['with an added token without content', file({}, { added_tokens: [{ id: 0 }] }), /added_tokens\[0\].content is null/],
    ['with an added token of a fractional id', file({}, { added_tokens: [added(0.5, 'x')] }), /gives "x" the id 0.5/],
    ['with two added tokens of one id', file({}, { added_tokens: [added(5, 'x'), added(5, 'y')] }), /gives the id 5 to "y", but it is that of "x"/],
    ['with an added token of two ids', file({}, { added_tokens: [added(5, 'a')] }), /gives "a" the id 5, but it has 1/],
    ['with a flag that is none', file({}, { added_tokens: [added(5, 'x', { lstrip: 1 })] }), /lstrip is 1/],
    ['without a decoder', file({}, { decoder: null }), /decoder is missing/],
    ['with a normalizer that nobody knows', file({}, { normalizer: { type: 'Nmt' } }), /normalizer.type is "Nmt"/],
    ['with words that nobody knows', file({}, { pre_tokenizer: { type: 'UnicodeScripts' } }), /pre_tokenizer.type is "UnicodeScripts"/],
    ['with a pattern that is none', file({}, { pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' } }), /pattern.*cannot be read/],
    ['with a behavior that is none', file({}, { pre_tokenizer: { type: 'Split', pattern: { String: 'x' }, behavior: 'Odd' } }), /behavior is "Odd"/],
    ['with a post_processor that nobody knows', file({}, { post_processor: { type: 'Odd' } }), /post_processor.type is "Odd"/],
  ])('is refused: %s', async (_, json, message) => {
    await expect(made(json)).rejects.toThrow(message);
    await expect(made(json)).rejects.toThrow(ConfigError);
    await expect(made(json)).rejects.toThrow(/^tokenizer\.json[^\n]+$/);
  });
});

describe('what stands before a text', () => {
  const template = (single: object[], ids: Record<string, unknown>) =>
    file({}, { post_processor: { type: 'TemplateProcessing', single, special_tokens: ids } });
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const token = (id: string) => ({ SpecialToken: { id, type_id: 0 } });

  it('is what the template has, even several tokens, and nothing if there is no template', async () => {
    const several = template([token('x'), token('y'), text, token('y')], { x: { ids: [1, 2] }, y: { ids: [3] } });
    expect(await made(several)).toMatchObject({ starts: [1, 2, 3], ends: [3] });
    expect(await made(file())).toMatchObject({ starts: [], ends: [] });
    const sequence = { type: 'Sequence', processors: [{ type: 'ByteLevel' }, several['post_processor']] };
    expect(await made(file({}, { post_processor: sequence }))).toMatchObject({ starts: [1, 2, 3], ends: [3] });
    for (const type of ['BertProcessing', 'RobertaProcessing']) {
      expect(await made(file({}, { post_processor: { type, cls: ['a', 1], sep: ['b', 2] } }))).toMatchObject({ starts: [1], ends: [2] });
    }
  });

  it('follows add_bos_token and add_eos_token for the classes that look at them', async () => {
    const has = template([token('<s>'), text], { '<s>': { ids: [0] } });
    const class_ = { tokenizer_class: 'LlamaTokenizerFast', bos_token: '<s>', eos_token: { content: 'ab' } };
    expect(await made(has, { ...class_, add_bos_token: false })).toMatchObject({ starts: [], ends: [] });
    const both = { ...class_, add_bos_token: true, add_eos_token: true };
    expect(await made(file(), both)).toMatchObject({ starts: [0], ends: [3] });
    expect(await made(file(), class_)).toMatchObject({ starts: [0], ends: [] }); // the default of that class
    expect(await made(has, class_)).toMatchObject({ starts: [0], ends: [] });
    expect(await made(has, { add_bos_token: false })).toMatchObject({ starts: [] }); // the model's class: Llama's
    for (const tokenizer_class of ['PreTrainedTokenizerFast', 'Qwen2Tokenizer', 'GPT2Tokenizer']) {
      expect(await made(has, { ...class_, tokenizer_class, add_bos_token: false })).toMatchObject({ starts: [0] });
      expect(await made(file(), { ...class_, tokenizer_class, add_bos_token: true })).toMatchObject({ starts: [] });
    }
    expect(await made(file(), { ...class_, bos_token: null, add_bos_token: true })).toMatchObject({ starts: [] });
    expect(await made(file(), { add_bos_token: true })).toMatchObject({ starts: [1] }); // the model's bos
  });

  it('is refused if the files contradict each other', async () => {
    const odd = [
      [template([token('x'), text], {}), undefined, /names "x", for which/],
      [template([token('<s>')], { '<s>': { ids: [0] } }), undefined, /single has no place for the text/],
      [template([text, text], {}), undefined, /the only text is \$A, and it must occur once/],
      [file(), { add_bos_token: 'yes' }, /add_bos_token is "yes"/],
      [file(), { tokenizer_class: 'LlamaTokenizer', add_bos_token: true, bos_token: '<bos>' }, /bos_token is "<bos>", which tokenizer\.json does not have/],
      [file(), { add_bos_token: true, bos_token: 3 }, /bos_token is 3/],
      [file(), 3, /tokenizer_config\.json: it is not an object/],
    ] as const;
    for (const [json, settings, message] of odd) {
      await expect(made(json, settings)).rejects.toThrow(message);
      await expect(made(json, settings)).rejects.toThrow(ConfigError);
    }
  });
});

const STYLES = ['llama-2', 'mistral-0.3', 'qwen-2.5', 'deepseek-r1', 'odd-steps'];
it.each(STYLES)('a %s file with any value replaced by any other is read or refused by name', async (name) => {
  const json = read(`${name}/tokenizer.json`);
  const text = 'The sea — naïve 日本, don\'t </s> <|im_start|> x';
  let [works, refused] = [0, 0];
  for (let n = 0; n < cases(60, 1000); n++) {
    const changed = mutated(json, generator(1, [n]));
    try {
      const tokenizer = await made(changed, undefined, 1000);
      const ids = tokenizer.encode(text);
      tokenizer.decode(ids);
      const stream = tokenizer.encoder();
      const parts = [...text].flatMap((character) => [...stream.push(character)]);
      expect([...parts, ...stream.end()]).toEqual([...ids]);
      works++;
    } catch (error) {
      if (!isNamedError(error)) throw new Error(`case ${n}: ${String((error as Error).stack)}`);
      refused++;
    }
  }
  expect(works).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
});
