/**
 * What the tests read in pages of Markdown: links and headings.
 * @module
 */

/** Without code, in which nothing is a link or a heading. */
const withoutBlocks = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```$/gm, '');

/** Where its links and images lead, references too. */
export function linksOf(text: string): string[] {
  // Code between backticks is no link, but may be the words of one.
  const prose = withoutBlocks(text).replace(/`[^`\n]*`/g, (code) => '`'.padEnd(code.length - 1, '_') + '`');
  return [...prose.matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$| (?:src|href)="([^"]+)"/gm)]
    .map(([, inline, reference, attribute]) => inline ?? reference ?? attribute);
}

/** Anchors of its headings, as GitHub makes them. */
export function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutBlocks(text).matchAll(/^#+ (.+)$/gm)].map(([, title]) => {
    const anchor = title.toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-');
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  });
}

/** Names in code that are the words of a link: Cache of [`Cache`](a.ts), own of [`tape.own()`](b.ts). */
export function namesLinked(text: string): { name: string; link: string }[] {
  return [...withoutBlocks(text).matchAll(/\[`([\w.]+)(?:\([^`]*\))?`\]\(([^)#]+)\)/g)]
    .filter(([, name]) => !name.endsWith('.ts'))
    .map(([, name, link]) => ({ name: name.split('.').at(-1)!, link }));
}
