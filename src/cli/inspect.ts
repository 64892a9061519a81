/**
 * `natsearch inspect`: what a model is and what its cache will take, before any weight is read.
 * @module
 */
import type { Command } from 'commander';
import { type CacheDtype, entryBytes } from '../core/cache.ts';
import { ConfigError } from '../core/errors.ts';
import { adaptedConfig, type Adapter, checkAdapter, readAdapter } from '../model/folder/adapter.ts';
import { type ModelFolder, openModelFolder } from '../model/folder/model-folder.ts';
import { formatPolicy } from '../policies/index.ts';
import { expectedWeights, type ModelConfig } from '../model/config/config.ts';
import { type ConfigOverrides, listed } from '../model/config/config-overrides.ts';
import { architectureOf } from '../model/arch/index.ts';
import type { GenerationDefaults } from '../model/config/generation-config.ts';
import { createHfTokenizer } from '../model/tokenizer/hf-tokenizer.ts';
import { defaultTokenizer } from '../model/model.ts';
import { sizeOf } from '../core/tensor.ts';
import { openCpuEngine } from '../engines.ts';
import { cacheOption, configOverridesOption } from './options.ts';
import { checkAdapterFolder, checkModelFolder } from './paths.ts';
import { formatBytes, formatCount, formatShare, table } from './terminal.ts';

/** What to say about each scaling of rotary positions. */
const SCALINGS = { linear: 'evenly', llama3: 'as Llama 3 is', yarn: 'as YaRN does' } as const;
const LENGTHS = [4096, 32_768, 131_072];

interface Flags {
  model: string;
  adapter?: string;
  configOverrides?: ConfigOverrides;
  cache?: CacheDtype;
  json: boolean;
}

/** Adds the command. */
export function registerInspect(program: Command): void {
  program.command('inspect')
    .description('describe a model, and the size of its cache by policy; reads no weights')
    .requiredOption('--model <dir>', 'model folder')
    .option('--adapter <dir>', 'token types that natsearch finetune learned for it')
    .addOption(configOverridesOption())
    .addOption(cacheOption())
    .option('--json', 'print one JSON document instead', false)
    .action(run);
}

async function run(flags: Flags): Promise<void> {
  checkModelFolder(flags.model);
  if (flags.adapter !== undefined) checkAdapterFolder(flags.adapter);
  const adapter = flags.adapter === undefined ? undefined : await readAdapter(flags.adapter);
  const overrides = listed(adapter?.configOverrides, flags.configOverrides);
  const folder = await openModelFolder(flags.model, { overrides });
  if (adapter) checkAdapter(adapter, folder.config);
  const cache = flags.cache ?? (await openCpuEngine()).stores.cache[0];
  const report = await inspect(folder, adapter, cache);
  const about = { model: flags.model, ...(adapter && { adapter: flags.adapter }), ...report };
  process.stdout.write(`${flags.json ? JSON.stringify(about) : describe(about, cache)}\n`);
}

/** What caches hold and take after `tokens` tokens with one policy, over all layers and heads. */
interface CacheSize {
  readonly policy: string;
  readonly tokens: number;
  readonly entries: number;
  readonly bytes: number;
}

/** The command's JSON. */
interface Report {
  readonly architecture: string;
  readonly parameters: number;
  /** The bytes on the disk by dtype. */
  readonly stored: Readonly<Record<string, number>>;
  /** The number of files that hold them. */
  readonly files: number;
  readonly config: ModelConfig;
  /** Unknown fields of config.json, which have no effect. */
  readonly ignored: readonly string[];
  /** What in the folder is not read, and why. */
  readonly notes: readonly string[];
  /** Null if the folder has none. */
  readonly tokenizer: { readonly kind: 'tokenizer.json' | 'bytes'; readonly tokens: number } | null;
  /** What generation_config.json says; null if there is none. */
  readonly generation: GenerationDefaults | null;
  /** Whether the model has a chat template, which `natsearch chat` needs. */
  readonly chatTemplate: boolean;
  /** The kept share measured after fine-tuning, at `context` tokens; null if unknown. */
  readonly kept: { readonly overall: number; readonly byLayer: readonly number[]; readonly context: number } | null;
  /** The changes of queries and keys that the adapter brings along; absent if there are none. */
  readonly lowRank?: { readonly rank: number; readonly alpha: number };
  readonly bytesPerToken: number;
  readonly cache: readonly CacheSize[];
}

async function inspect(folder: ModelFolder, adapter: Adapter | undefined, cache: CacheDtype): Promise<Report> {
  const config = adapter ? adaptedConfig(adapter, folder.config) : folder.config;
  const places = [...folder.places.values()];
  const stored: Record<string, number> = {};
  for (const { dtype, begin, end } of places) stored[dtype] = (stored[dtype] ?? 0) + end - begin;
  const each = entryBytes(config.headDim, cache);
  return {
    architecture: architectureOf(config).className,
    parameters: [...expectedWeights(config).values()].reduce((sum, shape) => sum + sizeOf(shape), 0),
    stored,
    files: new Set(places.map(({ path }) => path)).size,
    config,
    ignored: folder.ignored,
    notes: folder.notes,
    tokenizer: await tokenizerOf(folder),
    generation: folder.generation ?? null,
    chatTemplate: folder.chatTemplate !== undefined,
    ...(adapter?.lowRank && { lowRank: { rank: adapter.lowRank.rank, alpha: adapter.lowRank.alpha } }),
    kept: adapter ? { overall: adapter.kept, byLayer: adapter.keptByLayer, context: adapter.context } : null,
    bytesPerToken: config.layers * config.kvHeads * each,
    cache: LENGTHS.flatMap((tokens) => cacheSizes(config, adapter, tokens, each)),
  };
}

