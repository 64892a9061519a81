/**
 * Runs a student's function in a thread of its own, which can be ended: it may never return.
 * @module
 */
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { answersOf, textOf } from './calls.ts';
import type { Answer } from './grade.ts';
import type { Arguments } from './step.ts';

const { file, name, calls } = workerData as { file: string; name: string; calls: readonly Arguments[] };

async function answers(): Promise<Answer[] | string> {
  let module: Record<string, unknown>;
  try {
    module = await import(pathToFileURL(file).href) as Record<string, unknown>;
  } catch (error) {
    return `the file does not load: ${textOf(error)}`;
  }
  const call = module[name];
  if (typeof call !== 'function') return `the file exports no function ${name}`;
  return answersOf(call, calls);
}

parentPort!.postMessage(await answers());
