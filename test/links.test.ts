/** On every page in Markdown, the links within the repository lead to files and headings that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { anchorsOf, linksOf } from './support/markdown.ts';

const root = new URL('../', import.meta.url);
const inFolder = (folder: string): string[] => readdirSync(new URL(folder, root)).map((name) => folder + name);
const pages = ['', 'docs/', 'docs/chapters/', 'models/', 'examples/', 'examples/browser/'].flatMap(inFolder)
  .filter((path) => path.endsWith('.md') && !path.endsWith('.template.md'));

/** What is wrong with a link of a page, or undefined. */
function fault(page: string, link: string): string | undefined {
  const target = new URL(link, new URL(page, root));
  if (target.protocol !== 'file:') return undefined;
  const anchor = decodeURIComponent(target.hash.slice(1));
  const path = fileURLToPath(target);
  if (!existsSync(path)) return `${page}: ${link} leads to no file`;
  if (anchor === '' || !path.endsWith('.md')) return undefined;
  return anchorsOf(readFileSync(path, 'utf8')).includes(anchor) ? undefined : `${page}: ${link} leads to no heading`;
}

describe('the pages', () => {
  it.each(pages)('%s links to what exists', (page) => {
    const links = linksOf(readFileSync(new URL(page, root), 'utf8'));
    expect(links.map((link) => fault(page, link)).filter((found) => found !== undefined)).toEqual([]);
  });

  it('have links', () => {
    expect(pages).toContain('README.md');
    expect(linksOf(readFileSync(new URL('README.md', root), 'utf8')).length).toBeGreaterThan(20);
  });
});

describe('the checker', () => {
  it('finds links of every form, and none in code', () => {
    const text = 'A [b](c.md) ![d](e.svg) [`f`](g.ts) [h][i] <img src="j.png">\n\n`[k](l)`\n```sh\n[m](n)\n```\n[i]: o.md\n';
    expect(linksOf(text)).toEqual(['c.md', 'e.svg', 'g.ts', 'j.png', 'o.md']);
  });

  it('makes anchors as GitHub does: lower case, no punctuation, numbered when they recur', () => {
    const text = '# One, two: `three`\n## Use it\n```sh\n# no heading\n```\n## Use it\n';
    expect(anchorsOf(text)).toEqual(['one-two-three', 'use-it', 'use-it-1']);
  });

  it('reports a missing file and a missing heading', () => {
    expect(fault('docs/models.md', '../src/nothing.ts')).toBe('docs/models.md: ../src/nothing.ts leads to no file');
    expect(fault('docs/models.md', '../README.md#nowhere')).toBe('docs/models.md: ../README.md#nowhere leads to no heading');
    expect(fault('docs/models.md', '#nowhere')).toBe('docs/models.md: #nowhere leads to no heading');
    expect(fault('docs/models.md', '../README.md#use-it')).toBeUndefined();
  });
});
