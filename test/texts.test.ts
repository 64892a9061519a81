/** Texts as people have them: nested folders, capitals, byte order marks, links, pipes, and files that are not text. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listTexts } from '../src/cli/text-files.ts';
import { PagedText } from '../src/cli/paged-text.ts';
import { readDocuments, readPaged, readTokens } from '../src/cli/text.ts';
import { firstInvalid, Utf8Decoder } from '../src/cli/utf8.ts';
import { ByteTokenizer, tokenizeDocuments, tokenizeStream } from '../src/index.ts';
import { TokenStore } from '../src/train/token-store.ts';
import { cases } from './support/thorough.ts';

let root = '';
const path = (...names: string[]) => join(root, ...names);
const write = (name: string, content: string | Uint8Array) => writeFileSync(path(name), content);
const bytes = new ByteTokenizer();

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'natsearch-texts-'));
  for (const folder of ['books/b/deep', 'books/.git', 'links', 'nothing', 'blank']) mkdirSync(path(folder), { recursive: true });
  write('books/LOUD.TXT', 'loud');
  write('books/Notes.Md', 'notes');
  write('books/b/deep/x.md', 'deep');
  write('books/b/data.json', '{}');
  write('books/.hidden.txt', 'hidden');
  write('books/.git/log.txt', 'log');
  write('books/empty.txt', '');
  write('blank/empty.md', '');
  write('bom.txt', '\ufeffé and \ufeff');
  write('only-bom.txt', '\ufeff');
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('the texts of a folder', () => {
  test('are .txt and .md in any case, also in nested folders, by path, without hidden and empty ones', async () => {
    expect(listTexts([path('books')]).map((file) => file.path.slice(root.length + 7))).toEqual(['LOUD.TXT', 'Notes.Md', 'b/deep/x.md']);
    expect(await readDocuments([path('books')])).toEqual(['loud', 'notes', 'deep']);
  });

  test('are read once if links form circles, and a broken link is named', () => {
    write('links/a.txt', 'a');
    symlinkSync(path('links'), path('links/again'));
    symlinkSync(path('books'), path('links/books'));
    symlinkSync('self', path('links/self'));
    expect(listTexts([path('links')]).map((file) => file.path.slice(root.length + 7))).toEqual(
      ['a.txt', 'books/LOUD.TXT', 'books/Notes.Md', 'books/b/deep/x.md'],
    );
    symlinkSync(path('gone.txt'), path('links/lost.txt'));
    expect(() => listTexts([path('links')])).toThrow(/lost\.txt \(ENOENT\): a link to nothing/);
  });

  test('refuses a folder without texts, one of empty texts, an empty file and stdin named twice', async () => {
    expect(() => listTexts([path('nothing')])).toThrow(/the folder .*nothing has no \.txt or \.md files: pass/);
    expect(() => listTexts([path('blank')])).toThrow(/has 1 \.txt or \.md files and no text in them/);
    expect(() => listTexts([path('books/empty.txt')])).toThrow(/empty\.txt is empty/);
    expect(() => listTexts(['-', '-'])).toThrow(/stdin \(-\) is named twice/);
    await expect(readTokens(bytes, [path('only-bom.txt')])).rejects.toThrow(/only-bom\.txt is empty/);
  });
});

describe('a text of any length', () => {
  test('is read like a string, whatever its pieces', () => {
    fc.assert(fc.property(fc.array(fc.string()), fc.nat(30), fc.nat(30), (pieces, start, length) => {
      const text = new PagedText();
      for (const piece of pieces) text.push(piece);
      expect(text.length).toBe(pieces.join('').length);
      expect(text.slice(start, start + length)).toBe(pieces.join('').slice(start, start + length));
    }));
  });

  test('is that of its documents, one line after the other', async () => {
    const text = await readPaged([path('books'), path('bom.txt')]);
    expect(text.slice(0, text.length)).toBe((await readDocuments([path('books'), path('bom.txt')])).join('\n'));
  });
});

describe('UTF-8 in chunks', () => {
  test('is the text without its byte order mark, wherever chunks end', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), fc.array(fc.nat(7), { minLength: 1 }), (text, sizes) => {
      const whole = text.replaceAll('\0', '0');
      const data = new TextEncoder().encode(`\ufeff${whole}`);
      const decoder = new Utf8Decoder('x');
      let [out, at] = ['', 0];
      for (let n = 0; at < data.length; n++) out += decoder.push(data.subarray(at, at += 1 + sizes[n % sizes.length]));
      expect(out + decoder.end()).toBe(whole);
    }), { numRuns: cases(50, 1000) });
  });

  test('ignores a byte order mark at the start, and keeps the character further on', async () => {
    expect(await readDocuments([path('bom.txt')])).toEqual(['é and \ufeff']);
  });

  test('is refused with file and byte if it is invalid, however it is cut', () => {
    const decode = (data: Uint8Array, size: number) => {
      const decoder = new Utf8Decoder('book.txt');
      for (let at = 0; at < data.length; at += size) decoder.push(data.subarray(at, at + size));
      decoder.end();
    };
    for (const size of [1, 2, 3, 100]) {
      const latin = Uint8Array.of(0x61, 0xc3, 0xa9, 0xe9, 0x62);
      expect(() => decode(latin, size)).toThrow(/book\.txt is not UTF-8 text: byte 3 \(0xe9\)/);
      expect(() => decode(Uint8Array.of(0x61, 0xe2, 0x82), size)).toThrow(/byte 1 \(0xe2\)/);
      expect(() => decode(Uint8Array.of(0x61, 0x62, 0), size)).toThrow(/book\.txt is not text: byte 2 is 0/);
    }
    const wide = [Uint8Array.of(0xff, 0xfe, 0x61, 0), Uint8Array.of(0xff, 0xfe, 0x61, 0x62)] as const;
    expect(() => decode(wide[0], 100)).toThrow(/is not text: byte 3 is 0, as in binary files and UTF-16/);
    expect(() => decode(wide[1], 100)).toThrow(/a text in UTF-16/);
  });

  test('firstInvalid() finds the place at which TextDecoder fails', () => {
    const valid = (data: Uint8Array) => {
      try {
        return new TextDecoder('utf-8', { fatal: true }).decode(data) !== undefined;
      } catch {
        return false;
      }
    };
    const bounds = [0x61, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4, 0xf5];
    const odd = fc.constantFrom(...bounds);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 3 }), fc.array(odd, { maxLength: 8 }), (first, rest) => {
      const data = Uint8Array.from([...first, ...rest]);
      const at = firstInvalid(data);
      expect(valid(data.subarray(0, at))).toBe(true);
      if (at === data.length) return;
      for (let end = at + 1; end <= data.length; end++) expect(valid(data.subarray(0, end))).toBe(false);
    }), { numRuns: cases(300, 3000) });
  });
});

describe('tokens of texts that come in pieces', () => {
  const documents = ['', 'a', '\u00e9\ud83d\ude00', 'b'.repeat(300)];
  const cut = (text: string) => Array.from(text); // into characters, one per piece

  test('are those of whole documents', async () => {
    const expected = tokenizeDocuments(bytes, documents);
    const tokens = await tokenizeStream(bytes, documents.map(cut));
    expect(tokens.slice(0, tokens.length)).toEqual(expected);
    const bare = await tokenizeStream(bytes, documents.map(cut), { bare: true });
    expect(bare.slice(0, bare.length)).toEqual(expected.subarray(1, -1));
  });

  test('stop at maxTokens, and read no further than they need', async () => {
    let read = 0;
    const endless = function* () {
      for (;;) {
        read++;
        yield 'x'.repeat(100_000);
      }
    };
    const tokens = await tokenizeStream(bytes, [['ab'], endless()], { maxTokens: 10, bare: true });
    expect([...tokens.slice(0, 99)]).toEqual([97, 98, 257, 256, 120, 120, 120, 120, 120, 120]);
    expect(read).toBe(1);
  });

  test('are stored exactly, whatever their width', () => {
    const token = fc.oneof(fc.nat(257), fc.constantFrom(253, 254, 255, 256, 257, 65535, 65536, 2 ** 31 - 1, -1));
    fc.assert(fc.property(fc.array(fc.array(token)), fc.nat(20), fc.nat(20), (parts, start, length) => {
      const store = new TokenStore();
      for (const part of parts) store.push(part);
      const all = Int32Array.from(parts.flat());
      expect(store.length).toBe(all.length);
      expect(store.slice(start, start + length)).toEqual(all.slice(start, start + length));
    }), { numRuns: cases(30, 300) });
    const store = new TokenStore(); // across the boundaries of its blocks
    const limit = (n: number) => (n < 262_140 ? 258 : n < 500_000 ? 70_000 : 254);
    const many = Int32Array.from({ length: 600_000 }, (_, n) => n % limit(n));
    for (let at = 0; at < many.length; at += 77_777) store.push(many.subarray(at, at + 77_777));
    expect(Buffer.from(store.slice(0, many.length).buffer).equals(Buffer.from(many.buffer))).toBe(true);
    expect(store.slice(262_000, 262_300)).toEqual(many.slice(262_000, 262_300));
  });
});
