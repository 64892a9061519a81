/**
 * Tokenizers built like published ones: they give the ids of transformers, for whole texts, in parts, and up to a
 * limit.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createHfTokenizer, type HfTokenizer } from '../src/model/tokenizer/hf-tokenizer.ts';
import { withStarts } from '../src/model/tokenizer/tokenizer.ts';
import { cases } from './support/thorough.ts';

const root = fileURLToPath(new URL('./field/tokenizers/', import.meta.url));
const fixtures = fileURLToPath(new URL('./fixtures/hf/tokenizers/', import.meta.url));

/**
 * Written by test/field/make-tokenizers.py: the ids of tricky strings in transformers, with the tokens put around them.
 */
interface Expected {
  readonly rows: number;
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly cases: readonly (readonly [string, readonly number[]])[];
}

const read = (path: string): unknown => existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;

function make(folder: string, rows: number): Promise<HfTokenizer> {
  const config = { vocabSize: rows, bosTokenId: 1, eosTokenId: 2 };
  return createHfTokenizer(read(`${folder}/tokenizer.json`), config, read(`${folder}/tokenizer_config.json`));
}

const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean => String(Array.from(a)) === String(Array.from(b));

/** The text in pieces of the given lengths, used in turn. */
function streamed(tokenizer: HfTokenizer, text: string, lengths: readonly number[]): number[] {
  const stream = tokenizer.encoder();
  const ids: number[] = [];
  for (let at = 0, n = 0; at < text.length; n++) {
    const length = lengths[n % lengths.length];
    ids.push(...stream.push(text.slice(at, at + length)));
    at += length;
  }
  return [...ids, ...stream.end()];
}

describe.each(readdirSync(root))('a tokenizer in the style of %s', (name) => {
  const expected = read(`${root}${name}/expected.json`) as Expected;
  let tokenizer: HfTokenizer;
  beforeAll(async () => void (tokenizer = await make(root + name, expected.rows)));

  it('puts before and after texts what its post_processor and its class say', () => {
    expect(tokenizer.starts).toEqual(expected.starts);
    expect(tokenizer.ends).toEqual(expected.ends);
  });

  it('gives the ids that transformers gives', () => {
    const all = (text: string) => [...tokenizer.starts, ...tokenizer.encode(text), ...tokenizer.ends];
    expect(expected.cases.filter(([text, ids]) => !same(all(text), ids)).map(([text]) => text)).toEqual([]);
  });

  it('gives the same ids for a text that comes in pieces, however it is cut', () => {
    const texts = expected.cases.map(([text]) => text);
    fc.assert(fc.property(
      fc.array(fc.oneof(fc.constantFrom(...texts), fc.string({ unit: 'binary' })), { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }),
      (parts, lengths) => {
        const text = parts.join('');
        expect(streamed(tokenizer, text, lengths)).toEqual([...tokenizer.encode(text)]);
      },
    ), { numRuns: cases(40, 3000) });
  });

  it('gives the first ids of the whole if only some are wanted', () => {
    const text = expected.cases.map(([each]) => each).join(' ');
    const whole = tokenizer.encode(text);
    for (const most of [0, 1, 2, 63, 64, 500, whole.length, whole.length + 1]) {
      expect([...tokenizer.encode(text, { maxTokens: most })]).toEqual([...whole.subarray(0, most)]);
    }
  });

  it('reads a long text in parts that give the same ids as the whole, and reports progress', () => {
    const parts = expected.cases.map(([text]) => text);
    const text = Array.from({ length: 28 }, (_, n) => [...parts.slice(n), ...parts.slice(0, n)].join(' ')).join('\n');
    expect(text.length).toBeGreaterThan(1 << 16);
    const calls: [number, number][] = [];
    const ids = tokenizer.encode(text, { onProgress: (done, total) => void calls.push([done, total]) });
    expect(same(ids, streamed(tokenizer, text, [30_000]))).toBe(true);
    expect(calls.at(-1)).toEqual([text.length, text.length]);
    expect(calls.every(([done], n) => n === 0 || done >= calls[n - 1][0])).toBe(true);
    expect(calls.length).toBeGreaterThan(1);
  });

  it('does not put its start tokens before a text that begins with them', () => {
    const { starts } = tokenizer;
    const own = withStarts(tokenizer, tokenizer.encode('a'));
    expect([...own.subarray(0, starts.length)]).toEqual([...starts]);
    expect([...withStarts(tokenizer, own)]).toEqual([...own]);
  });
});

describe('long texts', () => {
  const english = readFileSync(fileURLToPath(new URL('../examples/moby-dick.txt', import.meta.url)), 'utf8');

  it.each(['byte-level', 'sentencepiece'])('are cut where no merge of the %s fixture crosses the cut', async (name) => {
    const tokenizer = await make(fixtures + name, 1056);
    for (const text of [english, 'aaaab'.repeat(9000), ' '.repeat(30_000), '日本語のテキスト、'.repeat(3000), 'e e'.repeat(9000)]) {
      const whole = tokenizer.encode(text);
      expect(same(streamed(tokenizer, text, [997]), whole)).toBe(true);
      expect(same(tokenizer.encode(text, { maxTokens: 64 }), whole.subarray(0, 64))).toBe(true);
      expect(tokenizer.decode(whole)).toBe(text);
    }
  });

  it.each(['llama-2', 'yi', 'mistral-0.3', 'qwen-2.5', 'llama-3', 'smollm-2', 'deepseek-r1', 'mistral-nemo'])(
    'of %s give most of their ids before they end', async (name) => {
      const tokenizer = await make(root + name, 1000);
      const stream = tokenizer.encoder();
      let early = 0;
      for (let at = 0; at < english.length; at += 256) early += stream.push(english.slice(at, at + 256)).length;
      expect(stream.end().length).toBeLessThan(200);
      expect(early).toBeGreaterThan(1000);
    });

  it('of a megabyte take seconds, and 64 of their ids no noticeable time', async () => {
    const text = english.repeat(Math.ceil(1e6 / english.length));
    for (const name of ['llama-2', 'qwen-2.5']) {
      const tokenizer = await make(root + name, 1000);
      const begin = performance.now();
      expect(tokenizer.encode(text).length).toBeGreaterThan(1e5);
      expect(performance.now() - begin).toBeLessThan(10_000); // it used to take 17 to 33 s
      const then = performance.now();
      expect(tokenizer.encode(text, { maxTokens: 64 }).length).toBe(64);
      expect(performance.now() - then).toBeLessThan(1000);
    }
  });
});
