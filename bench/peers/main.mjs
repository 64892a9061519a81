#!/usr/bin/env node
/**
 * `npm run bench:peers`: this package beside other libraries that a JavaScript user may pick, on one thread each.
 *
 *     (cd bench/peers && npm install --ignore-scripts)
 *     npm run bench:peers                             # matrix products and attention
 *     npm run bench:peers -- --llama models/base      # a whole model: this one, or one that random-llama.mjs writes
 *     npm run bench:peers -- --training               # steps of training
 *     npm run bench:peers -- --threads 2              # this package alone, on 1 and on 2 threads, in time on the clock
 *
 * Every number is a median of CPU milliseconds, or tokens per second of CPU time. It only reports.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({ options: { llama: { type: 'string' }, training: { type: 'boolean' }, threads: { type: 'string' }, rounds: { type: 'string', default: '9' } } });
const rounds = Number(flags.rounds);
if (flags.threads) {
  await (await import('./threads.mjs')).threads(Number(flags.threads), rounds, flags.llama);
  process.exit(0);
}
const rows = [];
if (flags.llama) rows.push(...await (await import('./whole.mjs')).whole(flags.llama, rounds));
else if (flags.training) rows.push(...await (await import('./jax-training.mjs')).training(rounds));
else {
  const { attentions, products } = await import('./kernels.mjs');
  rows.push(...await products(rounds), ...await attentions(rounds));
}
const rates = flags.llama || flags.training;
const unit = rates ? 'tokens per second of CPU time' : 'CPU ms';
console.log(`${cpus()[0].model.trim()}, Node ${process.versions.node}, one thread each; ${unit}, medians of ${rounds} rounds in turns\n`);
for (const [what, times] of rows) {
  console.log(`| ${what} | ${rates ? 'tokens/s' : 'ms'} | ours / it |\n|---|---|---|`);
  for (const [name, value] of Object.entries(times)) {
    if (typeof value !== 'number') console.log(`| ${name} | not measured: ${String(value).slice(0, 120)} | |`);
    else console.log(`| ${name} | ${Number(value.toPrecision(3))} | ${(rates ? value / times.ours : times.ours / value).toFixed(2)} |`);
  }
  console.log();
}
process.exit(0);
