/**
 * Grades a file of answers, says what was graded, and keeps which exercises are right.
 * @module
 */
import { basename, dirname, join } from 'node:path';
import { FileFormatError } from '../../core/errors.ts';
import { find } from '../paths.ts';
import { colours } from '../terminal.ts';
import { type Grade, grade } from './grade.ts';
import { keepProgress, PROGRESS } from './progress.ts';
import { callAll, languageOf, type Said } from './run.ts';
import type { Step } from './step.ts';
import { STEPS } from './steps/index.ts';
import { functionName, wrapped } from './stubs.ts';

interface Graded extends Grade {
  readonly step: string;
  /** Whether there is something to grade: not if the function is missing, or as it was written by --write. */
  readonly written: boolean;
}

/** Grades the answers of a file to some exercises. Exit code 1 if one of them is not right. */
export async function gradeFile(file: string, steps: readonly Step[], json: boolean): Promise<void> {
  find(file, 'file', 'write one with natsearch learn --write answers.mjs');
  const grades: Graded[] = [];
  let [loaded, told] = ['', ''];
  for (const step of steps) {
    const said = await callAll(file, step);
    if ('loaded' in said && said.loaded !== loaded) process.stderr.write(loaded = said.loaded);
    const graded = gradeOf(file, step, said);
    grades.push(graded);
    if (json || (!graded.written && steps.length > 1)) continue;
    printGrade(graded, graded.text === told); // a file that does not load says so once
    told = graded.text;
  }
  const missing = grades.filter(({ written }) => !written);
  const wrong = grades.filter(({ right, written }) => written && !right);
  if (json) process.stdout.write(`${JSON.stringify(grades)}\n`);
  else {
    if (missing.length > 0 && steps.length > 1) {
      process.stdout.write(`${wrapped(`not yet: ${missing.map(({ step }) => step).join(', ')}`, '')}\n`);
    }
    if (wrong.length > 0) process.stdout.write(`Stuck? natsearch learn ${wrong[0].step} --hint\n`);
  }
  if (wrong.length + missing.length > 0) process.exitCode = 1;
  try {
    const { own, all } = await keepProgress(file, grades);
    if (!json) process.stdout.write(`${progressText(file, own, all)}\n`);
  } catch (error) {
    if (!(error instanceof FileFormatError)) throw error;
    process.stderr.write(`natsearch: ${error.message}\n`); // what was graded holds
  }
}

function gradeOf(file: string, step: Step, said: Said): Graded {
  const language = languageOf(file);
  const name = functionName(step, language);
  if ('failed' in said) {
    const { failed, printed } = said;
    return {
      step: step.name, right: false, passed: 0, cases: step.cases().length, text: `${failed[0].toUpperCase()}${failed.slice(1)}${/[.?!]$/.test(failed) ? '' : '.'}`,
      ...(printed ? { printed } : {}), written: !/^the file (exports|has) no function/.test(failed),
    };
  }
  const { answers } = said;
  const empty = answers.every((answer) => 'error' in answer && new RegExp(`Error: write ${name}\\b`).test(answer.error));
  return { step: step.name, ...grade(step, answers, language), written: !empty };
}

function printGrade({ step, right, passed, cases, text, printed, written }: Graded, again: boolean): void {
  const { green, red, dim } = colours(process.stdout);
  const word = right ? green('right') : red(written ? 'wrong' : 'empty');
  process.stdout.write(`${word}  ${step.padEnd(19)} ${dim(`${passed} of ${cases} cases`)}\n`);
  if (right || again) return;
  process.stdout.write(`${wrapped(text, '       ')}\n`);
  if (!printed) return;
  const lines = printed.trimEnd().split('\n');
  process.stdout.write(`       It printed:\n${lines.map((line) => `         ${line}\n`).join('')}`);
}

/** How many are right, and what comes next. */
function progressText(file: string, own: ReadonlySet<string>, all: ReadonlySet<string>): string {
  const next = STEPS.find(({ name }) => !all.has(name));
  if (own.size === STEPS.length) return 'All nine are right.';
  const others = all.size > own.size ? `, ${all.size} of ${STEPS.length} in all your files` : '';
  const kept = join(dirname(file), PROGRESS);
  return `${own.size} of ${STEPS.length} right in ${basename(file)}${others} (kept in ${kept}).${next ? ` Next: ${next.name}` : ''}`;
}
