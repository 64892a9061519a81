/** The tokenizer of bytes, and what stands before a text. */
import { describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import { ByteTokenizer, repeatsStarts, withStarts } from '../src/model/tokenizer/tokenizer.ts';

const tokenizer = new ByteTokenizer();
const TEXTS = ['', 'a', 'naïve', '👍', 'a👍b', '👩‍👩‍👧‍👦🇫🇷', '\ud83d', 'x\udc4dy', '\ud83d\ud83d\udc4d'];

describe('the tokenizer of bytes', () => {
  it('stops at maxTokens with the first tokens of the whole text', () => {
    for (const text of TEXTS) {
      const whole = [...Buffer.from(text, 'utf8')];
      for (let most = 0; most <= whole.length + 1; most++) {
        expect([...tokenizer.encode(text, { maxTokens: most })]).toEqual(whole.slice(0, most));
      }
    }
    for (const maxTokens of [-1, 0.5, NaN]) expect(() => tokenizer.encode('a', { maxTokens })).toThrow(ValueError);
  });

  it('gives the same ids for a text in pieces, even if cut within characters', () => {
    for (const text of TEXTS) {
      const stream = tokenizer.encoder();
      const ids = Array.from({ length: text.length }, (_, n) => [...stream.push(text[n])]).flat();
      expect([...ids, ...stream.end()]).toEqual([...Buffer.from(text, 'utf8')]);
    }
  });
});

describe('withStarts()', () => {
  it('puts the starts before a text, but not a second time', () => {
    expect([...withStarts({ starts: [1] }, [5, 6])]).toEqual([1, 5, 6]);
    expect([...withStarts({ starts: [1] }, [1, 6])]).toEqual([1, 6]);
    expect([...withStarts({ starts: [1] }, [])]).toEqual([1]);
    expect([...withStarts({ starts: [1, 2] }, [1, 6])]).toEqual([1, 2, 1, 6]);
    expect([...withStarts({ starts: [] }, [5])]).toEqual([5]);
  });

  it('reports whether the text begins with them already', () => {
    expect(repeatsStarts({ starts: [1] }, [1, 6])).toBe(true);
    expect(repeatsStarts({ starts: [1] }, [6, 1])).toBe(false);
    expect(repeatsStarts({ starts: [] }, [6])).toBe(false);
  });
});
