/**
 * Writes the files that docs/generate.ts makes: the chapter and its figure, the table and figure of the architecture,
 * and the table of policies. Node 20 cannot run TypeScript, so esbuild bundles the generator first. With --check it
 * writes nothing, and fails if a file is out of date.
 */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
// Inside node_modules, so that the bundle finds its imports and is never committed.
const bundle = `${root}node_modules/.cache/natsearch-docs.mjs`;
await mkdir(`${root}node_modules/.cache`, { recursive: true });
await build({
  entryPoints: [`${root}docs/generate.ts`], outfile: bundle, bundle: true, format: 'esm', platform: 'node',
  external: ['mathjs', 'typescript'], logLevel: 'error',
});
const { generate, TOPS } = await import(pathToFileURL(bundle).href);
const sources = [];
for (const top of TOPS) {
  for (const name of await readdir(root + top, { recursive: true })) {
    if (name.endsWith('.ts') && !name.startsWith('kernels')) sources.push(`${top}/${name.replaceAll('\\', '/')}`);
  }
}
const files = await generate((path) => readFile(root + path, 'utf8'), sources);
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
