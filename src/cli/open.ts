/**
 * Opens engines and models for the commands.
 * @module
 */
import { createEngine, openCpuEngine } from '../engines.ts';
import type { CacheStats, Engine, Tensor } from '../core/engine.ts';
import { type ModelFolder, openModelFolder } from '../model/folder/model-folder.ts';
import { readStored, readTensors } from '../files/safetensors-file.ts';
import { storedAs } from '../formats/safetensors.ts';
import { weightsHash } from '../formats/weights-hash.ts';
import { loadModel } from '../load.ts';
import { expectedWeights, type ModelConfig } from '../model/config/config.ts';
import { type ConfigOverrides, listed } from '../model/config/config-overrides.ts';
import { formatPolicy, type Policy } from '../policies/index.ts';
import { uploadWeight } from '../model/decoder.ts';
import { defaultTokenizer, Model, noTokenizer } from '../model/model.ts';
import { fullEntryBytes } from '../model/policy.ts';
import type { Session } from '../model/session/session.ts';
import type { Tokenizer } from '../model/tokenizer/tokenizer.ts';
import type { NDArray } from '../core/tensor.ts';
import { UsageError } from './errors.ts';
import type { EngineFlags } from './options.ts';
import { checkAdapterFolder, checkModelFolder } from './paths.ts';
import { createProgress, type Progress } from './terminal.ts';

/** The engine that --gpu requests, whose name goes to stderr; without --gpu, the one on the CPU that --engine names. */
export async function openEngine({ gpu, compute, engine: name, threads }: EngineFlags): Promise<Engine> {
  if (gpu === undefined && compute !== undefined) {
    throw new UsageError('--compute says what a GPU computes in: give --gpu, too');
  }
  if (gpu === undefined) {
    const engine = await openCpuEngine(name, threads);
    if (threads !== undefined && threads > 1) process.stderr.write(`engine: ${engine.name}\n`);
    return engine;
  }
  const engine = await createEngine({ gpu, ...(compute && { compute }) });
  process.stderr.write(`engine: ${engine.name}\n`);
  return engine;
}

/** Fewer bytes of weights than this load so fast that no progress bar is needed. */
const SMALL = 64 << 20;

type OnProgress = (done: number, total: number) => void;

/** Draws a progress bar if `load` reads a lot. */
async function withLoadProgress<T>(load: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await load((done, total) => {
      if (total < SMALL) return;
      progress ??= createProgress({ label: 'load (MiB)', total: total / 2 ** 20 });
      progress.update(done / 2 ** 20);
    });
  } finally {
    progress?.finish();
  }
}

/**
 * Checks everything in a folder except the numbers of its weights, which would take long.
 *
 * @throws {ConfigError} If the model has no tokenizer, which commands need to read text.
 */
export async function openFolder(folder: string, overrides?: ConfigOverrides): Promise<ModelFolder> {
  checkModelFolder(folder);
  const opened = await openModelFolder(folder, { overrides: listed(overrides) });
  for (const note of opened.notes) process.stderr.write(`note: ${note}\n`);
  if (opened.tokenizer === undefined && !defaultTokenizer(opened.config)) throw noTokenizer(opened.config, folder);
  return opened;
}

/** Which model to load, and how. */
export interface ModelFlags {
  /** Its folder. */
  readonly model: string;
  /** The folder of learned types. */
  readonly adapter?: string;
  readonly configOverrides?: ConfigOverrides;
  /** Whether texts get the tokens that the tokenizer puts before them. Default: true. */
  readonly bos?: boolean;
}

/**
 * Loads a model, with the types of an adapter if there is one. Large models draw a progress bar.
 *
 * @param check May refuse a folder before its weights are read.
 */
