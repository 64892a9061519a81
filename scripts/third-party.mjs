/**
 * Writes the part of THIRD-PARTY-LICENSES that is about the packages in the page of `natsearch arena` and in the worker
 * of `natsearch learn`, or with --check says whether it is as written: node scripts/third-party.mjs [--check]
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const FILE = 'THIRD-PARTY-LICENSES';
const BEGIN = '==== The files dist/cli/page-*.js and esm-*.js contain these packages. Their licences:\n';

const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
const { metafile } = await build({
  entryPoints: ['src/cli/arena/page.ts', 'src/cli/learn/worker.ts'], outdir: 'dist', bundle: true, write: false, metafile: true, format: 'esm', platform: 'node',
  logLevel: 'silent', external: ['canvas', 'gpu.js', ...Object.keys(dependencies)],
});
const inputs = Object.values(metafile.outputs).flatMap((output) => Object.keys(output.inputs));
const names = new Set(inputs.flatMap((path) =>
  [...path.matchAll(/node_modules\/((?:@[^/]+\/)?[^/]+)\//g)].map(([, name]) => name)));
const texts = new Map();
for (const name of [...names].sort()) {
  const folder = `node_modules/${name}`;
  const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
  const file = readdirSync(folder).find((each) => /^licen[cs]e(\.\w+)?$/i.test(each));
  const text = file ? readFileSync(`${folder}/${file}`, 'utf8').trim() : `(no text; package.json says: ${license})`;
  texts.set(text, [...(texts.get(text) ?? []), `${name} ${version}`]);
}
const part = [...texts].map(([text, packages]) => `== ${packages.join(', ')}\n\n${text}\n`).join('\n');
const old = readFileSync(FILE, 'utf8');
const wanted = `${old.split(BEGIN)[0].trimEnd()}\n\n${BEGIN}\n${part}`;
if (process.argv.includes('--check')) {
  if (old !== wanted) {
    console.error(`${FILE} is out of date: node scripts/third-party.mjs`);
    process.exitCode = 1;
  }
} else {
  writeFileSync(FILE, wanted);
  console.log(`${names.size} packages`);
}
