/**
 * The figure of docs/architecture.md: the folders on their floors, and an arrow for every import that does not follow
 * from others. The arrows come from the sources, the places from the table below. The result is SVG text, with the same
 * bytes every time.
 * @module
 */
import { type Edge, FLOORS } from '../test/support/import-graph.ts';
import { type ArrowKind, importsBetween, reduced } from './architecture.ts';

/** Where a box stands and what it says. Columns and rows count from the top left; an arrow goes to a lower row. */
interface Place {
  readonly column: number;
  readonly row: number;
  /** Columns that it spans. Default: 1. */
  readonly span?: number;
  readonly look: 'front' | 'library' | 'engine' | 'oracle' | 'ground';
  readonly lines: readonly string[];
}

const PLACES: Readonly<Record<string, Place>> = {
  'src/cli': { column: 2, row: 0, span: 2, look: 'front', lines: ['natsearch: the commands,', 'and what is specific to Node'] },
  'src/index.ts': { column: 0, row: 0, span: 2, look: 'front', lines: ['neural-attention-search:', 'what an application imports'] },
  'src/vectors.ts': { column: 4, row: 0, span: 2, look: 'front', lines: ['…/vectors: what an author', 'of kernels imports'] },
  'src/train': { column: 0, row: 1, look: 'library', lines: ['search and fine-tune', 'token types'] },
  'src/evaluate': { column: 1, row: 1, look: 'library', lines: ['perplexity, recall,', 'equal bytes'] },
  'src/load.ts': { column: 2, row: 1, look: 'front', lines: ['a model,', 'ready to run'] },
  'src/model': {
    column: 0, row: 2, span: 2, look: 'library',
    lines: ['config · arch/ · decoder · session', 'generate · tokenizer · folder'],
  },
  'src/oracle': { column: 3, row: 2, look: 'oracle', lines: ['cases, judge,', 'diagnosis'] },
  'src/engines.ts': { column: 4, row: 2, span: 3, look: 'front', lines: ['the only file that', 'knows the engines'] },
  'src/policies': { column: 0, row: 3, look: 'library', lines: ['what a cache keeps:', 'one file each'] },
  'src/files': { column: 1, row: 3, look: 'library', lines: ['folders and files,', 'complete or not at all'] },
  'gpu/gpujs': { column: 5, row: 3, look: 'engine', lines: ['kernels of gpu.js,', 'float32'] },
  'gpu/wgsl': { column: 6, row: 3, look: 'engine', lines: ['hand-written WGSL,', 'float32'] },
  'src/formats': {
    column: 1, row: 4, span: 3, look: 'library', lines: ['safetensors · npz · npy · zip · float16 · hashes', 'knows no model'],
  },
  reference: { column: 4, row: 4, look: 'engine', lines: ['the ruler: readable,', 'float64'] },
  wasm: { column: 4, row: 3, look: 'engine', lines: ['WebAssembly with SIMD,', 'for CPUs'] },
  'gpu/device': { column: 5, row: 4, span: 2, look: 'engine', lines: ['what every WebGPU', 'engine needs'] },
  'src/core': {
    column: 0, row: 5, span: 7, look: 'ground',
    lines: ['errors · shapes · checks · lifetimes · randomness · the tape · the contract that every engine fulfils'],
  },
};

const [COLUMN, BOX, ROW, GAP, LEFT, TOP] = [164, 146, 62, 44, 18, 62];
const COLUMNS = Math.max(...Object.values(PLACES).map(({ column, span = 1 }) => column + span));
const ROWS = Math.max(...Object.values(PLACES).map(({ row }) => row)) + 1;
const WIDTH = 2 * LEFT + COLUMNS * COLUMN - (COLUMN - BOX);
const HEIGHT = TOP + ROWS * (ROW + GAP) - GAP + LEFT;

const SAYS: Readonly<Record<ArrowKind, string>> = {
  static: 'at once', lazy: 'when first needed', type: 'for types only',
};

const left = ({ column }: Place): number => LEFT + column * COLUMN;
const right = (place: Place): number => left(place) + (place.span ?? 1) * COLUMN - (COLUMN - BOX);
const top = ({ row }: Place): number => TOP + row * (ROW + GAP);
const escaped = (text: string): string => text.replace(/[&<>]/g, (one) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[one]!);

function box(name: string, place: Place): string {
  const middle = (left(place) + right(place)) / 2;
  const first = top(place) + ROW / 2 - 8 * place.lines.length + 5;
  return `<rect class="${place.look}" x="${left(place)}" y="${top(place)}" width="${right(place) - left(place)}" ` +
    `height="${ROW}" rx="6"/><text class="n" x="${middle}" y="${first}">${escaped(name)}</text>` +
    place.lines.map((line, n) => `<text x="${middle}" y="${first + 17 + 15 * n}">${escaped(line)}</text>`).join('');
}

