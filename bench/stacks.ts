/**
 * `npm run stacks`: every stack that is here against the float64 reference, as a table and as docs/stacks.md.
 * Deno runs it too: `deno run -A bench/stacks.ts --stacks webgpu --json > FILE`, then `npm run stacks -- --merge FILE`.
 * @module
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { measureStacks, type StackName } from './stack-measure.ts';
import { type StacksDocument, stacksPage, stacksTable } from './stack-table.ts';

const NAMES: readonly StackName[] = ['reference', 'cpu', 'webasm', 'webgpu', 'webgl2'];
const MODEL = 'models/nats';

/** Names with commas between. */
function names(text: string): StackName[] {
  const list = text.split(',').filter(Boolean);
  const unknown = list.find((name) => !(NAMES as readonly string[]).includes(name));
  if (unknown !== undefined) throw new Error(`there is no stack '${unknown}': use some of ${NAMES}`);
  return list as StackName[];
}

const { json, stacks, merge, out } = new Command('stacks')
  .description('Measures how far each engine is from the float64 reference.')
  .option('--json', 'print one JSON document instead of a table, and write no page', false)
  .option('--stacks <names>', `some of ${NAMES}`, names, ['reference', 'cpu', 'webasm', 'webgpu'])
  .option('--merge <file>', 'add the stacks of a JSON document from elsewhere; may be repeated',
    (file: string, files: readonly string[]) => [...files, file], [] as readonly string[])
  .option('--out <file>', 'the page to write', 'docs/stacks.md')
  .option('--no-out', 'write no page')
  .parse()
  .opts<{ json: boolean; stacks: readonly StackName[]; merge: readonly string[]; out: string | false }>();

const { deno, node } = process.versions;
const runtime = deno ? `Deno ${deno}` : `Node ${node}`;
const model = existsSync(`${MODEL}/config.json`) && {
  config: JSON.parse(readFileSync(`${MODEL}/config.json`, 'utf8')) as unknown,
  weights: new Uint8Array(readFileSync(`${MODEL}/model.safetensors`)),
};
const measured = await measureStacks(stacks, {
  runtime, onStack: (name) => void process.stderr.write(`stacks: ${name}...\n`), ...(model && { model }),
});
const { devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as { devDependencies: Record<string, string> };
const found: StacksDocument = { gpuJs: devDependencies['gpu.js'] ?? 'unknown', stacks: measured };
const all: StacksDocument = {
  ...found,
  stacks: [
    ...measured,
    ...merge.flatMap((file) => (JSON.parse(readFileSync(file, 'utf8')) as StacksDocument).stacks),
  ],
};
if (json) {
  process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
} else {
  process.stdout.write(stacksTable(all));
  if (out) {
    writeFileSync(out, stacksPage(all));
    process.stderr.write(`wrote ${out}\n`);
  }
}
