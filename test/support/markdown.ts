/**
 * Reads links and headings from pages of Markdown, for tests.
 * @module
 */

/** The text without blocks of code, which contain no links or headings. */
const withoutBlocks = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```$/gm, '');

/** The targets of the links and images of a page, including references. */
export function linksOf(text: string): string[] {
  // Code between backticks contains no links, but may itself be the text of one.
  const prose = withoutBlocks(text).replace(/`[^`\n]*`/g, (code) => '`'.padEnd(code.length - 1, '_') + '`');
  return [...prose.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$| (?:src|href)="([^"]+)"/gm)]
    .map(([, inline, reference, attribute]) => inline ?? reference ?? attribute);
}

/** The anchors of the headings of a page, as GitHub makes them. */
export function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutBlocks(text).matchAll(/^#+ (.+)$/gm)].map(([, title]) => {
    const anchor = title.toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-');
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

/** The names in code that are the text of a link: Cache in [`Cache`](a.ts), own in [`tape.own()`](b.ts). */
export function namesLinked(text: string): { name: string; link: string }[] {
  return [...withoutBlocks(text).matchAll(/\[`([\w.]+)(?:\([^`]*\))?`\]\(([^)#]+)\)/g)]
    .filter(([, name]) => !name.endsWith('.ts'))
    .map(([, name, link]) => ({ name: name.split('.').at(-1)!, link }));
}
