/**
 * The examples of docstrings and of the README run, and print what they say. They start where a reader would:
 * in the root of the repository, with the package imported by its name. Their types: examples.long.test.ts.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as library from '../src/index.ts';
import * as vectors from '../src/vectors.ts';
import { examplesOf, instrument, normalized, printed, PRINTED, publishedExamples } from './support/examples.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Inside test/, so that the runner compiles what is there. */
const folder = `${root}test/.examples/`;

const examples = publishedExamples()
  .map((example) => ({ ...example, path: `${folder}${example.name.replace(/[^\w]/g, '-')}` }));

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}.gitignore`, '*\n');
  for (const example of examples) writeFileSync(`${example.path}.run.ts`, instrument(example).code);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the example', () => {
  it.each(examples)('$name prints what it says', async (example) => {
    expect(`${process.cwd().replaceAll('\\', '/')}/`).toBe(root.replaceAll('\\', '/'));
    const { claims } = instrument(example);
    expect(claims.length, 'console.log(...); // what it prints').toBeGreaterThan(0);
    const calls: string[][] = claims.map(() => []);
    const remember = (claim: number) => (...args: unknown[]) => void calls[claim].push(printed(args));
    Object.assign(globalThis, { [PRINTED]: remember });
    try {
      await import(/* @vite-ignore */ `${example.path}.run.ts`);
    } finally {
      Reflect.deleteProperty(globalThis, PRINTED);
    }
    const said = claims.map(({ line, expected }) => `${example.file}:${line}: ${normalized(expected)}`);
    // If a line prints several times, its comment has all of it, separated by commas.
    expect(claims.map(({ line }, n) => `${example.file}:${line}: ${normalized(calls[n].join(', '))}`)).toEqual(said);
  }, 60_000);

  it('of README.md is there', () => {
    expect(examples.filter(({ file }) => file === 'README.md').length).toBeGreaterThan(0);
  });
});

describe('the public functions', () => {
  // Names and docstrings alone, no types: without the library of the language, whose reading takes seconds.
  const program = ts.createProgram(['src/index.ts', 'src/vectors.ts'].map((file) => root + file), {
    module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022,
    allowImportingTsExtensions: true, noEmit: true, noLib: true, types: [],
  });

  it.each([
    ['src/index.ts', library, 'attention'], ['src/vectors.ts', vectors, 'makeCase'],
  ])('of %s have an example each, or are classes of errors', (file, module, known) => {
    const checker = program.getTypeChecker();
    const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(root + file)!)!);
    const names = Object.entries<unknown>(module)
      .filter(([, value]) => typeof value === 'function' && !(value.prototype instanceof Error))
      .map(([name]) => name);
    expect(names).toContain(known);
    expect(names.filter((name) => {
      const symbol = exported.find((candidate) => candidate.name === name)!;
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      const members = target.members === undefined ? [] : [...target.members.values()]; // a class may show them
      return ![target, ...members].some((each) => each.getJsDocTags(checker).some((tag) => tag.name === 'example'));
    })).toEqual([]);
  }, 60_000);
});

describe('the example runner', () => {
  const text = [
    '/**', ' * @example', ' * ```ts', ' * const a = {', ' *   b: 1,', ' * };', ' * console.log(a); // { b: 1 }',
    ' * console.log(', ' *   a,', ' * ); // {"b":1}', ' * console.log(a);', ' * ```', ' */',
  ].join('\n');

  it('finds the block of a docstring and its claims, with their lines', () => {
    const [example] = examplesOf('x.ts', text);
    expect(example).toMatchObject({ file: 'x.ts', line: 4 });
    expect(example.code).toMatch(/^const a = \{\n {2}b: 1,\n\};\nconsole\.log\(a\); \/\/ \{ b: 1 \}\n/);
    expect(instrument(example).claims).toEqual([{ line: 7, expected: '{ b: 1 }' }, { line: 10, expected: '{"b":1}' }]);
  });

  it('assigns a claim only to the call on the same line', () => {
    const code = 'console.log(1);\n// 1\nif (x) { console.log(2); } // 2\nconsole.log(3), f(); // 3\n';
    expect(instrument({ file: 'x', line: 1, code }).claims).toEqual([{ line: 3, expected: '2' }]);
  });

  it('compares the printed text exactly, except for insignificant spaces and quotes', () => {
    const print = (...args: unknown[]): string => normalized(printed(args));
    expect(print(new Float64Array([1, -0, NaN]))).toBe('[1,-0,NaN]');
    expect(print('a b', 1.5, { x: ['y'] })).toBe(normalized('a b 1.5 { x: [ \'y\' ] }'));
    expect(print(0.1 + 0.2)).not.toBe(normalized('0.3'));
    expect(print([1, 2])).not.toBe(normalized('[1,3]'));
    expect(print('1 2')).not.toBe(normalized('12'));
  });
});
