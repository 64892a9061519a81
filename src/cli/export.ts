/**
 * `natsearch export`: writes scorers, and weights that an adapter changes, in a form that other programs load.
 * @module
 */
import { type Command, Option } from 'commander';
import { isNamedError } from '../core/errors.ts';
import { type Adapter, checkAdapter, otherWeights, readAdapter } from '../model/folder/adapter.ts';
import { encodeAdapter } from '../model/folder/adapter-weights.ts';
import { openModelFolder } from '../model/folder/model-folder.ts';
import { mergesOf } from '../model/low-rank.ts';
import { listed } from '../model/config/config-overrides.ts';
import type { NDArray } from '../core/tensor.ts';
import { readTensors } from '../files/safetensors-file.ts';
import { openFile } from '../files/files.ts';
import { weightsHash } from '../formats/weights-hash.ts';
import { announcedLength } from '../formats/safetensors.ts';
import { parseHeader } from '../formats/safetensors-header.ts';
import { forceOption, STDOUT, writeOut } from './out.ts';
import { checkAdapterFolder, checkModelFolder } from './paths.ts';
import { UsageError } from './errors.ts';

interface Flags {
  adapter: string;
  model?: string;
  out: string;
  force: boolean;
}

/** The mark in the metadata of files that this command writes. */
const MARK = { written_by: 'natsearch export' };

/** Adds the command. */
export function registerExport(program: Command): void {
  program.command('export')
    .description('write the scorers of an adapter, and what it changes, under the names that the authors\' PyTorch code loads')
    .requiredOption('--adapter <dir>', 'folder that natsearch finetune wrote')
    .option('--model <dir>', 'its base: for an adapter with changes of q and k, whose merged weights are written, too')
    .addOption(new Option('--format <name>', 'authors: one safetensors file of float32').choices(['authors']).default('authors'))
    .requiredOption('--out <file>', 'the file to write, or - for stdout')
    .addOption(forceOption())
    .action(run);
}

async function run({ adapter: folder, model, out, force }: Flags): Promise<void> {
  checkAdapterFolder(folder);
  const adapter = await readAdapter(folder);
  const { weights, lowRank, localWindow } = adapter;
  if (lowRank && model === undefined) {
    throw new UsageError(`the adapter ${folder} also changes q and k, and its scorers are of no use without that: pass --model to write the merged weights, too`);
  }
  if (!lowRank && model !== undefined) {
    throw new UsageError(`the adapter ${folder} has only scorers, for which nothing of the model is needed: leave out --model`);
  }
  if (localWindow !== undefined) process.stderr.write(`natsearch: note: its LOCAL tokens are kept for ${localWindow} more tokens, where the authors' code keeps them until the next GLOBAL: change that, too\n`);
  const merged = model === undefined ? new Map<string, NDArray>() : await mergedWeights(model, adapter);
  const bytes = encodeAdapter(new Map([...weights, ...merged]), MARK);
  const toStdout = await writeOut(out, bytes, { force, what: 'earlier export', isOurs: isExport });
  const what = `${weights.size} scorers${merged.size > 0 ? ` and ${merged.size} merged weights` : ''}`;
  (toStdout ? process.stderr : process.stdout).write(`${what} in ${out === STDOUT ? 'stdout' : out}\n`);
}

/** The weights of q and k with the adapter's changes, by Hugging Face's names. */
async function mergedWeights(model: string, adapter: Adapter): Promise<Map<string, NDArray>> {
  checkModelFolder(model);
  const { config, places } = await openModelFolder(model, { overrides: listed(adapter.configOverrides) });
  checkAdapter(adapter, config);
  const merges = mergesOf(config, adapter.lowRank!);
  const [merged, digests] = [new Map<string, NDArray>(), new Map<string, string>()];
  for await (const [name, { data, shape }] of readTensors(places, { digests })) {
    const merge = merges.get(name);
    if (merge) merged.set(name, { data: merge(data), shape });
  }
  const warning = otherWeights(adapter, await weightsHash(digests));
  if (warning !== undefined) process.stderr.write(`natsearch: warning: ${warning}\n`);
  return merged;
}

async function isExport(path: string): Promise<boolean> {
  const file = await openFile(path);
  try {
    const start = new Uint8Array(Math.min(8, file.size));
    await file.read(0, start);
    const header = new Uint8Array(announcedLength(start, file.size));
    await file.read(8, header);
    return parseHeader(new TextDecoder().decode(header)).metadata['written_by'] === MARK.written_by;
  } catch (error) {
    if (isNamedError(error)) return false; // no safetensors file
    throw error;
  } finally {
    await file.close();
  }
}
