/** The .npy and .npz readers and writers: NumPy's own files, round trips, and ten thousand corrupted files. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileFormatError, ValueError } from '../src/core/errors.ts';
import type { NamedTensor } from '../src/formats/named-tensor.ts';
import { readNpy, writeNpy } from '../src/formats/npy.ts';
import { readNpz, writeNpz } from '../src/formats/npz.ts';
import { roundArray } from '../src/formats/rounding.ts';
import { readSafetensors, writeSafetensors } from '../src/formats/safetensors.ts';
import { crc32 } from '../src/formats/crc32.ts';
import { listZip } from '../src/formats/zip.ts';
import { writeZip } from '../src/formats/zip-write.ts';
import { cases, THOROUGH } from './support/thorough.ts';

/**
 * Made by NumPy 2.4.6 on Python 3.11.7, as base64. With np.array(...) of the values that ARRAYS gives:
 * `compressed` by np.savez_compressed of all, `stored` by np.savez of some; `streamed` by np.savez_compressed to a
 * file that cannot seek, so that sizes follow the data; `zip64` by np.savez with zipfile.ZIP64_LIMIT = 0, which
 * writes the directory as for sizes above 2 GiB; `version2` and `version3` by numpy.lib.format.write_array of
 * [[1.5, 2]]; `objects` by np.save of np.array([1, None], dtype=object).
 */
