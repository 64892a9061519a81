/** The frame of every page: navigation, the page, and what comes before and after it. */
import { escaped } from './markdown.mjs';

/** The way from one page of the site to another file of it, relative, so that the site works from any folder. */
export function way(from, to) {
  const [path, hash = ''] = to.split(/(?=#)/);
  const own = from.split('/').slice(0, -1);
  const theirs = path.split('/');
  let common = 0;
  while (common < own.length && common < theirs.length - 1 && own[common] === theirs[common]) common++;
  return [...own.slice(common).map(() => '..'), ...theirs.slice(common)].join('/') + hash;
}

/**
 * A whole page.
 *
 * @param {object} page
 * @param {string} page.path Its path in the site.
 * @param {string} page.title
 * @param {string} page.html
 * @param {string} [page.description] One sentence.
 * @param {boolean} [page.math] Whether it needs the style of formulas.
 * @param {string[]} [page.scripts] Paths in the site of classic scripts (modules do not load from file:).
 * @param {string[]} [page.styles] Paths in the site of further styles.
 * @param {{ level: number, text: string, anchor: string }[]} [page.headings]
 * @param {boolean} [page.wide] Whether it takes the whole width.
 * @param {{ name: string, pages: { path: string, title: string }[] }[]} groups The navigation.
 */
export function layout(page, groups) {
  const to = (path) => way(page.path, path);
  const order = groups.find(({ pages, row }) => row && pages.some(({ path }) => path === page.path))?.pages ?? [];
  const at = order.findIndex(({ path }) => path === page.path);
  const step = (target, rel, text) => (target ? `<a rel="${rel}" href="${to(target.path)}">${text} ${escaped(target.title)}</a>` : '<span></span>');
  // Pages of source files, of which there are many, have the first group alone.
  const shown = page.path.startsWith('source/') ? groups.slice(0, 1) : groups;
  const menu = shown.map(({ name, pages }) => {
    const inside = pages.some(({ path }) => path === page.path);
    const items = pages.map(({ path, title }) =>
      `<li><a href="${to(path)}"${path === page.path ? ' aria-current="page"' : ''}>${escaped(title)}</a></li>`).join('\n');
    return `<details${inside || name === groups[0].name ? ' open' : ''}><summary>${name}</summary>\n<ul>\n${items}\n</ul></details>`;
  }).join('\n');
  const sections = (page.headings ?? []).filter(({ level }) => level === 2);
  const toc = sections.length > 2 ? `<details class="toc"><summary>On this page</summary><ul>${sections.map(({ text, anchor }) =>
    `<li><a href="#${anchor}">${escaped(text)}</a></li>`).join('')}</ul></details>` : '';
  const styles = ['assets/style.css', ...(page.math ? ['assets/katex/katex.min.css'] : []), ...(page.styles ?? [])];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(page.title)}${page.path === 'index.html' ? '' : ' · Neural Attention Search'}</title>
${page.description ? `<meta name="description" content="${escaped(page.description)}">\n` : ''}<link rel="icon" href="data:,">
${styles.map((path) => `<link rel="stylesheet" href="${to(path)}">`).join('\n')}
${(page.scripts ?? []).map((path) => `<script defer src="${to(path)}"></script>`).join('\n')}
</head>
<body${page.wide ? ' class="wide"' : ''}>
<a class="skip" href="#main">Skip to the text</a>
<header class="top"><a href="${to('index.html')}">Neural Attention Search</a></header>
<div class="frame">
<nav aria-label="Pages"><details class="menu" open><summary>Pages</summary>
${menu}
</details></nav>
<main id="main" tabindex="-1">
${toc}
${page.html}
${at >= 0 ? `<div class="steps">${step(order[at - 1], 'prev', '←')}${step(order[at + 1], 'next', '→')}</div>` : ''}
</main>
</div>
<script>if (!matchMedia('(min-width: 60rem)').matches) document.querySelector('.menu').open = false;</script>
</body>
</html>
`;
}
