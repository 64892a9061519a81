/**
 * A folder with two tiny models and some texts, in which tests of the command run it as users do.
 * @module
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeModelFolder } from '../../src/model/folder/model-folder.ts';
import type { ModelConfig } from '../../src/model/config/config.ts';
import { initialWeights } from '../../src/model/init.ts';
import { type Ended, MAIN } from './run-command.ts';

export const TEXT = 'It was a damp, drizzly November in my soul; and I quietly took to the ship.\n';
export const ESCAPE = '\u001b';

let folder = '';
/** The path of something in the folder. */
export const path = (...names: string[]): string => join(folder, ...names);

/** Starts natsearch in the folder. */
export function start(
  args: readonly string[], env: NodeJS.ProcessEnv = {},
): { child: ChildProcess; result: Promise<Ended> } {
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env: { ...process.env, ...env } });
  const result = new Promise<Ended>((resolve, reject) => {
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, result };
}

/** Runs natsearch in the folder. */
export const natsearch = (...args: string[]): Promise<Ended> => start(args).result;

/** The config of the model with `policy`. */
export function config(policy: string): ModelConfig {
  return {
    vocabSize: 258, hiddenSize: 8, intermediateSize: 12, layers: 2, heads: 2, kvHeads: 1, headDim: 4,
    maxPositions: 32, rmsNormEpsilon: 1e-5, ropeTheta: 10000, tieWordEmbeddings: true, bosTokenId: 256, eosTokenId: 257,
    nats: { policy, window: policy === 'nats' ? 3 : 0, chunk: 1, pooling: 'mean', lambda: 0.1, temperature: 1 },
  };
}

/** A tiny untrained model with varied scorers, so that every type occurs. */
async function writeModel(name: string, policy: string): Promise<void> {
  const weights = initialWeights(config(policy), 1);
  for (const [weight, { data }] of weights) {
    if (weight.endsWith('proj_layer.weight')) data.forEach((_, n) => (data[n] = Math.sin(12.9898 * (n + 1))));
  }
  await mkdir(path(name), { recursive: true });
  await writeModelFolder(path(name), config(policy), weights);
}

/** Makes the folder with two models and some texts. */
export async function makeFolder(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'natsearch-cli-'));
  await mkdir(path('models'));
  await writeModel('models/nats', 'nats');
  await writeModel('models/full', 'full');
  await mkdir(path('books/more'), { recursive: true });
  await writeFile(path('books/b.txt'), TEXT);
  await writeFile(path('books/a.txt'), TEXT);
  await writeFile(path('books/more/c.txt'), TEXT);
  await writeFile(path('books/notes.html'), 'neither .txt nor .md');
  await writeFile(path('long.txt'), TEXT.repeat(5000));
}

/** Deletes the folder. */
export async function deleteFolder(): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