const FIXTURES = {
  compressed: [
    'UEsDBC0AAAAIAAAAIQDcine3//////////8GABQAZjIubnB5AQAQAIwAAAAAAAAAUAAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2ak',
    'rqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpmOpo6CrUKFAAuBhuGhv/VjAwMdQw1AFBLAwQtAAAACAAAACEAeCMTi///////////',
    'BgAUAGY0Lm5weQEAEACQAAAAAAAAAFQAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoSd0vMKU4Fihdn',
    'JBakAvkaRjoKRpo6CrUKZAMuBoYD9gxA4tnGxHpGIAMAUEsDBC0AAAAIAAAAIQDfEJmL//////////8GABQAZjgubnB5AQAQAJAAAAAAAAAA',
    'UgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBuk2ahrqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUKFACuWTNBYKf9',
    'nFKGDpsn5v8AUEsDBC0AAAAIAAAAIQDRE1mT//////////8HABQAYmlnLm5weQEAEACwAAAAAAAAAFkAAAAAAAAAm+wX6hsQychQxlCtnpJa',
    'nFykbqWgbpdmoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjoKxpo6CrUKZAMu+w8MYODAAKU5oLQAlBaB0hIQGgBQSwMELQAA',
    'AAgAAAAhABbyi9H//////////wgAFABiaWdoLm5weQEAEACEAAAAAAAAAEgAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpdppK6joJ6W',
    'X1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjqaOgq1ChQArv//GZkAUEsDBC0AAAAIAAAAIQBFgdSq//////////8GABQAaTEubnB5AQAQ',
    'AIIAAAAAAAAARgAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRupaBek2morqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUK',
    'FACuhnoAUEsDBC0AAAAIAAAAIQBPIuzJ//////////8GABQAaTQubnB5AQAQAIgAAAAAAAAATQAAAAAAAACb7BfqGxDJyFDGUK2eklqcXKRu',
    'paBuk2mirqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RpGOpo6CrUKFAAuBgaGhv///9cDAFBLAwQtAAAACAAAACEAoa6pfP//////',
    '////BgAUAGk4Lm5weQEAEACQAAAAAAAAAE0AAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4F',
    'ihdnJBakAvkaRjoKhpo6CrUKZAOu3//hoJ4BCABQSwMELQAAAAgAAAAhAIK9coX//////////wYAFAB1MS5ucHkBABAAggAAAAAAAABGAAAA',
    'AAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loF5Taqiuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6mjoKtQoUAC6G/wBQSwMELQAA',
    'AAgAAAAhAFVskUn//////////wYAFAB1Mi5ucHkBABAAggAAAAAAAABGAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG5TaqSuo6Cell9U',
    'UpSYF59flJIKEndLzClOBYoXZyQWpAL5GoY6mjoKtQoUAK7//wFQSwMELQAAAAgAAAAhAGPIz5r//////////wYAFAB1NC5ucHkBABAAiAAA',
    'AAAAAABNAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG5TaqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6mjoKtQoUAC52',
    'BgaG////1wMAUEsDBC0AAAAIAAAAIQAQGToZ//////////8GABQAYjEubnB5AQAQAIIAAAAAAAAASAAAAAAAAACb7BfqGxDJyFDGUK2eklqc',
    'XKRupaBek2SorqOgnpZfVFKUmBefX5SSChJ3S8wpTgWKF2ckFqQC+RqGOgpGmjoKtQpkAy5GBgBQSwMELQAAAAgAAAAhAKNvUyP/////////',
    '/wsAFABmb3J0cmFuLm5weQEAEADgAAAAAAAAAIcAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNmoq6joJ6WX1RSlJgXn1+UkgoSDykq',
    'TQUKF2ckFqQCuRpGOgrGOgommjoKtQpkAi4GMHBwZGBocABiIM0AxAtAfHsGhgAQGyjeAaQFgHgFSB7ITwDSB4D0BCCtAMQbgNgByC8A0g+A',
    '9AwgbQDEOxwBUEsDBC0AAAAIAAAAIQA9PuNb//////////8KABQAc2NhbGFyLm5weQEAEACIAAAAAAAAAEcAAAAAAAAAm+wX6hsQychQxlCt',
    'npJanFykbqWgbpNmoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkamjoKtQoUAS4GMOBxAABQSwMELQAAAAgAAAAhAFW1bsz/////',
    '/////wkAFABlbXB0eS5ucHkBABAAgAAAAAAAAABGAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TaaKuo6Cell9UUpSYF59flJIKEndL',
    'zClOBYoXZyQWpAL5GgY6CsaaOgq1CmQDLgBQSwMELQAACAgAAAAhAKEYEk///////////w4AFABncsO2w59lL8+ALm5weQEAEACEAAAAAAAA',
    'AEgAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoq6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkahjqaOgq1ChQALkYGBgYA',
    'UEsBAi0DLQAAAAgAAAAhANyKd7dQAAAAjAAAAAYAAAAAAAAAAAAAAIABAAAAAGYyLm5weVBLAQItAy0AAAAIAAAAIQB4IxOLVAAAAJAAAAAG',
    'AAAAAAAAAAAAAACAAYgAAABmNC5ucHlQSwECLQMtAAAACAAAACEA3xCZi1IAAACQAAAABgAAAAAAAAAAAAAAgAEUAQAAZjgubnB5UEsBAi0D',
    'LQAAAAgAAAAhANETWZNZAAAAsAAAAAcAAAAAAAAAAAAAAIABngEAAGJpZy5ucHlQSwECLQMtAAAACAAAACEAFvKL0UgAAACEAAAACAAAAAAA',
    'AAAAAAAAgAEwAgAAYmlnaC5ucHlQSwECLQMtAAAACAAAACEARYHUqkYAAACCAAAABgAAAAAAAAAAAAAAgAGyAgAAaTEubnB5UEsBAi0DLQAA',
    'AAgAAAAhAE8i7MlNAAAAiAAAAAYAAAAAAAAAAAAAAIABMAMAAGk0Lm5weVBLAQItAy0AAAAIAAAAIQChrql8TQAAAJAAAAAGAAAAAAAAAAAA',
    'AACAAbUDAABpOC5ucHlQSwECLQMtAAAACAAAACEAgr1yhUYAAACCAAAABgAAAAAAAAAAAAAAgAE6BAAAdTEubnB5UEsBAi0DLQAAAAgAAAAh',
    'AFVskUlGAAAAggAAAAYAAAAAAAAAAAAAAIABuAQAAHUyLm5weVBLAQItAy0AAAAIAAAAIQBjyM+aTQAAAIgAAAAGAAAAAAAAAAAAAACAATYF',
    'AAB1NC5ucHlQSwECLQMtAAAACAAAACEAEBk6GUgAAACCAAAABgAAAAAAAAAAAAAAgAG7BQAAYjEubnB5UEsBAi0DLQAAAAgAAAAhAKNvUyOH',
    'AAAA4AAAAAsAAAAAAAAAAAAAAIABOwYAAGZvcnRyYW4ubnB5UEsBAi0DLQAAAAgAAAAhAD0+41tHAAAAiAAAAAoAAAAAAAAAAAAAAIAB/wYA',
    'AHNjYWxhci5ucHlQSwECLQMtAAAACAAAACEAVbVuzEYAAACAAAAACQAAAAAAAAAAAAAAgAGCBwAAZW1wdHkubnB5UEsBAi0DLQAACAgAAAAh',
    'AKEYEk9IAAAAhAAAAA4AAAAAAAAAAAAAAIABAwgAAGdyw7bDn2Uvz4AubnB5UEsFBgAAAAAQABAAVwMAAIsIAAAAAA==',
  ],
  stored: [
    'UEsDBC0AAAAAAAAAIQB4IxOL//////////8GABQAZjQubnB5AQAQAJAAAAAAAAAAkAAAAAAAAACTTlVNUFkBAHYAeydkZXNjcic6ICc8ZjQn',
    'LCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMiksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgCgAAwD8AAADA5rFhfwEAAABQSwMELQAAAAAAAAAhAN8QmYv//////////wYAFABmOC5ucHkBABAAkAAA',
    'AAAAAACQAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmOCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCksIH0g',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKmpmZmZmZuT+cdQCIPOQ3/lBLAwQt',
    'AAAAAAAAACEA0RNZk///////////BwAUAGJpZy5ucHkBABAAsAAAAAAAAACwAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJz5mOCcsICdm',
    'b3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCAzKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAKP/AAAAAAAABAAAAAAAAAAEAIAAAAAAAAQBAAAAAAAABAFAAAAAAAAEAYAAAAAAAAUEsDBC0AAAAAAAAAIQCj',
    'b1Mj//////////8LABQAZm9ydHJhbi5ucHkBABAA4AAAAAAAAADgAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmNCcsICdmb3J0cmFu',
    'X29yZGVyJzogVHJ1ZSwgJ3NoYXBlJzogKDIsIDMsIDQpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAKAAAAAAAAQEEAAIBAAACAQQAAAEEAAKBBAACAPwAAUEEAAKBAAACIQQAAEEEAAKhBAAAAQAAAYEEAAMBAAACQQQAAIEEA',
    'ALBBAABAQAAAcEEAAOBAAACYQQAAMEEAALhBUEsDBC0AAAAAAAAAIQA9PuNb//////////8KABQAc2NhbGFyLm5weQEAEACIAAAAAAAAAIgA',
    'AAAAAAAAk05VTVBZAQB2AHsnZGVzY3InOiAnPGY4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAAMQFBLAwQtAAAAAAAAACEAVbVuzP//',
    '////////CQAUAGVtcHR5Lm5weQEAEACAAAAAAAAAAIAAAAAAAAAAk05VTVBZAQB2AHsnZGVzY3InOiAnPGk0JywgJ2ZvcnRyYW5fb3JkZXIn',
    'OiBGYWxzZSwgJ3NoYXBlJzogKDAsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgIApQSwMELQAAAAAAAAAhABAZOhn//////////wYAFABiMS5ucHkBABAAggAAAAAAAACCAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzog',
    'J3xiMScsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgxLCAyKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAKAQBQSwECLQMtAAAAAAAAACEAeCMTi5AAAACQAAAABgAAAAAAAAAAAAAAgAEAAAAAZjQubnB5',
    'UEsBAi0DLQAAAAAAAAAhAN8QmYuQAAAAkAAAAAYAAAAAAAAAAAAAAIAByAAAAGY4Lm5weVBLAQItAy0AAAAAAAAAIQDRE1mTsAAAALAAAAAH',
    'AAAAAAAAAAAAAACAAZABAABiaWcubnB5UEsBAi0DLQAAAAAAAAAhAKNvUyPgAAAA4AAAAAsAAAAAAAAAAAAAAIABeQIAAGZvcnRyYW4ubnB5',
    'UEsBAi0DLQAAAAAAAAAhAD0+41uIAAAAiAAAAAoAAAAAAAAAAAAAAIABlgMAAHNjYWxhci5ucHlQSwECLQMtAAAAAAAAACEAVbVuzIAAAACA',
    'AAAACQAAAAAAAAAAAAAAgAFaBAAAZW1wdHkubnB5UEsBAi0DLQAAAAAAAAAhABAZOhmCAAAAggAAAAYAAAAAAAAAAAAAAIABFQUAAGIxLm5w',
    'eVBLBQYAAAAABwAHAHkBAADPBQAAAAA=',
  ],
  streamed: [
    'UEsDBC0ACAAIAAAAIQAAAAAA//////////8FABQAYS5ucHkBABAAAAAAAAAAAAAAAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TaaKu',
    'o6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GsY6mjoKtQoUAC4GIGAEYiYgBgBQSwcIAuy9qUwAAAAAAAAAjAAAAAAAAABQSwECLQMt',
    'AAgACAAAACEAAuy9qUwAAACMAAAABQAAAAAAAAAAAAAAgAEAAAAAYS5ucHlQSwUGAAAAAAEAAQAzAAAAmwAAAAAA',
  ],
  zip64: [
    'UEsDBC0AAAAAAAAAIQAC7L2p//////////8FABQAYS5ucHkBABAAjAAAAAAAAACMAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxpNCcs',
    'ICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgzLCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAKAAAAAAEAAAACAAAAUEsDBC0AAAAAAAAAIQB2DhOJ//////////8FABQAYi5ucHkBABAAgQAAAAAAAACB',
    'AAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJ3x1MScsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgpLCB9ICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKB1BLAQItAy0AAAAAAAAAIQAC7L2p////////',
    '//8FABQAAAAAAAAAAACAAQAAAABhLm5weQEAEACMAAAAAAAAAIwAAAAAAAAAUEsBAi0DLQAAAAAAAAAhAHYOE4n//////////wUAHAAAAAAA',
    'AAAAAIAB/////2IubnB5AQAYAIEAAAAAAAAAgQAAAAAAAADDAAAAAAAAAFBLBgYsAAAAAAAAAC0ALQAAAAAAAAAAAAIAAAAAAAAAAgAAAAAA',
    'AACWAAAAAAAAAHsBAAAAAAAAUEsGBwAAAAARAgAAAAAAAAEAAABQSwUGAAAAAAIAAgCWAAAAewEAAAAA',
  ],
  version2: [
    'k05VTVBZAgB0AAAAeydkZXNjcic6ICc8ZjgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMSwgMiksIH0gICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAD4PwAAAAAAAABA',
  ],
  version3: [
    'k05VTVBZAwB0AAAAeydkZXNjcic6ICc8ZjgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMSwgMiksIH0gICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAD4PwAAAAAAAABA',
  ],
  objects: [
    'k05VTVBZAQB2AHsnZGVzY3InOiAnfE8nLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwpLCB9ICAgICAgICAgICAgICAg',
    'ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAqABJWNAAAAAAAAAIwWbnVtcHkuX2NvcmUubXVsdGlhcnJh',
    'eZSMDF9yZWNvbnN0cnVjdJSTlIwFbnVtcHmUjAduZGFycmF5lJOUSwCFlEMBYpSHlFKUKEsBSwKFlGgDjAVkdHlwZZSTlIwCTziUiYiHlFKU',
    'KEsDjAF8lE5OTkr/////Sv////9LP3SUYoldlChLAU5ldJRiLg==',
  ],
};

