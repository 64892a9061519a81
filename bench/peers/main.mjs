#!/usr/bin/env node
/**
 * `npm run bench:peers`: this package beside other libraries that a JavaScript user may pick, on one thread each.
 *
 *     (cd bench/peers && npm install --ignore-scripts)
 *     npm run bench:peers                             # matrix products and attention
 *     npm run bench:peers -- --llama runs/llama-110m  # a whole model, which random-llama.mjs writes
 *
 * Every number is a median of CPU milliseconds, or tokens per second of CPU time. It only reports.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({ options: { llama: { type: 'string' }, rounds: { type: 'string', default: '9' } } });
const rounds = Number(flags.rounds);
const rows = [];
if (flags.llama) rows.push(...await (await import('./whole.mjs')).whole(flags.llama, rounds));
else {
  const { attentions, products } = await import('./kernels.mjs');
  rows.push(...await products(rounds), ...await attentions(rounds));
}
const unit = flags.llama ? 'tokens per second of CPU time' : 'CPU ms';
console.log(`${cpus()[0].model.trim()}, Node ${process.versions.node}, one thread each; ${unit}, medians of ${rounds} rounds in turns\n`);
for (const [what, times] of rows) {
  console.log(`| ${what} | ${flags.llama ? 'tokens/s' : 'ms'} | ours / it |\n|---|---|---|`);
  for (const [name, value] of Object.entries(times)) {
    if (typeof value !== 'number') console.log(`| ${name} | not measured: ${String(value).slice(0, 120)} | |`);
    else console.log(`| ${name} | ${Number(value.toPrecision(3))} | ${(flags.llama ? value / times.ours : times.ours / value).toFixed(2)} |`);
  }
  console.log();
}
process.exit(0);
