/** Files of arrays: .npz by NumPy and by the writer, and .safetensors of any dtype. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import type { NamedTensor } from '../src/formats/named-tensor.ts';
import { readNpy, writeNpy } from '../src/formats/npy.ts';
import { readNpz, writeNpz } from '../src/formats/npz.ts';
import { roundArray } from '../src/formats/rounding.ts';
import { readSafetensors, writeSafetensors } from '../src/formats/safetensors.ts';
import { listZip } from '../src/formats/zip.ts';
import { writeZip } from '../src/formats/zip-write.ts';
import { ARRAYS, fixture, reals, shapes, wholes } from './support/numpy-files.ts';

describe('files by NumPy', () => {
  it('that are compressed, of every dtype, are read', async () => {
    expect(Object.fromEntries(await readNpz(fixture('compressed')))).toEqual(ARRAYS);
  });

  it('that are stored are read, and the writer gives their .npy files byte for byte', async () => {
    const read = await readNpz(fixture('stored'));
    const names = ['f4', 'f8', 'big', 'fortran', 'scalar', 'empty', 'b1'];
    expect([...read]).toEqual(names.map((name) => [name, ARRAYS[name]]));
    for (const { name, packed } of listZip(fixture('stored'), Infinity)) {
      const key = name.replace('.npy', '');
      if (key !== 'big' && key !== 'fortran') expect(writeNpy(ARRAYS[key])).toEqual(packed);
    }
  });

  it('with sizes after the data, or in zip64 fields, are read', async () => {
    const counted = wholes('I32', [3], 0, 1, 2);
    expect([...await readNpz(fixture('streamed'))]).toEqual([['a', counted]]);
    expect([...await readNpz(fixture('zip64'))]).toEqual([['a', counted], ['b', wholes('U8', [], 7)]]);
  });

  it('of versions 2.0 and 3.0 are read; of Python objects they are refused', () => {
    expect(readNpy(fixture('version2'))).toEqual(reals('F64', [1, 2], 1.5, 2));
    expect(readNpy(fixture('version3'))).toEqual(reals('F64', [1, 2], 1.5, 2));
    expect(() => readNpy(fixture('objects'), 'o.npy')).toThrow(/^o\.npy: it has dtype '\|O', pickled Python objects, /);
  });
});

const tensors: fc.Arbitrary<NamedTensor> = shapes.chain((shape) => {
  const count = shape.reduce((a, b) => a * b, 1);
  const lists = <T>(element: fc.Arbitrary<T>) => fc.array(element, { minLength: count, maxLength: count });
  return fc.oneof(
    fc.tuple(fc.constantFrom('F64', 'F32', 'F16', 'BF16'), lists(fc.double()))
      .map(([dtype, data]) => reals(dtype, shape, ...data)),
    fc.tuple(fc.constantFrom('I64', 'I32'), lists(fc.integer())).map(([dtype, data]) => wholes(dtype, shape, ...data)),
    lists(fc.nat(255)).map((data) => wholes('U8', shape, ...data)),
    lists(fc.nat(1)).map((data) => wholes('BOOL', shape, ...data)),
  );
});
const names = fc.oneof(
  fc.string({ maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'constructor', 'a"b', 'tab\t', '\\', 'a.npy', '../up', ''),
).filter((name) => !name.includes('\0') && name !== '__metadata__');
const files = fc.uniqueArray(fc.tuple(names, tensors), { selector: ([name]) => name, maxLength: 5 });

const rounded = ({ dtype, shape, data }: NamedTensor): NamedTensor => {
  return data instanceof Float64Array
    ? { dtype, shape, data: roundArray(data, dtype as 'F64') } as NamedTensor
    : { dtype, shape, data } as NamedTensor;
};
const sorted = (list: readonly (readonly [string, NamedTensor])[]) => [...list].sort(([a], [b]) => a < b ? -1 : 1);

describe('readNpz() after writeNpz()', () => {
  it('gives back every tensor by name, rounded to its dtype, with BF16 as F32 of the same value', async () => {
    await fc.assert(fc.asyncProperty(files, async (list) => {
      expect([...await readNpz(writeNpz(list))]).toEqual(sorted(list).map(([name, tensor]) => {
        const kept = rounded(tensor);
        return [name, kept.dtype === 'BF16' ? { ...kept, dtype: 'F32' } : kept];
      }));
    }), { numRuns: 300 });
  });

  it('writes the same bytes in whatever order the tensors come', () => {
    fc.assert(fc.property(files, (list) => {
      expect(writeNpz([...list].reverse())).toEqual(writeNpz(new Map(list)));
    }));
  });

  it('refuses names and tensors that could not be read back', () => {
    const one = reals('F32', [1], 1);
    const bad: [string, NamedTensor, RegExp][] = [
      ['a\0b', one, /holds a NUL/], ['\ud800', one, /half a character/], ['x'.repeat(65536), one, /too long for ZIP/],
      ['a', { ...one, shape: [2] } as NamedTensor, /is \[2\] but has 1 elements/],
      ['a', { ...one, shape: [-1, -1] } as NamedTensor, /whole numbers >= 0/],
      ['a', { ...one, shape: Array<number>(33).fill(1) } as NamedTensor, /up to 32/],
      ['a', { ...one, dtype: 'I32' } as unknown as NamedTensor, /is I32 but not a Int32Array/],
      ['a', { ...one, dtype: 'F8' } as unknown as NamedTensor, /has dtype F8/],
      ['a', wholes('U8', [1], 256), /holds 256 at element 0: U8 goes from 0 to 255/],
      ['a', wholes('BOOL', [2], 1, 2), /holds 2 at element 1/],
    ];
    for (const [name, tensor, message] of bad) {
      expect(() => writeNpz([[name, tensor]])).toThrow(ValueError);
      expect(() => writeNpz([[name, tensor]])).toThrow(message);
    }
    expect(() => writeNpz([['a', one], ['a', one]])).toThrow(/'a' is taken/);
  });
});

describe('readSafetensors() after writeSafetensors()', () => {
  it('gives back every tensor, rounded to its dtype, and the metadata', () => {
    fc.assert(fc.property(files, fc.dictionary(names, fc.string({ unit: 'grapheme' })), (list, metadata) => {
      const read = readSafetensors(writeSafetensors(list, metadata));
      expect(sorted([...read.tensors])).toEqual(sorted(list).map(([name, tensor]) => [name, rounded(tensor)]));
      expect({ ...read.metadata }).toEqual({ ...metadata });
    }));
  });

  it('writes the same bytes in whatever order tensors and metadata come, each tensor aligned', () => {
    fc.assert(fc.property(files, (list) => {
      const bytes = writeSafetensors(new Map(list), { a: '1', b: '2' });
      expect(writeSafetensors([...list].reverse(), { b: '2', a: '1' })).toEqual(bytes);
      const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
      const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<string, never>;
      const width = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, BOOL: 1 };
      for (const [name, { dtype }] of list) {
        const entry: { data_offsets: number[] } = header[name];
        expect((8 + length + entry.data_offsets[0]) % width[dtype]).toBe(0);
      }
    }));
  });

  it('refuses integers that do not fit, invalid bools, and metadata that is not a string', () => {
    const file = (dtype: string, data: Uint8Array): Uint8Array => {
      const width = dtype === 'I64' ? 8 : 1;
      const json = JSON.stringify({ a: { dtype, shape: [data.length / width], data_offsets: [0, data.length] } });
      return Uint8Array.of(json.length, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(json), ...data);
    };
    const long = new Uint8Array(BigInt64Array.of(-1n, 2n ** 31n).buffer);
    expect(readSafetensors(file('I64', long.subarray(0, 8))).tensors.get('a')).toEqual(wholes('I64', [1], -1));
    expect(() => readSafetensors(file('I64', long), 'm')).toThrow(/^m: tensor 'a' holds 2147483648 at element 1: I64 is/);
    expect(() => readSafetensors(file('BOOL', Uint8Array.of(2)), 'm')).toThrow(/^m: tensor 'a' holds 2 at element 0: BOOL/);
    expect(() => readSafetensors(file('I8', Uint8Array.of(2)), 'm')).toThrow(/dtype "I8": only F64, .*, BOOL are read/);
    expect(() => writeSafetensors([], { a: 1 as unknown as string })).toThrow(ValueError);
  });
});

describe('listZip() after writeZip()', () => {
  it('gives back the members, with sizes and offsets in 32 or 64 bits', () => {
    const members = ['a', 'ö', 'c'].map((name, n) => [name, new Uint8Array(100 * n).fill(n)] as const);
    for (const zip64From of [0, 1, 100, 200, 300, undefined]) { // unzip -t and Python's zipfile accept all of them
      const read = listZip(writeZip(members, zip64From), 300);
      expect(read.map(({ name, packed }) => [name, packed])).toEqual(members);
    }
  });

  it('can hold more than 65,535 members', () => {
    const members = Array.from({ length: 65_536 }, (_, n) => [String(n), new Uint8Array(0)] as const);
    expect(listZip(writeZip(members), 0).map(({ name }) => name)).toEqual(members.map(([name]) => name));
  });
});
