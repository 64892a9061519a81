/** §2: lifetimes and the mask, compared with the table, the example and the relaxed formula of §5. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lifetime } from '../reference/public/lifetime.ts';
import { attentionMask } from '../reference/public/mask.ts';
import { ShapeError, ValueError } from '../src/core/errors.ts';
import { FOREVER } from '../src/core/lifetime.ts';
import { ndarray, type NDArray } from '../src/core/tensor.ts';
import { type Ends, ends } from './support/arbitraries.ts';
import { oneHotMaskByMathjs, relaxedMaskByMathjs, rowsOf, type Sequence as Unbounded } from './support/mathjs.ts';

interface Sequence extends Unbounded, Ends {}

const typesOf = (letters: string): number[] => [...letters].map((letter) => 'GLW'.indexOf(letter));
const oneHead = (types: readonly number[]): NDArray<Int32Array> =>
  ndarray(Int32Array.from(types), [1, 1, types.length]);

function lastOf(types: readonly number[], sequence: Sequence): number[] {
  return [...lifetime(oneHead(types), sequence).data].map((n) => n === FOREVER ? Infinity : n);
}

function maskOf(types: readonly number[], sequence: Sequence): number[][] {
  return rowsOf([...attentionMask(lifetime(oneHead(types), sequence)).data], sequence.length);
}

/** The mask of §5 without a reach. LOCAL as a second window is the term of WINDOW once more, with another width. */
function freeMask(types: readonly number[], { localWindow, ...sequence }: Sequence): number[][] {
  if (localWindow === undefined) return oneHotMaskByMathjs(types, sequence);
  const others = relaxedMaskByMathjs(types.map((type) => [Number(type === 0), 0, Number(type === 2)]), sequence);
  const locals = types.map((type) => [0, 0, Number(type === 1)]);
  const second = relaxedMaskByMathjs(locals, { ...sequence, window: localWindow });
  return others.map((row, i) => row.map((m, j) => m + second[i][j]));
}

/** Odd and small sequences, W = 0 and W > N, C > N, unfinished last chunks, sequences of one type, bounds. */
const sequences: fc.Arbitrary<{ types: number[] } & Sequence> = fc.record({
  length: fc.integer({ min: 1, max: 13 }),
  chunk: fc.constantFrom(1, 1, 1, 2, 3, 5, 14),
  window: fc.constantFrom(0, 1, 2, 3, 14),
  only: fc.constantFrom(null, null, null, 0, 1, 2),
  end: ends(13),
}).chain(({ length, chunk, window, only, end }) => {
  const chunks = Math.ceil(length / chunk);
  const type = only === null ? fc.integer({ min: 0, max: 2 }) : fc.constant(only);
  return fc.record({
    types: fc.array(type, { minLength: chunks, maxLength: chunks }),
    length: fc.constant(length), chunk: fc.constant(chunk), window: fc.constant(window),
    ...(end.reach !== undefined && { reach: fc.constant(end.reach) }),
    ...(end.localWindow !== undefined && { localWindow: fc.constant(end.localWindow) }),
  });
});

describe('lifetime()', () => {
  it('gives the example of section 2', () => {
    expect(lastOf(typesOf('GLLWGLWW'), { window: 2, chunk: 1, length: 8 }))
      .toEqual([Infinity, 4, 4, 5, Infinity, Infinity, 8, 9]);
  });

  it('follows the table: GLOBAL for ever, LOCAL to the first GLOBAL after it, WINDOW to j + W, none beyond the reach', () => {
    fc.assert(fc.property(sequences.filter((s) => s.chunk === 1), ({ types, ...sequence }) => {
      lastOf(types, sequence).forEach((last, j) => {
        const next = types.findIndex((type, n) => n > j && type === 0);
        const local = sequence.localWindow === undefined ? (next < 0 ? Infinity : next) : j + sequence.localWindow;
        const expected = [Infinity, local, j + sequence.window][types[j]];
        expect(last).toBe(Math.min(expected, j + (sequence.reach ?? Infinity)));
      });
    }));
  });

  it('never ends before the token itself', () => {
    fc.assert(fc.property(sequences, ({ types, ...sequence }) => {
      lastOf(types, sequence).forEach((last, j) => expect(last).toBeGreaterThanOrEqual(j));
    }));
  });

  it('gives a whole chunk one lifetime that starts at the chunk\'s last token', () => {
    expect(lastOf(typesOf('GLWG'), { window: 3, chunk: 2, length: 8 }))
      .toEqual([Infinity, Infinity, 7, 7, 8, 8, Infinity, Infinity]);
  });

  it('counts an unfinished last chunk as GLOBAL, which closes the LOCAL chunks before it', () => {
    for (const unfinished of 'GLW') {
      expect(lastOf(typesOf(`GL${unfinished}`), { window: 0, chunk: 3, length: 7 }))
        .toEqual([Infinity, Infinity, Infinity, 8, 8, 8, Infinity]);
    }
  });

  it('keeps the only token of a sequence visible, whatever its type', () => {
    for (const type of [0, 1, 2]) expect(maskOf([type], { window: 0, chunk: 1, length: 1 })).toEqual([[1]]);
  });

  it('treats every sequence of a batch and every KV head on its own', () => {
    fc.assert(fc.property(sequences, fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 78, maxLength: 78 }),
      ({ types, ...sequence }, others) => {
        const chunks = types.length;
        const all = [...others.slice(0, 5 * chunks), ...types];
        const { length } = sequence;
        const last = lifetime(ndarray(Int32Array.from(all), [2, 3, chunks]), sequence);
        expect(last.shape).toEqual([2, 3, length]);
        for (let head = 0; head < 6; head++) {
          const alone = lifetime(oneHead(all.slice(head * chunks, (head + 1) * chunks)), sequence);
          expect(last.data.slice(head * length, (head + 1) * length)).toEqual(alone.data);
        }
      }));
  });

  it('does not overflow when a window is the largest integer', () => {
    expect([...lifetime(oneHead([2, 2]), { window: FOREVER }).data]).toEqual([FOREVER, FOREVER]);
    const local = lifetime(oneHead([1, 0, 1]), { window: 0, localWindow: FOREVER });
    expect([...local.data]).toEqual([FOREVER, FOREVER, FOREVER]);
  });

  it('gives LOCAL with a second window the lifetimes of WINDOW tokens of that width', () => {
    fc.assert(fc.property(sequences, ({ types, localWindow = 4, ...sequence }) => {
      const windows = lastOf(types.map((type) => (type === 1 ? 2 : type)), { ...sequence, window: localWindow });
      const last = lastOf(types, { ...sequence, localWindow });
      const own = lastOf(types, sequence);
      const typeOf = (j: number): number => types[Math.floor(j / sequence.chunk)];
      last.forEach((end, j) => expect(end).toBe(typeOf(j) === 1 ? windows[j] : own[j]));
    }));
  });

  it('takes the length from the types, in full chunks, if none is given', () => {
    expect(lifetime(oneHead([0, 2]), { window: 1, chunk: 3 }).shape).toEqual([1, 1, 6]);
  });
});

