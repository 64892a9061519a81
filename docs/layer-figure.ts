/**
 * Where a chapter's subject sits in the layer: the same figure for all chapters, with other boxes marked. Forward is
 * solid, backward dashed. SVG, with the same bytes every time.
 * @module
 */

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly lines: readonly [string, string?];
}

const [HEIGHT, WIDTH] = [330, 824];
const TALL = 46;
/** A box of the figure. */
export type Part = 'x' | 'norm' | 'qkv' | 'cache' | 'attention' | 'out' | 'scorer' | 'search' | 'types' | 'lifetime' |
  'through' | 'relaxed' | 'gradient' | 'price';

const BOXES: Readonly<Record<Part, Box>> = {
  x: { x: 12, y: 44, width: 56, lines: ['x'] },
  norm: { x: 100, y: 44, width: 84, lines: ['RMSNorm', 'h'] },
  qkv: { x: 222, y: 44, width: 100, lines: ['q, k, v', 'rotary'] },
  cache: { x: 378, y: 44, width: 110, lines: ['KV cache', 'k, v, last(j)'] },
  attention: { x: 544, y: 44, width: 116, lines: ['attention', 'where M is 1'] },
  out: { x: 716, y: 44, width: 96, lines: ['W o, + x', 'to the MLP'] },
  scorer: { x: 97, y: 150, width: 90, lines: ['scorer', 's = W h'] },
  search: { x: 222, y: 150, width: 110, lines: ['softmax', 'y of (s + u) / τ'] },
  types: { x: 378, y: 150, width: 110, lines: ['argmax', 'types t'] },
  lifetime: { x: 544, y: 150, width: 116, lines: ['lifetime', 'last(j), mask M'] },
  through: { x: 212, y: 256, width: 130, lines: ['straight through', 'ds'] },
  relaxed: { x: 378, y: 256, width: 110, lines: ['relaxed mask', 'dg, dl, dw'] },
  gradient: { x: 544, y: 256, width: 116, lines: ['mask gradient', 'dM, every pair'] },
  price: { x: 716, y: 256, width: 96, lines: ['price', 'λ · kept'] },
};


const middle = ({ x, width }: Box): number => x + width / 2;

function box(part: Part, marked: boolean): string {
  const { x, y, width, lines: [first, second] } = BOXES[part];
  const at = (line: number): string => `x="${x + width / 2}" y="${y + line}"`;
  return `<rect x="${x}" y="${y}" width="${width}" height="${TALL}" rx="6"${marked ? ' class="on"' : ''}/>` +
    (second ? `<text ${at(20)} class="n">${first}</text><text ${at(37)}>${second}</text>` : `<text ${at(28)} class="n">${first}</text>`);
}

const right = (from: Part, to: Part): string =>
  `M${BOXES[from].x + BOXES[from].width} ${BOXES[from].y + TALL / 2}H${BOXES[to].x - 3}`;
const left = (from: Part, to: Part): string =>
  `M${BOXES[from].x} ${BOXES[from].y + TALL / 2}H${BOXES[to].x + BOXES[to].width + 3}`;
const down = (from: Part, to: Part): string => `M${middle(BOXES[from])} ${BOXES[from].y + TALL}V${BOXES[to].y - 3}`;
const up = (from: Part, to: Part, shift = 0): string => `M${middle(BOXES[from]) + shift} ${BOXES[from].y}V${BOXES[to].y + TALL + 3}`;

/**
 * Draws the layer.
 *
 * @param marked The boxes that the chapter is about.
 * @param title What the figure shows, for people who hear it.
 */
export function layerFigure(marked: readonly Part[], title: string): string {
  const forward = [
    right('x', 'norm'), right('norm', 'qkv'), right('qkv', 'cache'), right('cache', 'attention'), right('attention', 'out'),
    right('scorer', 'search'), right('search', 'types'), right('types', 'lifetime'), up('lifetime', 'attention'),
    // The lifetime of an entry is stored with it, too.
    `M${BOXES.lifetime.x + 20} ${BOXES.lifetime.y}V120H${middle(BOXES.cache)}V${BOXES.cache.y + TALL + 3}`,
  ];
  const { x, width, y } = BOXES.attention;
  const backward = [
    `M${x + width} ${y + TALL - 12}H688V${BOXES.gradient.y - 20}H${middle(BOXES.gradient)}V${BOXES.gradient.y - 3}`,
    left('gradient', 'relaxed'), left('relaxed', 'through'),
    `M${BOXES.through.x} ${BOXES.through.y + TALL / 2}H${middle(BOXES.scorer)}V${BOXES.scorer.y + TALL + 3}`,
    `M${middle(BOXES.price)} ${BOXES.price.y + TALL}V318H${middle(BOXES.relaxed)}V${BOXES.relaxed.y + TALL + 3}`,
  ];
  const path = (d: string, name: string): string => `<path d="${d}" class="${name}"/>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
<title>${title}</title>
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328; text-anchor: middle } .n { font-weight: 600; font-size: 13px } .s { text-anchor: start }
rect { fill: #f3f4f6; stroke: #57606a } .on { fill: #ffe08a; stroke: #1f2328; stroke-width: 2.5 } .page { fill: #ffffff; stroke: none }
.f { fill: none; stroke: #444c56; stroke-width: 1.5; marker-end: url(#t) } .b { fill: none; stroke: #a1410c; stroke-width: 1.5; stroke-dasharray: 6 4; marker-end: url(#u) }
.d { fill: none; stroke: #444c56; stroke-width: 1.5; stroke-dasharray: 2 4; marker-end: url(#t) } #t path { fill: #444c56 } #u path { fill: #a1410c } .w { fill: #a1410c }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } rect { fill: #21262d; stroke: #8b949e } .on { fill: #6b4e00; stroke: #ffe08a } .page { fill: #0d1117; stroke: none }
.f, .d { stroke: #adbac7 } .b { stroke: #ffa870 } #t path { fill: #adbac7 } #u path { fill: #ffa870 } .w { fill: #ffa870 }
}
</style>
<defs><marker id="t" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
<marker id="u" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
<rect class="page" width="${WIDTH}" height="${HEIGHT}"/>
<text x="12" y="22" class="s">solid: forward, to the right</text><text x="222" y="22" class="s w">dashed: backward, to the left</text>
${forward.map((d) => path(d, 'f')).join('\n')}
${path(down('norm', 'scorer'), 'd')}
<text x="148" y="124" class="s">detached: no gradient into h</text>
${backward.map((d) => path(d, 'b')).join('\n')}
${(Object.keys(BOXES) as Part[]).map((part) => box(part, marked.includes(part))).join('\n')}
</svg>
`;
}

/** The figures of the chapters, by file, with the boxes that are marked. */
export const LAYERS: Readonly<Record<string, readonly Part[]>> = {
  cache: ['cache'], lifetime: ['types', 'lifetime'], attention: ['attention'], 'mask-gradient': ['gradient'],
  relaxed: ['relaxed'], search: ['scorer', 'search', 'types', 'through'], price: ['price'],
  scorer: ['scorer'],
  all: ['scorer', 'search', 'types', 'lifetime', 'cache', 'attention', 'gradient', 'relaxed', 'through', 'price'],
};
