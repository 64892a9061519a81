/**
 * `natsearch learn`: nine exercises, from the lifetime of a token to the cache, that are graded.
 * @module
 */
import { existsSync } from 'node:fs';
import { type Command, Argument } from 'commander';
import { StorageError } from '../../core/errors.ts';
import { writeFileAtomic } from '../../files/files.ts';
import { UsageError } from '../errors.ts';
import { whole } from '../options.ts';
import { find } from '../paths.ts';
import { colours } from '../terminal.ts';
import { type Grade, grade } from './grade.ts';
import { keepProgress, PROGRESS, rightIn } from './progress.ts';
import { callAll, languageOf } from './run.ts';
import type { Step } from './step.ts';
import { STEPS } from './steps/index.ts';
import { stub, stubs, wrapped } from './stubs.ts';

interface Flags {
  file?: string;
  write?: string;
  hint?: number | true;
  json: boolean;
}

/** Adds the command. */
export function registerLearn(program: Command): void {
  program.command('learn')
    .description('write Neural Attention Search yourself, in nine exercises that are graded')
    .addArgument(new Argument('[step]', 'an exercise (default: all)').choices(STEPS.map(({ name }) => name)))
    .option('--file <file>', 'your answers: .mjs, .ts or .py')
    .option('--write <file>', 'write a file with empty functions to begin with')
    .option('--hint [n]', 'print the n-th hint of the exercise (default: 1)', whole(1))
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run(name: string | undefined, flags: Flags): Promise<void> {
  const chosen = STEPS.filter((step) => name === undefined || step.name === name);
  const { hint } = flags;
  if (hint !== undefined) return printHint(name === undefined ? undefined : chosen[0], hint === true ? 1 : hint);
  if (flags.write !== undefined) return writeStubs(flags.write, chosen);
  if (flags.file !== undefined) return gradeFile(flags.file, chosen, flags.json);
  if (flags.json) {
    const steps = chosen.map(({ cases: _cases, solve: _solve, mistakes: _mistakes, ...shown }) => shown);
    process.stdout.write(`${JSON.stringify(steps)}\n`);
    return;
  }
  process.stdout.write(name === undefined ? listText(await rightIn('.')) : stepText(chosen[0]));
}

function printHint(step: Step | undefined, n: number): void {
  if (!step) throw new UsageError('--hint needs an exercise: natsearch learn lifetime --hint');
  const { hints } = step;
  if (n > hints.length) throw new UsageError(`${step.name} has ${hints.length} hints: --hint takes 1 to ${hints.length}`);
  const more = n < hints.length ? ` (--hint ${n + 1} for the next)` : '';
  process.stdout.write(`${hints[n - 1]}${more}\n`);
}

async function writeStubs(file: string, steps: readonly Step[]): Promise<void> {
  languageOf(file);
  if (existsSync(file)) throw new StorageError(`${file} exists: choose another name, so that your answers are not lost`);
  await writeFileAtomic(file, new TextEncoder().encode(stubs(steps, languageOf(file))));
  process.stdout.write(`${file} has ${steps.length} empty functions. Fill them in, then: natsearch learn --file ${file}\n`);
}

async function gradeFile(file: string, steps: readonly Step[], json: boolean): Promise<void> {
  find(file, 'file', 'write one with natsearch learn --write answers.mjs');
  const { green, red, dim } = colours(process.stdout);
  const grades: (Grade & { step: string })[] = [];
  for (const step of steps) {
    const said = await callAll(file, step);
    const result = typeof said === 'string'
      ? { right: false, passed: 0, cases: step.cases().length, text: `${said[0].toUpperCase()}${said.slice(1)}.` } : grade(step, said);
    grades.push({ step: step.name, ...result });
    if (json) continue;
    const counts = dim(`${result.passed} of ${result.cases} cases`);
    process.stdout.write(`${result.right ? green('right') : red('wrong')}  ${step.name.padEnd(19)} ${counts}\n`);
    if (!result.right) process.stdout.write(`${wrapped(result.text, '       ')}\n`);
  }
  const wrong = grades.filter(({ right }) => !right);
  const right = await keepProgress(file, grades);
  if (json) process.stdout.write(`${JSON.stringify(grades)}\n`);
  else {
    if (wrong.length > 0) process.stdout.write(`Stuck? natsearch learn ${wrong[0].step} --hint\n`);
    process.stdout.write(`${progressText(right)}\n`);
  }
  if (wrong.length > 0) process.exitCode = 1;
}

/** How many are right, and what comes next. */
function progressText(right: ReadonlySet<string>): string {
  const next = STEPS.find(({ name }) => !right.has(name));
  return next ? `${right.size} of ${STEPS.length} are right (kept in ${PROGRESS}). Next: ${next.name}` : 'All nine are right.';
}

function listText(right: ReadonlySet<string>): string {
  const { green } = colours(process.stdout);
  const lines = STEPS.map(({ name, title }, n) =>
    `  ${n + 1}  ${right.has(name) ? green('right') : '     '}  ${name.padEnd(19)} ${title}`);
  const progress = right.size > 0 ? `${progressText(right)}\n\n` : '';
  return `Write Neural Attention Search yourself:\n\n${lines.join('\n')}\n\n${progress}` +
    'natsearch learn lifetime            the exercise\n' +
    'natsearch learn --write mine.mjs    a file to begin with (.mjs, .ts or .py)\n' +
    'natsearch learn --file mine.mjs     graded\n';
}

function stepText(step: Step): string {
  return `${step.title}\n\n${wrapped(step.task, '')}\n\nTaught in docs/chapters/${step.chapter}.md\n\n` +
    `${stub(step, 'ts')}\n${stub(step, 'py')}\n` +
    `natsearch learn ${step.name} --hint            ${step.hints.length} hints\n` +
    `natsearch learn ${step.name} --file mine.mjs   graded (.mjs, .ts or .py)\n`;
}
