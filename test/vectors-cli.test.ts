/** `natsearch vectors` as users run it: what it writes, what it refuses, and what is left when it is stopped. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readSafetensors } from '../src/formats/safetensors.ts';
import { type Manifest, openVectors, readManifest, smallSuite, SUITES } from '../src/vectors.ts';
import { some, THOROUGH } from './support/thorough.ts';

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));

let folder = '';
const path = (...names: string[]): string => join(folder, ...names);

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(...args: string[]): { stop: (signal: NodeJS.Signals) => void; result: Promise<Result> } {
  const child = spawn(process.execPath, [MAIN, 'vectors', ...args], { cwd: folder });
  const result = new Promise<Result>((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { stop: (signal) => void child.kill(signal), result };
}
const vectors = (...args: string[]): Promise<Result> => start(...args).result;

async function contents(name: string): Promise<Record<string, string>> {
  const names = (await readdir(path(name))).sort();
  const bytes = await Promise.all(names.map((file) => readFile(path(name, file), 'base64')));
  return Object.fromEntries(names.map((file, n) => [file, bytes[n]]));
}
const manifestOf = async (name: string): Promise<Manifest> =>
  readManifest(await readFile(path(name, 'manifest.json'), 'utf8'));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'natsearch-vectors-'));
  expect(await vectors('--out', 'small')).toMatchObject({ code: 0, stderr: '' });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('natsearch vectors', () => {
  it('writes the small suite: a file per case, a manifest, and nothing else', async () => {
    const { suite, seed, fileFormat, dtype, complete, cases, packageVersion, suiteVersion } = await manifestOf('small');
    const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
    expect({ suite, seed, fileFormat, dtype, complete, packageVersion, suiteVersion }).toEqual({
      suite: 'small', seed: 0, fileFormat: 'safetensors', dtype: 'f64', complete: true, packageVersion: version, suiteVersion: 2,
    });
    expect(cases.map(({ name, why }) => ({ name, why }))).toEqual(SUITES.small.map(({ name, why }) => ({ name, why })));
    expect((await readdir(path('small'))).sort()).toEqual(['manifest.json', ...cases.map(({ file }) => file)].sort());
    const sizes = await Promise.all(cases.map(async ({ file }) => (await readFile(path('small', file))).length));
    expect(sizes.reduce((a, b) => a + b, 0)).toBeLessThan(4.5e6);
  });

  it('writes what the library makes', async () => {
    const { manifest, read } = await openVectors((file) => readFile(path('small', file)));
    const made = await smallSuite();
    for (const [n, entry] of manifest.cases.entries()) {
      if (THOROUGH || n % 4 === 0) expect(await read(entry)).toEqual(made[n]);
    }
  });

  it('names inputs and truths in the files as the documentation does', async () => {
    const { tensors } = readSafetensors(await readFile(path('small', 'price.safetensors')));
    expect([...tensors.keys()].sort()).toEqual([
      'dout', 'expected.dg', 'expected.dk', 'expected.dl', 'expected.dm_rows', 'expected.dq', 'expected.dscores',
      'expected.dv', 'expected.dw', 'expected.last', 'expected.lse', 'expected.mask', 'expected.out', 'expected.types',
      'forced', 'k', 'noise', 'q', 'scores', 'v',
    ]);
  });

  it('gives the same bytes for the same seed, and other inputs for another', async () => {
    if (THOROUGH) { // the quick run relies on the next test, which compares with what the library makes from the seed
      expect((await vectors('--out', 'again', '--seed', '0')).code).toBe(0);
      expect(await contents('again')).toEqual(await contents('small'));
    }
    const { code, stdout } = await vectors('--out', 'other', '--seed', '1', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      out: 'other', suite: 'small', seed: 1, fileFormat: 'safetensors', dtype: 'f64', cases: SUITES.small.length,
      made: SUITES.small.length,
    });
    const [one, other] = [await contents('small'), await contents('other')];
    expect(Object.keys(other)).toEqual(Object.keys(one));
    expect(Object.keys(other).filter((file) => other[file] === one[file])).toEqual([]);
  });

  it('writes npz, and rounds if asked to', async () => {
    expect((await vectors('--out', 'npz', '--format', 'npz', '--dtype', 'f16')).code).toBe(0);
    const { manifest, read } = await openVectors((file) => readFile(path('npz', file)));
    expect(manifest).toMatchObject({ fileFormat: 'npz', dtype: 'f16' });
    expect((await read(manifest.cases[0])).expected.out.dtype).toBe('F16');
  });

  it('leaves a complete folder as it is', async () => {
    const before = await contents('small');
    const { code, stdout } = await vectors('--out', 'small');
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining(`${SUITES.small.length} of which existed already`) });
    expect(await contents('small')).toEqual(before);
  });

  it('makes again what is missing or damaged, and only that', async () => {
    await cp(path('small'), path('damaged'), { recursive: true });
    await rm(path('damaged/sharp.safetensors'));
    await truncate(path('damaged/flat.safetensors'), 100);
    await writeFile(path('damaged/notes.txt'), 'mine');
    const { code, stdout } = await vectors('--out', 'damaged', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ cases: SUITES.small.length, made: 2 });
    expect(await contents('damaged')).toEqual({ ...(await contents('small')), 'notes.txt': expect.any(String) });
  });

  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  it.each(some(0, signals))('leaves whole files when %s stops it, and completes them when run again', async (signal) => {
    const out = `stopped-${signal}`;
    const { stop, result } = start('--out', out, '--suite', 'full');
    while (!existsSync(path(out, 'tile-65.safetensors'))) await new Promise((resolve) => setTimeout(resolve, 2));
    stop(signal);
    const { code, stdout, stderr } = await result;
    expect(stderr.trim().split('\n').at(-1))
      .toMatch(new RegExp(`^natsearch: stopped after \\d+ of \\d+ cases: run the same command to complete ${out}$`));
    expect(code).toBe({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    expect(stdout).toBe('');
    const { complete, cases, ...heading } = await manifestOf(out);
    expect(complete).toBe(false);
    expect(cases.length).toBeLessThan(SUITES.full.length);
    const left = await contents(out);
    expect(Object.keys(left).sort()).toEqual(['manifest.json', ...cases.map(({ file }) => file)].sort());
    const small = await contents('small');
    for (const { file } of cases.filter(({ file }) => file in small)) expect(left[file]).toBe(small[file]);

    // Pretend that it was the small suite, so that the rest takes less than a minute.
    const known = cases.filter(({ name }) => SUITES.small.some((recipe) => recipe.name === name));
    await writeFile(path(out, 'manifest.json'), JSON.stringify({ ...heading, suite: 'small', complete, cases: known }));
    const completed = JSON.parse((await vectors('--out', out, '--json')).stdout) as { made: number };
    expect(completed.made).toBe(SUITES.small.length - known.length);
    expect(await contents(out)).toMatchObject(small);
  });
});

describe('natsearch vectors refuses', () => {
  async function refusal(args: readonly string[], code: number, message: RegExp): Promise<void> {
    const result = await vectors(...args);
    expect(result.stderr).toMatch(/^natsearch: [^\n]+\n$/);
    expect(result.stderr).toMatch(message);
    expect({ stdout: result.stdout, code: result.code }).toEqual({ stdout: '', code });
  }

  it.each(some<[string, string[], RegExp]>(2, [
    ['no folder', [], /required option '--out <dir>' not specified/],
    ['an unknown suite', ['--out', 'x', '--suite', 'big'], /'big' is invalid\. Allowed choices are small, tiles, fp8, full/],
    ['an unknown format', ['--out', 'x', '--format', 'h5'], /Allowed choices are safetensors, npz/],
    ['an unknown dtype', ['--out', 'x', '--dtype', 'f8'], /Allowed choices are f64, f32, f16, bf16/],
    ['half a seed', ['--out', 'x', '--seed', '0.5'], /a whole number, 0 or more/],
  ]))('%s with exit code 2', (_, args, message) => refusal(args, 2, message));

  it('a folder of other things, and a file, and leaves them alone', async () => {
    await mkdir(path('books'));
    await writeFile(path('books/moby.txt'), 'Call me');
    await refusal(['--out', 'books'], 1, /books holds moby\.txt and no vectors: choose a new or empty folder/);
    await refusal(['--out', 'books/moby.txt'], 1, /moby\.txt is a file: name a folder/);
    expect(await readdir(path('books'))).toEqual(['moby.txt']);
    expect(await readFile(path('books/moby.txt'), 'utf8')).toBe('Call me');
  });

  it('a folder whose manifest is another program\'s, or damaged', async () => {
    await mkdir(path('app'));
    await writeFile(path('app/manifest.json'), '{"name": "an app"}');
    await refusal(['--out', 'app'], 1, /manifest\.json is not a manifest of vectors/);
    await writeFile(path('app/manifest.json'), '{"name": "an');
    await refusal(['--out', 'app'], 1, /manifest\.json is not JSON .*truncated or damaged/);
    expect(await readdir(path('app'))).toEqual(['manifest.json']);
  });

  it.each(some<[string, string[]]>(1, [
    ['seed 0, not 1', ['--seed', '1']], ['suite small, not full', ['--suite', 'full']],
    ['fileFormat safetensors, not npz', ['--format', 'npz']], ['dtype f64, not f32', ['--dtype', 'f32']],
  ]))('to mix: vectors of %s', async (what, args) => {
    const before = await contents('small');
    await refusal(['--out', 'small', ...args], 1, new RegExp(`small has vectors of ${what}: request the same, choose`));
    expect(await contents('small')).toEqual(before);
  });
});
