/**
 * What `npm run docs` writes, and what the tests compare the files on disk to.
 * @module
 */
import { chapter } from './chapter.ts';
import { EQUATIONS } from './equations.ts';
import { maskFigure } from './mask-figure.ts';

/**
 * The generated files.
 *
 * @param read The text of a file, given its path from the repository's root.
 * @returns Content by path.
 */
export async function generate(read: (path: string) => Promise<string>): Promise<Record<string, string>> {
  const paths = [...new Set(EQUATIONS.map((e) => e.file))];
  const sources = new Map(await Promise.all(paths.map(async (path) => [path, await read(path)] as const)));
  return {
    'docs/algorithm.md': chapter(await read('docs/algorithm.template.md'), (path) => sources.get(path)!),
    'docs/mask.svg': maskFigure(),
  };
}
