/**
 * Checks that every link from one API page to another leads to an existing file and anchor, which typedoc does not
 * check. Fails if one is broken.
 *
 *     node scripts/api-links.mjs    after npm run api has written api/
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';
import { fileURLToPath } from 'node:url';

const pages = fileURLToPath(new URL('../api/', import.meta.url)).replaceAll('\\', '/');
const found = new Map();
function anchorsOf(page) {
  if (!found.has(page)) {
    found.set(page, new Set([...readFileSync(page, 'utf8').matchAll(/ (?:id|name)="([^"]+)"/g)].map(([, name]) => name)));
  }
  return found.get(page);
}

let links = 0;
const broken = new Set();
const files = readdirSync(pages, { recursive: true }).map((file) => file.replaceAll('\\', '/'));
for (const file of files.filter((name) => name.endsWith('.html'))) {
  for (const [, link] of readFileSync(pages + file, 'utf8').matchAll(/ (?:href|src)="([^"]+)"/g)) {
    if (/^[a-z]+:/.test(link)) continue;
    links++;
    const [path, anchor] = link.split('#').map(decodeURIComponent);
    const target = path === '' ? pages + file : join(pages, dirname(file), path);
    if (!existsSync(target)) broken.add(`${file} -> ${link}: no such file`);
    else if (anchor && target.endsWith('.html') && !anchorsOf(target).has(anchor)) broken.add(`${file} -> ${link}: no such anchor`);
  }
}
for (const line of broken) console.error(line);
console.log(`api/: ${links} links followed, ${broken.size} broken`);
if (broken.size > 0 || links === 0) process.exitCode = 1;
