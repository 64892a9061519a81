/** Cases as files: what is written is read back, and damage is refused by name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { FileFormatError, StorageError } from '../src/index.ts';
import { roundTo } from '../src/formats/rounding.ts';
import {
  formatManifest, type Manifest, openVectors, type OracleCase, packCase, readManifest, smallSuite,
} from '../src/vectors.ts';
import { tensorsOf } from './support/oracle-truths.ts';
import { FIRST_SUITE_HASH, SMALL_SUITE_HASH, suiteHash } from './support/suite-hash.ts';
import { expectSameBits } from './support/tolerance.ts';

const cases = new Map<string, OracleCase>();
beforeAll(async () => {
  for (const each of await smallSuite()) cases.set(each.name, each);
});
const named = (name: string): OracleCase => cases.get(name)!;

describe('vectors as files', () => {
  const heading = { suite: 'mine', seed: 0, fileFormat: 'safetensors', dtype: 'f64' } as const;
  const manifestOf = (entries: Manifest['cases'], changes: object = {}): string => formatManifest({
    format: 'natsearch-vectors', version: 1, ...heading, complete: true, cases: entries, ...changes,
  });

  it.each([
    ['safetensors', 'f64'], ['safetensors', 'bf16'], ['npz', 'f64'], ['npz', 'f32'], ['npz', 'f16'], ['npz', 'bf16'],
  ] as const)('come back from %s of %s', async (fileFormat, dtype) => {
    const wanted = { f64: 'F64', f32: 'F32', f16: 'F16', bf16: 'BF16' } as const;
    for (const name of ['price-chunks', 'hidden-nan', 'near-tied', 'global-last']) {
      const each = named(name);
      const { entry, bytes } = await packCase(each, { fileFormat, dtype });
      const files: Record<string, Uint8Array> = {
        'manifest.json': new TextEncoder().encode(manifestOf([entry], { fileFormat, dtype })), [entry.file]: bytes,
      };
      const { manifest, read } = await openVectors(async (file) => files[file]);
      const back = await read(manifest.cases[0]);
      expect({ ...back, inputs: 0, expected: 0 }).toEqual({ ...each, inputs: 0, expected: 0 });
      for (const [key, { dtype: kind, shape, data }] of tensorsOf(each)) {
        const got = { ...back.inputs, ...back.expected }[key];
        if (kind !== 'F64') expect(got).toEqual({ dtype: kind, shape, data });
        else {
          expect(got.shape).toEqual(shape);
          expectSameBits(got.data, Array.from(data, (x) => roundTo(x, wanted[dtype])), key);
          expect(got.dtype).toBe(fileFormat === 'npz' && dtype === 'bf16' ? 'F32' : wanted[dtype]);
        }
        if (key in each.inputs) expectSameBits(got.data, data, key);
      }
    }
  });

  it('have a manifest that says what was written', async () => {
    const { entry } = await packCase(named('batch'), heading);
    const text = manifestOf([entry, { ...entry, name: 'other' }], { packageVersion: '1.2.3' });
    expect(readManifest(text)).toEqual({
      format: 'natsearch-vectors', version: 1, ...heading, packageVersion: '1.2.3', complete: true,
      cases: [entry, { ...entry, name: 'other' }],
    });
    expect(text.split('\n').filter((line) => line.startsWith('    {"name"'))).toHaveLength(2);
    expect(readManifest(manifestOf([])).cases).toEqual([]);
  });

  describe('are refused', () => {
    let entry: Manifest['cases'][number];
    let bytes: Uint8Array;
    beforeAll(async () => ({ entry, bytes } = await packCase(named('hidden-nan'), heading)));
    type Changed = (entry: Manifest['cases'][number]) => object;

    it('if the manifest is truncated anywhere', () => {
      const text = manifestOf([entry]).trimEnd();
      for (let length = 0; length < text.length; length += 7) {
        expect(() => readManifest(text.slice(0, length))).toThrow(FileFormatError);
        expect(() => readManifest(text.slice(0, length))).toThrow(/truncated or damaged/);
      }
    });

    it.each<[string, string, RegExp]>([
      ['another document', '{"cases": []}', /is not a manifest of vectors/],
      ['null', 'null', /is not a manifest of vectors/],
      ['a list', '[]', /is not a manifest of vectors/],
      ['a later version', manifestOf([], { version: 2 }), /has version 2 but this package reads version 1/],
      ['no seed', manifestOf([], { seed: null }), /lacks suite, seed/],
      ['an unknown file format', manifestOf([], { fileFormat: 'hdf5' }), /lacks suite, seed, fileFormat/],
      ['an unknown dtype', manifestOf([], { dtype: 'toString' }), /lacks suite, seed, fileFormat, dtype/],
    ])('if it is %s', (_, text, message) => {
      expect(() => readManifest(text)).toThrow(FileFormatError);
      expect(() => readManifest(text)).toThrow(message);
    });

    it.each<[string, Changed, RegExp]>([
      ['no case', () => [], /case 0 has no parameters/],
      ['a file elsewhere', () => ({ file: '../x.npz' }), /lacks a name .* a file/],
      ['no hash', () => ({ sha256: 'abc' }), /its sha256/],
      ['a shape against the parameters', ({ inputs }) => ({ inputs: { ...inputs, q: { dtype: 'F64', shape: [2, 4, 70, 3] } } }),
        /case 0 \(hidden-nan\): q is F64 \[2,4,70,3\], but by the parameters its shape is \[2,4,70,4\]/],
      ['parameters against the shapes', ({ parameters }) => ({ parameters: { ...parameters, tokens: 69 } }), /the steps take in 70 tokens but there are 69/],
      ['no window', ({ parameters }) => ({ parameters: { ...parameters, window: undefined } }), /window is undefined/],
      ['no steps', ({ parameters }) => ({ parameters: { ...parameters, steps: 70 } }), /has no steps/],
      ['an unknown tensor', ({ expected }) => ({ expected: { ...expected, dz: { dtype: 'F64', shape: [1] } } }), /has a tensor dz/],
      ['an unknown dtype', ({ expected }) => ({ expected: { ...expected, out: { dtype: 'F8', shape: [2, 4, 70, 4] } } }), /out is F8/],
      ['positions that are not there', () => ({ notCompared: { lse: [560] } }), /notCompared names elements of lse/],
    ])('if a case has %s', (_, change, message) => {
      const changed = change(entry);
      const text = manifestOf([(Array.isArray(changed) ? changed : { ...entry, ...changed }) as never]);
      expect(() => readManifest(text)).toThrow(FileFormatError);
      expect(() => readManifest(text)).toThrow(message);
    });

    it('if two cases have one name', () => {
      expect(() => readManifest(manifestOf([entry, entry]))).toThrow(/two cases are named hidden-nan/);
    });

    it('if the folder is incomplete, or a file is missing, changed, or not what the manifest says', async () => {
      const open = async (text: string, file?: Uint8Array): Promise<OracleCase> => {
        const files: Record<string, Uint8Array | undefined> = {
          'manifest.json': new TextEncoder().encode(text), 'hidden-nan.safetensors': file,
        };
        const { manifest, read } = await openVectors((name) =>
          files[name] ? Promise.resolve(files[name]) : Promise.reject(new TypeError('404')));
        return read(manifest.cases[0]);
      };
      const good = manifestOf([entry]);
      expect((await open(good, bytes)).name).toBe('hidden-nan');
      const cut = manifestOf([entry], { complete: false });
      await expect(open(cut, bytes)).rejects.toThrow(/has 1 cases and is incomplete/);
      await expect(open(good)).rejects.toThrow(StorageError);
      await expect(open(good)).rejects.toThrow(/cannot read hidden-nan\.safetensors/);
      await expect(open(good, bytes.slice(0, -1))).rejects.toThrow(/is not the file that the manifest was written/);
      const renamed = manifestOf([{ ...entry, inputs: { ...entry.inputs, dout: entry.inputs.q } }]);
      await expect(open(renamed, bytes)).rejects.toThrow(/has no tensor dout, which the manifest lists/);
      const retyped = manifestOf([{ ...entry, inputs: { ...entry.inputs, q: { ...entry.inputs.q, dtype: 'F32' } } }]);
      await expect(open(retyped, bytes)).rejects.toThrow(/q is F64 .*, the manifest says F32/);
    });
  });

  it('of the small suite, seed 0, are these bytes on every platform', async () => {
    expect(await suiteHash([...cases.values()])).toBe(SMALL_SUITE_HASH);
  });

  it('of the cases that version 1 of the suite had are the same bytes as then', async () => {
    const added = /^(pair-\d+|one-sign-\w+|window-(34|70))$/;
    const before = [...cases.values()].filter(({ name }) => !added.test(name));
    expect(before).toHaveLength(61);
    expect(await suiteHash(before)).toBe(FIRST_SUITE_HASH);
  });
});
