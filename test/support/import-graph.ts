/**
 * Which file imports which, read from the sources, and the imports that the architecture allows.
 * @module
 */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import ts from 'typescript';

/** One import. `to` is a path from the root, or the name of a package or of a built-in module. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  /** A `type` import disappears once types are erased; a `lazy` one is an `import()`. */
  readonly kind: 'static' | 'type' | 'lazy';
}

/** Every import and re-export of a file. */
export function importsOf(path: string, text: string): Edge[] {
  const edges: Edge[] = [];
  const add = (specifier: string, kind: Edge['kind']): void => {
    const to = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : specifier;
    edges.push({ from: path, to, kind });
  };
  const visit = (node: ts.Node): void => {
    // `import { type X }` is static: verbatimModuleSyntax leaves `import {}`, which still runs the module.
    if (ts.isImportDeclaration(node)) {
      const isType = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      add((node.moduleSpecifier as ts.StringLiteral).text, isType ? 'type' : 'static');
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      add((node.moduleSpecifier as ts.StringLiteral).text, node.isTypeOnly ? 'type' : 'static');
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add((node.argument.literal as ts.StringLiteral).text, 'type');
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments;
      // A computed name could hide any import, so it counts as one that no rule allows.
      add(specifier !== undefined && ts.isStringLiteralLike(specifier) ? specifier.text : '(computed)', 'lazy');
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return edges;
}

/** The files that may import Node's built-in modules. */
const NODE_ALLOWED = /^src\/cli\//;
/** The file that may import types of built-in modules, since it obtains these modules from Node at run time. */
const NODE_TYPES_ALLOWED = /^src\/files\/builtin\.ts$/;
/** Which files may import which packages. */
const PACKAGES: readonly (readonly [RegExp, RegExp])[] = [
  [/^src\/cli\//, /^(commander|picocolors)$/],
  [/^src\/cli\/arena\/page\.ts$/, /^(@observablehq\/plot|linkedom)$/],
  [/^src\/cli\/learn\/worker\.ts$/, /^sucrase$/],
  [/^src\/core\/random\.ts$/, /^pure-rand(\/|$)/],
  [/^src\/model\/tokenizer\/hf-tokenizer\.ts$/, /^@huggingface\/tokenizers$/],
  [/^src\/model\/generate\/chat-template\.ts$/, /^@huggingface\/jinja$/],
  [/^gpu\/gpujs\/library\.ts$/, /^gpu\.js$/],
  // The optional package `webgpu`, whose name is computed so that bundlers do not look for it.
  [/^gpu\/device\/adapter\.ts$/, /^\(computed\)$/],
  // A student's file.
  [/^src\/cli\/learn\/worker\.ts$/, /^\(computed\)$/],
];

/** What each engine may import. No other folder imports an engine, and only src/engines.ts knows which there are. */
const ENGINES: Readonly<Record<string, readonly string[]>> = {
  reference: ['src/core'],
  wasm: ['src/core'],
  'gpu/gpujs': ['src/core', 'gpu/device'],
  'gpu/wgsl': ['src/core', 'gpu/device'],
};

/** Which folders and files each one may import besides itself. Each line names only entries of the lines above it. */
export const FLOORS: Readonly<Record<string, readonly string[]>> = {
  'src/core': [],
  'src/policies': ['src/core'],
  'src/formats': ['src/core'],
  'src/files': ['src/core', 'src/formats'],
  'src/model': ['src/core', 'src/policies', 'src/formats', 'src/files'],
  'src/train': ['src/core', 'src/policies', 'src/formats', 'src/files', 'src/model'],
  'src/evaluate': ['src/core', 'src/policies', 'src/formats', 'src/files', 'src/model'],
  'src/oracle': ['src/core', 'src/formats'],
  'gpu/device': ['src/core'],
  ...ENGINES,
  'src/engines.ts': ['src/core', ...Object.keys(ENGINES)],
  'src/load.ts': ['src/core', 'src/formats', 'src/files', 'src/model', 'src/engines.ts'],
  'src/vectors.ts': ['src/core', 'src/formats', 'src/oracle', 'src/engines.ts'],
  'src/index.ts': [
    'src/core', 'src/policies', 'src/formats', 'src/files', 'src/model', 'src/train', 'src/evaluate', 'src/engines.ts',
    'src/load.ts',
  ],
  'src/cli': [
    'src/core', 'src/policies', 'src/formats', 'src/files', 'src/model', 'src/train', 'src/evaluate', 'src/oracle',
    'src/engines.ts', 'src/load.ts', 'src/index.ts', 'src/vectors.ts',
  ],
};

/** The top-level folders of the repository that FLOORS covers. */
export const TOPS: readonly string[] = [...new Set(Object.keys(FLOORS).map((floor) => floor.split('/')[0]))];

/** The entry of FLOORS to which a file belongs. */
export const floorOf = (path: string): string | undefined =>
  Object.keys(FLOORS).find((floor) => path === floor || path.startsWith(`${floor}/`));

/** A sentence for each import that the architecture forbids. */
export function forbidden(edges: readonly Edge[]): string[] {
  return edges.flatMap((edge) => {
    const why = whyForbidden(edge);
    return why === undefined ? [] : [`${edge.from} -> ${edge.to} (${edge.kind}): ${why}`];
  });
}

function whyForbidden({ from, to, kind }: Edge): string | undefined {
  const known = PACKAGES.some(([importer, name]) => importer.test(from) && name.test(to));
  if (to === '(computed)') return known && kind === 'lazy' ? undefined : 'import() of a computed name';
  if (isBuiltin(to)) {
    if (NODE_ALLOWED.test(from) || (kind === 'type' && NODE_TYPES_ALLOWED.test(from))) return undefined;
    return 'only src/cli/ imports Node\'s built-in modules; other files get them from src/files/builtin.ts';
  }
  if (!to.includes('/') || !/\.[cm]?[jt]s$/.test(to)) {
    return known ? undefined : 'this file may not import that package';
  }
  if (to.startsWith('gpu/') && !from.startsWith('gpu/') && kind === 'static') return 'the GPU engine is loaded lazily';
  const [floor, target] = [floorOf(from), floorOf(to)];
  if (floor === undefined) return 'no rule covers this file';
  if (target === floor || (target !== undefined && FLOORS[floor].includes(target))) return undefined;
  return `${floor} imports only itself${FLOORS[floor].map((name) => `, ${name}`).join('')}`;
}

/**
 * The import cycles, including those through types only, each as a list of its files; one for each import that closes
 * one.
 */
export function cycles(edges: readonly Edge[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      found.push([...path.slice(path.indexOf(file)), file].join(' -> '));
      return;
    }
    if (done.has(file)) return;
    for (const target of next.get(file) ?? []) walk(target, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) walk(file, []);
  return found;
}
