/** What the commands draw: colour, tables, the progress bar, a passage by token type. */
import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { formatLegend, formatPassage, TypeRecord, typedCharacters, typeShares } from '../src/cli/passage.ts';
import { editDistance } from '../src/core/spelling.ts';
import {
  colours, createProgress, formatBytes, formatDuration, printable, table, wantsColour,
} from '../src/cli/terminal.ts';
import { ByteTokenizer } from '../src/index.ts';

const ESCAPES = /\u001b\[[0-9;]*m/g;

function output(isTTY: boolean): { isTTY: boolean; columns: number; text: string; write(text: string): void } {
  return { isTTY, columns: 60, text: '', write(text) { this.text += text; } };
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('colour', () => {
  test('is only for terminals, and only without NO_COLOR', () => {
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    expect([wantsColour(output(true)), wantsColour(output(false))]).toEqual([true, false]);
    expect(colours(output(true)).bold('x')).not.toBe('x');
    vi.stubEnv('NO_COLOR', '1');
    expect(wantsColour(output(true))).toBe(false);
    expect(colours(output(true)).bold('x')).toBe('x');
  });

  test('cannot come from what a model writes', () => {
    expect(printable('a\u001b[31mb\u0007\u009b\n\tç', output(true))).toBe('a·[31mb··\n\tç');
    expect(printable('a\u001b[31m', output(false))).toBe('a\u001b[31m');
  });
});

describe('numbers', () => {
  test.each([
    [0, '0.0 s'], [9.94, '9.9 s'], [9.96, '10 s'], [59.7, '1 min 00 s'], [245, '4 min 05 s'], [7620, '2 h 07 min'],
    [NaN, '?'],
  ])('%d seconds read %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  test.each([[0, '0 B'], [1023, '1023 B'], [1536, '1.5 KiB'], [2 ** 21, '2.0 MiB']])(
    '%d bytes read %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text),
  );
});

describe('table()', () => {
  test('aligns the first column left and numbers right, and does not count colour as width', () => {
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    const text = table(['a', 'value'], [['nats', colours(output(true)).bold('1')], ['x', '12345']]);
    expect(text.replace(ESCAPES, '').split('\n')).toEqual(['a     value', '----  -----', 'nats      1', 'x     12345']);
  });
});

describe('createProgress()', () => {
  test('redraws one line no wider than the terminal, and removes it at the end', () => {
    const stream = output(true);
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += 1000));
    const progress = createProgress({ stream, label: 'train', total: 4 });
    progress.update(1, 'loss 1.234');
    progress.update(3, 'loss 1.234 and much more that does not fit into sixty columns');
    progress.finish('done');
    const [, first, second, gone] = stream.text.split('\r');
    expect(first).toBe('train [#####...............] 25%  1/4  loss 1.234\u001b[K');
    expect(second).toMatch(/^train \[#{15}\.{5}\] 75% {2}3\/4 {2}loss 1\.234 and much.*\u001b\[K$/);
    expect(second.replace('\u001b[K', '')).toHaveLength(59);
    expect(gone).toBe('\u001b[Kdone\n');
  });

  test('estimates the time left from the first update on, as needed after a resume', () => {
    const stream = output(true);
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const progress = createProgress({ stream, label: 'train', total: 100 });
    for (const [time, done] of [[1000, 50], [3000, 60]] as const) {
      now = time;
      progress.update(done);
    }
    expect(stream.text).toContain('60/100  8.0 s left');
  });

  test('writes plain lines, ten seconds apart, where nothing can be redrawn', () => {
    const stream = output(false);
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => now);
    const progress = createProgress({ stream, label: 'eval', total: 100 });
    for (now = 1000; now <= 25_000; now += 1000) progress.update(now / 1000, 'nats');
    progress.finish();
    expect(stream.text.split('\n')).toEqual([
      'eval 10%  10/100  nats  1 min 30 s left', 'eval 20%  20/100  nats  1 min 20 s left', '',
    ]);
  });
});

describe('a passage by token type', () => {
  test('shows the types of a line below it, those of a character of several bytes by the longest-lived', () => {
    const text = 'ab—c\nd';
    const types = Uint8Array.of(0, 1, 2, 0, 2, 2, 1, 3);
    const characters = typedCharacters(new ByteTokenizer(), text, types, 100);
    expect(formatPassage(characters, output(false))).toBe('ab—c\nGLG.\nd\n ');
  });

  test('keeps every character except newlines, whatever the width, with and without colour', () => {
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    const words = fc.array(fc.stringMatching(/^[a-zé—]{1,9}$/), { minLength: 1, maxLength: 30 });
    fc.assert(fc.property(words, fc.integer({ min: 10, max: 40 }), (parts, width) => {
      const characters = Array.from(parts.join(' '), (character, n) => ({ character, type: n % 4 }));
      const plain = formatPassage(characters, output(false), width).split('\n').filter((_, n) => n % 2 === 0);
      const coloured = formatPassage(characters, output(true), width).replace(ESCAPES, '').split('\n');
      expect(plain.join('')).toBe(parts.join(' '));
      expect(coloured).toEqual(plain);
      for (const line of plain) expect([...line].length).toBeLessThanOrEqual(width);
    }));
  });

  test('the legend names the three types and their shares', () => {
    expect(formatLegend([0, 1, 0], { window: 16, localWindow: 128 }, output(false))).toContain('LOCAL kept for 128 more tokens, 100.0%');
    const legend = formatLegend(typeShares(Uint8Array.of(0, 1, 1, 2, 3)), { window: 32 }, output(false));
    expect(legend.split('\n')).toEqual([
      'G GLOBAL kept for good, 25.0%',
      'L LOCAL kept until the next GLOBAL, 50.0%',
      '. WINDOW kept for 32 more tokens, 25.0%',
    ]);
  });

  test('input p of a context is token p - 1 of the text, and the last token of a context has no type', () => {
    const record = new TypeRecord({ length: 5, context: 3, chunk: 1, layers: 1, kvHeads: 2 });
    record.add(0, 0, Int32Array.of(0, 1, 2, 2)); // inputs bos, t0 of both heads
    record.add(0, 2, Int32Array.of(2, 1)); // input t1
    record.add(0, 3, Int32Array.of(0, 0, 0, 1)); // second context: bos, t3
    expect([...record.head(0, 0)]).toEqual([1, 2, 3, 0, 3]);
    expect([...record.head(0, 1)]).toEqual([2, 1, 3, 1, 3]);
    expect(record.mostVaried(5)).toEqual({ layer: 0, head: 0 });
  });

  test('a chunk has the type that was recorded last, and rows beyond the text are ignored', () => {
    const record = new TypeRecord({ length: 6, context: 6, chunk: 2, layers: 1, kvHeads: 1 });
    record.add(0, 0, Int32Array.of(0, 1)); // inputs bos t0 | t1: its chunk is not full yet
    record.add(0, 3, Int32Array.of(2, 1, 0)); // inputs t2 | t3 t4 | -
    expect([...record.head(0, 0)]).toEqual([0, 2, 2, 1, 1, 3]);
  });
});

test('editDistance() is 0 only for equal words, symmetric, and at most one apart after one edit', () => {
  const word = fc.stringMatching(/^[a-c]{0,6}$/);
  fc.assert(fc.property(word, word, fc.nat(6), (a, b, at) => {
    expect(editDistance(a, b) === 0).toBe(a === b);
    expect(editDistance(a, b)).toBe(editDistance(b, a));
    expect(editDistance(a, `${a.slice(0, at)}x${a.slice(at)}`)).toBe(1);
  }));
});
