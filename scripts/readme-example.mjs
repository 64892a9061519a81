/**
 * Copies the library examples of README.md, unchanged, into a folder where they can be run.
 *
 *     node scripts/readme-example.mjs FOLDER    ->  FOLDER/example-1.mjs, ...
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
if (!folder) {
  console.error('usage: node scripts/readme-example.mjs FOLDER');
  process.exit(2);
}
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = [...readme.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code);
if (blocks.length === 0) {
  console.error('README.md has no ```ts block');
  process.exit(1);
}
mkdirSync(folder, { recursive: true });
blocks.forEach((code, n) => writeFileSync(join(folder, `example-${n + 1}.mjs`), code));