function fixture(name: keyof typeof FIXTURES): Uint8Array {
  return Uint8Array.from(atob(FIXTURES[name].join('')), (character) => character.charCodeAt(0));
}

const reals = (dtype: 'F64' | 'F32' | 'F16' | 'BF16', shape: number[], ...data: number[]): NamedTensor => {
  return { dtype, shape, data: Float64Array.from(data) };
};
const wholes = (dtype: 'I64' | 'I32' | 'U8' | 'BOOL', shape: number[], ...data: number[]): NamedTensor => {
  return { dtype, shape, data: Int32Array.from(data) };
};

/** What the fixtures hold. Comments give NumPy's dtype if it differs from that of the tensor. */
const ARRAYS: Readonly<Record<string, NamedTensor>> = {
  f2: reals('F16', [6], 1, -0, 65504, 2 ** -24, NaN, Infinity),
  f4: reals('F32', [2, 2], 1.5, -2, Math.fround(3e38), 2 ** -149),
  f8: reals('F64', [2], 0.1, -1e300),
  big: reals('F64', [2, 3], 1, 2, 3, 4, 5, 6), // '>f8'
  bigh: wholes('I32', [2], -1, 258), // '>i2'
  i1: wholes('I32', [2], -128, 127),
  i4: wholes('I32', [2], -(2 ** 31), 2 ** 31 - 1),
  i8: wholes('I64', [2, 1], -5, 2 ** 31 - 1),
  u1: wholes('U8', [2], 0, 255),
  u2: wholes('I32', [1], 65535),
  u4: wholes('I64', [2], 7, 2 ** 31 - 1),
  b1: wholes('BOOL', [1, 2], 1, 0),
  fortran: reals('F32', [2, 3, 4], ...Array(24).keys()), // np.asfortranarray
  scalar: reals('F64', [], 3.5),
  empty: wholes('I32', [0, 3]),
  'größe/π': wholes('I32', [1], 1),
};

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

