/**
 * Opens every page of the built site in headless Chromium: from file:, wide and at 400 px, light and dark. Fails if a
 * page logs an error, asks for anything outside the site, has a broken link or anchor, is wider than the window, has no
 * heading, faint text, or controls without a name; then runs the checks of the parts (site-src/NAME/check.mjs), from
 * file: and from a folder of a server.
 *
 *     node scripts/site-check.mjs [folder for screenshots] [--only=TEXT]     needs `npm run site`
 *
 * A part's `checks` are `{ name, path, run(page, { assert, shot }) }`: `path` is the page in the site, and `shot(name)`
 * keeps a screenshot.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { executablePath, flags } from '../examples/browser/chromium.mjs';
import { faint } from './site/contrast.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const site = `${root}site`;
const { values, positionals } = parseArgs({ allowPositionals: true, options: { only: { type: 'string', default: '' } } });
const shots = positionals[0];
if (shots) mkdirSync(shots, { recursive: true });
if (!existsSync(`${site}/index.html`)) throw new Error('there is no site/: npm run site builds it');

const files = readdirSync(site, { recursive: true }).map((name) => name.replaceAll('\\', '/'));
const pages = files.filter((name) => name.endsWith('.html'));
let [passed, failed] = [0, 0];
const said = (name, error, more = '') => {
  if (error) failed++;
  else passed++;
  console.log(error ? `FAIL  ${name}: ${error}` : `ok    ${name}${more}`);
};

/** A server of the site under /some/folder/, as a project's page has it. */
const TYPES = {
  '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml',
  '.json': 'application/json', '.woff2': 'font/woff2', '.wasm': 'application/wasm',
};
const server = createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url, 'http://a').pathname).replace(/\/$/, '/index.html');
  const file = path.startsWith('/some/folder/') ? join(site, path.slice(13)) : '';
  if (!file.startsWith(site) || !existsSync(file)) return void response.writeHead(404).end();
  response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const bases = { file: `${pathToFileURL(site).href}/`, http: `http://127.0.0.1:${server.address().port}/some/folder/` };

const browser = await chromium.launch({ executablePath, args: flags });
const problems = [];
/** A page whose errors and requests are watched. */
async function open(base, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on('pageerror', (error) => problems.push(`it throws ${error.message}`));
  page.on('console', (message) => message.type() === 'error' && problems.push(`it logs: ${message.text()}`));
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(base)) problems.push(`it asks for ${request.url()}`);
  });
  page.on('requestfailed', (request) => problems.push(`it does not get ${request.url()}`));
  return page;
}

/** Runs in the page. */
const facts = () => ({
  ids: [...document.querySelectorAll('[id]')].map(({ id }) => id),
  links: [...document.querySelectorAll('a[href]')].map((a) => a.href),
  titles: document.querySelectorAll('h1').length,
  nameless: [...document.querySelectorAll('img:not([alt]), button, input, select, textarea')].filter((each) =>
    each.tagName === 'IMG' || !(each.labels?.length || each.getAttribute('aria-label') || each.getAttribute('aria-labelledby') || each.textContent.trim()))
    .map((each) => each.outerHTML.slice(0, 80)),
  over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
});

const ids = new Map();
const links = [];
const chosen = pages.filter((path) => path.includes(values.only));
const looks = [
  ['wide', { viewport: { width: 1200, height: 900 } }],
  ['narrow, dark', { viewport: { width: 400, height: 800 }, colorScheme: 'dark', reducedMotion: 'reduce' }],
];
for (const [look, options] of looks) {
  const page = await open(bases.file, options);
  for (const path of chosen) {
    if (look !== 'wide' && path.startsWith('source/')) continue;
    problems.length = 0;
    await page.goto(bases.file + path, { waitUntil: 'load' });
    const found = await page.evaluate(facts);
    const texts = await page.evaluate(faint);
    if (texts.length > 0) problems.push(`these texts are faint: ${texts.join(', ')}`);
    if (found.over > 0) problems.push(`it is ${found.over} px wider than the window`);
    if (found.titles !== 1) problems.push(`it has ${found.titles} first headings`);
    if (found.nameless.length > 0) problems.push(`these have no name: ${found.nameless.join(' ')}`);
    ids.set(path, new Set(found.ids));
    links.push(...found.links.map((link) => [path, link]));
    if (shots && !path.startsWith('source/')) {
      await page.screenshot({ path: join(shots, `${path.replaceAll('/', '-').replace('.html', '')}-${look.replace(', ', '-')}.png`), fullPage: true });
    }
    if (problems.length > 0) said(`${path} (${look})`, problems.join('; '));
  }
  said(`${chosen.length} pages, ${look}`, '');
  await page.context().close();
}

const broken = links.filter(([, link]) => {
  if (!link.startsWith(bases.file)) return !/^https?:/.test(link);
  const { pathname, hash } = new URL(link);
  const path = decodeURIComponent(pathname.slice(new URL(bases.file).pathname.length));
  if (!files.includes(path) || statSync(`${site}/${path}`).isDirectory()) return true;
  return hash !== '' && ids.has(path) && !ids.get(path).has(decodeURIComponent(hash.slice(1)));
});
for (const [path, link] of broken) said(path, `its link to ${link} leads nowhere`);
said(`${links.length} links`, broken.length > 0 ? `${broken.length} lead nowhere` : '');
const bytes = files.reduce((sum, name) => sum + (statSync(`${site}/${name}`).isFile() ? statSync(`${site}/${name}`).size : 0), 0);
said(`${(bytes / 1e6).toFixed(1)} MB`, bytes < 15e6 ? '' : 'the site may take 15 MB');

for (const part of readdirSync(`${root}site-src`).sort()) {
  if (!existsSync(`${root}site-src/${part}/check.mjs`)) continue;
  const { checks } = await import(`../site-src/${part}/check.mjs`);
  for (const { name, path, run } of checks) {
    if (!`${part} ${name}`.includes(values.only)) continue;
    for (const [kind, base] of Object.entries(bases)) {
      problems.length = 0;
      const page = await open(base, { viewport: { width: 1200, height: 900 } });
      try {
        await page.goto(base + path);
        const shot = (to) => shots && page.screenshot({ path: join(shots, `${to}.png`), fullPage: true });
        const more = await run(page, { assert, shot });
        assert.deepEqual(problems, []);
        said(`${part}: ${name} (${kind})`, '', more ? `: ${more}` : '');
      } catch (error) {
        said(`${part}: ${name} (${kind})`, error.message);
      }
      await page.context().close();
    }
  }
}
await browser.close();
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
