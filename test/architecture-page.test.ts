/** docs/architecture.md and its figure are up to date, and what they name exists. */
import { describe, expect, it } from 'vitest';
import { architecturePage, edgesOf, importsBetween, reduced } from '../docs/architecture.ts';
import { architectureFigure } from '../docs/architecture-figure.ts';
import { type Edge, FLOORS } from './support/import-graph.ts';
import { linksOf, namesLinked } from './support/markdown.ts';
import { SOURCES, textOf } from './support/sources.ts';

const edges = edgesOf(new Map(SOURCES.map((path) => [path, textOf(path)])));
const page = textOf('docs/architecture.md');
const edge = (from: string, to: string, kind: Edge['kind'] = 'static'): Edge => ({ from, to, kind });

describe('docs/architecture.md', () => {
  it('has a table and a figure that agree with the imports in the sources', () => {
    expect(architecturePage(page) === page, 'docs/architecture.md is out of date: run npm run docs').toBe(true);
    const drawn = textOf('docs/architecture.svg');
    expect(architectureFigure(edges) === drawn, 'docs/architecture.svg is out of date: run npm run docs').toBe(true);
    expect(linksOf(page)).toContain('architecture.svg');
  });

  it('names things that exist in the files that it links to', () => {
    const named = namesLinked(page).filter(({ link }) => link.endsWith('.ts'));
    expect(named.length).toBeGreaterThan(20);
    const missing = named.filter(({ name, link }) => !new RegExp(`\\b${name}\\b`).test(textOf(link.replace('../', ''))));
    expect(missing).toEqual([]);
  });

  it('cannot lose its table', () => {
    expect(() => architecturePage('# Architecture\n')).toThrow('lacks the marks');
  });
});

describe('the figure', () => {
  it('has a box for every folder of the table, and for nothing else', () => {
    const boxes = [...architectureFigure(edges).matchAll(/<text class="n"[^>]*>([^<]*)</g)].map(([, name]) => name);
    expect(boxes.sort()).toEqual(Object.keys(FLOORS).sort());
  });

  it('draws an import by its strongest kind: one of types only is dotted, a lazy one dashed', () => {
    const drawn = importsBetween([
      edge('src/model/a.ts', 'src/core/b.ts', 'type'), edge('src/model/a.ts', 'src/core/c.ts'),
      edge('src/engines.ts', 'gpu/gpujs/open.ts', 'lazy'), edge('src/engines.ts', 'gpu/gpujs/open.ts', 'type'),
      edge('src/train/a.ts', 'src/train/b.ts'), edge('src/train/a.ts', 'node:fs'),
    ]);
    expect(drawn.get('src/model')).toEqual(new Map([['src/core', 'static']]));
    expect(drawn.get('src/engines.ts')).toEqual(new Map([['gpu/gpujs', 'lazy']]));
    expect(drawn.get('src/train')).toEqual(new Map());
  });

  it('leaves out imports that follow from other arrows, through any number of steps', () => {
    const all = new Map([
      ['a', new Map([['b', 'static'], ['c', 'static'], ['d', 'lazy']])], ['b', new Map([['c', 'static']])],
      ['c', new Map([['d', 'static']])], ['d', new Map()],
    ] as const);
    expect([...reduced(all as never)].map(([from, to]) => [from, [...to.keys()]]))
      .toEqual([['a', ['b']], ['b', ['c']], ['c', ['d']], ['d', []]]);
  });

  it('refuses an import that would point upwards', () => {
    expect(() => architectureFigure([...edges, edge('src/core/a.ts', 'src/cli/b.ts')]))
      .toThrow('src/core imports src/cli and must stand above it');
  });
});
