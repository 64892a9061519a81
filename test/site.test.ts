/** What the site makes of Markdown: GitHub's anchors, formulas, links between folders; no page is left out. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { anchorsOf } from './support/markdown.ts';

interface Rendered {
  readonly title: string;
  readonly html: string;
  readonly headings: readonly { readonly anchor: string }[];
  readonly math: boolean;
}
/** The parts of the site are JavaScript, whose types this test states. */
const load = async <T>(name: string): Promise<T> =>
  await import(/* @vite-ignore */ new URL(`../scripts/site/${name}.mjs`, import.meta.url).href) as T;
const { render } = await load<{ render(text: string, link: (to: string) => string): Rendered }>('markdown');
const { way } = await load<{ way(from: string, to: string): string }>('layout');
const { groupsOf } = await load<{
  groupsOf(root: string): { name: string; pages: { source: string; path: string }[] }[];
}>('map');

const root = fileURLToPath(new URL('..', import.meta.url));
const pages = groupsOf(root).flatMap((group) => group.pages);
const same = (to: string): string => to;

describe('the pages of the site', () => {
  it('are all pages of docs/, at different addresses', () => {
    const sources = pages.map(({ source }) => source);
    const wanted = ['docs', 'docs/chapters'].flatMap((folder) => readdirSync(`${root}${folder}`)
      .filter((name) => name.endsWith('.md') && !name.endsWith('.template.md')).map((name) => `${folder}/${name}`));
    expect(wanted.filter((source) => !sources.includes(source))).toEqual([]);
    expect(sources.filter((source) => !existsSync(root + source))).toEqual([]);
    expect(new Set(pages.map(({ path }) => path)).size).toBe(pages.length);
  });

  it.each(pages.map(({ source }) => source))('%s has the anchors that GitHub gives it, and formulas that KaTeX knows', (source) => {
    const text = readFileSync(root + source, 'utf8');
    const { headings, html } = render(text, same);
    expect(headings.map(({ anchor }) => anchor)).toEqual(anchorsOf(text));
    expect(html).not.toContain('katex-error');
  });
});

describe('render()', () => {
  it('reads formulas where GitHub does, and no others', () => {
    expect(render('It costs $5 or $6.', same).math).toBe(false);
    expect(render('`$x$` and\n\n```sh\necho $HOME$\n```\n', same).math).toBe(false);
    expect(render('The weight $w_j$, and $a$-th.', same).html.match(/class="katex"/g)).toHaveLength(2);
    expect(() => render('$\\frac{1}$', same)).toThrow();
  });

  it('asks for every link, those of pictures and HTML too', () => {
    const asked: string[] = [];
    render('[a](b.md) ![c](d.svg) <img src="e.png"> [f][g]\n\n<a href="h.md">i</a>\n\n[g]: j.md\n', (to) => (asked.push(to), to));
    expect(asked.sort()).toEqual(['b.md', 'd.svg', 'e.png', 'h.md', 'j.md']);
  });
});

describe('way()', () => {
  it.each([
    ['index.html', 'learn.html', 'learn.html'],
    ['chapters/a.html', 'chapters/b.html#c', 'b.html#c'],
    ['chapters/a.html', 'index.html', '../index.html'],
    ['source/x/y.html', 'source/z/w.html', '../z/w.html'],
    ['index.html', 'assets/katex/a.css', 'assets/katex/a.css'],
  ])('leads from %s to %s by %s', (from, to, expected) => expect(way(from, to)).toBe(expected));
});
