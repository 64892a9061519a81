/** Every bundler, and every bundle in Chromium; the declarations; and the tarball as its checking tools judge it. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { minify } from 'terser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine, loadModel } from '../src/index.ts';
import { SUITES } from '../src/vectors.ts';
import { LIFETIME_ALONE, LIFETIME_RESULT, WHOLE } from './support/applications.ts';
import { describeChromium, resultsOf, serve } from './support/chromium.ts';
import { BUNDLERS, packedApp } from './support/packed.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const tool = (path: string) => join(root, 'node_modules', path);

let built: string;
let app: string;

/** A complete build, with declarations, in a folder of its own, packed and installed in an application. */
beforeAll(async () => {
  built = mkdtempSync(join(tmpdir(), 'nats-built-'));
  await run(process.execPath, [tool('tsup/dist/cli-default.js'), '--silent', '--out-dir', join(built, 'dist')], { cwd: root });
  await run(process.execPath, [join(root, 'dist/cli/main.js'), 'vectors', '--out', join(built, 'dist/vectors/small')]);
  for (const name of ['package.json', 'README.md', 'LICENSE', 'THIRD-PARTY-LICENSES']) {
    cpSync(join(root, name), join(built, name));
  }
  const program = readFileSync(join(root, 'test/support/gpu-program.mjs'), 'utf8');
  app = packedApp({
    'small.mjs': LIFETIME_ALONE, 'whole.mjs': WHOLE,
    'program.mjs': program.replace("'LIBRARY'", "'neural-attention-search'"),
  }, built);
}, 300_000);
afterAll(() => {
  for (const folder of [built, app]) rmSync(folder, { recursive: true, force: true });
});

const NAMES = Object.keys(BUNDLERS).filter((name) => name !== 'Vite for libraries');
const folderOf = (name: string) => `out-${NAMES.indexOf(name)}`;

describe.each(NAMES)('%s', { timeout: 300_000 }, (name) => {
  it('bundles lifetime() alone without a warning, into less than 5 kB', async () => {
    expect(await BUNDLERS[name](app, 'small.mjs', `${folderOf(name)}/small`)).toEqual([]);
    const out = join(app, folderOf(name), 'small');
    const sizes = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))
      .map((file) => readFileSync(join(out, file)).length);
    expect(sizes).toHaveLength(1);
    expect(sizes[0]).toBeLessThan(5_000);
  });

  it('bundles a model, its generation and gpu.js without a warning', async () => {
    expect(await BUNDLERS[name](app, 'whole.mjs', `${folderOf(name)}/whole`)).toEqual([]);
  });
});

describeChromium('every bundle in Chromium', () => {
  it.each(NAMES)('%s: lifetime() alone, and a model on three engines', async (name) => {
    const model = await loadModel(join(root, 'models/nats'), { engine: createEngine() });
    let text = '';
    const options = { maxNewTokens: 12, temperature: 0 };
    for await (const piece of model.generate('My fellow citizens', options)) text += piece;
    const results: unknown[] = [];
    for (const each of ['small', 'whole']) {
      const out = join(app, folderOf(name), each);
      // Vite writes its own page.
      if (name !== 'Vite') writeFileSync(join(out, `${each}.html`), '<script type="module" src="main.js"></script>');
      const { url, server } = await serve({ '': out, model: join(root, 'models/nats') });
      try {
        results.push(...await resultsOf([`${url}${each}.html`]));
      } finally {
        server.close();
      }
    }
    const path = expect.stringMatching(/^StorageError: files cannot be reached here/);
    const fetched = ['/model/config.json', '/model/model.safetensors']; // no module or kernel of an engine
    expect(results).toEqual([LIFETIME_RESULT, { reference: text, wasm: text, gpu: text, path, fetched }]);
  });
});

describe('a program on gpu.js', { timeout: 120_000 }, () => {
  const printed = async (...files: readonly string[]): Promise<string[]> => Promise.all(files.map(async (file) => {
    return (await run(process.execPath, [join(app, file)], { timeout: 60_000 })).stdout;
  }));

  it('prints the same bits when minified by Vite for libraries', async () => {
    expect(await BUNDLERS['Vite for libraries'](app, 'program.mjs', 'library')).toEqual([]);
    expect(readFileSync(join(app, 'library/main.js'), 'utf8').includes('numbersForTheProblem')).toBe(false);
    const [small, plain] = await printed('library/main.js', 'program.mjs');
    expect(small).toBe(plain);
  });

  it('prints the same bits after terser minified it', async () => {
    const { build } = await import('esbuild');
    await build({
      entryPoints: [join(app, 'program.mjs')], outfile: join(app, 'terser/plain.mjs'), bundle: true, format: 'esm',
      platform: 'neutral', logLevel: 'error',
    });
    const { code } = await minify(readFileSync(join(app, 'terser/plain.mjs'), 'utf8'), { module: true });
    expect(code!.includes('numbersForTheProblem')).toBe(false);
    writeFileSync(join(app, 'terser/small.mjs'), code!);
    const [small, plain] = await printed('terser/small.mjs', 'program.mjs');
    expect(small).toBe(plain);
  });
});

describe('the declarations', { timeout: 120_000 }, () => {
  const program = `
import { loadModel, type Model } from 'neural-attention-search';
import { smallSuite } from 'neural-attention-search/vectors';
export const model: Promise<Model> = loadModel('models/nats');
export const names: Promise<string[]> = smallSuite().then((suite) => suite.map(({ name }) => name));
`;
  it.each([
    ['without DOM, Node or anything new', { lib: ['es2022'], types: [], module: 'nodenext' }, 'ts'],
    ['for a bundler, without any types of a platform', { lib: ['es2022'], types: [], module: 'esnext', moduleResolution: 'bundler' }, 'ts'],
    ['for a page', { lib: ['es2022', 'dom'], types: [], module: 'esnext', moduleResolution: 'bundler' }, 'ts'],
    ['from a CommonJS module', { lib: ['es2022'], types: [], module: 'nodenext' }, 'cts'],
  ])('compile %s', async (_, options, extension) => {
    const folder = join(app, `types-${extension}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `program.${extension}`), program);
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({
      compilerOptions: { ...options, target: 'es2022', strict: true, noEmit: true, skipLibCheck: false },
      files: [`program.${extension}`],
    }));
    await run(process.execPath, [tool('typescript/bin/tsc'), '-p', folder]).catch((error: { stdout: string }) => {
      expect.unreachable(error.stdout);
    });
  });
});

describe('the tarball', { timeout: 120_000 }, () => {
  it('provides its test vectors under their subpath', async () => {
    const { stdout } = await run(process.execPath, ['-p', "require('neural-attention-search/vectors/manifest.json').cases.length"], { cwd: app });
    expect(Number(stdout)).toBe(SUITES.small.length);
  });

  it('is clean for attw', async () => {
    const { stdout } = await run(process.execPath, [tool('@arethetypeswrong/cli/dist/index.js'), join(app, 'package.tgz')], { cwd: root });
    expect(stdout).toContain('No problems found');
  });

  it('is clean for publint', async () => {
    const { stdout } = await run(process.execPath, [tool('publint/src/cli.js'), built, '--strict']);
    expect(stdout).toContain('All good!');
  });
});
