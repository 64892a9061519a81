/**
 * Writes docs/algorithm.md and docs/mask.svg. Plain Node 20 cannot run TypeScript, so esbuild bundles the
 * generator first. With --check it writes nothing and fails if a file is out of date.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
// Inside node_modules, so that the bundle finds mathjs and nothing of it is ever committed.
const bundle = `${root}node_modules/.cache/natsearch-docs.mjs`;
await mkdir(`${root}node_modules/.cache`, { recursive: true });
await build({
  entryPoints: [`${root}docs/generate.ts`], outfile: bundle, bundle: true, format: 'esm', platform: 'node',
  external: ['mathjs'], logLevel: 'error',
});
const { generate } = await import(pathToFileURL(bundle).href);
const files = await generate((path) => readFile(root + path, 'utf8'));
let stale = false;
for (const [path, content] of Object.entries(files)) {
  const old = await readFile(root + path, 'utf8').catch(() => '');
  if (old === content) continue;
  if (process.argv.includes('--check')) {
    stale = true;
    console.error(`${path} is out of date: run npm run docs`);
  } else {
    await writeFile(`${root}${path}.new`, content);
    await rename(`${root}${path}.new`, root + path);
    console.error(`wrote ${path}`);
  }
}
if (stale) process.exitCode = 1;
