/**
 * Runs a student's function in a thread of its own, which can be ended: it may never return.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { answersOf, textOf } from './calls.ts';
import type { Said } from './run.ts';
import type { Arguments } from './step.ts';

const { file, name, calls } = workerData as { file: string; name: string; calls: readonly Arguments[] };
const typed = /\.m?ts$/.test(file);

/** As many characters of what is printed are kept, for each call. */
const MOST = 4000;
let printed = '';
const heard = (): string => {
  const text = printed;
  printed = '';
  parentPort!.postMessage({ heard: '' });
  return text;
};
for (const stream of [process.stdout, process.stderr]) {
  stream.write = (piece: unknown): boolean => {
    if (printed.length < MOST) {
      printed = `${printed}${typeof piece === 'string' ? piece : Buffer.from(piece as Uint8Array).toString()}`.slice(0, MOST);
      parentPort!.postMessage({ heard: printed }); // for a loop that never ends
    }
    return true;
  };
}

/** What is left of a TypeScript file without its types, with the same lines. */
async function erased(): Promise<string> {
  const { transform } = await import('sucrase');
  return transform(await readFile(file, 'utf8'), { transforms: ['typescript'], disableESTransforms: true }).code;
}

/** The address of the file, or where this Node reads no TypeScript, of what is left of it without types. */
async function address(): Promise<string> {
  const { features } = process as { features: { typescript?: unknown } };
  if (!typed || features.typescript) return pathToFileURL(file).href;
  return `data:text/javascript;base64,${Buffer.from(await erased()).toString('base64')}`;
}

/** The line of a syntax error, which import() does not tell. */
async function syntaxLine(): Promise<string | undefined> {
  let code: string;
  try {
    code = typed ? await erased() : await readFile(file, 'utf8');
  } catch (error) {
    return /\((\d+):\d+\)/.exec(textOf(error))?.[1];
  }
  const checked = spawnSync(process.execPath, ['--check', '--input-type=module', '-'], { input: code, encoding: 'utf8' });
  return /^\S*:(\d+)$/m.exec(checked.stderr)?.[1];
}

/** What an error says, and the line of the file that threw it. */
function said(error: unknown, from: string): string {
  const stack = error instanceof Error ? error.stack ?? '' : '';
  const frame = stack.split('\n').find((line) => line.includes(from));
  const line = frame && /:(\d+):\d+\)?$/.exec(frame)?.[1];
  return `${textOf(error)}${line ? ` (at ${basename(file)}:${line})` : ''}`;
}

async function answers(): Promise<Said> {
  let module: Record<string, unknown>;
  let from = file;
  try {
    from = await address();
    module = await import(from) as Record<string, unknown>;
  } catch (error) {
    const line = error instanceof SyntaxError && !textOf(error).includes('requested module') ? await syntaxLine() : undefined;
    const text = line ? `${textOf(error)} (at ${basename(file)}:${line})` : said(error, from);
    return { failed: `the file does not load: ${text}`, printed: heard() };
  }
  const call = module[name];
  const loaded = heard();
  if (typeof call !== 'function') return { failed: `the file exports no function ${name}`, printed: '' };
  return { answers: answersOf(call, calls, { said: (error) => said(error, from), heard }), loaded };
}

parentPort!.postMessage(await answers());
