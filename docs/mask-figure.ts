/**
 * The chapter's figure: the mask of one example beside what the cache holds at each step. Both halves are
 * drawn from lifetime(), the one rule. The result is SVG text, with the same bytes every time.
 * @module
 */
import { lifetime } from '../reference/public/lifetime.ts';
import { FOREVER, isEvictable, isVisible } from '../src/core/lifetime.ts';

/** The example of section 2 with four more tokens. */
export const EXAMPLE: { types: string; window: number } = { types: 'GLLWGLWWLGWL', window: 2 };

const STYLES = [
  { letter: 'G', name: 'GLOBAL', rule: 'for ever', fill: '#0b5cad', text: '#ffffff', radius: 0 },
  { letter: 'L', name: 'LOCAL', rule: 'until the next GLOBAL', fill: '#f0a020', text: '#1a1a1a', radius: 6 },
  { letter: 'W', name: 'WINDOW', rule: 'for W more queries', fill: '#b9e3c6', text: '#1a1a1a', radius: 15 },
] as const;
const CELL = 32;
const LEFT = 92;
const TOP = 118;

const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${x}" y="${y}"${attributes && ' ' + attributes}>${content}</text>`;

/** A token. Its colour, its shape and its letter all show its type. */
function token(x: number, y: number, type: number, label: string, leaving = false): string {
  const { fill, text: ink, radius } = STYLES[type];
  const paint = leaving ? `fill="#ffffff" stroke="#555555" stroke-dasharray="3 2"` : `fill="${fill}" stroke="#333333"`;
  return `<rect x="${x + 1.5}" y="${y + 1.5}" width="${CELL - 3}" height="${CELL - 3}" rx="${radius}" ${paint}/>` +
    text(x + CELL / 2, y + CELL / 2 + 4.5, label, `class="m" fill="${leaving ? '#1a1a1a' : ink}"`);
}

/**
 * Draws the figure.
 *
 * @param example Types as letters G, L and W, and the window.
 * @returns SVG.
 */
export function maskFigure(example: { types: string; window: number } = EXAMPLE): string {
  const types = Int32Array.from(example.types, (letter) => STYLES.findIndex((style) => style.letter === letter));
  const N = types.length;
  const last = lifetime({ data: types, shape: [1, 1, N] }, { window: example.window }).data;
  const cacheLeft = LEFT + N * CELL + 70;
  const most = Math.max(...Array.from({ length: N }, (_, i) => keysSeenBy(i, last).length));
  const width = Math.max(cacheLeft + most * CELL + 104, cacheLeft + 340);
  const height = TOP + N * CELL + 92;
  const parts = [
    text(LEFT, 24, 'Mask: query i sees key j', 'class="h"'),
    text(cacheLeft, 24, 'Cache: what is held at step i', 'class="h"'),
    text(cacheLeft, 44, 'row i of the mask without gaps; dashed: evicted after step i'),
    text(LEFT, 44, `key j with its type and last(j); W = ${example.window}`),
    text(LEFT - 12, TOP - 8, 'query i', 'class="e"'),
    text(cacheLeft + most * CELL + 14, TOP - 8, 'stay after step i'),
  ];
  for (let j = 0; j < N; j++) {
    const x = LEFT + j * CELL;
    parts.push(text(x + CELL / 2, 66, `${example.types[j]}${j}`, 'class="m"'));
    parts.push(text(x + CELL / 2, 84, last[j] === FOREVER ? '∞' : String(last[j]), 'class="m"'));
  }
  parts.push(text(LEFT - 12, 84, 'last(j)', 'class="e"'));
  for (let i = 0; i < N; i++) {
    const y = TOP + i * CELL;
    parts.push(text(LEFT - 12, y + CELL / 2 + 4.5, String(i), 'class="e"'));
    for (let j = 0; j <= i; j++) {
      const x = LEFT + j * CELL;
      parts.push(isVisible(i, j, last[j]) ? token(x, y, types[j], example.types[j]) : hidden(x, y));
    }
    const held = keysSeenBy(i, last);
    held.forEach((j, n) => {
      const leaving = isEvictable(last[j], i + 1);
      parts.push(token(cacheLeft + n * CELL, y, types[j], `${example.types[j]}${j}`, leaving));
    });
    const stay = held.filter((j) => !isEvictable(last[j], i + 1)).length;
    parts.push(text(cacheLeft + most * CELL + 14, y + CELL / 2 + 4.5, `${stay} of ${i + 1}`));
  }
  parts.push(...legend(TOP + N * CELL + 24));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
      'role="img">',
    `<title>Mask and cache for the token types ${[...example.types].join(' ')}, W = ${example.window}</title>`,
    '<style>text{font:13px system-ui,sans-serif;fill:#1a1a1a}.h{font-weight:600;font-size:15px}' +
      '.m{text-anchor:middle;font-size:12px}.e{text-anchor:end}.m[fill="#ffffff"]{fill:#ffffff}</style>',
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    '</svg>',
  ].join('\n') + '\n';
}

function keysSeenBy(i: number, last: Int32Array): number[] {
  return Array.from({ length: i + 1 }, (_, j) => j).filter((j) => isVisible(i, j, last[j]));
}

function hidden(x: number, y: number): string {
  const side = CELL - 3;
  return `<rect x="${x + 1.5}" y="${y + 1.5}" width="${side}" height="${side}" fill="#f4f4f4" stroke="#dddddd"/>`;
}

function legend(y: number): string[] {
  const items = STYLES.map((style, type) => {
    const x = LEFT + type * 250;
    return token(x, y - 18, type, style.letter) + text(x + CELL + 6, y, `${style.name}: ${style.rule}`);
  });
  return [...items, hidden(LEFT, y + 14), text(LEFT + CELL + 6, y + 32, 'hidden: query i comes after last(j)')];
}
