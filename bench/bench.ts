/**
 * `npm run bench`: speed and memory as ratios within one run, medians of several. It reports; it never fails.
 * @module
 */
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { Command } from 'commander';
import { CASES, type Measurement } from './cases.ts';

const program = new Command('bench')
  .description('Measures attention, decoding, memory and training. Ratios compare within one run.')
  .option('--json', 'print one JSON document', false)
  .option('--quick', 'fewer repeats and shorter texts', false)
  .option('--only <name>', `one of ${CASES.map(({ name }) => name).join(', ')}`)
  .parse();
const { json, quick, only } = program.opts<{ json: boolean; quick: boolean; only?: string }>();
const chosen = CASES.filter(({ name }) => only === undefined || name === only);
if (chosen.length === 0) {
  process.stderr.write(`bench: there is no case '${only}': use one of ${CASES.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}

const model = existsSync('models/nats') ? 'models/nats' : undefined;
const measured: (Measurement & { case: string })[] = [];
for (const { name, run } of chosen) {
  process.stderr.write(`bench: ${name}...\n`);
  for (const one of await run({ quick, ...(model !== undefined && { model }) })) measured.push({ case: name, ...one });
}
const machine = { cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: cpus().length, node: process.version };
if (json) process.stdout.write(`${JSON.stringify({ machine, measured }, null, 2)}\n`);
else {
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n\n`);
  process.stdout.write('| case | measured | value | target | met |\n|---|---|---|---|---|\n');
  for (const { case: name, what, value, unit, target } of measured) {
    const met = target === undefined ? '' : value <= target ? 'yes' : 'NO';
    const shown = `${Number(value.toPrecision(3))}${unit === '' ? '' : ` ${unit}`}`;
    process.stdout.write(`| ${name} | ${what} | ${shown} | ${target === undefined ? '' : `<= ${target}`} | ${met} |\n`);
  }
}
