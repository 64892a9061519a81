/**
 * The empty functions that a student begins with, in JavaScript, TypeScript or Python.
 * @module
 */
import type { Step } from './step.ts';

export type Language = 'js' | 'ts' | 'py';

/** The name of a step's function in a language. */
export const functionName = (step: Pick<Step, 'name'>, language: Language): string =>
  (language === 'py' ? step.name.replaceAll('-', '_') : step.name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase()));

/** The name of a parameter in a language. */
export const parameterName = (name: string, language: Language): string =>
  // lambda is a word of Python's own.
  (language === 'py' ? name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`).replace(/^lambda$/, 'lambda_') : name);

/** Text in lines of at most 110 characters, each after a prefix. */
export function wrapped(text: string, prefix: string): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && prefix.length + last.length + word.length < 110) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.map((line) => `${prefix}${line}`).join('\n');
}

/** The empty function of a step. */
export function stub(step: Pick<Step, 'name' | 'parameters' | 'returns'>, language: Language): string {
  const { parameters, returns } = step;
  const name = functionName(step, language);
  if (language === 'py') {
    const names = Object.keys(parameters).map((each) => parameterName(each, language));
    const fields = returns.startsWith('{') ? [...returns.matchAll(/(\w+):/g)].map(([, field]) => field) : [];
    const pairs = fields.map((field) => `'${field}': ${parameterName(field, language)}`).join(', ');
    const result = fields.length > 0 ? `    # return {${pairs}}\n` : '';
    return `def ${name}(${names.join(', ')}):\n${result}    raise NotImplementedError('write ${name}')\n`;
  }
  const typed = Object.entries(parameters).map(([each, type]) => (language === 'ts' ? `${each}: ${type}` : each));
  const result = language === 'ts' ? `: ${returns}` : '';
  return `export function ${name}(${typed.join(', ')})${result} {\n  throw new Error('write ${name}');\n}\n`;
}

/** A file of empty functions, each below its exercise. */
export function stubs(
  steps: readonly Step[], language: Language, where = (step: Step): string => `docs/chapters/${step.chapter}.md`,
): string {
  const python = language === 'py';
  const [mark, gap] = python ? ['# ', '\n\n'] : ['// ', '\n'];
  const head = `${mark}Answers to natsearch learn, in numbers of float64.\n`;
  return `${head}${python ? 'import numpy as np\n' : ''}${steps.map((step) => {
    const { title, task } = step;
    return `${gap}${wrapped(`${title} (${where(step)}). ${python ? task.replaceAll('Infinity', 'np.inf') : task}`, mark)}\n${stub(step, language)}`;
  }).join('')}`;
}
