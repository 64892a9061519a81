/**
 * The API pages: `npm run api` writes them to api/, which is not committed, from the docstrings of what the package
 * exports. A link that leads nowhere, a type without a page and a parameter that does not exist are errors.
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
  excludeExternals: true, // what an error inherits from Error
  readme: '../README.md',
  projectDocuments: ['../CONTRIBUTING.md', '../CHANGELOG.md', '../docs/!(*.template).md'],
  highlightLanguages: ['ts', 'sh', 'python', 'json'],
  ignoredHighlightLanguages: ['math'], // TeX, which GitHub draws and these pages show as it is written
  // The same pages in a clone, a tarball and CI.
  disableGit: true,
  gitRevision: 'main',
  sourceLinkTemplate: `${place}/blob/{gitRevision}/{path}#L{line}`,
  // Lists that a type is derived from.
  intentionallyNotExported: [
    ...['TYPES', 'MASK', 'ARITHMETIC', 'ROUNDING', 'NAN', 'CACHE', 'UNUSABLE'].map((name) => `diagnoses.ts:${name}`),
    'types.ts:OUTPUT_ORDER', 'list.ts:list', 'policy.ts:PolicyOf',
  ],
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
};
