/**
 * Puts gpu.js into the built package, split into parts that import() loads one after the other. Each part is small
 * enough that no bundler warns about its size, and the native modules that gpu.js requires in Node are left out.
 *
 * The modules of gpu.js are CommonJS. If a part needs a module of an earlier part, it takes it from a table, into which
 * the earlier part put it.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, posix, sep } from 'node:path';
import type { Plugin } from 'esbuild';

/** The parts in the order in which they are loaded, and which modules of gpu.js/src belong to each. */
const PARTS: Readonly<Record<string, RegExp>> = {
  parser: /^acorn$/,
  base: /^(utils|input|texture|backend\/(kernel|kernel-value|function-\w+|cpu\/.*))$/,
  webgl: /^(backend\/(gl|web-gl|web-gl2|headless-gl)\/.*|plugins\/.*|vendor\/.*)$/,
  others: /^backend\/(web-assembly|web-gpu)\/.*$/,
  library: /^(index|alias|gpu|pipeline|kernel-run-shortcut)$/,
};
/** Two modules of Node and a native one, replaced by empty modules. The browser build of gpu.js lacks them too. */
const ABSENT = /^(gl|os|worker_threads)$/;
/** Entry points of gpu.js that are not used here. */
const UNUSED = new Set(['browser']);

const require = createRequire(import.meta.url);

function partOf(module: string): string {
  const found = Object.keys(PARTS).find((part) => PARTS[part].test(module));
  if (found === undefined) throw new Error(`${module} of gpu.js belongs to no part: add it in scripts/gpu-js-parts.ts`);
  return found;
}

/** For each part, its modules that other parts need. */
function sharedModules(root: string): ReadonlyMap<string, ReadonlySet<string>> {
  const shared = new Map(Object.keys(PARTS).map((part) => [part, new Set<string>()]));
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'));
  for (const file of files) {
    const from = file.slice(0, -3).replaceAll(sep, '/');
    if (UNUSED.has(from)) continue;
    for (const [, name] of readFileSync(join(root, file), 'utf8').matchAll(/require\('([^']+)'\)/g)) {
      const to = moduleNamed(from, name);
      if (to !== undefined && partOf(to) !== partOf(from)) shared.get(partOf(to))!.add(to);
    }
  }
  return shared;
}

/** The module that `require(name)` means in the module `from`, or undefined if it belongs to no part. */
function moduleNamed(from: string, name: string): string | undefined {
  if (name === 'acorn') return name;
  return name.startsWith('.') ? posix.join(posix.dirname(from), name) : undefined;
}

/** Resolves `gpu.js` to a module whose export `ready` is a promise for the library. */
export function gpuJsInParts(): Plugin {
  const root = join(dirname(require.resolve('gpu.js/package.json')), 'src');
  const path = (module: string) =>
    module === 'acorn' ? createRequire(join(root, 'index.js')).resolve('acorn') : join(root, `${module}.js`);
  const table = "require('gpu-js:table')";
  return {
    name: 'gpu.js in parts',
    setup(build) {
      const shared = sharedModules(root);
      build.onResolve({ filter: /^gpu\.js$/ }, () => ({ path: 'all', namespace: 'gpu-js' }));
      build.onResolve({ filter: /^gpu-js:/ }, ({ path: name }) => ({ path: name.slice(7), namespace: 'gpu-js' }));
      build.onResolve({ filter: ABSENT }, ({ importer }) =>
        importer.startsWith(root) ? { path: 'absent', namespace: 'gpu-js' } : undefined);
      build.onResolve({ filter: /^(\.|acorn$)/ }, ({ path: name, importer }) => {
        if (!importer.startsWith(root)) return undefined;
        const from = importer.slice(root.length + 1, -3).replaceAll(sep, '/');
        const to = moduleNamed(from, name)!;
        return partOf(to) === partOf(from) ? { path: path(to) } : { path: `shared/${to}`, namespace: 'gpu-js' };
      });
      build.onLoad({ filter: /.*/, namespace: 'gpu-js' }, ({ path: name }) => {
        if (name === 'table' || name === 'absent') return { contents: 'module.exports = {};' };
        if (name.startsWith('shared/')) {
          return { contents: `module.exports = ${table}[${JSON.stringify(name.slice(7))}];` };
        }
        if (name === 'all') {
          const names = Object.keys(PARTS);
          const load = (part: string) => `(await import('gpu-js:gpu-${part}')).fill();`;
          return { contents: `export const ready = (async () => {
            ${names.slice(0, -1).map(load).join('\n')} return ${load(names.at(-1)!)}
          })();` };
        }
        // Export a function to be called: bundlers drop a file that has only side effects.
        const part = name.slice(4);
        const own = [...shared.get(part)!].map((module) =>
          `table[${JSON.stringify(module)}] = require(${JSON.stringify(path(module))});`);
        const result = part === 'library' ? `return require(${JSON.stringify(path('index'))});` : '';
        return {
          contents: `export function fill() { const table = ${table}; ${own.join('\n')} ${result} }`, resolveDir: root,
        };
      });
    },
  };
}
