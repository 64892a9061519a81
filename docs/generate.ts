/**
 * What `npm run docs` writes, and what the tests compare the files on disk to.
 * @module
 */
import { architecturePage, edgesOf } from './architecture.ts';
import { architectureFigure } from './architecture-figure.ts';
import { chapter } from './chapter.ts';
import { chapterPage, CHAPTERS, filesOf } from './chapters.ts';
import { vectorsPage } from './coverage.ts';
import { EQUATIONS } from './equations.ts';
import { LAYERS, layerFigure } from './layer-figure.ts';
import { maskFigure } from './mask-figure.ts';
import { policiesPage } from './policies.ts';

export { TOPS } from '../test/support/import-graph.ts';

/**
 * Makes the generated files.
 *
 * @param read Returns the text of a file, given its path from the repository's root.
 * @param paths The path of every source in the folders that TOPS names.
 * @returns The content of each file, by its path.
 */
export async function generate(
  read: (path: string) => Promise<string>, paths: readonly string[],
): Promise<Record<string, string>> {
  const texts = async (wanted: readonly string[]): Promise<Map<string, string>> =>
    new Map(await Promise.all(wanted.map(async (path) => [path, await read(path)] as const)));
  const quoted = await texts([...new Set(EQUATIONS.map((e) => e.file))]);
  const templates = await texts(CHAPTERS.map((name) => `docs/chapters/${name}.template.md`));
  const shown = await texts([...templates.values()].flatMap(filesOf));
  const chapters = [...templates].map(([path, template]) => [
    path.replace('.template', ''), chapterPage(template, (file) => (shown.get(file) ?? quoted.get(file))!),
  ]);
  const layers = Object.entries(LAYERS).map(([name, marked]) => [
    `docs/chapters/layer-${name}.svg`, layerFigure(marked, `Where it sits in the layer: ${marked.join(', ')}`),
  ]);
  const edges = edgesOf(await texts([...paths].sort()));
  return {
    'docs/algorithm.md': chapter(await read('docs/algorithm.template.md'), (path) => quoted.get(path)!),
    ...Object.fromEntries([...chapters, ...layers]) as Record<string, string>,
    'docs/mask.svg': maskFigure(),
    'docs/architecture.md': architecturePage(await read('docs/architecture.md')),
    'docs/architecture.svg': architectureFigure(edges),
    'docs/policies.md': policiesPage(await read('docs/policies.md')),
    'docs/vectors.md': vectorsPage(await read('docs/vectors.md')),
  };
}
