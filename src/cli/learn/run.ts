/**
 * Calls the functions of a student's file: JavaScript, TypeScript or Python.
 * @module
 */
import { spawn } from 'node:child_process';
import { extname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { UnsupportedError } from '../../core/errors.ts';
import type { Answer } from './grade.ts';
import { PYTHON_PROGRAM } from './python.ts';
import type { Step, Value } from './step.ts';
import { functionName, type Language } from './stubs.ts';

/** How many ms a function has for all cases, which need a few. */
const PATIENCE = 10_000;

/** The languages by the end of the file's name. */
export const LANGUAGES: Readonly<Record<string, Language>> = {
  '.js': 'js', '.mjs': 'js', '.ts': 'ts', '.mts': 'ts', '.py': 'py',
};

/** The language of a file. @throws {UnsupportedError} If it is none of those. */
export function languageOf(file: string): Language {
  const language = LANGUAGES[extname(file)];
  if (!language) throw new UnsupportedError(`${file} must end in ${Object.keys(LANGUAGES).join(', ')}`);
  return language;
}

/** What running a function gave: answers, and what the file printed when it was loaded; or why there are none. */
export type Said =
  | { readonly answers: readonly Answer[]; readonly loaded: string }
  | { readonly failed: string; readonly printed: string };

/**
 * Calls the function of a step with all its cases.
 *
 * @throws {UnsupportedError} If there is no Python.
 */
export function callAll(file: string, step: Step): Promise<Said> {
  const language = languageOf(file);
  const name = functionName(step, language);
  const calls = step.cases();
  if (language === 'py') return inPython(resolve(file), name, calls.map((given) => Object.values(given)));
  return inThread(resolve(file), name, calls);
}

const LATE = `it did not finish in ${PATIENCE / 1000} s: does a loop never end?`;

function inThread(file: string, name: string, calls: readonly object[]): Promise<Said> {
  const worker = new Worker(new URL('./learn-worker.js', import.meta.url), { workerData: { file, name, calls } });
  return new Promise((done) => {
    let printed = '';
    const end = (said: Said): void => {
      clearTimeout(timer);
      done(said); // the first time counts
      void worker.terminate();
    };
    const fail = (failed: string): void => end({ failed, printed });
    const timer = setTimeout(() => fail(LATE), PATIENCE);
    worker.on('message', (said: Said | { readonly heard: string }) => {
      if ('heard' in said) printed = said.heard;
      else end(said);
    });
    worker.once('error', (error) => fail(`it ends its thread: ${error.message}`));
    worker.once('exit', () => fail('it ends its thread before it returns'));
  });
}

function inPython(file: string, name: string, calls: readonly Value[][]): Promise<Said> {
  const child = spawn('python3', ['-c', PYTHON_PROGRAM, file, name, String(PATIENCE / 1000)]);
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (stderr += text));
  child.stdin.on('error', () => undefined); // a program that ends early reads nothing
  child.stdin.write(`${JSON.stringify(calls)}\n`); // Infinity becomes null
  return new Promise((done, fail) => {
    let late = false;
    const timers = [
      setTimeout(() => {
        late = true;
        child.stdin.end(); // it says what was printed, and ends
      }, PATIENCE),
      setTimeout(kill, PATIENCE + 1000),
    ];
    child.on('error', () => {
      timers.forEach(clearTimeout);
      fail(new UnsupportedError('python3 is not installed, which runs .py files'));
    });
    child.on('close', (code, signal) => {
      timers.forEach(clearTimeout);
      process.off('exit', kill);
      try {
        const said = JSON.parse(stdout, (_, value: unknown) => words(value)) as Said;
        return done('failed' in said && said.failed === 'late' ? { ...said, failed: LATE } : said);
      } catch {
        if (late) return done({ failed: LATE, printed: stderr });
        const how = signal ?? `exit code ${code}`;
        done({ failed: `it ends Python (${how}) before it returns`, printed: stderr });
      }
    });
  });
}

const words = (value: unknown): unknown => (value === null ? Infinity : value === 'nan' ? NaN : value === '-inf' ? -Infinity : value);
