/** The safetensors reader and writer: round trips, and ten thousand corrupted files. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileFormatError, ValueError } from '../src/core/errors.ts';
import { fromBfloat16, fromFloat16, toFloat16 } from '../src/core/float16.ts';
import { parseHeader } from '../src/formats/safetensors-header.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/formats/safetensors.ts';

/** A file with the given header, as text or as an object, and data. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0), announced?: bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, announced ?? BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

const names = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }),
  fc.constantFrom('__proto__', 'constructor', 'a"b', 'tab\t', '\\'),
).filter((name) => name !== '__metadata__');
const shapes = fc.array(fc.nat(3), { maxLength: 3 });

describe('decodeSafetensors() after encodeSafetensors()', () => {
  const drawn = fc.uniqueArray(fc.record({
    name: names,
    dtype: fc.constantFrom('F64' as const, 'F32' as const, 'F16' as const),
    shape: shapes,
    seed: fc.array(fc.double(), { minLength: 27, maxLength: 27 }),
  }), { selector: ({ name }) => name, maxLength: 4 });

  it('gives back every tensor, rounded to its dtype, and the metadata', () => {
    fc.assert(fc.property(drawn, fc.dictionary(names, fc.string({ unit: 'grapheme' })), (tensors, metadata) => {
      const given = tensors.map(({ name, dtype, shape, seed }) => {
        const data = Float64Array.from(seed.slice(0, shape.reduce((a, b) => a * b, 1)));
        return [name, { dtype, shape, data }] as const;
      });
      const read = decodeSafetensors(encodeSafetensors(given, metadata));
      expect([...read.tensors.keys()]).toEqual(given.map(([name]) => name));
      expect({ ...read.metadata }).toEqual({ ...metadata });
      for (const [name, { dtype, shape, data }] of given) {
        const tensor = read.tensors.get(name)!;
        expect(tensor.dtype).toBe(dtype);
        expect(tensor.shape).toEqual(shape);
        expect(tensor.data).toBeInstanceOf(dtype === 'F64' ? Float64Array : Float32Array);
        const rounded = dtype === 'F64' ? data : data.map((x) => dtype === 'F32' ? Math.fround(x) : nearestHalf(x));
        expect([...tensor.data]).toEqual([...rounded]); // toEqual distinguishes -0 from 0, and NaN equals NaN
      }
    }));
  });

  it('aligns the data to 8 bytes', () => {
    fc.assert(fc.property(names, (name) => {
      const bytes = encodeSafetensors([[name, { dtype: 'F32', shape: [1], data: Float32Array.of(1) }]]);
      expect(new DataView(bytes.buffer).getBigUint64(0, true) % 8n).toBe(0n);
    }));
  });

  it('refuses a name twice, the name __metadata__, and a shape that does not fit', () => {
    const one = { dtype: 'F32' as const, shape: [1], data: Float32Array.of(1) };
    expect(() => encodeSafetensors([['a', one], ['a', one]])).toThrow(ValueError);
    expect(() => encodeSafetensors([['__metadata__', one]])).toThrow(ValueError);
    expect(() => encodeSafetensors([['a', { ...one, shape: [2] }]])).toThrow(ValueError);
  });
});

/** Every finite binary16, ascending, from the definition of the format. */
const HALVES: readonly number[] = Array.from({ length: 0x7c00 }, (_, bits) => {
  const [exponent, fraction] = [bits >> 10, bits & 1023];
  return exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
});

/** Nearest binary16 by search among all of them; ties to the even pattern; from 65520 on, infinity. */
function nearestHalf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  const sign = Object.is(Math.sign(x), -0) || x < 0 ? -1 : 1;
  const size = Math.abs(x);
  if (size >= 65520) return sign * Infinity;
  let [low, high] = [0, HALVES.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (HALVES[middle] <= size) low = middle;
    else high = middle;
  }
  const [down, up] = [size - HALVES[low], HALVES[high] - size];
  return sign * HALVES[down < up || (down === up && low % 2 === 0) ? low : high];
}

