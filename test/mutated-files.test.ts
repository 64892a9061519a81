/** Files with changed bytes are read or refused by name, at a cost in proportion to their size. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from '../src/formats/crc32.ts';
import { writeNpy } from '../src/formats/npy.ts';
import { readNpz, writeNpz } from '../src/formats/npz.ts';
import { readSafetensors, writeSafetensors } from '../src/formats/safetensors.ts';
import { writeZip } from '../src/formats/zip-write.ts';
import { ARRAYS, fixture, joined } from './support/numpy-files.ts';
import { cases, THOROUGH } from './support/thorough.ts';
import { archive, deflate, spending } from './support/zip-archives.ts';

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
