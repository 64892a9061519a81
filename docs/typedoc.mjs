/**
 * Configuration of the API pages, which `npm run api` makes from the docstrings of what the package exports. They are
 * written to api/, which is not committed. A broken link, a type without a page and a documented parameter that does
 * not exist are errors.
 */
import { readFileSync } from 'node:fs';

const { repository } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const place = repository.url.replace(/^git\+/, '').replace(/\.git$/, '');

export default {
  entryPoints: ['../src/index.ts', '../src/vectors.ts'],
  tsconfig: '../tsconfig.json',
  out: '../api',
  displayBasePath: '..',
  name: 'neural-attention-search',
  excludeExternals: true, // leaves out what errors inherit from Error
  readme: '../README.md',
  projectDocuments: ['../CONTRIBUTING.md', '../CHANGELOG.md', '../docs/!(*.template).md'],
  highlightLanguages: ['ts', 'sh', 'python', 'json', 'yaml'],
  ignoredHighlightLanguages: ['math'], // TeX, which GitHub renders and these pages show as source
  // These make the pages the same in a clone, a tarball and CI.
  disableGit: true,
  gitRevision: 'main',
  sourceLinkTemplate: `${place}/blob/{gitRevision}/{path}#L{line}`,
  // Lists that exist only for a type to be derived from them.
  intentionallyNotExported: [
    ...['TYPES', 'MASK', 'ARITHMETIC', 'ROUNDING', 'NAN', 'CACHE', 'UNUSABLE'].map((name) => `diagnoses.ts:${name}`),
    'types.ts:OUTPUT_ORDER', 'list.ts:list', 'policy.ts:PolicyOf',
  ],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
};
