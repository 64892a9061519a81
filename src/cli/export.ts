/**
 * `natsearch export`: scorers in the form that other programs load.
 * @module
 */
import { type Command, Option } from 'commander';
import { encodeScorers, readAdapter } from '../io/adapter.ts';
import { writeFileAtomic } from '../io/files.ts';
import { checkAdapterFolder } from './paths.ts';

interface Flags {
  adapter: string;
  out: string;
}

/** Adds the command. */
export function registerExport(program: Command): void {
  program.command('export')
    .description('write the scorers of an adapter under the names that the authors\' PyTorch code loads')
    .requiredOption('--adapter <dir>', 'folder that natsearch finetune wrote')
    .addOption(new Option('--format <name>', 'authors: one safetensors file of float32').choices(['authors']).default('authors'))
    .requiredOption('--out <file>', 'the file to write')
    .action(run);
}

async function run({ adapter, out }: Flags): Promise<void> {
  checkAdapterFolder(adapter);
  const { weights } = await readAdapter(adapter);
  await writeFileAtomic(out, encodeScorers(weights));
  process.stdout.write(`${weights.size} scorers in ${out}\n`);
}
