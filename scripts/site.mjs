/**
 * Builds the site: the pages of Markdown that GitHub shows, the files that they link to, and the pages of site-src/.
 * Static: it works from any folder of any server, and from file:.
 *
 *     node scripts/site.mjs [--serve]     --serve serves it on loopback, and builds it anew when something changes
 *
 * A folder of site-src/ with a build.mjs is a part of its own. It exports:
 * - `pages`: `{ title, path, group? }` for each page that the navigation should have; paths are those in the site.
 * - `build({ root, out, page, bundle, write })`, which writes what it needs under `out`, the folder of the site with
 *   its name. `page({ path, title, html, scripts, styles, wide, math })` gives the HTML of a page in the frame of the
 *   site; `bundle(source, options)` the text of one classic script, by esbuild (modules do not load from file:); and
 *   `write(path, content)` writes a file of the site.
 * - `enhance?({ path })`: `{ scripts, styles }` for pages of Markdown that the part brings to life.
 * Pages of Markdown have what only the site shows in a comment that begins with a line `<!-- site` and ends with a
 * line `-->`; there, `site:NAME/index.html` links to a page of a part.
 */
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as esbuild } from 'esbuild';
import { layout, way } from './site/layout.mjs';
import { groupsOf, linker } from './site/map.mjs';
import { coloured, escaped, render } from './site/markdown.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Source to one script. */
async function bundle(source, options = {}) {
  const { outputFiles } = await esbuild({
    entryPoints: [source], bundle: true, write: false, format: 'iife', platform: 'browser', target: 'es2022', minify: true,
    legalComments: 'none', logLevel: 'error', ...options,
  });
  return outputFiles[0].text;
}

/** A page of a file or folder that some page links to. */
async function sourcePage(file, path, wanted) {
  const lines = statSync(root + file).isDirectory()
    ? `<ul>${(await readdir(root + file)).sort().map((name) => {
      const inside = wanted.get(`${file}/${name}`);
      return `<li>${inside ? `<a href="${way(path, inside)}">${escaped(name)}</a>` : escaped(name)}</li>`;
    }).join('\n')}</ul>`
    : `<pre tabindex="0"><code>${coloured(await readFile(root + file, 'utf8'), file.split('.').at(-1))}</code></pre>`;
  return { path, title: file, html: `<h1>${escaped(file)}</h1>\n${lines}` };
}

async function build(out) {
  const { homepage } = JSON.parse(await readFile(`${root}package.json`, 'utf8'));
  const groups = groupsOf(root);
  const pages = groups.flatMap(({ pages: own }) => own);
  const links = linker(root, pages, homepage.replace('#readme', ''));
  const write = async (path, content) => {
    await mkdir(dirname(`${out}/${path}`), { recursive: true });
    await writeFile(`${out}/${path}`, content);
  };
  await mkdir(`${out}/assets/katex/fonts`, { recursive: true });
  const katex = `${root}node_modules/katex/dist`;
  const style = await readFile(`${katex}/katex.min.css`, 'utf8');
  // Every browser that reads this page reads woff2.
  await write('assets/katex/katex.min.css', style.replace(/,url\([^)]*\.(woff|ttf)\) format\("[^"]*"\)/g, ''));
  for (const name of await readdir(`${katex}/fonts`)) {
    if (name.endsWith('.woff2')) await cp(`${katex}/fonts/${name}`, `${out}/assets/katex/fonts/${name}`);
  }
  await cp(`${root}site-src/style.css`, `${out}/assets/style.css`);

  // Parts first: their pages belong into the navigation.
  const parts = [];
  for (const name of (await readdir(`${root}site-src`)).sort()) {
    if (!existsSync(`${root}site-src/${name}/build.mjs`)) continue;
    const part = await import(`../site-src/${name}/build.mjs`);
    await mkdir(`${out}/${name}`, { recursive: true });
    parts.push({ name, part });
  }
  for (const { part } of parts) {
    for (const made of part.pages ?? []) {
      const group = groups.find(({ name }) => name === (made.group ?? 'Begin'));
      if (!group.pages.some(({ path }) => path === made.path)) group.pages.splice(1, 0, made);
    }
  }
  const page = (given) => layout(given, groups);
  for (const { name, part } of parts) await part.build({ root, out: `${out}/${name}`, page, bundle, write });

  for (const { source, path, title } of pages) {
    const target = (to) => {
      const found = links.resolve(source, to);
      return found.away ?? (found.path === path && found.hash ? found.hash : way(path, found.path) + (found.hash ?? ''));
    };
    const text = (await readFile(root + source, 'utf8')).replace(/^<!-- site\n([\s\S]*?)\n-->$/gm, '$1');
    const made = render(text, (to) => (to.startsWith('site:') ? way(path, to.slice(5)) : target(to)));
    const extra = parts.flatMap(({ part }) => part.enhance?.({ source, path }) ?? []);
    await write(path, page({ path, ...made, title: made.title || title, ...Object.assign({}, ...extra) }));
  }
  for (const [file, path] of links.wanted) {
    if (path.startsWith('figures/')) await write(path, await readFile(root + file));
    else await write(path, page(await sourcePage(file, path, links.wanted)));
  }
  return pages.length + links.wanted.size;
}

/** Builds beside the old site, and puts it in its place when it is whole. */
async function whole() {
  await rm(`${root}site.new`, { recursive: true, force: true });
  const count = await build(`${root}site.new`);
  await rm(`${root}site`, { recursive: true, force: true });
  await rename(`${root}site.new`, `${root}site`);
  console.log(`site/ has ${count} pages and figures: open site/index.html`);
}

await whole();
if (process.argv.includes('--serve')) {
  const { preview } = await import('vite');
  const server = await preview({ root, build: { outDir: 'site' }, preview: { host: '127.0.0.1', port: 4173 }, logLevel: 'warn' });
  console.log(`${server.resolvedUrls.local[0]} serves it, and shows what changes in docs/ and site-src/`);
  let timer;
  let building = Promise.resolve();
  const again = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      building = building.then(whole).catch((error) => console.error(error.message)); // one after the other
    }, 300);
  };
  for (const folder of ['docs', 'site-src']) watch(root + folder, { recursive: true }, again);
}
