/**
 * A new folder for each test, which the test may damage.
 * @module
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { isNamedError } from '../../src/core/errors.ts';
import { openModelFolder } from '../../src/model/folder/model-folder.ts';
import { loadModel } from '../../src/load.ts';
import type { NDArray } from '../../src/core/tensor.ts';

/** The folder of the models that test/fixtures/hf/make.py made. */
export const MODELS: string = fileURLToPath(new URL('../fixtures/hf/models/', import.meta.url));
/** The file that holds all weights. */
export const SINGLE = 'model.safetensors';
/** The file that says which shard holds what. */
export const INDEX = 'model.safetensors.index.json';

let root: string;
let folder: string;

/** Makes a folder before each test of the file, and removes all of them after the last. */
export function useFolders(): void {
  beforeAll(() => void (root = mkdtempSync(join(tmpdir(), 'natsearch-field-'))));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  beforeEach(() => void (folder = mkdtempSync(join(root, 'model-'))));
}

/** The folder of this test. */
export const here = (): string => folder;
/** Copies a model into it. */
export const copy = (name: string): void => cpSync(MODELS + name, folder, { recursive: true });
/** Writes a file into it. */
export const write = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content);
/** Removes a file from it. */
export const remove = (name: string): void => rmSync(join(folder, name));
/** Its config.json, parsed. */
export const config = (): object => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object;
/** Changes its config.json. */
export const edit = (change: object): void => write('config.json', JSON.stringify({ ...config(), ...change }));

/** Weights as plain numbers, so that they can be compared whatever the kind of their arrays. */
export function numbers(weights: ReadonlyMap<string, NDArray>): object {
  return Object.fromEntries([...weights].map(([name, { data, shape }]) => [name, { data: Array.from(data), shape }]));
}

/** Checks that everything that reads the folder refuses it, with a named error of one line. */
export async function expectRefusal(...says: RegExp[]): Promise<void> {
  const error: unknown = await openModelFolder(folder).then(() => undefined, (found: unknown) => found);
  expect(isNamedError(error)).toBe(true);
  for (const each of [...says, /^[^\n]+$/]) expect((error as Error).message).toMatch(each);
  await expect(loadModel(folder)).rejects.toThrow((error as Error).message);
}
