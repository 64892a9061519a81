/** .npy files: headers in every order, and those that are refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileFormatError } from '../src/core/errors.ts';
import { readNpy } from '../src/formats/npy.ts';
import { dictionary, joined, npy, shapes, wholes } from './support/numpy-files.ts';

describe('readNpy()', () => {
  it('undoes Fortran order of any shape', () => {
    fc.assert(fc.property(shapes, (shape) => {
      // Element [i, j, k] is 100i + 10j + k, written with the first index fastest.
      const places = (axes: readonly number[]): number[][] => axes.length === 0 ? [[]]
        : places(axes.slice(1)).flatMap((rest) => Array.from({ length: axes[0] }, (_, n) => [n, ...rest]));
      const value = (index: readonly number[]) => index.reduce((sum, n) => 4 * sum + n, 0);
      const data = Uint8Array.from(places(shape), value);
      const text = `(${shape.map((n) => `${n},`).join(' ')})`;
      const read = readNpy(npy(dictionary("'|u1'", text, 'True'), data));
      const rowMajor = places([...shape].reverse()).map((index) => value([...index].reverse()));
      expect(read).toEqual(wholes('U8', shape, ...rowMajor));
    }));
  });

  it('reads a header with other spacing, quotes or order, as other programs write it', () => {
    const data = new Uint8Array(Float32Array.of(1, 2).buffer);
    const same = [
      '{"descr":"<f4","fortran_order":False,"shape":(2,)}', "{'shape': (2, 1)\n,\t'fortran_order': True, 'descr': '<f4'}  \n",
      dictionary("'<f4'", '(1, 2,)'), dictionary("'<f4'", '(2L,)'),
    ];
    for (const header of same) expect([...readNpy(npy(header, data)).data]).toEqual([1, 2]);
  });

  const bytes = new Uint8Array(8);
  const good = npy(dictionary("'<f8'", '()'), bytes);
  const changed = (at: number, ...values: number[]) => good.with(at, values[0]).map((x, n) => values[n - at] ?? x);
  const large = '9007199254740991,';
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /does not begin as a \.npy file/],
    ['another magic', changed(0, 0x92), /does not begin as a \.npy file/],
    ['version 4.0', changed(6, 4), /has version 4\.0/],
    ['version 1.1', changed(7, 1), /has version 1\.1/],
    ['a header beyond the file', changed(8, 0xff, 0xff), /65535 bytes is announced but there are \d\d bytes in all/],
    ['a huge header', changed(6, 2, 0, 0xff, 0xff, 0xff, 0xff), /a header of 4294967295 bytes is announced: no dtype/],
    ['too little data', good.subarray(0, -1), /'?<f8 \[\], 8 bytes, but 7 follow/],
    ['too much data', joined(good, bytes), /8 bytes, but 16 follow/],
    ['a shape that lies', npy(dictionary("'<f8'", '(2,)'), bytes), /<f8 \[2\], 16 bytes, but 8 follow/],
    ['an overflowing shape', npy(dictionary("'<f8'", `(${large.repeat(32)})`), bytes), /\.\.\.\], Infinity bytes, but 8 follow/],
    ['an overflow times zero', npy(dictionary("'<f8'", `(${large.repeat(31)}0,)`), bytes), /\.\.\.\], NaN bytes, but 8 follow/],
    ['a size above 2^53', npy(dictionary("'<f8'", '(9007199254740993,)')), /its shape holds 9007199254740993: a size is at most/],
    ['33 axes', npy(dictionary("'<f8'", `(${'1,'.repeat(33)})`), bytes), /more than 32 axes/],
    ['a negative size', npy(dictionary("'<f8'", '(-1,)'), bytes), /expected a size or \) but found '-1,\)/],
    ['a shape that is a number', npy(dictionary("'<f8'", '(1)'), bytes), /expected , but found '\)'/],
    ['a shape that is a list', npy(dictionary("'<f8'", '[1]'), bytes), /expected \( but found '\['/],
    ['a structured dtype', npy(dictionary("[('a', '<f8')]", '()'), bytes), /has a structured dtype/],
    ['strings', npy(dictionary("'<U2'", '()'), bytes), /dtype '<U2': only bool and f8, .* are read, convert it/],
    ['complex numbers', npy(dictionary("'<c8'", '()'), bytes), /dtype '<c8'/],
    ['uint64', npy(dictionary("'<u8'", '()'), bytes), /dtype '<u8'/],
    ['bfloat16 of ml_dtypes', npy(dictionary("'<V2'", '(4,)'), bytes), /dtype '<V2': .*, if it is bfloat16, save it as float32/],
    ['a double without byte order', npy(dictionary("'|f8'", '()'), bytes), /dtype '\|f8'/],
    ['a native byte order', npy(dictionary("'=f8'", '()'), bytes), /dtype '=f8'/],
    ['a dtype with a line break', npy(dictionary('"<\\n8"', '()'), bytes), /expected a dtype but found/],
    ['an order that is neither', npy(dictionary("'<f8'", '()', 'None'), bytes), /expected True or False but found 'None'/],
    ['a key twice', npy("{'descr': '<f8', 'descr': '<f8'}", bytes), /the header has 'descr', an unknown or repeated key/],
    ['a key too many', npy("{'descr': '<f8', 'more': 1}", bytes), /'more', an unknown or repeated key/],
    ['a key too few', npy("{'descr': '<f8', 'shape': ()}", bytes), /needs descr, fortran_order and shape/],
    ['a header that goes on', npy(`${dictionary("'<f8'", '()')}exit()`, bytes), /goes on after its end/],
    ['an empty header', npy('', bytes), /expected \{ but found its end/],
    ['an expression', npy("{'descr': '<f' + '8'}", bytes), /expected , or \} but found ' \+ '8'\}'/],
    ['a long integer', npy(dictionary("'<i8'", '()'), bytes.with(4, 1)), /it holds 4294967296 at element 0: I64 is read from/],
    ['a bool that is none', npy(dictionary("'|b1'", '(8,)'), bytes.with(4, 2)), /it holds 2 at element 4: BOOL is read from 0 to 1/],
  ];
  it.each(cases)('refuses %s', (_, file, message) => {
    expect(() => readNpy(file, 'a.npy')).toThrow(FileFormatError);
    expect(() => readNpy(file, 'a.npy')).toThrow(message);
    expect(() => readNpy(file, 'a.npy')).toThrow(/^a\.npy: [^\n]{20,400}$/);
  });
});
