/**
 * The examples in docstrings and pages: finds them, makes them record what they print, and compares that with what
 * their comments promise.
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { SOURCES } from './sources.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** One ```ts block. */
export interface Example {
  readonly file: string;
  /** The line of the file, from 1, on which its code starts. */
  readonly line: number;
  readonly code: string;
}

/** A `console.log(...); // expected` of an example. */
export interface Claim {
  /** The line of the file, from 1, on which the statement ends. */
  readonly line: number;
  readonly expected: string;
}

/** In a docstring, each line starts with ` * `. */
const BLOCK = /^[ \t]*(\*[ \t]?)?```ts[ \t]*\n([\s\S]*?)^[ \t]*(?:\*[ \t]?)?```[ \t]*$/gm;

/** The ```ts blocks of a file. */
export function examplesOf(file: string, text: string): Example[] {
  return [...text.matchAll(BLOCK)].map(([whole, star, body], n, all) => ({
    file,
    line: text.slice(0, all[n].index).split('\n').length + whole.slice(0, whole.indexOf('```')).split('\n').length,
    code: star === undefined ? body : body.replace(/^[ \t]*\*[ \t]?/gm, ''),
  }));
}

/** The examples of the README, and of docstrings and pages that import the package, each with a name. */
export function publishedExamples(): (Example & { readonly name: string })[] {
  return [...SOURCES, 'README.md', 'docs/oracle.md'].filter((file) => existsSync(root + file))
    .flatMap((file) => examplesOf(file, readFileSync(root + file, 'utf8')))
    .filter(({ file, code }) => file === 'README.md' || /'neural-attention-search(\/\w+)?'/.test(code))
    .map((example) => ({ ...example, name: `${example.file}:${example.line}` }));
}

/** The name of the global function that a running example calls with what it prints, as `(claim)(...arguments)`. */
export const PRINTED = '__printedByExample';

/** The code with every claimed console.log replaced by a call that records it, on the same lines as before. */
export function instrument({ code, line }: Example): { code: string; claims: Claim[] } {
  const source = ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true);
  const claims: Claim[] = [];
  const cuts: { start: number; end: number; text: string }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && node.expression.getText(source) === 'console.log') {
      const rest = /^[^\n]*?\/\/[ \t]*([^\n]*)/.exec(code.slice(node.end));
      // Only `);` and brackets may be between the call and its comment: otherwise the comment belongs to something
      // else.
      if (rest !== null && /^[);\s}]*\/\//.test(rest[0])) {
        const text = `(globalThis as any).${PRINTED}(${claims.length})`;
        cuts.push({ start: node.expression.getStart(source), end: node.expression.end, text });
        claims.push({ line: line + source.getLineAndCharacterOfPosition(node.end).line, expected: rest[1].trim() });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const replace = (before: string, { start, end, text }: (typeof cuts)[number]): string =>
    before.slice(0, start) + text + before.slice(end);
  // Replace the last one first, so that the offsets of the earlier ones stay valid.
  return { code: cuts.reverse().reduce(replace, code), claims };
}

/** What console.log prints for its arguments, with typed arrays as arrays. */
export function printed(args: readonly unknown[]): string {
  return args.map((value) => (typeof value === 'string' ? value : format(value))).join(' ');
}

function format(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Object.is(value, -0)) return '-0';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (ArrayBuffer.isView(value) || Array.isArray(value)) {
    return `[${Array.from(value as unknown as ArrayLike<unknown>, format).join(',')}]`;
  }
  return `{${Object.entries(value).map(([key, member]) => `${key}:${format(member)}`).join(',')}}`;
}

/** Removes differences of spaces and quotes, as between `[ 1, 2 ]` and `[1,2]`, or `{ a: 'b' }` and `{"a":"b"}`. */
export function normalized(text: string): string {
  return text.replace(/'/g, '"').replace(/"(\w+)":/g, '$1:').replace(/\s*([[\]{},:])\s*/g, '$1').trim();
}
