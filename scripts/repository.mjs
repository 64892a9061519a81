/**
 * Updates what depends on `repository.url` in package.json, the only place where the repository's location is set:
 * `homepage` and `bugs` in the same file, and the links of README.md. Whoever publishes the package edits that field
 * and then runs
 *
 *     npm run repository              (-- --check writes nothing, and fails if something is out of date)
 */
import { readFileSync, writeFileSync } from 'node:fs';

const manifest = new URL('../package.json', import.meta.url);
const readme = new URL('../README.md', import.meta.url);
const [package_, text] = [manifest, readme].map((file) => readFileSync(file, 'utf8'));

const { repository: { url }, homepage } = JSON.parse(package_);
const place = url.replace(/^git\+/, '').replace(/\.git$/, '');
const before = homepage.replace(/#readme$/, '');
const written = [
  [manifest, package_, package_.replaceAll(`"${before}#readme"`, `"${place}#readme"`)
    .replaceAll(`"${before}/issues"`, `"${place}/issues"`)],
  [readme, text, text.replaceAll(`${before}/`, `${place}/`)],
];
for (const [file, old, content] of written) {
  if (content === old) continue;
  if (process.argv.includes('--check')) {
    console.error(`${file.pathname} has links to a repository other than repository.url: run npm run repository`);
    process.exitCode = 1;
  } else {
    writeFileSync(file, content);
  }
}
