/**
 * `natsearch plan`: says how much memory a model takes, and whether it fits, from its config.json alone.
 * @module
 */
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { CacheDtype } from '../core/cache.ts';
import type { Engine, Stores } from '../core/engine.ts';
import { type CpuChoice, createEngine, type GpuChoice, openCpuEngine } from '../engines.ts';
import { StorageError } from '../core/errors.ts';
import { adaptedConfig, type Adapter, checkAdapter, readAdapter } from '../model/folder/adapter.ts';
import { fileExists } from '../files/files.ts';
import { readJson } from '../files/json-file.ts';
import { inFolder } from '../model/folder/model-folder.ts';
import { architectureOf } from '../model/arch/index.ts';
import { kindOf, type Policy } from '../policies/index.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { type ConfigOverrides, listed, parseOverridden } from '../model/config/config-overrides.ts';
import { planMemory, usualPolicies } from '../model/plan.ts';
import { thisMachine } from './machine.ts';
import {
  cacheOption, configOverridesOption, type EngineFlags, engineOption, gpuOption, policies, policyHelp, share, whole,
} from './options.ts';
import { checkAdapterFolder, find } from './paths.ts';
import { describePlan, type Report } from './plan-text.ts';

/** The bytes that Node and the library take before a model is loaded. */
const PROCESS = 128 * 2 ** 20;
/** What learned types are assumed to keep if nobody has measured it. */
const ASSUMED_KEPT = 0.25;
/** The bytes of a stored number, by PyTorch's name for its dtype. */
const STORED: Readonly<Record<string, number>> = { float64: 8, float32: 4, float16: 2, bfloat16: 2 };

interface Flags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  context?: number;
  policy?: readonly Policy[];
  keep?: number;
  engine?: CpuChoice;
  gpu?: GpuChoice;
  cache?: CacheDtype;
  json: boolean;
}

/** Adds the command. */
export function registerPlan(program: Command): void {
  program.command('plan')
    .description('say how much memory a model takes and whether it fits here, from its config.json, before any weight is downloaded')
    .requiredOption('--model <path>', 'model folder, of which only config.json is read, or a config.json')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .option('--context <n>', 'tokens to plan for (default: 4k, 32k and 128k)', whole(1))
    .option('--policy <p...>', 'what the cache keeps, of those below (default: full, a window, and learned types)', policies)
    .option('--keep <share>', 'what learned types keep (default: as measured for the adapter, or 0.25)', share)
    .addOption(cacheOption())
    .addOption(engineOption())
    .addOption(gpuOption())
    .option('--json', 'print one JSON document instead', false)
    .addHelpText('after', policyHelp())
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  if (flags.adapter !== undefined) checkAdapterFolder(flags.adapter);
  const adapter = flags.adapter === undefined ? undefined : await readAdapter(flags.adapter);
  const overrides = listed(adapter?.configOverrides, flags.configOverrides);
  const { base, dtype } = await readConfig(flags.model, overrides);
  if (adapter) checkAdapter(adapter, base);
  const report = await plan(flags, adapter ? adaptedConfig(adapter, base) : base, dtype, adapter);
  process.stdout.write(`${flags.json ? JSON.stringify(report) : describePlan(report)}\n`);
}

/** The config of a folder or file, and the dtype that it says its weights are stored in. */
async function readConfig(
  path: string, overrides: readonly ConfigOverrides[],
): Promise<{ base: ModelConfig; dtype: string | undefined }> {
  const isFolder = find(path, 'folder or file', 'pass a model folder, or a config.json').isDirectory();
  const file = isFolder ? join(path, 'config.json') : path;
  if (!(await fileExists(file))) throw new StorageError(`${path} has no config.json: download it (no weights are needed)`);
  const json = await readJson(file);
  const { torch_dtype: old, dtype = old } = (json ?? {}) as { torch_dtype?: unknown; dtype?: unknown };
  try {
    return { base: parseOverridden(json, overrides), dtype: typeof dtype === 'string' && Object.hasOwn(STORED, dtype) ? dtype : undefined };
  } catch (error) {
    throw inFolder(dirname(file), error);
  }
}

async function plan(
  flags: Flags, config: ModelConfig, dtype: string | undefined, adapter: Adapter | undefined,
): Promise<Report> {
  const machine = thisMachine();
  const { stores, gpu } = await engineOf(flags);
  const kept = flags.keep ?? adapter?.keptByLayer.map((each) => Math.min(each, 1)) ?? ASSUMED_KEPT;
  const usual = usualPolicies(config);
  const compared = flags.policy ?? (usual.some((each) => kindOf(each).learned) ? usual : [...usual, { kind: 'nats' } as const]);
  const onHost = gpu === null || gpu.sharesMemory;
  const tensor = gpu ? { bytes: gpu.tensorBytes, name: gpu.limit } : { bytes: machine.largestArray, name: 'the largest array of Node' };
  const planned = gpu ? 'gpu' : stores.cache[0] === 'f64' ? 'reference' : 'wasm';
  const memory = planMemory(config, {
    policies: compared, kept, tensor, stores, engine: planned, storedBytes: STORED[dtype ?? 'float32'],
    ...(flags.cache !== undefined && { cache: flags.cache }),
    ...(flags.context !== undefined && { contexts: [flags.context] }),
    ...(onHost && { memory: Math.max(0, machine.memory - PROCESS) }),
  });
  return {
    model: flags.model, ...(adapter && { adapter: flags.adapter }), architecture: architectureOf(config).className,
    dtype: dtype ?? null, trainedWith: config.maxPositions,
    kept: {
      share: kept,
      source: flags.keep !== undefined ? 'given' : adapter ? 'measured' : 'assumed',
      ...(adapter && flags.keep === undefined && { context: adapter.context }),
    },
    machine: { ...machine, process: PROCESS }, engine: planned, gpu, plan: memory,
  };
}

/** The dtypes in which the engine that --gpu or --engine requests stores numbers, and the limits of one on a GPU. */
async function engineOf({ gpu, engine: cpu }: EngineFlags): Promise<{ stores: Stores; gpu: Report['gpu'] }> {
  const engine: Engine = gpu === undefined ? await openCpuEngine(cpu) : await createEngine({ gpu });
  const { name, limits, stores } = engine;
  engine.dispose();
  if (gpu === undefined) return { stores, gpu: null };
  const tensorBytes = limits?.tensorBytes ?? Number.MAX_SAFE_INTEGER;
  const sharesMemory = /(cpu|webasm)$/.test(gpu === true ? '' : gpu);
  return { stores, gpu: { name, tensorBytes, limit: limits?.name ?? 'memory', sharesMemory } };
}
