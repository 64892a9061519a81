/**
 * Who imports whom, read from the sources, and the edges that the architecture allows.
 * @module
 */
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import ts from 'typescript';

/** One import. `to` is a path from the root, or the name of a package or of a built-in. */
export interface Edge {
  readonly from: string;
  readonly to: string;
  /** `type` is gone once types are erased; `lazy` is `import()`. */
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
      // A computed name could hide any edge: it is one that no rule allows.
      add(specifier !== undefined && ts.isStringLiteralLike(specifier) ? specifier.text : '(computed)', 'lazy');
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return edges;
}

const LEAF = '(arguments|elementary|errors|finite|tensor|shape|lifetime|random)';
const LEAVES = new RegExp(`^src/${LEAF}\\.ts$`);
/** What engines share. */
const SHARED = `src/(engine|checks|operations|${LEAF})`;
const NODE_ALLOWED = /^src\/cli\//;
/** Names the types of the built-ins that it asks Node for at run time. */
const NODE_TYPES_ALLOWED = /^src\/io\/builtin\.ts$/;
const PACKAGES: readonly (readonly [RegExp, RegExp])[] = [
  [/^src\/cli\//, /^(commander|picocolors)$/],
  [/^src\/random\.ts$/, /^pure-rand(\/|$)/],
  [/^src\/model\/hf-tokenizer\.ts$/, /^@huggingface\/tokenizers$/],
  [/^src\/model\/chat-template\.ts$/, /^@huggingface\/jinja$/],
  [/^gpu\/library\.ts$/, /^gpu\.js$/],
  // The optional package `webgpu`: its name is computed, so that bundlers leave it to who has it.
  [/^gpu\/open\.ts$/, /^\(computed\)$/],
];

/** Which files of src/, reference/ and gpu/ each part may import; the first rule that fits the importer holds. */
const RULES: readonly { readonly from: RegExp; readonly to: RegExp; readonly says: string }[] = [
  { from: LEAVES, to: LEAVES, says: 'leaves import only leaves' },
  {
    from: /^src\/checks\.ts$/, to: new RegExp(`^src/(engine|${LEAF})\\.ts$`),
    says: 'checks know leaves and the contract',
  },
  { from: /^src\/(engine|operations)\.ts$/, to: LEAVES, says: 'the contract knows nothing but leaves' },
  {
    from: /^reference\//, to: new RegExp(`^(reference/.*|${SHARED}\\.ts)$`),
    says: 'reference/ imports only leaves, the contract and itself',
  },
  {
    from: /^gpu\//, to: new RegExp(`^(gpu/.*|${SHARED}\\.ts)$`),
    says: 'gpu/ imports only leaves, the contract and itself',
  },
  {
    from: /^src\/engines\.ts$/,
    to: new RegExp(`^((reference|gpu)/.*|${SHARED}\\.ts)$`),
    says: 'the composition root imports the engines and what they share',
  },
  { from: /^src\/cli\//, to: /^src\//, says: 'the commands reach an engine through src/engines.ts' },
  {
    from: /^src\/(index|load|vectors)\.ts$/, to: /^src\/(?!cli\/)/,
    says: 'the library reaches an engine through src/engines.ts, and needs no command',
  },
  {
    from: /^src\//, to: /^src\/(?!cli\/|index\.ts|load\.ts|vectors\.ts|engines\.ts)/,
    says: 'what is written once never imports an engine, the entry points or a command',
  },
];

/** One sentence per edge that the architecture forbids. */
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
    return 'only src/cli/ imports what is built into Node; others ask src/io/builtin.ts';
  }
  if (!to.includes('/') || !/\.[cm]?[jt]s$/.test(to)) {
    return known ? undefined : 'no such dependency is foreseen there';
  }
  if (to.startsWith('gpu/') && !from.startsWith('gpu/') && kind === 'static') return 'the GPU engine is loaded lazily';
  const rule = RULES.find((candidate) => candidate.from.test(from));
  if (rule === undefined) return 'a file that no rule knows';
  return rule.to.test(to) ? undefined : rule.says;
}

/** Cycles that remain once types are erased, each as the files on it; one per edge that closes one. */
export function cycles(edges: readonly Edge[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to, kind } of edges) {
    if (kind !== 'type') next.set(from, [...(next.get(from) ?? []), to]);
  }
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
