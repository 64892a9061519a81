/** The page of `natsearch trace` without its trace: one file, built from the sources beside this. */
import { readdir, readFile } from 'node:fs/promises';
import { build } from 'esbuild';

const here = (name) => new URL(name, import.meta.url);
const text = (name) => readFile(here(name), 'utf8');

/** Bundles a source beside this into one classic script. */
export async function bundle(name, options = {}) {
  const { outputFiles } = await build({
    entryPoints: [here(name).pathname], bundle: true, write: false, format: 'iife', platform: 'browser', target: 'es2022', minify: true,
    legalComments: 'none', logLevel: 'error', ...options,
  });
  return outputFiles[0].text;
}

/** The licences of the packages that a script contains, as text; sources are files in the repository. */
export async function licencesOf(root, sources, options = {}) {
  const { metafile } = await build({
    entryPoints: sources.map((source) => root + source), bundle: true, write: false, metafile: true, format: 'esm', outdir: 'out',
    platform: 'browser', logLevel: 'error', absWorkingDir: root, ...options,
  });
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs));
  const names = new Set(used.flatMap((path) => /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
  const texts = [];
  for (const name of [...names].sort()) {
    const folder = `${root}node_modules/${name}`;
    const { version, license } = JSON.parse(await readFile(`${folder}/package.json`, 'utf8'));
    const file = (await readdir(folder)).find((each) => /^licen[cs]e(\.\w+)?$/i.test(each));
    const text = file ? await readFile(`${folder}/${file}`, 'utf8') : `(no text; package.json says: ${license})`;
    texts.push(`== ${name} ${version}\n\n${text.trim()}\n`);
  }
  return texts.join('\n');
}

/** The whole page; `<!-- trace -->` is where the trace goes. */
export async function tracePage() {
  const [script, body, shell, style] = await Promise.all([bundle('main.ts'), text('body.html'), text('shell.css'), text('style.css')]);
  return `<!doctype html>
<!-- natsearch trace -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Time machine</title>
<link rel="icon" href="data:,">
<style>
${shell}${style}</style>
</head>
<body>
<main>
<h1>What the cache remembers</h1>
${body}</main>
<!-- trace -->
<script>${script.replaceAll('</script', '<\\/script')}</script>
</body>
</html>
`;
}