describe('attentionMask()', () => {
  it('equals the relaxed formula of section 5 at one-hot types, evaluated by mathjs, up to the reach', () => {
    fc.assert(fc.property(sequences, ({ types, ...sequence }) => {
      const { reach = Infinity } = sequence;
      const free = freeMask(types, sequence);
      const bounded = free.map((row, i) => row.map((m, j) => (i - j <= reach ? m : 0)));
      expect(maskOf(types, sequence)).toEqual(bounded);
    }));
  });

  it('is 1 on the diagonal, so that no row is empty, and 0 above it', () => {
    fc.assert(fc.property(sequences, ({ types, ...sequence }) => {
      maskOf(types, sequence).forEach((row, i) => row.forEach((m, j) => {
        if (j === i) expect(m).toBe(1);
        if (j > i) expect(m).toBe(0);
      }));
    }));
  });

  it('determines row i only from tokens 0 to i, also inside an unfinished chunk', () => {
    fc.assert(fc.property(sequences, ({ types, ...sequence }) => {
      const full = maskOf(types, sequence);
      for (let length = 1; length <= sequence.length; length++) {
        const prefix = maskOf(types.slice(0, Math.ceil(length / sequence.chunk)), { ...sequence, length });
        expect(prefix[length - 1]).toEqual(full[length - 1].slice(0, length));
      }
    }));
  });

  it('is all ones on and below the diagonal if every token is GLOBAL, or the window exceeds the sequence', () => {
    const lower = (N: number): number[][] =>
      Array.from({ length: N }, (_, i) => Array.from({ length: N }, (_, j) => Number(j <= i)));
    for (const N of [1, 2, 7]) {
      expect(maskOf(Array(N).fill(0), { window: 0, chunk: 1, length: N })).toEqual(lower(N));
      expect(maskOf(Array(N).fill(2), { window: N + 1, chunk: 1, length: N })).toEqual(lower(N));
      expect(maskOf(Array(N).fill(1), { window: 0, chunk: 1, length: N })).toEqual(lower(N));
    }
  });

  it('shows a WINDOW token only to itself if W = 0', () => {
    expect(maskOf([2, 2, 2], { window: 0, chunk: 1, length: 3 })).toEqual([[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
  });

  it('refuses lifetimes without batch and head axes', () => {
    expect(() => attentionMask(ndarray(new Int32Array(4), [4]))).toThrow(ShapeError);
  });
});

describe('lifetime() refuses, with the numbers and a named error,', () => {
  const noHeads = ndarray(new Int32Array(4), [1, 4]);
  const refused: [name: string, error: new () => Error, numbers: string, call: () => unknown][] = [
    ['a negative window', ValueError, '-1', () => lifetime(oneHead([0]), { window: -1 })],
    ['a fractional window', ValueError, '1.5', () => lifetime(oneHead([0]), { window: 1.5 })],
    ['a window that is NaN', ValueError, 'NaN', () => lifetime(oneHead([0]), { window: NaN })],
    ['a negative reach', ValueError, '-1', () => lifetime(oneHead([0]), { window: 1, reach: -1 })],
    ['a chunk of 0', ValueError, '0', () => lifetime(oneHead([0]), { window: 1, chunk: 0, length: 1 })],
    ['a fractional chunk', ValueError, '2.5', () => lifetime(oneHead([0]), { window: 1, chunk: 2.5, length: 2 })],
    ['a type of 3', ValueError, '3', () => lifetime(oneHead([0, 3]), { window: 1 })],
    ['a type of -1', ValueError, '-1', () => lifetime(oneHead([0, -1]), { window: 1 })],
    ['types without a head axis', ShapeError, '[1,4]', () => lifetime(noHeads, { window: 1 })],
    ['more types than tokens', ShapeError, '[1,1,4]', () => lifetime(oneHead([0, 0, 0, 0]), { window: 1, length: 3 })],
    ['too few types', ShapeError, '[1,1,1]', () => lifetime(oneHead([0]), { window: 1, chunk: 2, length: 5 })],
    ['a negative length', ValueError, '-2', () => lifetime(oneHead([]), { window: 1, length: -2 })],
  ];
  it.each(refused)('%s', (_, error, numbers, call) => {
    expect(call).toThrow(error);
    expect(call).toThrow(numbers);
    expect(call).not.toThrow(/\n/);
  });
});
