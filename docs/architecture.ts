/**
 * What docs/architecture.md says about the folders: the imports found in the sources, as the arrows of the figure, and
 * the imports that the architecture test allows, as a table.
 * @module
 */
import { type Edge, floorOf, FLOORS, importsOf } from '../test/support/import-graph.ts';

/** How one folder imports another: when it is loaded, only when first needed, or for types only. */
export type ArrowKind = Edge['kind'];

/** What each folder is, in a few words. Every folder of FLOORS must be listed here, and in PLACES of the figure. */
export const ROLES: Readonly<Record<string, string>> = {
  'src/core': 'errors, shapes, checks, randomness, the tape, and the contract of engines',
  'src/policies': 'rules for what a cache keeps, one file each',
  'src/formats': 'safetensors, npz, npy, zip, float16, hashes; knows no model',
  'src/files': 'folders and files, written completely or not at all',
  'src/model': 'config, decoder, session, generate, tokenizer; arch/ has a file per architecture',
  'src/train': 'makes weights, or an adapter, from text',
  'src/evaluate': 'perplexity, recall, policies of equal bytes',
  'src/oracle': 'cases with their truths, the judge, the diagnosis',
  reference: 'every operation in float64, written to be read',
  wasm: 'the operations as WebAssembly with SIMD, for CPUs',
  'gpu/device': 'what every WebGPU engine needs',
  'gpu/gpujs': 'the operations as kernels of gpu.js',
  'gpu/wgsl': 'the operations as hand-written WGSL',
  'src/engines.ts': 'makes engines; the only file that knows them',
  'src/load.ts': 'a model, ready to run',
  'src/vectors.ts': 'the oracle as a library',
  'src/index.ts': 'the library',
  'src/cli': 'the commands of natsearch, and everything specific to Node',
};

/** Imports between folders: importer, imported, and the strongest kind of import between them. */
export function importsBetween(edges: readonly Edge[]): Map<string, Map<string, ArrowKind>> {
  const rank: readonly ArrowKind[] = ['type', 'lazy', 'static'];
  const found = new Map(Object.keys(FLOORS).map((floor) => [floor, new Map<string, ArrowKind>()]));
  for (const { from, to, kind } of edges) {
    const [importer, imported] = [floorOf(from), floorOf(to)];
    if (importer === undefined || imported === undefined || importer === imported) continue;
    const before = found.get(importer)!.get(imported);
    if (before === undefined || rank.indexOf(kind) > rank.indexOf(before)) found.get(importer)!.set(imported, kind);
  }
  return found;
}

/**
 * The imports without those that follow from others: a target is left out if another target of the folder reaches it.
 */
export function reduced(all: ReadonlyMap<string, ReadonlyMap<string, ArrowKind>>): typeof all {
  const reaches = (from: string, to: string): boolean =>
    from === to || [...all.get(from)!.keys()].some((next) => reaches(next, to));
  return new Map([...all].map(([from, targets]) => [from, new Map([...targets].filter(([to]) => {
    return ![...targets.keys()].some((other) => other !== to && reaches(other, to));
  }))]));
}

/** Every import of the sources, by path. */
export function edgesOf(sources: ReadonlyMap<string, string>): Edge[] {
  return [...sources].flatMap(([path, text]) => importsOf(path, text));
}

/** FLOORS as a Markdown table: what each folder is and what it may import, from the ground up. */
export function floorsTable(): string {
  const unknown = Object.keys(FLOORS).filter((floor) => !(floor in ROLES));
  if (unknown.length > 0) throw new Error(`docs/architecture.ts: ROLES must say what ${unknown.join(', ')} is`);
  const short = (floor: string): string => `\`${floor.replace(/^src\//, '')}\``;
  return [
    '| folder or file | what it is | may import |', '|---|---|---|',
    ...Object.entries(FLOORS).map(([floor, may]) =>
      `| \`${floor}\` | ${ROLES[floor]} | ${may.length === 0 ? 'nothing' : may.map(short).join(', ')} |`),
  ].join('\n');
}

const MARKS = /(<!-- floors:[^>]*-->\n\n)[\s\S]*?(\n\n<!-- \/floors -->)/;

/** The page with the current table between its marks. */
export function architecturePage(page: string): string {
  if (!MARKS.test(page)) throw new Error('docs/architecture.md lacks the marks <!-- floors: ... --> and <!-- /floors -->');
  return page.replace(MARKS, (_, before: string, after: string) => before + floorsTable() + after);
}
