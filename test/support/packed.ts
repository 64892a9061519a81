/**
 * The package as npm packs it, installed in an application that has nothing else, and bundlers that build this
 * application without configuration, with all of their warnings.
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const NAME = 'neural-attention-search';

/**
 * Makes an application of the given files with the package installed.
 *
 * @param from A folder with package.json and dist/ (default: the repository's, as the tests have built it).
 * @returns Its folder.
 */
export function packedApp(files: Readonly<Record<string, string>>, from: string = root): string {
  // The path without symbolic links, by which tools recognize links in node_modules.
  const app = realpathSync(mkdtempSync(join(tmpdir(), 'nats-app-')));
  const modules = join(app, 'node_modules');
  mkdirSync(join(modules, '@huggingface'), { recursive: true });
  const shell = process.platform === 'win32';
  const said = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', app], {
    cwd: from, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], shell,
  });
  const [{ filename }] = JSON.parse(said) as [{ filename: string }];
  execFileSync('tar', ['-xzf', filename, '-C', 'node_modules'], { cwd: app });
  renameSync(join(modules, 'package'), join(modules, NAME));
  renameSync(join(app, filename), join(app, 'package.tgz'));
  for (const name of ['pure-rand', '@huggingface/tokenizers', '@huggingface/jinja', 'commander', 'picocolors']) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name), 'junction');
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(app, name), text);
  return app;
}

/** Builds `entry` of an application into one of its folders, and returns every warning and error. */
export type Bundler = (app: string, entry: string, out: string) => Promise<string[]>;

// Each bundler is imported only where it is used, since some take as long to load as others take to build.

const esbuildFor = (platform: 'browser' | 'neutral'): Bundler => async (app, entry, out) => {
  const { build } = await import('esbuild');
  const { warnings } = await build({
    absWorkingDir: app, entryPoints: [entry], outfile: join(app, out, 'main.js'), bundle: true, minify: true, format: 'esm',
    platform, logLevel: 'silent',
  });
  return warnings.map(({ text }) => text);
};

const viteFor = (what: 'pages' | 'libraries'): Bundler => async (app, entry, out) => {
  const { build, createLogger } = await import('vite');
  const page = join(app, entry.replace('.mjs', '.html'));
  writeFileSync(page, `<script type="module" src="/${entry}"></script>`);
  const said: string[] = [];
  const say = (message: string): void => {
    said.push(message);
  };
  const input = { rollupOptions: { input: page, output: { entryFileNames: 'main.js' } } };
  const lib = { lib: { entry: join(app, entry), formats: ['es' as const], fileName: () => 'main.js' } };
  await build({
    root: app, configFile: false, customLogger: { ...createLogger('silent'), warn: say, warnOnce: say, error: say },
    build: { outDir: out, ...(what === 'pages' ? input : lib) },
  });
  return said;
};

const byWebpack: Bundler = async (app, entry, out) => {
  const { default: webpack } = await import('webpack');
  return new Promise((resolve, reject) => {
    webpack({ context: app, mode: 'production', entry: `./${entry}`, output: { path: join(app, out) } }, (error, stats) => {
      if (error) reject(error);
      const { errors, warnings } = stats!.compilation;
      resolve([...errors, ...warnings].map(({ message }) => message));
    });
  });
};

/**
 * Rollup leaves finding packages and minifying to plugins, which everyone who bundles with it uses. These work alike:
 * they find packages, trust those that declare their files free of side effects, and minify with terser.
 */
const rollupWith = (minified: boolean): Bundler => async (app, entry, out) => {
  const [{ rollup }, { default: enhanced }, { minify }] =
    await Promise.all([import('rollup'), import('enhanced-resolve'), import('terser')]);
  const said: string[] = [];
  const find = enhanced.create.sync({ conditionNames: ['import', 'module', 'default'] });
  const home = join(app, 'node_modules', NAME);
  const { sideEffects } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { sideEffects: boolean };
  const resolveId = (id: string, from: string | undefined) => {
    const found = from !== undefined && find({}, dirname(from), id);
    return found ? { id: found, moduleSideEffects: found.startsWith(home) ? sideEffects : true } : null;
  };
  const renderChunk = async (code: string) => ({ code: (await minify(code, { module: true })).code! });
  const plugins = [{ name: 'packages', resolveId }, ...(minified ? [{ name: 'small', renderChunk }] : [])];
  const bundle = await rollup({ input: join(app, entry), onwarn: ({ message }) => said.push(message), plugins });
  await bundle.write({ dir: join(app, out), format: 'es', entryFileNames: 'main.js' });
  await bundle.close();
  return said;
};

/** Rollup without the minifier. Comments in the package's code say which source each part comes from. */
export const legibly: Bundler = rollupWith(false);

export const BUNDLERS: Readonly<Record<string, Bundler>> = {
  'esbuild for browsers': esbuildFor('browser'),
  'esbuild for any platform': esbuildFor('neutral'),
  Vite: viteFor('pages'),
  'Vite for libraries': viteFor('libraries'),
  webpack: byWebpack,
  Rollup: rollupWith(true),
};
