/**
 * `npm run stacks`: compares every stack with the float64 reference, and writes a table and docs/stacks.md. The stacks
 * of this runtime come first. Node then starts Deno, which runs this file too, and Chromium. `--merge` adds the stacks
 * of another machine.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { measureElsewhere, readStacks } from './stack-elsewhere.ts';
import { measureStacks, type StackName, type StackReport } from './stack-measure.ts';
import { type StacksDocument, stacksPage, stacksTable } from './stack-table.ts';

const NAMES: readonly StackName[] = ['reference', 'cpu', 'webasm', 'webgpu', 'wgsl', 'wgsl-f16', 'webgl2'];
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

/** Parses names separated by commas. */
function names(text: string): StackName[] {
  const list = text.split(',').filter(Boolean);
  const unknown = list.find((name) => !(NAMES as readonly string[]).includes(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`There is no stack '${unknown}'.`);
  return list as StackName[];
}

/** The stacks so far and those of one more file. */
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
  .option('--stacks <names>', `measure only these stacks, in this runtime only: some of ${NAMES}`, names)
  .option('--merge <file>', 'add the stacks in a JSON document from another machine; may be repeated', merged)
  .option('--out <file>', 'the page to write (default: docs/stacks.md, or none with --stacks)')
  .option('--no-out', 'write no page')
  .addHelpText('after', `
A runtime that is not installed is skipped, and the table says so. Environment variables:
  DENO              the command that starts Deno (default: deno)
  CHROMIUM          the path of Chromium (default: that of Debian); its GPU is SwiftShader
  VK_ICD_FILENAMES  the Vulkan driver for WebGPU in Node; not passed on to Deno and Chromium`);

/** Measures the stacks of the current runtime, Node or Deno. */
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

/** Reports that another runtime failed. The rest is still measured, but the exit code is 1. */
function failed(message: string): void {
  process.stderr.write(`stacks: ${message}\n`);
  process.exitCode = 1;
}

async function measure({ stacks, merge = [] }: Options): Promise<StacksDocument> {
  const here = await measureHere(stacks ?? ['reference', 'cpu', 'webasm', 'webgpu', 'wgsl']);
  const elsewhere = stacks || process.versions.deno ? [] : measureElsewhere(gpuJs, failed);
  const measured = [...here, ...elsewhere];
  // A document of another machine has the reference too, which is the same on every machine.
  const known = new Set(measured.map(({ stack, runtime, engine }) => `${stack}, ${runtime}, ${engine}`));
  const others = merge.filter(({ stack, runtime, engine }) => !known.has(`${stack}, ${runtime}, ${engine}`));
  return { gpuJs, stacks: [...measured, ...others] };
}

const options = command.parse().opts<Options>();
const found = await measure(options);
process.stdout.write(options.json ? `${JSON.stringify(found, null, 2)}\n` : stacksTable(found));
const out = options.out ?? (!options.stacks && 'docs/stacks.md');
if (!options.json && out) {
  writeFileSync(out, stacksPage(found));
  process.stderr.write(`wrote ${out}\n`);
}