const shapes = fc.array(fc.nat(3), { maxLength: 4 });
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

/** A .npy file of version 1.0 with the given text as its header. */
function npy(header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const magic = Uint8Array.of(0x93, ...new TextEncoder().encode('NUMPY'), 1, 0, text.length & 255, text.length >> 8);
  return joined(magic, text, data);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}

const dictionary = (descr: string, shape: string, order = 'False'): string => {
  return `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`;
};

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

/** Little-endian fields, each given as its width and value. */
function fields(...list: readonly (readonly [2 | 4, number])[]): Uint8Array {
  return joined(...list.map(([width, value]) => {
    return Uint8Array.from({ length: width }, (_, n) => Math.floor(value / 256 ** n) % 256);
  }));
}

interface Member {
  readonly name: string;
  readonly packed: Uint8Array;
  readonly size?: number;
  readonly crc?: number;
  readonly method?: number;
  readonly flags?: number;
  /** What the directory says if it differs from the member's own header. */
  readonly central?: Partial<Omit<Member, 'central'>> & { offset?: number };
}

/** An archive that may be inconsistent, written independently of the writer that is tested. */
function archive(
  members: readonly Member[], { count = members.length, more = new Uint8Array(0), disk = 0 } = {},
): Uint8Array<ArrayBuffer> {
  const MORE = 2 ** 32 - 1;
  const common = (member: Member, extra: Uint8Array) => {
    const { name, packed, size = packed.length, crc = crc32(packed), method = 0, flags = 0 } = member;
    return fields(
      [2, 45], [2, flags], [2, method], [2, 0], [2, 33], [4, crc], [4, packed.length], [4, Math.min(size, MORE)],
      [2, encode(name).length], [2, extra.length],
    );
  };
  const zip64 = ({ size = 0 }: Member) => {
    return size < MORE ? fields() : fields([2, 1], [2, 8], [4, size], [4, size / 2 ** 32]);
  };
  const [body, directory]: [Uint8Array[], Uint8Array[]] = [[], []];
  let length = 0;
  for (const member of members) {
    const [local, central] = [zip64(member), zip64({ ...member, ...member.central })];
    directory.push(
      fields([4, 0x02014b50], [2, 45]), common({ ...member, ...member.central }, central),
      fields([2, 0], [2, 0], [2, 0], [4, 0], [4, member.central?.offset ?? length]),
      encode(member.central?.name ?? member.name), central,
    );
    const whole = joined(fields([4, 0x04034b50]), common(member, local), encode(member.name), local, member.packed);
    body.push(whole);
    length += whole.length;
  }
  const listed = joined(...directory);
  return joined(...body, listed, more, fields(
    [4, 0x06054b50], [2, disk], [2, disk], [2, count], [2, count], [4, listed.length], [4, length], [2, 0],
  ));
}

