/**
 * The recipes of CONTRIBUTING.md as something to follow: which file to write, where to add which lines, what to run.
 * @module
 */

/** A change to one file. */
export interface Edit {
  readonly path: string;
  /** `new`: the file is `code`. `end`: `code` is added to it. Else after the first line that contains `after`. */
  readonly where: 'new' | 'end' | { readonly after: string };
  readonly code: string;
  /** Line of the page, for messages. */
  readonly line: number;
}

/** One section with numbered steps. */
export interface Recipe {
  readonly title: string;
  readonly edits: readonly Edit[];
  /** What to run once all edits are made. */
  readonly commands: readonly string[];
}

/** How a step with code begins. */
const STEPS: readonly (readonly [RegExp, (found: RegExpExecArray) => Edit['where']])[] = [
  [/^\d+\. Write `([^`]+)`/, () => 'new'],
  [/^\d+\. Add to the end of `([^`]+)`/, () => 'end'],
  [/^\d+\. Add to `([^`]+)`, after `([^`]+)`/, ([, , after]) => ({ after })],
];

/**
 * The sections of a page that are called 'Add ...'.
 *
 * @throws {Error} If a block of code stands in a step that does not say what to do with it.
 */
export function recipesOf(page: string): Recipe[] {
  const recipes: { title: string; edits: Edit[]; commands: string[] }[] = [];
  let [recipe, step, indent]: [(typeof recipes)[number] | undefined, string, string] = [undefined, '', ''];
  const lines = page.split('\n');
  for (let n = 0; n < lines.length; n++) {
    const text = lines[n];
    if (text.startsWith('## ')) {
      recipe = text.startsWith('## Add ') ? { title: text.slice(3), edits: [], commands: [] } : undefined;
      if (recipe) recipes.push(recipe);
    } else if (/^\d+\. /.test(text)) {
      step = text;
      indent = ' '.repeat(text.indexOf(' ') + 1);
    } else if (step !== '' && text.startsWith(indent) && /^ +[^ `]/.test(text)) {
      step += ` ${text.trim()}`;
    }
    const fence = /^ *```(\w*)/.exec(text);
    if (!fence) continue;
    const end = lines.findIndex((line, at) => at > n && /^ *```$/.test(line));
    const code = lines.slice(n + 1, end)
      .map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line)).join('\n') + '\n';
    if (recipe && fence[1] === 'sh') recipe.commands.push(...code.trim().split('\n'));
    else if (recipe) recipe.edits.push(editOf(step, code, n + 1));
    n = end;
  }
  return recipes;
}

function editOf(step: string, code: string, line: number): Edit {
  for (const [begins, where] of STEPS) {
    const found = begins.exec(step);
    if (found) return { path: found[1], where: where(found), code, line };
  }
  throw new Error(`CONTRIBUTING.md:${line}: no test knows what to do with this code, as its step begins with '${step.slice(0, 60)}'`);
}

/**
 * The files after a recipe was followed, by path.
 *
 * @param read The text of a file before, undefined if there is none.
 */
export function follow({ edits }: Recipe, read: (path: string) => string | undefined): Map<string, string> {
  const files = new Map<string, string>();
  for (const { path, where, code, line } of edits) {
    const fail = (what: string): never => {
      throw new Error(`CONTRIBUTING.md:${line}: ${path} ${what}`);
    };
    const old = files.get(path) ?? read(path);
    if (where === 'new') {
      files.set(path, old === undefined ? code : fail('is there already'));
      continue;
    }
    if (old === undefined) return fail('is not there');
    if (where === 'end') {
      files.set(path, old + code);
      continue;
    }
    const at = old.indexOf(where.after);
    if (at < 0) return fail(`has no '${where.after}'`);
    const next = old.indexOf('\n', at) + 1;
    files.set(path, old.slice(0, next) + code + old.slice(next));
  }
  return files;
}