describe('half precision', () => {
  it('reads and writes every binary16 pattern back', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromFloat16(bits);
      if (Number.isNaN(value)) expect(bits & 0x7fff).toBeGreaterThan(0x7c00);
      else if (toFloat16(value) !== bits) expect(toFloat16(value), `pattern ${bits}`).toBe(bits);
    }
    expect(HALVES.every((value, bits) => fromFloat16(bits) === value)).toBe(true);
  });

  it('rounds from float64 in one step, to nearest, ties to even', () => {
    const nudges = fc.constantFrom(-1e-9, -(2 ** -12), 0, 2 ** -12, 2 ** -11, 1e-9);
    const near = fc.tuple(fc.constantFrom(...HALVES.slice(1)), nudges)
      .map(([half, nudge]) => half * (1 + nudge));
    fc.assert(fc.property(fc.oneof(fc.double(), near, fc.double({ min: -7e4, max: 7e4 })), (x) => {
      expect(fromFloat16(toFloat16(x))).toEqual(nearestHalf(x));
    }), { numRuns: 2000 });
  });

  it('reads bfloat16 as the upper half of a float32', () => {
    const known = [[0x3f80, 1], [0xc000, -2], [0x0001, 2 ** -133], [0x7f80, Infinity], [0x8000, -0]] as const;
    for (const [bits, value] of known) {
      expect(fromBfloat16(bits)).toBe(value);
    }
    const bytes = Uint8Array.of(0x80, 0x3f, 0x00, 0xc0);
    const read = decodeSafetensors(file({ a: { dtype: 'BF16', shape: [2], data_offsets: [0, 4] } }, bytes));
    expect([...read.tensors.get('a')!.data]).toEqual([1, -2]);
  });
});

