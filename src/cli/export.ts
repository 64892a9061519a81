/**
 * `natsearch export`: writes scorers in a form that other programs load.
 * @module
 */
import { type Command, Option } from 'commander';
import { isNamedError } from '../core/errors.ts';
import { encodeScorers, readAdapter } from '../model/folder/adapter.ts';
import { openFile } from '../files/files.ts';
import { announcedLength } from '../formats/safetensors.ts';
import { parseHeader } from '../formats/safetensors-header.ts';
import { forceOption, STDOUT, writeOut } from './out.ts';
import { checkAdapterFolder } from './paths.ts';

interface Flags {
  adapter: string;
  out: string;
  force: boolean;
}

/** The mark in the metadata of files that this command writes. */
const MARK = { written_by: 'natsearch export' };

/** Adds the command. */
export function registerExport(program: Command): void {
  program.command('export')
    .description('write the scorers of an adapter under the names that the authors\' PyTorch code loads')
    .requiredOption('--adapter <dir>', 'folder that natsearch finetune wrote')
    .addOption(new Option('--format <name>', 'authors: one safetensors file of float32').choices(['authors']).default('authors'))
    .requiredOption('--out <file>', 'the file to write, or - for stdout')
    .addOption(forceOption())
    .action(run);
}

async function run({ adapter, out, force }: Flags): Promise<void> {
  checkAdapterFolder(adapter);
  const { weights } = await readAdapter(adapter);
  const toStdout = await writeOut(out, encodeScorers(weights, MARK), { force, what: 'earlier export', isOurs: isExport });
  (toStdout ? process.stderr : process.stdout).write(`${weights.size} scorers in ${out === STDOUT ? 'stdout' : out}\n`);
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
