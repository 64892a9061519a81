/** Minified applications compute the same numbers: kernels are texts, which no minifier rewrites. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build as esbuild } from 'esbuild';
import { minify } from 'terser';
import { build as vite } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
/** A name that every minifier shortens. */
const LOCAL_NAME = 'numbersForTheProblem';

let folder: string;
let program: string;
let expected: string;

async function output(file: string): Promise<string> {
  return (await run(process.execPath, [file], { timeout: 60_000 })).stdout;
}

/** All JavaScript in a folder, which is how an application with a lazy chunk arrives. */
async function sizeAndNames(dir: string): Promise<{ bytes: number; text: string }> {
  const files = (await readdir(dir, { recursive: true })).filter((name) => /\.m?js$/.test(name));
  const texts = await Promise.all(files.map((name) => readFile(join(dir, name), 'utf8')));
  return { bytes: texts.reduce((sum, text) => sum + text.length, 0), text: texts.join('\n') };
}

describe('an application on gpu.js', { timeout: 180_000 }, () => {
  beforeAll(async () => {
    // In node_modules, where the library finds its dependencies and git looks away.
    folder = await mkdtemp(join(root, 'node_modules', '.bundles-'));
    const built = ['--no-dts', '--silent', '--out-dir', join(folder, 'dist')];
    await run('npx', ['tsup', '--config', 'tsup.config.ts', ...built], { cwd: root });
    const text = await readFile(join(root, 'test/support/gpu-program.mjs'), 'utf8');
    program = join(folder, 'program.mjs');
    await writeFile(program, text.replace("'LIBRARY'", "'./dist/index.js'"));
    expected = await output(program);
    await bundled('plain', false);
  }, 180_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function bundled(name: string, minified: boolean): Promise<string> {
    const outdir = join(folder, name);
    await esbuild({
      entryPoints: [program], outdir, bundle: true, splitting: true, format: 'esm', platform: 'neutral',
      minify: minified, external: ['node:*'], outExtension: { '.js': '.mjs' }, logLevel: 'error',
    });
    return outdir;
  }

  async function expectTheSame(dir: string, entry: string): Promise<void> {
    const { bytes, text } = await sizeAndNames(dir);
    const plain = await sizeAndNames(join(folder, 'plain'));
    expect(plain.text).toContain(LOCAL_NAME);
    expect(text).not.toContain(LOCAL_NAME);
    expect(bytes).toBeLessThan(0.7 * plain.bytes);
    expect(await output(join(dir, entry))).toBe(expected);
  }

  it('computes finite numbers, the same attention through the cache, and what both backends agree on', () => {
    const found = JSON.parse(expected) as Record<'cpu' | 'webasm', Record<string, number[]>>;
    for (const results of Object.values(found)) {
      expect(Object.values(results).flat().every(Number.isFinite)).toBe(true);
      expect(results['cached']!.every((x, n) => Math.abs(x - results['out']![n]!) < 1e-5)).toBe(true);
    }
    expect(found.webasm['last']).toEqual(found.cpu['last']);
    expect(found.webasm['positions']).toEqual(found.cpu['positions']);
  });

  it('prints the same bits out of esbuild --minify', async () => {
    await expectTheSame(await bundled('esbuild', true), 'program.mjs');
  });

  it('prints the same bits out of terser', async () => {
    const dir = join(folder, 'terser');
    await mkdir(dir);
    const plain = join(folder, 'plain');
    for (const name of await readdir(plain)) {
      const text = await readFile(join(plain, name), 'utf8');
      const { code } = await minify(text, { module: true, compress: true, mangle: true });
      await writeFile(join(dir, name), code!);
    }
    await expectTheSame(dir, 'program.mjs');
  });

  it('prints the same bits out of Vite', async () => {
    const dir = join(folder, 'vite');
    await vite({
      root: folder, logLevel: 'error', configFile: false,
      build: {
        outDir: dir, minify: true, target: 'es2022', modulePreload: false,
        lib: { entry: program, formats: ['es'], fileName: () => 'program.mjs' },
      },
    });
    // In library mode Vite leaves whitespace, and with it bytes, in ES modules.
    const { text } = await sizeAndNames(dir);
    expect(text).not.toContain(LOCAL_NAME);
    expect(await output(join(dir, 'program.mjs'))).toBe(expected);
  });
});