describe('decodeSafetensors() refuses, by name,', () => {
  const good = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  const data = new Uint8Array(8);
  const cases: readonly [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /it is empty/],
    ['seven bytes', new Uint8Array(7), /7 bytes are too few/],
    ['a header longer than the file', file('{}', data, 1000n), /1000 bytes is announced but the file has 18/],
    ['a huge header', file('{}', data, 2n ** 63n), /above the format's/],
    ['a header that is not JSON', file('{"a":', data), /not valid at character 5, in tensor 'a': expected \{ but found its end/],
    ['a header that is a list', file('[]', data), /not valid at character 0, in the header: expected \{ but found '\['/],
    ['a header that is not UTF-8', file('{}', data).fill(0xff, 8, 10), /not valid UTF-8/],
    ['duplicate tensors', file(`{"a":${JSON.stringify(good)},"a":${JSON.stringify(good)}}`, data), /the key 'a' occurs twice/],
    ['duplicate fields', file('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', data), /occurs twice/],
    ['an unknown dtype', file({ a: { ...good, dtype: 'F8' } }, data), /'a' has dtype "F8"/],
    ['a dtype from the prototype', file({ a: { ...good, dtype: 'toString' } }, data), /dtype "toString"/],
    ['a negative size', file({ a: { ...good, shape: [-2] } }, data), /the shape of tensor 'a' holds -2/],
    ['a fractional size', file({ a: { ...good, shape: [0.5] } }, data), /the shape of tensor 'a' holds 0\.5/],
    ['an overflowing shape', file({ a: { ...good, shape: [2 ** 40, 2 ** 40] } }, data), /give 8/],
    ['negative offsets', file({ a: { ...good, data_offsets: [-8, 0] } }, data), /data_offsets of tensor 'a' holds -8/],
    ['offsets the wrong way round', file({ a: { ...good, data_offsets: [8, 0] } }, data), /before it begins/],
    ['offsets beyond the data', file({ a: { ...good, data_offsets: [8, 16] } }, data), /ends at byte 16 but the data has 8/],
    ['a shape that lies', file({ a: { ...good, shape: [3] } }, data), /12 bytes, but data_offsets \[0,8\] give 8/],
    ['overlapping tensors', file({ a: good, b: { ...good, data_offsets: [4, 12] } }, new Uint8Array(12)), /'b' begins at byte 4/],
    ['a hole', file({ a: good, b: { ...good, data_offsets: [12, 20] } }, new Uint8Array(20)), /'b' begins at byte 12/],
    ['trailing bytes', file({ a: good }, new Uint8Array(9)), /1 bytes belong to none/],
    ['truncated data', file({ a: good }, new Uint8Array(5)), /truncated/],
    ['metadata that is not strings', file({ __metadata__: { step: 1 }, a: good }, data), /in __metadata__ 'step': expected " but found '1'/],
    ['an unknown field', file({ a: { ...good, extra: 1 } }, data), /unknown field 'extra'/],
    ['a missing field', file({ a: { dtype: 'F32', shape: [2] } }, data), /'a' needs a dtype, a shape and two data_offsets/],
    ['one offset', file({ a: { ...good, data_offsets: [8] } }, data), /'a' needs .* two data_offsets/],
    ['three offsets', file({ a: { ...good, data_offsets: [0, 8, 8] } }, data), /more than 2 numbers/],
    ['a size written as 2e0', file('{"a":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}', data), /holds 2e0/],
    ['a size above 2^53', file('{"a":{"dtype":"F32","shape":[9007199254740993,0],"data_offsets":[0,0]}}'), /holds 9007199254740993/],
    ['an escape that JSON lacks', file('{"\\x":{}}', data), /an escape that JSON lacks/],
    ['a second header', file('{}{}', data), /expected nothing more but found '\{'/],
    ['a byte order mark', file('\uFEFF{}'), /not valid at character 0/],
    ['line breaks in a name', file({ 'a\nb': { ...good, dtype: 'F8' } }, data), /'a\\nb' has dtype "F8"/],
    ['line breaks in the header', file('{\n"a":\n}\n', data), /not valid at character 7/],
  ];
  it.each(cases)('%s', (_, bytes, message) => {
    expect(() => decodeSafetensors(bytes, 'm.safetensors')).toThrow(FileFormatError);
    expect(() => decodeSafetensors(bytes, 'm.safetensors')).toThrow(message);
    expect(() => decodeSafetensors(bytes, 'm.safetensors')).toThrow(/^m\.safetensors: [^\n]*$/);
  });
});

describe('10,000 mutated files', () => {
  const original = encodeSafetensors([
    ['model.embed', { dtype: 'F32', shape: [3, 2], data: Float32Array.from({ length: 6 }, (_, n) => n) }],
    ['model.norm', { dtype: 'F64', shape: [2], data: Float64Array.of(1, 2) }],
    ['half', { dtype: 'F16', shape: [5], data: Float32Array.of(1, 2, 3, 4, 5) }],
  ], { step: '7' });
  const at = fc.nat(original.length - 1);
  const tokens = ['"', '{', '}', '[', ']', ',', ':', '-', '9', '1e9', '.5', '0', 'null', 'F8', '"a"', '\\u0000', ' '];
  const mutation = fc.oneof(
    at.map((n) => (bytes: Uint8Array) => bytes.slice(0, n)), // truncation
    fc.tuple(at, fc.nat(255)).map(([n, byte]) => (bytes: Uint8Array) => {
      const copy = bytes.slice();
      if (copy.length > 0) copy[n % copy.length] = byte;
      return copy;
    }),
    fc.tuple(fc.nat(300), fc.constantFrom(...tokens)).map(([n, token]) => (bytes: Uint8Array) => { // within the header
      const copy = bytes.slice();
      const put = new TextEncoder().encode(token).subarray(0, Math.max(0, copy.length - 8 - n));
      copy.set(put, Math.min(8 + n, copy.length));
      return copy;
    }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((length) => (bytes: Uint8Array) => { // a wrong header length
      const copy = bytes.slice();
      const lie = length % 3n === 0n ? length % 400n : length;
      if (copy.length >= 8) new DataView(copy.buffer).setBigUint64(0, lie, true);
      return copy;
    }),
    fc.uint8Array({ maxLength: 20 }).map((more) => (bytes: Uint8Array) => Uint8Array.of(...bytes, ...more)),
  );

  it('are read as what they declare, or refused by name, without more memory than the size of the file justifies', () => {
    let [read, refused] = [0, 0];
    fc.assert(fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
      const bytes = mutations.reduce((current, mutate) => mutate(current), original);
      try {
        const { tensors } = decodeSafetensors(bytes);
        const stored = [...tensors.values()].reduce((sum, { data, dtype }) => {
          return sum + (dtype === 'F16' || dtype === 'BF16' ? data.byteLength / 2 : data.byteLength);
        }, 0);
        expect(stored).toBeLessThanOrEqual(bytes.length - 8);
        read++;
      } catch (error) {
        if (!(error instanceof FileFormatError)) throw error;
        expect(error.message).not.toContain('\n');
        refused++;
      }
    }), { numRuns: 10_000, seed: 20251 });
    expect(read + refused).toBe(10_000);
    expect(refused).toBeGreaterThan(5_000);
    expect(read).toBeGreaterThan(50); // harmless changes of data bytes stay readable
  }, 60_000);
});

describe('decodeSafetensors() is not held up by', () => {
  // Each header has 8 MB. Parsed as JSON, some would take a hundred times that, and minutes.
  const many = (text: string) => text.repeat(Math.floor(8e6 / text.length));
  const tensor = (fields: string) => `{"a":{"dtype":"F32",${fields}}}`;
  it.each<[string, string]>([
    ['nesting', `{"a":${many('[')}`],
    ['a list of objects', `{"a":[${many('{},')}{}]}`],
    ['a shape of endless axes', tensor(`"shape":[${many('1,')}1],"data_offsets":[0,4]`)],
    ['an endless number', tensor(`"shape":[${many('1')}],"data_offsets":[0,4]`)],
    ['an endless name', `{"${many('x')}":{"dtype":"F8","shape":[],"data_offsets":[0,0]}}`],
    ['endless escapes', `{"${many('\\n')}":{"dtype":"F8","shape":[],"data_offsets":[0,0]}}`],
    ['an endless dtype', `{"a":{"dtype":"${many('x')}","shape":[],"data_offsets":[0,0]}}`],
    ['padding in front', `${many(' ')}[]`],
  ])('%s', (_, header) => {
    const started = performance.now();
    let message = '';
    try {
      decodeSafetensors(file(header, new Uint8Array(4)));
    } catch (error) {
      expect(error).toBeInstanceOf(FileFormatError);
      message = (error as Error).message;
    }
    expect(message).toMatch(/^the safetensors file: .{20,400}$/); // one short line, whatever the file holds
    expect(performance.now() - started).toBeLessThan(5000); // milliseconds if it works, minutes if it hangs
  });
});

describe('parseHeader()', () => {
  const whole = fc.nat(1000);
  const header = fc.dictionary(names, fc.record({
    dtype: fc.string({ unit: 'grapheme' }),
    shape: fc.array(whole, { maxLength: 4 }),
    data_offsets: fc.tuple(whole, whole),
  }));

  it('reads what JSON.parse reads, with any white space', () => {
    fc.assert(fc.property(header, fc.constantFrom(undefined, 1, '\t'), (tensors, indent) => {
      const { entries } = parseHeader(`${JSON.stringify(tensors, null, indent)}   `);
      expect(entries).toEqual(Object.entries(tensors).map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
        return { name, dtype, shape, begin, end };
      }));
    }));
  });
});