const encode = (text: string) => new TextEncoder().encode(text);

async function deflate(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The cost of reading: the bytes of all arrays made by length, and all bytes that were inflated. */
interface Spent {
  readonly allocated: number;
  readonly inflated: number;
  /** The message of the FileFormatError, or undefined if there was none. */
  readonly refused?: string;
}

/** Runs a reader while counting what is allocated and inflated. Any error other than FileFormatError is rethrown. */
async function spending(read: () => unknown): Promise<Spent> {
  let [allocated, inflated] = [0, 0];
  const real = { Uint8Array, Float64Array, Float32Array, Int32Array, DecompressionStream };
  const counting = Object.fromEntries(Object.entries(real).map(([name, kind]) => [name, new Proxy<object>(kind, {
    construct(target, args: unknown[]): object {
      const made = Reflect.construct(target as typeof Uint8Array, args) as { byteLength: number } | DecompressionStream;
      if (made instanceof real.DecompressionStream) {
        const count = new TransformStream<Uint8Array, Uint8Array>({
          transform(chunk, controller) {
            inflated += chunk.length;
            controller.enqueue(chunk);
          },
        }, undefined, { highWaterMark: 0 });
        return { writable: made.writable, readable: made.readable.pipeThrough(count) };
      }
      if (typeof args[0] === 'number') allocated += made.byteLength;
      return made;
    },
  })]));
  Object.assign(globalThis, counting);
  try {
    await read();
    return { allocated, inflated };
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    expect(error.message).toMatch(/^the (npz|npy|safetensors) file: [^\n]{20,600}$/);
    return { allocated, inflated, refused: error.message };
  } finally {
    Object.assign(globalThis, real);
  }
}

describe('readNpz() refuses, by name,', () => {
  const file = writeNpy(reals('F64', [1], 1));
  const a: Member = { name: 'a.npy', packed: file };
  const b: Member = { name: 'b.npy', packed: file };
  const good = archive([a, b]);
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /its 0 bytes do not end as a ZIP archive does/],
    ['a .npy file', file, /do not end as a ZIP archive does/],
    ['a truncated archive', good.subarray(0, -1), /do not end as a ZIP archive does/],
    ['bytes in front', joined(file, good), /does not end at \d+, where it should/],
    ['bytes after', joined(good, file), /do not end as a ZIP archive does/],
    ['bytes between', archive([a], { more: Uint8Array.of(1) }), /does not end at \d+, where it should/],
    ['more members than there are', archive([a], { count: 2 }), /no member at byte \d+, where one is announced/],
    ['fewer members than there are', archive([a, b], { count: 1 }), /51 bytes more than its 1 members need/],
    ['one of several parts', archive([a], { disk: 1 }), /one of several parts/],
    ['two members of one name', archive([a, a]), /two members 'a\.npy'/],
    ['a member in two places', archive([a, { ...b, name: 'a.npy', central: { name: 'a.npy', offset: 0 } }]), /two members/],
    ['an encrypted member', archive([{ ...a, flags: 1 }]), /'a\.npy' is encrypted/],
    ['a patched member', archive([{ ...a, flags: 32 }]), /flags 0x20, which are not known/],
    ['another method', archive([{ ...a, method: 14 }]), /compressed by method 14/],
    ['a name in no encoding', archive([{ ...a, name: 'ö.npy' }]), /neither ASCII nor marked/],
    ['a member that is no .npy', archive([{ ...a, name: 'a.txt' }]), /'a\.txt' is not named \.npy/],
    ['a stored member of two sizes', archive([{ ...a, size: 200 }]), /stored in 136 bytes but declares 200/],
    ['another name in the header', archive([{ ...a, central: { name: 'c.npy' } }]), /'c\.npy' has a header that differs/],
    ['another size in the header', archive([{ ...a, size: 1, central: { size: 136 } }]), /'a\.npy' has a header that differs/],
    ['another CRC in the header', archive([{ ...a, central: { crc: 1 } }]), /'a\.npy' has a header that differs/],
    ['another CRC', archive([{ ...a, crc: 1 }]), /member 'a\.npy': its bytes have the CRC-32 [0-9a-f]+, not 1/],
    ['a member that is not there', archive([{ ...a, central: { offset: 7 } }]), /not at byte 7, where/],
    ['a member beyond the rest', archive([{ ...a, central: { offset: 1e9 } }]), /not at byte 1000000000, where/],
    ['a stored member beyond the rest', archive([a, { ...b, central: { packed: good } }]), /beyond the members' end/],
    ['a size without its zip64 field', good.slice().fill(255, -73 + 24, -73 + 28), /'b\.npy' lacks the zip64 field/],
    ['no deflated bytes', archive([{ ...a, method: 8, packed: new Uint8Array(0), size: 1 }]), /0 deflated ones cannot hold/],
    ['damaged deflated bytes', archive([{ ...a, method: 8, packed: new Uint8Array(99).fill(255), size: 136 }]), /deflated bytes are damaged/],
    ['a header that lies of its length', archive([{ ...a, packed: joined(file, file) }]), /'a\.npy': it is <f8 \[1\], 8 bytes, but 144 follow/],
  ];
  it.each(cases)('%s', async (_, bytes, message) => {
    const { refused } = await spending(() => readNpz(bytes));
    expect(refused).toMatch(message);
  });

  it('overlapping members, as in a zip bomb that reuses one kernel for many', async () => {
    // The second member's header is inside the data of the first.
    const inner = archive([b]).subarray(0, 30 + 5 + file.length);
    const outer: Member = { name: 'a.npy', packed: inner };
    const lying = archive([outer, { ...b, central: { offset: 30 + 5 } }]);
    expect((await spending(() => readNpz(lying))).refused).toMatch(/'a\.npy' and 'b\.npy' overlap/);
  });

  it('a limit that is not a number', async () => {
    await expect(readNpz(good, { limit: NaN })).rejects.toThrow(ValueError);
    expect([...(await readNpz(good, { limit: 272 })).keys()]).toEqual(['a', 'b']);
    await expect(readNpz(good, { limit: 271, file: 'x.npz' })).rejects
      .toThrow(/^x\.npz: its members declare 272 bytes or more, above the limit of 271: /);
  });
});

