/**
 * The recipes of CONTRIBUTING.md, followed to the letter: here in memory, and by recipes.long.test.ts in a copy of the
 * repository, where everything that they say is run.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { forbidden, importsOf, TOPS } from './support/import-graph.ts';
import { follow, recipesOf } from './support/recipes.ts';
import { textOf } from './support/sources.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const recipes = recipesOf(textOf('CONTRIBUTING.md'));
const read = (path: string): string | undefined => (existsSync(root + path) ? textOf(path) : undefined);

describe.each(recipes)('the recipe "$title"', (recipe) => {
  it('names files and lines that are there, writes some that are not, and runs something', () => {
    const files = follow(recipe, read);
    expect([...files.keys()].some((path) => read(path) === undefined)).toBe(true);
    expect(recipe.commands.length).toBeGreaterThan(0);
  });

  // recipes.long.test.ts follows a recipe that adds a floor, and then checks them.
  if (recipe.edits.every(({ path }) => path !== 'test/support/import-graph.ts')) it('keeps to the floors', () => {
    const sources = [...follow(recipe, read)].filter(([path]) => TOPS.includes(path.split('/')[0]) && path.endsWith('.ts'));
    expect(sources.length).toBeGreaterThan(1);
    expect(forbidden(sources.flatMap(([path, text]) => importsOf(path, text)))).toEqual([]);
  });
});

describe('the recipes', () => {
  const files = new Map<string, string>();
  for (const recipe of recipes) {
    for (const [path, text] of follow(recipe, (name) => files.get(name) ?? read(name))) files.set(path, text);
  }

  it('are those that the page promises, and can all be followed in one checkout', () => {
    const promised = [...textOf('CONTRIBUTING.md').matchAll(/^- \[(Add [^\]]+)\]/gm)].map(([, title]) => title);
    expect(recipes.map(({ title }) => title)).toEqual(promised);
    expect(promised.length).toBeGreaterThan(0);
  });

  it('write files of the right types', () => {
    const { options } = ts.parseJsonConfigFileContent(
      ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config, ts.sys, root,
    );
    const host = ts.createCompilerHost(options);
    const [readFile, fileExists] = [host.readFile.bind(host), host.fileExists.bind(host)];
    const written = (path: string): string | undefined =>
      (path.startsWith(root) ? files.get(path.slice(root.length)) : undefined);
    host.readFile = (path) => written(path) ?? readFile(path);
    host.fileExists = (path) => written(path) !== undefined || fileExists(path);
    // What is new, without the types of Node and the DOM, for speed: recipes.long.test.ts compiles all.
    const added = [...files.keys()].filter((path) => TOPS.includes(path.split('/')[0]) && read(path) === undefined);
    const program = ts.createProgram(added.map((path) => root + path), {
      ...options, lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'], types: [],
    }, host);
    const problems = added.map((path) => program.getSourceFile(root + path)!)
      .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)])
      .map(({ file, messageText }) => `${file!.fileName}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
    expect(problems).toEqual([]);
  });
});

describe('the reader of recipes', () => {
  const page = [
    '## Other', '```sh', 'npm ci', '```', '## Add a thing', '1. Write `a.ts`, which is', '   short.', '', '   ```ts',
    '   if (a) {', '     b();', '   }', '   ```', '2. Add to the end of `b.ts`:', '   ```ts', '   one', '   ```',
    '10. Add to `c.ts`, after `x = [`:', '    ```ts', '      2,', '    ```', '4. Run it:', '   ```sh', '   npm test', '   ```', '## End',
  ].join('\n');

  it('finds what to write, to add and to run, and leaves other sections alone', () => {
    expect(recipesOf(page)).toEqual([{
      title: 'Add a thing', commands: ['npm test'], edits: [
        { path: 'a.ts', where: 'new', code: 'if (a) {\n  b();\n}\n', line: 9 },
        { path: 'b.ts', where: 'end', code: 'one\n', line: 15 },
        { path: 'c.ts', where: { after: 'x = [' }, code: '  2,\n', line: 19 },
      ],
    }]);
  });

  it('puts lines at the end and after the line that is named', () => {
    const before: Record<string, string> = { 'b.ts': 'zero\n', 'c.ts': 'const x = [\n  1,\n];\n' };
    expect(Object.fromEntries(follow(recipesOf(page)[0], (path) => before[path]))).toEqual({
      'a.ts': 'if (a) {\n  b();\n}\n', 'b.ts': 'zero\none\n', 'c.ts': 'const x = [\n  2,\n  1,\n];\n',
    });
  });

  it('refuses a file that is there already, one that is not, and a line that is gone', () => {
    const [recipe] = recipesOf(page);
    const all: Record<string, string> = { 'b.ts': '', 'c.ts': 'x = [\n' };
    expect(() => follow(recipe, (path) => ({ ...all, 'a.ts': '' })[path])).toThrow('CONTRIBUTING.md:9: a.ts is there already');
    expect(() => follow(recipe, (path) => ({ 'c.ts': all['c.ts'] } as typeof all)[path])).toThrow('b.ts is not there');
    expect(() => follow(recipe, (path) => ({ ...all, 'c.ts': 'y' })[path])).toThrow('c.ts has no \'x = [\'');
  });

  it('refuses code in a step that does not say what to do with it', () => {
    expect(() => recipesOf('## Add a thing\n1. Think of\n   ```ts\n   x\n   ```\n')).toThrow('no test knows what to do');
  });
});
