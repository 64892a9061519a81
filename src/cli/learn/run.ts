/**
 * Calls the functions of a student's file: JavaScript, TypeScript or Python.
 * @module
 */
import { spawn } from 'node:child_process';
import { extname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { StorageError, UnsupportedError } from '../../core/errors.ts';
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

/**
 * Calls the function of a step with all its cases.
 *
 * @returns The answers, or why there are none.
 * @throws {UnsupportedError} If there is no Python.
 */
export function callAll(file: string, step: Step): Promise<readonly Answer[] | string> {
  const language = languageOf(file);
  const name = functionName(step, language);
  const calls = step.cases();
  if (language === 'py') return inPython(resolve(file), name, calls.map((given) => Object.values(given)));
  return inThread(resolve(file), name, calls);
}

const LATE = `it did not finish in ${PATIENCE / 1000} s: does a loop never end?`;

function inThread(file: string, name: string, calls: readonly object[]): Promise<readonly Answer[] | string> {
  // What the student prints goes to stderr: stdout is for grades.
  const worker = new Worker(new URL('./learn-worker.js', import.meta.url), {
    workerData: { file, name, calls }, stdout: true,
  });
  worker.stdout.pipe(process.stderr, { end: false });
  return new Promise((done) => {
    const timer = setTimeout(() => end(LATE), PATIENCE);
    const end = (said: readonly Answer[] | string): void => {
      clearTimeout(timer);
      done(said); // the first time counts
      void worker.terminate();
    };
    worker.once('message', end);
    worker.once('error', (error) => end(`it ends its thread: ${error.message}`));
    worker.once('exit', () => end('it ends its thread before it returns'));
  });
}

function inPython(file: string, name: string, calls: readonly Value[][]): Promise<readonly Answer[] | string> {
  const child = spawn('python3', ['-c', PYTHON_PROGRAM, file, name], { timeout: PATIENCE });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (stderr += text));
  child.stdin.on('error', () => undefined); // a program that ends early reads nothing
  child.stdin.end(JSON.stringify(calls)); // Infinity becomes null
  return new Promise((done, fail) => {
    child.on('error', () => fail(new UnsupportedError('python3 is not installed, which runs .py files')));
    child.on('close', (code, signal) => {
      if (signal !== null) return done(LATE);
      try {
        done(JSON.parse(stdout, (_, value: unknown) => words(value)) as readonly Answer[] | string);
      } catch {
        fail(new StorageError(`python3 ended with exit code ${code} and no answers: ${stderr.trim().split('\n').at(-1)}`));
      }
    });
  });
}

const words = (value: unknown): unknown => (value === null ? Infinity : value === 'nan' ? NaN : value === '-inf' ? -Infinity : value);