describe('a bomb', () => {
  const zeros = (shape: string, size: number) => joined(npy(dictionary("'|u1'", shape)), new Uint8Array(size));
  const MIB = 2 ** 20;

  it('of 100 MiB that declares 1 KiB is abandoned once that is exceeded', async () => {
    const packed = await deflate(zeros('(952,)', 100 * MIB)); // 952 and a header of 72 are 1 KiB
    expect(packed.length).toBeLessThan(MIB);
    const bytes = archive([{ name: 'a.npy', packed, method: 8, size: 1024 }]);
    const spent = await spending(() => readNpz(bytes));
    expect(spent.refused).toMatch(/'a\.npy': it unpacks to more than the 1024 bytes that it declares/);
    expect(spent.allocated).toBeLessThanOrEqual(1024);
    expect(spent.inflated).toBeLessThan(4.1 * MIB); // one piece, which in Node is smaller
  });

  it('that declares 100 GiB, or more than the limit, is not inflated at all', async () => {
    const size = 100 * 1024 * MIB;
    const packed = await deflate(zeros(`(${size - 80},)`, 100 * MIB));
    const declaring = (declared: number): Member => ({ name: 'a.npy', packed, method: 8, size: declared });
    const cases = [
      [declaring(size), {}, /declares 107374182400 bytes but \d+ deflated ones cannot hold so many/],
      [declaring(size), { limit: Infinity }, /declares 107374182400 bytes but \d+ deflated ones cannot hold so many/],
      [declaring(100 * MIB + 80), { limit: 100 * MIB }, /declare 104857680 bytes .*, above the limit of 104857600/],
    ] as const;
    for (const [member, options, message] of cases) {
      const bytes = archive([member]);
      const { refused, ...spent } = await spending(() => readNpz(bytes, options));
      expect(refused).toMatch(message);
      expect(spent).toEqual({ allocated: 0, inflated: 0 });
    }
  });

  it('of 1,000 members whose sum is 5 GiB is not inflated at all', async () => {
    const packed = await deflate(zeros('(3,)', 6 * MIB));
    const member = { packed, method: 8, size: 5 * MIB };
    const bytes = archive(Array.from({ length: 1000 }, (_, n) => ({ ...member, name: `${n}.npy` })));
    const { refused, ...spent } = await spending(() => readNpz(bytes));
    expect(refused).toMatch(/declare 42\d{8} bytes or more, above the limit of 4294967296/);
    expect(spent).toEqual({ allocated: 0, inflated: 0 });
  });

  it('whose .npy header contradicts the size that the archive declares is abandoned after that header', async () => {
    const whole = zeros('(3,)', 100 * MIB);
    const packed = await deflate(whole);
    const bytes = archive([{ name: 'a.npy', packed, method: 8, size: whole.length }]);
    const spent = await spending(() => readNpz(bytes));
    expect(spent.refused).toMatch(/'a\.npy': it is \|u1 \[3\], 3 bytes, but 104857600 follow the header/);
    expect(spent.allocated).toBeLessThan(MIB);
    expect(spent.inflated).toBeLessThan(4.1 * MIB);
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

/** Mutations that change bytes at places drawn by `at`. */
type Mutation = (bytes: Uint8Array, at: () => number) => Uint8Array;

/** Lengths that make sums and products overflow, or change sign. */
const EXTREMES = [0, 1, 7, 8, 15, 16, 31, 32, 53, 63, 64].flatMap((bit) => [2n ** BigInt(bit), 2n ** BigInt(bit) - 1n]);

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 3, arbitrary: fc.nat(7).map((bit): Mutation => (bytes, at) => {
    const copy = bytes.slice();
    copy[at()] ^= 1 << bit;
    return copy;
  }) },
  { weight: 1, arbitrary: fc.constant<Mutation>((bytes, at) => bytes.slice(0, at())) },
  { weight: 1, arbitrary: fc.tuple(fc.nat(64), fc.nat(64)).map(([put, cut]): Mutation => (bytes, at) => {
    const [from, to] = [at(), at()]; // a part is inserted at another place, or replaces another part
    return joined(bytes.subarray(0, to), bytes.subarray(from, from + put), bytes.subarray(to + Math.min(cut, put)));
  }) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom(...EXTREMES), fc.constantFrom(1, 2, 4, 8))
    .map(([value, width]): Mutation => (bytes, at) => {
      const copy = bytes.slice();
      const place = at();
      for (let n = 0; n < width; n++) copy[place + n] = Number((value >> BigInt(8 * n)) & 255n);
      return copy;
    }) },
);

/**
 * Places anywhere, or the places of lengths in the records of an archive or the header of a .npy or .safetensors file.
 */
function placesOf(bytes: Uint8Array): number[] {
  const places = Array.from({ length: Math.min(8, bytes.length) }, (_, n) => n);
  const lengths: Readonly<Record<string, readonly number[]>> = {
    'PK\x03\x04': [6, 8, 14, 18, 22, 26, 28, 32, 36, 40, 44, 48], 'PK\x01\x02': [8, 10, 16, 20, 24, 28, 30, 32, 42],
    'PK\x06\x06': [4, 16, 20, 24, 32, 40, 48], 'PK\x06\x07': [4, 8, 16], 'PK\x05\x06': [4, 6, 8, 10, 12, 16, 20],
    NUMP: [6, 7, 8, 9], "': (": [4, 5, 6], "': '": [3, 4, 5, 6],
  };
  for (let n = 0; n + 4 <= bytes.length; n++) {
    const found = lengths[String.fromCharCode(...bytes.subarray(n, n + 4))] ?? [];
    places.push(...found.map((offset) => n + offset).filter((place) => place < bytes.length));
  }
  return places;
}

const draws = fc.array(fc.nat(2 ** 24 - 1), { minLength: 2, maxLength: 2 });
const mutations = fc.array(fc.tuple(mutation, fc.boolean(), draws), { minLength: 1, maxLength: 3 });

/** Each mutation draws its places either from all or from those of lengths. */
function mutated(original: Uint8Array, list: readonly [Mutation, boolean, number[]][]): Uint8Array {
  return list.reduce((bytes, [mutate, aimed, drawn]) => {
    const places = aimed ? placesOf(bytes) : undefined;
    let n = 0;
    return mutate(bytes, () => {
      const part = drawn[n++] / 2 ** 24;
      return places?.[Math.floor(part * places.length)] ?? Math.floor(part * bytes.length);
    });
  }, original);
}

/** The checks that mutations must reach: all except those that need a case of their own, above. */
const CHECKS = [
  'do not end as a ZIP archive does', 'zip64 record is not where', 'two records of the directory differ',
  'one of several parts', 'does not end at', 'no member at byte', 'its directory ends within', 'is encrypted', 'flags 0x', 'compressed by method', 'neither ASCII',
  'zip64 field', 'gives a size or place', 'is stored in', 'cannot hold so many', 'is not at byte',
  'beyond the members\' end', 'differs from the directory', 'unpacks to more', 'but declares',
  'deflated bytes are damaged', 'CRC-32', 'begin as a .npy file', 'of .npy: 1.0', 'no dtype', 'is announced but',
  'expected { but', 'expected a key or } but', 'expected a dtype but', 'expected True or False but',
  'expected a size or ) but', 'an unknown or repeated key', 'goes on after its end', 'follow the header', 'has dtype',
  'at element',
];

const MUTATED = cases(200, 10_000);

describe(`${MUTATED} mutated files`, () => {
  it('.npz are read, or refused by name, within 1 MiB for a file of up to 8 KiB', async () => {
    const small = writeNpy(ARRAYS['f4']);
    const archives = [
      fixture('compressed'), fixture('stored'), fixture('streamed'), fixture('zip64'),
      writeZip([['a.npy', small], ['ö.npy', small]], 1), writeNpz(Object.entries(ARRAYS)),
    ];
    const packed = await deflate(Uint8Array.from(small));
    const kinds = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.tuple(fc.constantFrom(...archives), mutations).map(([bytes, list]) => mutated(bytes, list)),
      },
      // The CRC-32 of the archive is right, so that only the .npy file is a reason for refusal.
      fc.tuple(fc.constantFrom('f4', 'fortran', 'b1', 'scalar', 'i8'), mutations)
        .map(([name, list]) => writeZip([['a.npy', mutated(writeNpy(ARRAYS[name]), list)]])),
      // The sizes of a deflated member are within what deflate could yield.
      fc.tuple(fc.nat(1032 * packed.length), mutations).map(([size, list]) => {
        return archive([{ name: 'a.npy', packed: mutated(packed, list), method: 8, size, crc: crc32(small) }]);
      }),
    );
    let [read, refused, most] = [0, 0, 0];
    const reached = new Set<string>();
    await fc.assert(fc.asyncProperty(kinds, async (bytes) => {
      const spent = await spending(() => readNpz(bytes));
      most = Math.max(most, spent.allocated + spent.inflated);
      if (spent.refused === undefined) read++;
      else refused++;
      for (const check of CHECKS) if (spent.refused?.includes(check)) reached.add(check);
    }), { numRuns: MUTATED, seed: 20261 });
    expect(read + refused).toBe(MUTATED);
    expect(most).toBeLessThan(2 ** 20);
    expect(refused).toBeGreaterThan(MUTATED / 2);
    expect(read).toBeGreaterThan(MUTATED / 100); // changes of flags, times and padding are harmless
    if (THOROUGH) expect(CHECKS.filter((check) => !reached.has(check))).toEqual([]);
  }, 60_000);

  it('.safetensors are read, or refused by name, within four times the size of the file', async () => {
    const original = writeSafetensors(Object.entries(ARRAYS), { made: 'for tests' });
    let [read, refused] = [0, 0];
    await fc.assert(fc.asyncProperty(mutations, async (list) => {
      const bytes = mutated(original, list);
      const spent = await spending(() => readSafetensors(bytes));
      expect(spent.allocated).toBeLessThanOrEqual(4 * bytes.length);
      if (spent.refused === undefined) read++;
      else refused++;
    }), { numRuns: MUTATED, seed: 20262 });
    expect(read + refused).toBe(MUTATED);
    expect(refused).toBeGreaterThan(MUTATED / 2);
    expect(read).toBeGreaterThan(MUTATED / 100);
  }, 60_000);
});
