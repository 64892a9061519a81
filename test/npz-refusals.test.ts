/** Archives that contradict themselves, or would unpack to more than they declare, are refused. */
import { describe, expect, it } from 'vitest';
import { ValueError } from '../src/core/errors.ts';
import { writeNpy } from '../src/formats/npy.ts';
import { readNpz } from '../src/formats/npz.ts';
import { dictionary, joined, npy, reals } from './support/numpy-files.ts';
import { archive, deflate, type Member, spending } from './support/zip-archives.ts';

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
