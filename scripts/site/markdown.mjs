/**
 * Turns a page of Markdown, as GitHub shows it, into HTML: headings get GitHub's anchors, ```math blocks and $...$
 * become KaTeX, and code is coloured. Everything is rendered here, so that a page needs no script to be read.
 */
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import javascript from 'highlight.js/lib/languages/javascript';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import typescript from 'highlight.js/lib/languages/typescript';
import yaml from 'highlight.js/lib/languages/yaml';
import katex from 'katex';
import MarkdownIt from 'markdown-it';

for (const [names, language] of [
  [['sh', 'bash'], bash], [['js', 'mjs', 'javascript'], javascript], [['json', 'jsonl'], json],
  [['py', 'python'], python],
  [['ts', 'typescript'], typescript], [['yaml', 'yml'], yaml],
]) for (const name of names) hljs.registerLanguage(name, language);

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
export const escaped = (text) => text.replace(/[&<>"]/g, (one) => ESCAPES[one]);

/** The kinds of words that site-src/style.css colours. */
const COLOURS = new Set(['keyword', 'built_in', 'literal', 'string', 'regexp', 'number', 'comment', 'title', 'attr']);

/** Code as HTML, coloured if the language is known. Kinds without a colour get no element: a tenth of a page. */
export function coloured(code, language) {
  if (!hljs.getLanguage(language)) return escaped(code);
  const open = [];
  return hljs.highlight(code, { language }).value.replace(/<span class="hljs-(\w+)[^"]*">|<\/span>/g, (tag, kind) => {
    if (kind === undefined) return open.pop();
    open.push(COLOURS.has(kind) ? '</span>' : '');
    return COLOURS.has(kind) ? `<span class="h-${kind}">` : '';
  });
}

/** KaTeX with MathML beside it for screen readers. A formula that it does not understand is an error of the build. */
const formula = (tex, displayMode) => katex.renderToString(tex, { displayMode, output: 'htmlAndMathml', throwOnError: true });

/** GitHub's anchors: lower case, no punctuation, numbered when they recur. */
function anchors() {
  const seen = new Map();
  return (title) => {
    const anchor = title.toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, '').replaceAll(' ', '-');
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    return before === 0 ? anchor : `${anchor}-${before}`;
  };
}

/** $...$ inside a line: no space after the first and before the last, and no digit behind, as GitHub has it. */
function inlineMath(state, silent) {
  if (state.src[state.pos] !== '$') return false;
  const found = /^\$(?=[^\s$])([^$\n]*[^\s$\\])\$(?!\d)/.exec(state.src.slice(state.pos));
  if (!found) return false;
  if (!silent) Object.assign(state.push('math', '', 0), { content: found[1] });
  state.pos += found[0].length;
  return true;
}

const markdown = new MarkdownIt({ html: true, linkify: false });
markdown.inline.ruler.after('escape', 'math', inlineMath);
markdown.renderer.rules.math = (tokens, n) => formula(tokens[n].content, false);
markdown.renderer.rules.fence = (tokens, n) => {
  const { info, content } = tokens[n];
  const language = info.trim().split(/\s+/)[0];
  if (language === 'math') return `<div class="formula" tabindex="0">${formula(content, true)}</div>\n`;
  const code = coloured(content, language);
  return `<pre tabindex="0" data-language="${language}"><code>${code}</code></pre>\n`;
};
markdown.renderer.rules.code_block = (tokens, n) => `<pre tabindex="0"><code>${escaped(tokens[n].content)}</code></pre>\n`;
/** A figure that is alone in its paragraph: on a narrow screen it keeps its size, and scrolls. */
markdown.core.ruler.push('figures', ({ tokens }) => tokens.forEach((token, n) => {
  const [only, more] = token.type === 'inline' ? token.children : [];
  if (only?.type !== 'image' || more || tokens[n - 1].type !== 'paragraph_open') return;
  tokens[n - 1].attrs = [['class', 'figure'], ['tabindex', '0']];
}));
markdown.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n';
markdown.renderer.rules.table_close = () => '</table></div>\n';

/**
 * Renders a page.
 *
 * @param {string} text
 * @param {(target: string) => string} link Where a link of the page leads on the site.
 * @returns The title, the HTML, the headings `{ level, text, anchor }`, and whether there are formulas.
 */
export function render(text, link) {
  const anchor = anchors();
  const headings = [];
  const tokens = markdown.parse(text, {});
  let math = false;
  tokens.forEach((token, n) => {
    if (token.type === 'fence' && token.info.trim() === 'math') math = true;
    if (token.type === 'heading_open') {
      const { content } = tokens[n + 1];
      const id = anchor(content);
      token.attrSet('id', id);
      headings.push({ level: Number(token.tag[1]), text: content.replaceAll('`', ''), anchor: id });
    }
    for (const child of token.children ?? []) {
      if (child.type === 'math') math = true;
      const name = { link_open: 'href', image: 'src' }[child.type];
      if (name) child.attrSet(name, link(child.attrGet(name)));
    }
    const blocks = [token, ...(token.children ?? [])].filter(({ type }) => /^html_/.test(type));
    for (const block of blocks) {
      block.content = block.content.replace(/ (src|href)="([^"]+)"/g, (_, name, target) => ` ${name}="${link(target)}"`);
    }
  });
  const html = markdown.renderer.render(tokens, markdown.options, {});
  return { title: headings[0]?.text ?? '', html, headings, math };
}
