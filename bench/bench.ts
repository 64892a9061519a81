/**
 * `npm run bench`: speed and memory, as medians, with ratios within one run. It only reports: it exits with 0 whatever
 * it measures.
 * @module
 */
import { existsSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { Command, Option } from 'commander';
import type { CacheDtype } from '../src/core/cache.ts';
import { cacheOption, computeOption, engineOption, gpuOption, whole } from '../src/cli/options.ts';
import { type CpuChoice, createEngine, type GpuChoice } from '../src/engines.ts';
import { attentionCase } from './attention.ts';
import { decodeCase } from './decode.ts';
import { gpuAttentionCase, gpuDecodeCase, gpuTrainingCase } from './gpu.ts';
import { type Cell, hostAttentionCase, hostDecodeCase, hostPrefillCase } from './gpu-cpu.ts';
import { keptCase } from './kept.ts';
import { llamaCase } from './llama.ts';
import type { Case, Measurement, Settings } from './measure.ts';
import { memoryCase } from './memory.ts';
import { pickingCase } from './picking.ts';
import { gpuLargeTrainingCase, hostTrainingCase, trainingCase } from './training.ts';
import { wasmMemoryCase } from './wasm-memory.ts';

const LLAMA_CASE: Case = { name: 'llama', run: llamaCase };

const GPU_CASES: readonly Case[] = [
  { name: 'attention', run: gpuAttentionCase },
  { name: 'decode', run: gpuDecodeCase },
  { name: 'kept', run: keptCase },
  { name: 'training', run: gpuTrainingCase },
  { name: 'training-110m', run: gpuLargeTrainingCase },
];

/** For backends of gpu.js that run on the CPU. */
const HOST_CASES: readonly Case[] = [
  { name: 'attention', run: hostAttentionCase },
  { name: 'prefill', run: hostPrefillCase },
  { name: 'decode', run: hostDecodeCase },
];

/** For the engine of WebAssembly, beside the reference. */
const WASM_CASES: readonly Case[] = [
  ...HOST_CASES, { name: 'memory', run: wasmMemoryCase }, { name: 'training', run: hostTrainingCase },
];

const CASES: readonly Case[] = [
  { name: 'attention', run: attentionCase },
  { name: 'decode', run: decodeCase },
  { name: 'memory', run: memoryCase },
  { name: 'picking', run: pickingCase },
  { name: 'training', run: trainingCase },
];

const NAMES = new Set([...CASES, ...GPU_CASES, ...HOST_CASES, LLAMA_CASE].map(({ name }) => name));

/** A measurement, the case it belongs to, and whether its target was met. */
type Row = Measurement & { readonly case: string; readonly met?: boolean };

const command = new Command('bench')
  .description('Measures attention, decoding, memory, picking and training; ratios compare within one run.')
  .option('--json', 'print one JSON document instead of a table', false)
  .option('--quick', 'smaller sizes and fewer repeats, too rough for a measurement', false)
  .addOption(new Option('--only <name>', 'run only this case').choices([...NAMES]))
  .option('--llama <dir>', 'measure the Llama in this folder instead (bench/peers/random-llama.mjs writes one)')
  .addOption(engineOption())
  .addOption(gpuOption())
  .addOption(computeOption())
  .addOption(cacheOption())
  .option('--tokens <n>', 'with --engine wasm, tokens that the case memory decodes (default: 50000)', whole(100))
  .option('--repeats <n>', 'timed rounds of attention and training (default: 3, with --quick 2)', whole(1))
  .parse();
const { json, quick, only, repeats, engine: cpu, gpu, compute, cache, llama, tokens } = command.opts<{
  json: boolean; quick: boolean; only?: string; repeats?: number; engine?: CpuChoice; gpu?: GpuChoice;
  compute?: 'f32' | 'f16'; cache?: CacheDtype; llama?: string; tokens?: number;
}>();

if (llama !== undefined && !existsSync(`${llama}/config.json`)) {
  command.error(`error: --llama ${llama} has no config.json: write a folder with node bench/peers/random-llama.mjs --out ${llama}`);
}
const openWasm = cpu === 'wasm' ? () => createEngine({ engine: 'wasm' }) : undefined;
const openEngine = gpu ? () => createEngine({ gpu, ...(compute && { compute }) }) : openWasm;
const settings: Settings = {
  quick, llama, compute, cache, tokens, createEngine: () => createEngine(), openEngine,
  repeats: repeats ?? (quick ? 2 : 3),
  model: existsSync('models/nats/config.json') ? 'models/nats' : undefined,
};
const ofGpu = /(cpu|webasm)$/.test(String(gpu)) ? HOST_CASES : GPU_CASES;
const ofEngine = gpu ? ofGpu : openWasm ? WASM_CASES : CASES;
const cases = llama !== undefined ? [LLAMA_CASE] : ofEngine;
const chosen = cases.filter(({ name }) => only === undefined || name === only);
if (chosen.length === 0) {
  const names = cases.map(({ name }) => name).join(', ');
  command.error(`error: --only ${only} is not measured ${gpu ? `with --gpu=${gpu}` : openWasm ? 'with --engine wasm' : 'without --gpu'}: use ${names}`);
}
if (gpu) {
  try {
    (await openEngine!()).dispose(); // a device that is missing is told in a line, before anything is measured
  } catch (error) {
    command.error(`error: ${(error as Error).message}`);
  }
}
const rows: Row[] = [];
for (const { name, run } of chosen) {
  process.stderr.write(`bench: ${name}... `);
  const start = performance.now();
  for (const one of await run(settings)) {
    rows.push({ case: name, ...one, ...(one.target !== undefined && { met: one.value <= one.target }) });
  }
  process.stderr.write(`${Math.round((performance.now() - start) / 1000)} s\n`);
}
const engine = openEngine ? await openEngine() : createEngine();
const about = {
  machine: {
    cpu: cpus()[0]?.model.trim() ?? 'unknown', cores: availableParallelism(),
    platform: process.platform, arch: process.arch,
    node: process.versions.node, v8: process.versions.v8,
  },
  engine: engine.name,
  model: settings.model ?? 'random weights of its shape',
  quick,
  repeats: settings.repeats,
};
engine.dispose();
process.stdout.write(json ? `${JSON.stringify({ ...about, measured: rows }, null, 2)}\n` : table());

/** Markdown, so that docs/ can quote it. */
function table(): string {
  const { machine: { cpu, cores, node } } = about;
  const lines = rows.filter((row) => !isCell(row)).map(({ case: name, what, value, unit, target, met }) => {
    const aim = target === undefined ? '' : `<= ${target}`;
    return `| ${name} | ${what} | ${shown(value, unit)} | ${aim} | ${met === undefined ? '' : met ? 'yes' : 'NO'} |`;
  });
  const rough = quick ? ', --quick: the targets are for the full sizes' : '';
  return [
    `${cpu}, ${cores} cores, Node ${node}, engine: ${about.engine}${rough}`,
    '', ...comparison(rows.filter(isCell)),
    '| case | measured | value | target | met |', '|---|---|---|---|---|', ...lines, '',
  ].join('\n');
}

function isCell(row: Row): row is Row & Cell {
  return 'column' in row;
}

/** The table of engines side by side, if there are such measurements. */
function comparison(cells: readonly (Row & Cell)[]): string[] {
  if (cells.length === 0) return [];
  const columns = [...new Set(cells.map(({ column }) => column))];
  const lines = [...new Set(cells.map(({ row }) => row))].map((row) => {
    const values = columns.map((column) => cells.find((cell) => cell.row === row && cell.column === column)!);
    return `| ${row} | ${values.map(({ value, unit }) => shown(value, unit)).join(' | ')} |`;
  });
  return [`| measured | ${columns.join(' | ')} |`, `|---|${columns.map(() => '---|').join('')}`, ...lines, ''];
}

function shown(value: number, unit: string): string {
  return Number.isFinite(value) ? `${Number(value.toPrecision(3))} ${unit}`.trim() : 'none';
}
