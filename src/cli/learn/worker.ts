/**
 * Runs a student's function in a thread of its own, which can be ended: it may never return.
 * @module
 */
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import type { Answer } from './grade.ts';
import type { Arguments, Value } from './step.ts';

const { file, name, calls } = workerData as { file: string; name: string; calls: readonly Arguments[] };

/** Numbers, lists and objects of these; typed arrays become lists. */
function plain(value: unknown): Value {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return Number(value);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return Array.from(value as ArrayLike<unknown>, plain);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  throw new TypeError(`it returns ${value === undefined ? 'nothing' : `a ${typeof value}`}, where numbers should be`);
}

const textOf = (error: unknown): string => (error instanceof Error ? `${error.name}: ${error.message}` : String(error));

async function answers(): Promise<Answer[] | string> {
  let module: Record<string, unknown>;
  try {
    module = await import(pathToFileURL(file).href) as Record<string, unknown>;
  } catch (error) {
    return `the file does not load: ${textOf(error)}`;
  }
  const call = module[name];
  if (typeof call !== 'function') return `the file exports no function ${name}`;
  return calls.map((given) => {
    try {
      return { value: plain((call as (...all: Value[]) => unknown)(...Object.values(structuredClone(given)))) };
    } catch (error) {
      return { error: error instanceof TypeError && error.message.startsWith('it returns') ? error.message : `it throws ${textOf(error)}` };
    }
  });
}

parentPort!.postMessage(await answers());
