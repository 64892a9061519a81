/**
 * `natsearch learn`: nine exercises, from the lifetime of a token to the cache, that are graded.
 * @module
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { FileFormatError, StorageError } from '../../core/errors.ts';
import { editDistance } from '../../core/spelling.ts';
import { writeFileAtomic } from '../../files/files.ts';
import { UsageError } from '../errors.ts';
import { whole } from '../options.ts';
import { shipped } from '../paths.ts';
import { colours } from '../terminal.ts';
import { gradeFile } from './grade-file.ts';
import { rightIn } from './progress.ts';
import { languageOf } from './run.ts';
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
    .argument('[step]', `an exercise, by name or number (default: all): ${STEPS.map(({ name }) => name).join(', ')}`)
    .option('--file <file>', 'your answers: .mjs, .ts or .py')
    .option('--write <file>', 'write a file with empty functions to begin with')
    .option('--hint [n]', 'print the n-th hint of the exercise (default: 1)', whole(1))
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

/** The exercise of a name as on the command line, in JavaScript or in Python, or of a number. */
function stepNamed(name: string): Step {
  const plain = (text: string): string => text.toLowerCase().replace(/[-_]/g, '');
  const found = STEPS.find((step, n) => plain(step.name) === plain(name) || String(n + 1) === name);
  if (found) return found;
  const far = (step: Step): number => editDistance(plain(step.name), plain(name));
  const near = STEPS.reduce((best, step) => (far(step) < far(best) ? step : best));
  const meant = far(near) <= 0.4 * near.name.length ? `did you mean ${near.name}?` : `they are ${STEPS.map((step) => step.name).join(', ')}`;
  throw new UsageError(`there is no exercise ${name}: ${meant}`);
}

async function run(name: string | undefined, flags: Flags): Promise<void> {
  const chosen = name === undefined ? STEPS : [stepNamed(name)];
  const { hint } = flags;
  const [one, other] = (['hint', 'write', 'file'] as const).filter((each) => flags[each] !== undefined);
  if (other) throw new UsageError(`--${one} and --${other} are two things to do: pass one of them`);
  if (flags.json && flags.write !== undefined) throw new UsageError('--write writes no JSON: leave --json out');
  const asked = name === undefined ? undefined : chosen[0];
  if (hint !== undefined) return printHint(asked, hint === true ? 1 : hint, flags.json);
  if (flags.write !== undefined) return writeStubs(flags.write, chosen);
  if (flags.file !== undefined) return gradeFile(flags.file, chosen, flags.json);
  if (flags.json) {
    const steps = chosen.map(({ cases: _cases, solve: _solve, mistakes: _mistakes, ...shown }) => shown);
    process.stdout.write(`${JSON.stringify(steps)}\n`);
    return;
  }
  process.stdout.write(name === undefined ? listText(await progress()) : stepText(chosen[0]));
}

/** The steps that are right here; a record that cannot be read is none. */
async function progress(): Promise<Set<string>> {
  try {
    return await rightIn('.');
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    process.stderr.write(`natsearch: ${error.message}\n`);
    return new Set();
  }
}

function printHint(step: Step | undefined, n: number, json: boolean): void {
  if (!step) throw new UsageError('--hint needs an exercise: natsearch learn lifetime --hint');
  const { hints } = step;
  if (n > hints.length) throw new UsageError(`${step.name} has ${hints.length} hints: --hint takes 1 to ${hints.length}`);
  if (json) return void process.stdout.write(`${JSON.stringify({ step: step.name, n, of: hints.length, hint: hints[n - 1] })}\n`);
  const more = n < hints.length ? ` (--hint ${n + 1} for the next)` : '';
  process.stdout.write(`${hints[n - 1]}${more}\n`);
}

async function writeStubs(file: string, steps: readonly Step[]): Promise<void> {
  languageOf(file);
  if (existsSync(file)) throw new StorageError(`${file} exists: choose another name, so that your answers are not lost`);
  await writeFileAtomic(file, stubs(steps, languageOf(file), chapterPath));
  const which = steps.length === 1 ? ` ${steps[0].name}` : '';
  const has = steps.length === 1 ? 'an empty function. Fill it in' : `${steps.length} empty functions. Fill them in`;
  process.stdout.write(`${file} has ${has}, then: natsearch learn${which} --file ${file}\n`);
}

/** Where a chapter lies. */
const chapterPath = (step: Step): string => shipped(join('docs', 'chapters', `${step.chapter}.md`));

function listText(right: ReadonlySet<string>): string {
  const { green } = colours(process.stdout);
  const lines = STEPS.map(({ name, title }, n) =>
    `  ${n + 1}  ${right.has(name) ? green('right') : '     '}  ${name.padEnd(19)} ${title}`);
  const next = STEPS.find(({ name }) => !right.has(name));
  const done = next ? `${right.size} of ${STEPS.length} right in your files here. Next: ${next.name}` : 'All nine are right.';
  const progress = right.size > 0 ? `${done}\n\n` : '';
  return `Write Neural Attention Search yourself:\n\n${lines.join('\n')}\n\n${progress}` +
    'natsearch learn lifetime            the exercise\n' +
    'natsearch learn --write mine.mjs    a file to begin with (.mjs, .ts or .py)\n' +
    'natsearch learn --file mine.mjs     graded\n';
}

function stepText(step: Step): string {
  return `${step.title}\n\n${wrapped(step.task, '')}\n\nTaught in ${chapterPath(step)}\n\n` +
    `${stub(step, 'ts')}\n${stub(step, 'py')}\n` +
    `natsearch learn ${step.name} --hint            ${step.hints.length} hints\n` +
    `natsearch learn ${step.name} --file mine.mjs   graded (.mjs, .ts or .py)\n`;
}