/** Straight down where one box stands above the other, else with a bend in the gap below the importer. */
function arrows(pairs: readonly (readonly [Place, Place, ArrowKind])[]): string[] {
  // Curves that leave or enter a box on the same side are drawn next to each other, not on top of each other.
  const used = new Map<string, number>();
  const port = (place: Place, toRight: boolean, end: 'out' | 'in'): number => {
    const key = `${place.column} ${place.row} ${toRight} ${end}`;
    const inset = 22 + 18 * (used.get(key) ?? 0);
    used.set(key, (used.get(key) ?? 0) + 1);
    return toRight ? right(place) - inset : left(place) + inset;
  };
  return pairs.map(([from, to, kind]) => {
    const [a, b] = [Math.max(left(from), left(to)), Math.min(right(from), right(to))];
    const [y, end] = [top(from) + ROW, top(to) - 3];
    if (a < b) return `<path class="a ${kind}" d="M${(a + b) / 2} ${y}V${end}"/>`;
    const toRight = left(to) > right(from);
    const [x, target, bend] = [port(from, toRight, 'out'), port(to, !toRight, 'in'), y + GAP - 8];
    return `<path class="a ${kind}" d="M${x} ${y}C${x} ${y + GAP / 2} ${target} ${y + GAP / 2 - 6} ${target} ${bend}V${end}"/>`;
  });
}

/**
 * The figure.
 *
 * @param edges Every import of the sources.
 * @returns SVG.
 */
export function architectureFigure(edges: readonly Edge[]): string {
  for (const floor of Object.keys(FLOORS)) {
    if (!(floor in PLACES)) throw new Error(`docs/architecture-figure.ts: give ${floor} a place in PLACES`);
  }
  const all = importsBetween(edges);
  for (const [from, targets] of all) {
    const upwards = [...targets.keys()].find((to) => PLACES[from].row >= PLACES[to].row);
    if (upwards) throw new Error(`docs/architecture-figure.ts: ${from} imports ${upwards} and must stand above it`);
  }
  const drawn = [...reduced(all)].flatMap(([from, targets]) =>
    [...targets].map(([to, kind]) => [PLACES[from], PLACES[to], kind] as const));
  const kinds = (['static', 'lazy', 'type'] as const).filter((kind) => drawn.some(([, , each]) => each === kind));
  const key = kinds.map((kind, n) => `<path class="a ${kind}" d="M${LEFT + 190 * n} 40h34"/>` +
    `<text class="l" x="${LEFT + 190 * n + 44}" y="44">${SAYS[kind]}</text>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">`,
    '<title>The folders of the repository on their floors, and who imports whom</title>',
    '<style>',
    'text { font: 12px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }',
    '.n { font: 600 13.5px ui-monospace, Menlo, Consolas, monospace } .l { text-anchor: start } .h { font-weight: 600; font-size: 13.5px }',
    'rect { stroke: #57606a } .b { fill: #ffffff; stroke: #d0d7de } .front { fill: #f3f4f6 } .library { fill: #dcebfb }',
    '.engine { fill: #d3f0dc } .oracle { fill: #fdeccb } .ground { fill: #e3e6ea }',
    '.a { fill: none; stroke: #444c56; stroke-width: 1.5; marker-end: url(#t) } .lazy { stroke-dasharray: 6 4 } .type { stroke-dasharray: 2 3 }',
    '#t path { fill: #444c56 }',
    '@media (prefers-color-scheme: dark) {',
    'text { fill: #e6edf3 } rect { stroke: #8b949e } .b { fill: #0d1117; stroke: #30363d } .front { fill: #21262d } .library { fill: #12305a }',
    '.engine { fill: #123d23 } .oracle { fill: #4d3508 } .ground { fill: #30363d } .a { stroke: #adbac7 } #t path { fill: #adbac7 }',
    '}',
    '</style>',
    '<defs><marker id="t" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8Z"/></marker></defs>',
    `<rect class="b" x="0.5" y="0.5" width="${WIDTH - 1}" height="${HEIGHT - 1}" rx="8"/>`,
    `<text class="l h" x="${LEFT}" y="22">An arrow leads from a folder to one that it imports. Imports that follow from other arrows are not drawn.</text>`,
    ...key,
    ...arrows(drawn),
    ...Object.entries(PLACES).filter(([name]) => name in FLOORS).map(([name, place]) => box(name, place)),
    '</svg>',
  ].join('\n') + '\n';
}
