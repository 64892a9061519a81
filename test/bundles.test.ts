/**
 * Applications that use the packed library, bundled without configuration and without a warning, as small as what
 * they use. Minified, they compute the same numbers, since kernels are strings, which no minifier rewrites.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LIFETIME_ALONE, LIFETIME_RESULT, WHOLE } from './support/applications.ts';
import { BUNDLERS, legibly, packedApp } from './support/packed.ts';
import { some } from './support/thorough.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
/** A name that a minifier would shorten. */
const LOCAL_NAME = 'numbersForTheProblem';
/** The bundlers that take only a second. test/bundles.long.test.ts has the others. */
const QUICK = ['esbuild for browsers', 'esbuild for any platform'];

let app: string;
let expected: string;

beforeAll(async () => {
  const text = readFileSync(join(root, 'test/support/gpu-program.mjs'), 'utf8');
  const program = text.replace("'LIBRARY'", "'neural-attention-search'");
  app = packedApp({ 'small.mjs': LIFETIME_ALONE, 'whole.mjs': WHOLE, 'program.mjs': program, 'package.json': '{"type":"module"}' });
  expected = await output('program.mjs');
}, 60_000);
afterAll(() => rmSync(app, { recursive: true, force: true }));

async function output(file: string): Promise<string> {
  return (await run(process.execPath, [join(app, file)], { timeout: 60_000 })).stdout;
}

const scripts = (out: string) => readdirSync(join(app, out), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.js')).map((name) => readFileSync(join(app, out, name), 'utf8'));

/** The bundles are run in Node here. test/bundles.long.test.ts runs pages in Chromium. */
describe.each(some(1, QUICK))('%s', { timeout: 60_000 }, (name) => {
  const out = `out-${QUICK.indexOf(name)}`;
  it('bundles lifetime() alone without a warning, into less than 5 kB', async () => {
    expect(await BUNDLERS[name](app, 'small.mjs', `${out}/small`)).toEqual([]);
    const [code, ...more] = scripts(`${out}/small`);
    expect(more).toEqual([]);
    expect(code.length).toBeLessThan(5_000);
    await import(/* @vite-ignore */ pathToFileURL(join(app, out, 'small/main.js')).href);
    expect((globalThis as { result?: unknown }).result).toBe(LIFETIME_RESULT);
  });

  it('bundles a model, its generation and gpu.js without a warning, and without a name that only Node knows', async () => {
    expect(await BUNDLERS[name](app, 'whole.mjs', `${out}/whole`)).toEqual([]);
    const all = scripts(`${out}/whole`).join('\n');
    expect(all.includes('WebAssemblyKernel')).toBe(true);
    const names = /(\bfrom|\bimport\(?)\s*["'`](node:|fs\b|os\b|path\b|worker_threads|webgpu)/g;
    expect([...all.matchAll(names)].map(([found]) => found)).toEqual([]);
  });
});

it.each(some(0, ['Rollup']))('%s bundles only parts of reference/ and src/core for lifetime() alone', async () => {
  expect(await legibly(app, 'small.mjs', 'legible')).toEqual([]);
  const [code, ...more] = scripts('legible');
  expect(more).toEqual([]);
  const sources = [...code.matchAll(/^\/\/ (\S+\.ts)$/gm)].map(([, source]) => source);
  expect(sources).toContain('reference/lifetime.ts');
  expect(sources.filter((source) => !/^(reference|src\/core)\//.test(source))).toEqual([]);
});

describe('require()', () => {
  it('gives the same as import for the package, its vectors, and package.json', async () => {
    writeFileSync(join(app, 'program.cjs'), `
      const [library, vectors] = [require('neural-attention-search'), require('neural-attention-search/vectors')];
      const { version } = require('neural-attention-search/package.json');
      console.log(JSON.stringify([Object.keys(library).sort(), Object.keys(vectors).sort(), version]));`);
    const [library, vectors] = await Promise.all([import('../src/index.ts'), import('../src/vectors.ts')]);
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(JSON.parse(await output('program.cjs'))).toEqual([
      Object.keys(library).sort(), Object.keys(vectors).sort(), version,
    ]);
  });
});

describe('a program on gpu.js', () => {
  it('prints the same bits when minified by esbuild', async () => {
    const out = 'minified';
    expect(await BUNDLERS['esbuild for any platform'](app, 'program.mjs', out)).toEqual([]);
    expect(scripts(out).join('\n').includes(LOCAL_NAME)).toBe(false);
    expect(await output(`${out}/main.js`)).toBe(expected);
  });

it('computes finite numbers, on the cache too, on which both backends agree', () => {
    const found = JSON.parse(expected) as Record<'cpu' | 'webasm', Record<string, number[]>>;
    for (const results of Object.values(found)) {
      expect(Object.values(results).flat().every(Number.isFinite)).toBe(true);
      expect(results['cached'].every((x, n) => Math.abs(x - results['out'][n]) < 1e-5)).toBe(true);
    }
    expect(found.webasm['last']).toEqual(found.cpu['last']);
    expect(found.webasm['positions']).toEqual(found.cpu['positions']);
  });
});
