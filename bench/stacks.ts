/**
 * `npm run stacks`: every stack against the float64 reference, as a table and as docs/stacks.md. Those of this runtime
 * first; Node then starts Deno, which runs this file too, and Chromium. Another machine's come by `--merge`.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { measureElsewhere, readStacks } from './stack-elsewhere.ts';
import { measureStacks, type StackName, type StackReport } from './stack-measure.ts';
import { type StacksDocument, stacksPage, stacksTable } from './stack-table.ts';

const NAMES: readonly StackName[] = ['reference', 'cpu', 'webasm', 'webgpu', 'webgl2'];
const MODEL = 'models/nats';
const { devDependencies: { 'gpu.js': gpuJs } } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  devDependencies: { 'gpu.js': string };
};

interface Options {
  readonly json: boolean;
  readonly stacks?: readonly StackName[];
  readonly merge?: readonly StackReport[];
  readonly out?: string | false;
}

/** Names with commas between. */
function names(text: string): StackName[] {
  const list = text.split(',').filter(Boolean);
  const unknown = list.find((name) => !(NAMES as readonly string[]).includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`There is no stack '${unknown}'.`);
  return list as StackName[];
}

/** The stacks of one more file. */
function merged(file: string, before: readonly StackReport[] = []): StackReport[] {
  try {
    return [...before, ...readStacks(file, gpuJs)];
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

const command = new Command('stacks')
  .description('Measures how far each engine is from the float64 reference: in Node, in Deno and in Chromium.')
  .option('--json', 'print one JSON document instead of a table, and write no page', false)
  .option('--stacks <names>', `only these, of this runtime: some of ${NAMES}`, names)
  .option('--merge <file>', 'add the stacks of a JSON document from elsewhere; may be repeated', merged)
  .option('--out <file>', 'the page to write (default: docs/stacks.md, with --stacks none)')
  .option('--no-out', 'write no page')
  .addHelpText('after', `
A runtime that is not there is skipped, and the table says why. Which one is taken:
  DENO              the command (default: deno)
  CHROMIUM          the program (default: where Debian has it); its GPU is SwiftShader
  VK_ICD_FILENAMES  the Vulkan driver of WebGPU in Node; Deno and Chromium do not see it`);

/** The stacks of Node or Deno, whichever this is. */
async function measureHere(stacks: readonly StackName[]): Promise<StackReport[]> {
  const { deno, node } = process.versions;
  const runtime = deno ? `Deno ${deno}` : `Node ${node}`;
  const model = existsSync(`${MODEL}/config.json`) && {
    config: JSON.parse(readFileSync(`${MODEL}/config.json`, 'utf8')) as unknown,
    weights: new Uint8Array(readFileSync(`${MODEL}/model.safetensors`)),
  };
  const onStack = (name: string): void => void process.stderr.write(`stacks: ${runtime}, ${name}...\n`);
  return measureStacks(stacks, { runtime, onStack, ...(model && { model }) });
}

/** A failure of another runtime does not take the rest along, but counts. */
function failed(message: string): void {
  process.stderr.write(`stacks: ${message}\n`);
  process.exitCode = 1;
}

async function measure({ stacks, merge = [] }: Options): Promise<StacksDocument> {
  const here = await measureHere(stacks ?? ['reference', 'cpu', 'webasm', 'webgpu']);
  const elsewhere = stacks || process.versions.deno ? [] : measureElsewhere(gpuJs, failed);
  return { gpuJs, stacks: [...here, ...elsewhere, ...merge] };
}

const options = command.parse().opts<Options>();
const found = await measure(options);
process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : stacksTable(found));
const out = options.out ?? (!options.stacks && 'docs/stacks.md');
if (!options.json && out) {
  writeFileSync(out, stacksPage(found));
  process.stderr.write(`wrote ${out}\n`);
}
