/**
 * The sources that the rules of the architecture cover: their paths from the root, and their text.
 * @module
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TOPS } from './import-graph.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export const SOURCES: readonly string[] = TOPS.filter((folder) => existsSync(root + folder)).flatMap((folder) =>
  readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
    .map((path) => `${folder}/${path.replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.ts') && !path.startsWith('wasm/kernels/'))); // those are AssemblyScript

/** The text of a file of the repository. */
export const textOf = (path: string): string => readFileSync(root + path, 'utf8');