export async function openModel(
  { model, adapter, configOverrides, bos = true }: ModelFlags, engine: Engine, check?: (folder: ModelFolder) => void,
): Promise<Model> {
  const opened = await openFolder(model, configOverrides);
  check?.(opened);
  if (adapter !== undefined) checkAdapterFolder(adapter);
  const advice = adviceOnGpu(engine, opened.config);
  if (advice !== undefined) process.stderr.write(`natsearch: note: ${advice}\n`);
  return withLoadProgress((onProgress) => loadModel(model, {
    engine, onProgress, bos, ...(configOverrides && { configOverrides }),
    ...(adapter !== undefined && { adapter, onOtherBase }),
  }));
}

/**
 * The number of weights below which a token takes longer to dispatch on a GPU than to compute on a CPU: with 0.8
 * million a CPU is twice as fast, with 3.7 million a tenth slower (Small models in docs/benchmarks-gpu.md).
 */
const FEW_WEIGHTS = 2_000_000;

/** What to say of a model that decodes faster without a GPU, or nothing. */
export function adviceOnGpu(engine: Pick<Engine, 'name'>, config: ModelConfig): string | undefined {
  if (!engine.name.startsWith('wgsl')) return undefined;
  let weights = 0;
  for (const shape of expectedWeights(config).values()) weights += shape.reduce((a, b) => a * b, 1);
  if (weights >= FEW_WEIGHTS) return undefined;
  return `a model of ${(weights / 1e6).toFixed(1)} million weights decodes faster on a CPU: leave out --gpu`;
}

function onOtherBase(warning: string): void {
  process.stderr.write(`natsearch: warning: ${warning}: the kept share and the loss that were measured for it do not hold here\n`);
}

/**
 * Loads the base of a fine-tuning, and hashes its weights.
 *
 * @param shared Whether to put the weights on shared memory as well, and return them for threads to read (`frozen`).
 */
export async function openBase(
  folder: ModelFolder, tokenizer: Tokenizer, engine: Engine, shared: boolean,
): Promise<{ model: Model; hash: string; frozen?: ReadonlyMap<string, NDArray> }> {
  const digests = new Map<string, string>();
  const frozen = new Map<string, NDArray>();
  const uploaded = new Map<string, Tensor>();
  try {
    await withLoadProgress(async (onProgress) => {
      const how = { onProgress, digests };
      if (shared) {
        for await (const [name, each] of readTensors(folder.places, { shared, ...how })) {
          uploaded.set(name, uploadWeight(engine, each));
          frozen.set(name, each);
        }
      } else {
        for await (const [name, { bytes, dtype, shape }] of readStored(folder.places, how)) {
          uploaded.set(name, engine.weight(bytes, storedAs(dtype), shape));
        }
      }
    });
    const hash = await weightsHash(digests);
    return { model: new Model(engine, folder.config, uploaded, tokenizer), hash, ...(shared && { frozen }) };
  } catch (error) {
    for (const tensor of uploaded.values()) tensor.dispose();
    throw error;
  }
}

/** The model's own policy, a full cache, and two fixed patterns with the model's own window. */
export function comparedPolicies(model: Model): Policy[] {
  const { policy, window } = model.config.nats;
  const all: Policy[] = [model.policy, { kind: 'full' }];
  if (window > 0) all.push({ kind: 'window', window }, { kind: 'streaming', sink: 4, window });
  return all.filter((one, n) => n === 0 || formatPolicy(one) !== policy);
}

/** The entries and bytes in all caches of a model. */
export interface CacheUse {
  readonly live: number;
  /** How many entries full caches would hold. */
  readonly full: number;
  readonly bytes: number;
  readonly fullBytes: number;
}

/** Sums what the caches of all layers hold. */
export async function cacheUse(model: Model, session: Session): Promise<CacheUse> {
  const layers = await session.stats();
  const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
  const heads = (layer: CacheStats) => layer.live.length / layer.seen.length;
  const full = sum(layers.map((layer) => sum(layer.seen) * heads(layer)));
  return {
    live: sum(layers.map((layer) => sum(layer.live))),
    full,
    bytes: sum(layers.map((layer) => sum(layer.bytes))),
    fullBytes: full * await fullEntryBytes(model.engine, model.config, session.cache),
  };
}