async function tokenizerOf({ tokenizer, tokenizerConfig, config }: ModelFolder): Promise<Report['tokenizer']> {
  if (tokenizer !== undefined) {
    return { kind: 'tokenizer.json', tokens: (await createHfTokenizer(tokenizer, config, tokenizerConfig)).vocabSize };
  }
  const bytes = defaultTokenizer(config);
  return bytes ? { kind: 'bytes', tokens: bytes.vocabSize } : null;
}

/** How types end: 'W 16, LOCAL 128, C 1'. Without a second window LOCAL ends with the next GLOBAL. */
function windowsOf({ window, localWindow, chunk }: ModelConfig['nats']): string {
  return `W ${window}${localWindow === undefined ? '' : `, LOCAL ${localWindow}`}, C ${chunk}`;
}

/** The W of a window if nothing else determines it. */
const USUAL_WINDOW = 256;

function cacheSizes(
  config: ModelConfig, adapter: Adapter | undefined, tokens: number, each: number,
): CacheSize[] {
  const heads = config.layers * config.kvHeads;
  const size = (policy: string, entries: number): CacheSize => {
    return { policy, tokens, entries, bytes: entries * each };
  };
  const whole = Math.min(tokens, (config.slidingWindow ?? Infinity) - 1);
  const window = Math.min(config.nats.window || USUAL_WINDOW, whole);
  const sizes = [size('full', heads * whole), size(formatPolicy({ kind: 'window', window }), heads * window)];
  if (adapter) {
    const kept = adapter.keptByLayer.reduce((sum, share) => sum + Math.min(share, 1), 0);
    sizes.push(size('nats', Math.round(Math.min(kept * tokens, config.layers * whole) * config.kvHeads)));
  }
  return sizes;
}

function describe(report: Report & { model: string }, dtype: string): string {
  const { config, kept, tokenizer } = report;
  const stored = Object.entries(report.stored).map(([name, bytes]) => `${formatBytes(bytes)} of ${name}`).join(', ');
  const { ropeScaling: scaling } = config;
  const rope = scaling ? `, scaled by ${scaling.factor} ${SCALINGS[scaling.kind ?? 'llama3']}` : '';
  const lines = [
    `${report.model}: ${report.architecture}, ${formatCount(report.parameters)} parameters`,
    `  stored        ${stored} in ${report.files} file${report.files === 1 ? '' : 's'}`,
    `  layers        ${config.layers}, hidden ${config.hiddenSize}, intermediate ${config.intermediateSize}`,
    `  heads         ${config.heads} of ${config.headDim}, ${config.kvHeads} of keys and values`,
    `  vocabulary    ${config.vocabSize}, ${tokenizer ? `${tokenizer.kind} (${tokenizer.tokens} tokens)` : 'no tokenizer.json'}`,
    `  context       ${config.maxPositions}, rotary theta ${config.ropeTheta}${rope}`,
    ...(config.slidingWindow === undefined ? [] : [`  window        ${config.slidingWindow} tokens, its own`]),
    `  trained with  ${config.nats.policy}${config.nats.policy === 'nats' ? `, ${windowsOf(config.nats)}` : ''}`,
  ];
  if (report.ignored.length > 0) lines.push(`  ignored       ${report.ignored.join(', ')}: unknown fields, which have no effect`);
  lines.push(...report.notes.map((note) => `  note          ${note}`));
  if (report.generation) lines.push(`  generation    ${describeGeneration(report.generation)}`);
  lines.push(`  conversation  ${report.chatTemplate ? 'by its chat template' : 'no chat template'}`);
  if (kept) {
    lines.push(`  kept          ${formatShare(kept.overall)} at ${kept.context} tokens; by layer ${kept.byLayer.map(formatShare).join(' ')}`);
  }
  if (report.lowRank) lines.push(`  low rank      ${report.lowRank.rank}, alpha ${report.lowRank.alpha}: queries and keys are changed`);
  lines.push(`  cache         ${formatBytes(report.bytesPerToken)} per token in ${dtype}`, '');
  const policies = [...new Set(report.cache.map(({ policy }) => policy))];
  const rows = policies.map((policy) => [policy, ...LENGTHS.map((tokens) => {
    const found = report.cache.find((each) => each.policy === policy && each.tokens === tokens);
    if (!found) throw new ConfigError(`no size for ${policy} at ${tokens} tokens`);
    return formatBytes(found.bytes);
  })]);
  lines.push(table(['cache', ...LENGTHS.map((tokens) => `${tokens / 1024}k tokens`)], rows));
  if (kept) lines.push('', 'nats: the kept share as measured, assumed to hold at every length.');
  return lines.join('\n');
}

/** generation_config.json in one line: how to sample, where to end, and which fields have no effect. */
function describeGeneration(generation: GenerationDefaults): string {
  const { eosTokenIds, unsupported, ...sampling } = generation;
  const words = (name: string) => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const parts = Object.entries(sampling).map(([name, value]) => `${words(name)} ${JSON.stringify(value)}`);
  if (eosTokenIds) parts.push(`ends at ${eosTokenIds.join(', ')}`);
  if (unsupported.length > 0) parts.push(`without effect: ${unsupported.join(', ')}`);
  return parts.length > 0 ? parts.join('; ') : 'says nothing';
}
