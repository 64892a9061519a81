/**
 * The script of the page in which Chromium measures its stacks: bench/stacks-browser.mjs calls `measure` there.
 * @module
 */
import type { ModelBytes } from '../src/load.ts';
import { measureStacks, type StackName, type StackReport } from './stack-measure.ts';

async function fetched(path: string): Promise<Response> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response;
}

/** Fetches the files of a model. */
async function fetchModel(folder: string): Promise<ModelBytes> {
  const [config, weights] = await Promise.all([
    fetched(`${folder}/config.json`).then((response) => response.json() as Promise<unknown>),
    fetched(`${folder}/model.safetensors`).then((response) => response.arrayBuffer()),
  ]);
  return { config, weights: new Uint8Array(weights) };
}

/** Measures the stacks and prints progress to the console. */
async function measure(stacks: readonly StackName[], runtime: string, folder: string | null): Promise<StackReport[]> {
  return measureStacks(stacks, {
    runtime, onStack: (name) => console.info(name), ...(folder !== null && { model: await fetchModel(folder) }),
  });
}

Object.assign(globalThis, { measure });
