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
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { fail, flagsOf, whole } from './arguments.mjs';

const flags = flagsOf(import.meta.url, {
  llama: { type: 'string' }, training: { type: 'boolean' }, threads: { type: 'string' },
  rounds: { type: 'string', default: '9' },
});
const rounds = whole(flags, 'rounds');
if (flags.llama !== undefined && !existsSync(`${flags.llama}/config.json`)) {
  fail(`--llama ${flags.llama} has no config.json: random-llama.mjs writes such a folder`);
}
if (flags.threads !== undefined) {
  await (await import('./threads.mjs')).threads(whole(flags, 'threads', 64), rounds, flags.llama);
  process.exit(0);
}
const rows = [];
/** A module that imports the other libraries. */
const load = (file) => import(file).catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  fail(`${error.message.split('\n')[0]}: run (cd bench/peers && npm install --ignore-scripts)`);
});
if (flags.llama) rows.push(...await (await load('./whole.mjs')).whole(flags.llama, rounds));
else if (flags.training) rows.push(...await (await load('./jax-training.mjs')).training(rounds));
else {
  const { attentions, products } = await load('./kernels.mjs');
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
