/** The examples in docstrings and in the README have the types that they need, as seen by a user's compiler. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { publishedExamples } from './support/examples.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}test/.example-types/`;
const examples = publishedExamples()
  .map((example) => ({ ...example, path: `${folder}${example.name.replace(/[^\w]/g, '-')}.ts` }));

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}.gitignore`, '*\n');
  for (const { path, code } of examples) writeFileSync(path, code);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('every example has the types that it needs', () => {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile).config, ts.sys, root,
  ).options;
  const program = ts.createProgram(examples.map(({ path }) => path), {
    ...config, noUnusedLocals: false, isolatedDeclarations: false, declaration: false,
    paths: {
      'neural-attention-search': [`${root}src/index.ts`], 'neural-attention-search/vectors': [`${root}src/vectors.ts`],
    },
  });
  expect(examples.length).toBeGreaterThan(0);
  const problems = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line;
    const example = examples.find(({ path }) => file !== undefined && file.fileName === path);
    const where = example ? `${example.file}:${example.line + line}` : file?.fileName;
    return `${where}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
  expect(problems).toEqual([]);
}, 120_000);
