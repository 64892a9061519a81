/**
 * Runs a student's function in a thread of its own, which can be ended: it may never return.
 * @module
 */
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { answersOf, textOf } from './calls.ts';
import type { Answer } from './grade.ts';
import type { Arguments } from './step.ts';

const { file, name, calls } = workerData as { file: string; name: string; calls: readonly Arguments[] };

/** The address of the file, or where this Node reads no TypeScript, of what is left of it without types. */
async function address(): Promise<string> {
  const { features } = process as { features: { typescript?: unknown } };
  if (!/\.m?ts$/.test(file) || features.typescript) return pathToFileURL(file).href;
  const { transform } = await import('sucrase');
  const { code } = transform(await readFile(file, 'utf8'), { transforms: ['typescript'], disableESTransforms: true });
  return `data:text/javascript;base64,${Buffer.from(code).toString('base64')}`;
}

async function answers(): Promise<Answer[] | string> {
  let module: Record<string, unknown>;
  try {
    module = await import(await address()) as Record<string, unknown>;
  } catch (error) {
    return `the file does not load: ${textOf(error)}`;
  }
  const call = module[name];
  if (typeof call !== 'function') return `the file exports no function ${name}`;
  return answersOf(call, calls);
}

parentPort!.postMessage(await answers());
