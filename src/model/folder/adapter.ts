/**
 * Adapters: the token-type scorers that an existing model learned, in a folder of their own, perhaps with changes of
 * its queries and keys of low rank. adapter_config.json says which base they belong to, and adapter_model.safetensors
 * holds them.
 * @module
 */
import { type Expected, finite, floats, of, oneOf, optional, positive, record, wholeFrom } from '../../core/arguments.ts';
import { fail } from '../../core/described.ts';
import type { Pooling } from '../../core/engine.ts';
import { ConfigError, FileFormatError, StorageError } from '../../core/errors.ts';
import { expectFinite } from '../../core/finite.ts';
import type { ModelConfig } from '../config/config.ts';
import { type ConfigOverrides, expectJson } from '../config/config-overrides.ts';
import { isRecency, type Recency } from '../config/recency.ts';
import type { NDArray } from '../../core/tensor.ts';
import { type Bytes, bytesOf, jsonOf } from '../../formats/bytes.ts';
import { type LowRank, type Sizes, TARGETS } from '../low-rank.ts';
import { encodeAdapter, splitWeights } from './adapter-weights.ts';
import { fileExists, makeFolder, readFileBytes, writeFilesAtomic } from '../../files/files.ts';
import { readJson } from '../../files/json-file.ts';
import { decodeSafetensors } from '../../formats/safetensors.ts';
import { sha256 } from '../../formats/sha256.ts';

/** The config in an adapter's folder. */
export const ADAPTER_CONFIG = 'adapter_config.json';
/** The weights in an adapter's folder. */
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors';

const FORMAT = 'natsearch-adapter';
/** The versions: of scorers alone, with changes of q and k, with a second window. Older packages refuse newer ones. */
const [VERSION, LOW_RANK_VERSION, SECOND_WINDOW_VERSION] = [1, 2, 3];

/** What PEFT calls changes of low rank. */
const PEFT_TYPE = 'LORA';

/** What an adapter's types mean and how they were learned: adapter_config.json without the base. */
export interface AdapterSettings {
  /** W of §2, in tokens. */
  readonly window: number;
  /** LOCAL as a second window of so many tokens. Default: LOCAL tokens live until the next GLOBAL. */
  readonly localWindow?: number;
  /** C of §2, in tokens. */
  readonly chunk: number;
  readonly pooling: Pooling;
  /** tau of §6. */
  readonly temperature: number;
  /** By how much the policy nats-rank ranks a token above an equal one before it, by layer and KV head. Default: 0. */
  readonly recency?: Recency;
  /** The price of memory at the end (§7). */
  readonly lambda: number;
  /** The kept share that lambda was steered to reach; 0 if lambda was fixed. */
  readonly targetKeep: number;
  /** The kept share over all layers, as measured at `context` tokens. */
  readonly kept: number;
  /** The same for each layer. */
  readonly keptByLayer: readonly number[];
  /** The number of tokens per sequence in fine-tuning. */
  readonly context: number;
  readonly steps: number;
  readonly seed: number;
  /** The version of this package that wrote it. */
  readonly packageVersion: string;
}

/** Every field of the base's config that affects its results. */
export type BaseFields = Readonly<Record<string, unknown>>;

/** An adapter in memory. */
export interface Adapter extends AdapterSettings {
  /** The name of the base, for people to read. */
  readonly baseModel: string;
  readonly base: BaseFields;
  /** The fields of the base's config.json that were overridden. loadModel() overrides them in the same way. */
  readonly configOverrides?: ConfigOverrides;
  /** The SHA-256 of the base's weights, as by weightsHash(); adapters of older versions have none. */
  readonly baseWeights?: string;
  /** The scorers by Hugging Face's names, [3G, D] each, with rows in the order [KV head][type]. */
  readonly weights: ReadonlyMap<string, NDArray>;
  /** The changes of q and k that were learned with them, if any. loadModel() merges them into the weights. */
  readonly lowRank?: LowRank;
}

/** Refuses anything but an adapter in memory. */
export const expectAdapter: Expected = (name, adapter) => {
  record({
    baseModel: of('string'), base: expectJson, baseWeights: optional(of('string')), configOverrides: optional(expectJson), window: wholeFrom(0, 2 ** 31 - 1),
    localWindow: optional(wholeFrom(0, 2 ** 31 - 1)), chunk: wholeFrom(1, 2 ** 31 - 1), pooling: oneOf('mean', 'max'), temperature: positive, lambda: finite,
    lowRank: optional(record({ rank: wholeFrom(1), alpha: positive })),
  })(name, adapter);
  const { weights, lowRank } = adapter as Adapter;
  if (!(weights instanceof Map)) fail(`the weights of ${name}`, weights, 'a Map of scorers; or pass the folder that natsearch finetune wrote');
  if (lowRank && !(lowRank.weights instanceof Map)) fail(`the lowRank.weights of ${name}`, lowRank.weights, 'a Map of the matrices A and B; or pass the folder that natsearch finetune wrote');
  for (const [key, array] of [...weights, ...(lowRank?.weights ?? [])]) floats(`the weight '${key}' of ${name}`, array);
};

/** Fields on which no forward pass of the base depends: those of NAtS, token ids, and the training context. */
const BOOKKEEPING: readonly string[] =
  ['nats', 'maxPositions', 'bosTokenId', 'eosTokenId', 'eosTokenIds'] satisfies (keyof ModelConfig)[];

/** Fields of a base that change no shape of its weights, so that the same weights may be meant. */
const RESHAPES_NOTHING: readonly string[] =
  ['ropeTheta', 'ropeScaling', 'rmsNormEpsilon', 'slidingWindow'] satisfies (keyof ModelConfig)[];

/** The fields of `config` that affect results. */
export function baseFields(config: ModelConfig): BaseFields {
  return counting(JSON.parse(JSON.stringify(config)) as BaseFields);
}

/**
 * The relevant fields among those of an adapter of any version. Fields that are null or false count as absent, and
 * without a type the base is Llama, so that old adapters stay valid when a later version adds switches.
 */
function counting(fields: BaseFields): BaseFields {
  const all: BaseFields = { modelType: 'llama', ...fields };
  const set = Object.entries(all)
    .filter(([name, value]) => value !== null && value !== false && !BOOKKEEPING.includes(name));
  return Object.fromEntries(set.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The SHA-256 of the fields, in hexadecimal. */
function hashOf(base: BaseFields): Promise<string> {
  return sha256(new TextEncoder().encode(JSON.stringify(base)));
}

/**
 * Refuses a base that the adapter was not made for.
 *
 * @throws {ConfigError} If fields differ that affect results; the message names each of them.
 */
export function checkAdapter(adapter: Pick<Adapter, 'base' | 'baseModel'>, config: ModelConfig): void {
  const [theirs, ours] = [counting(adapter.base), baseFields(config)];
  const names = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])].sort();
  const text = (value: unknown) => (value === undefined ? 'nothing' : JSON.stringify(value));
  const different = names.filter((name) => text(theirs[name]) !== text(ours[name]));
  if (different.length === 0) return;
  const list = different.map((name) => `${name} ${text(theirs[name])}, here ${text(ours[name])}`).join('; ');
  const shapes = different.some((name) => !RESHAPES_NOTHING.includes(name));
  const remedy = shapes ? '' : ', or override these fields of its config as they were then';
  throw new ConfigError(`the adapter was made for another base, ${JSON.stringify(adapter.baseModel)}: ${list}: use the model that it was fine-tuned on${remedy}`);
}

/**
 * A warning if the types were learned for other weights of the same shapes.
 *
 * @param hash The hash of the weights of the base at hand, as by weightsHash().
 */
export function otherWeights(
  { baseModel, baseWeights }: Pick<Adapter, 'baseModel' | 'baseWeights'>, hash: string,
): string | undefined {
  if (baseWeights === undefined || baseWeights === hash) return undefined;
  return `the adapter was made for ${JSON.stringify(baseModel)} with other weights of the same shapes (SHA-256 ${baseWeights.slice(0, 12)}..., here ${hash.slice(0, 12)}...)`;
}

/**
 * Writes the two files of an adapter, which are renamed into place once both are on the disk. Weights are rounded to
 * float32.
 *
 * @throws {StorageError} If a file cannot be written.
 * @throws {NumericError} If a weight holds NaN or infinity. Nothing is written then.
 */
export async function writeAdapter(folder: string, adapter: Adapter): Promise<void> {
  const { weights: scorers, lowRank, base, baseModel, baseWeights, configOverrides, ...settings } = adapter;
  const weights = new Map([...scorers, ...(lowRank?.weights ?? [])]);
  expectFinite(weights, 'F32', 'the adapter', 'it is not written; the fine-tuning that made it diverged');
  const version = lowRank ? LOW_RANK_VERSION : VERSION;
  const json = {
    format: FORMAT, version: settings.localWindow === undefined ? version : SECOND_WINDOW_VERSION,
    base_model: baseModel, base_sha256: await hashOf(base), base,
    ...(baseWeights !== undefined && { base_weights_sha256: baseWeights }),
    ...(configOverrides !== undefined && { config_overrides: configOverrides }), ...settings,
    ...(lowRank && { peft_type: PEFT_TYPE, r: lowRank.rank, lora_alpha: lowRank.alpha, target_modules: TARGETS }),
  };
  await makeFolder(folder);
  await writeFilesAtomic([
    [`${folder}/${ADAPTER_WEIGHTS}`, encodeAdapter(weights)],
    [`${folder}/${ADAPTER_CONFIG}`, `${JSON.stringify(json, null, 2)}\n`],
  ]);
}

/**
 * Reads the folder of an adapter.
 *
 * @throws {StorageError} If a file is missing.
 * @throws {FileFormatError} If a file is truncated, of another version, or contradicts itself.
 */
export async function readAdapter(folder: string): Promise<Adapter> {
  for (const name of [ADAPTER_CONFIG, ADAPTER_WEIGHTS]) {
    if (await fileExists(`${folder}/${name}`)) continue;
    throw new StorageError(`${folder} has no ${name}: name a folder that natsearch finetune wrote`);
  }
  const path = `${folder}/${ADAPTER_CONFIG}`;
  const json = await readJson(path);
  const weights = await readFileBytes(`${folder}/${ADAPTER_WEIGHTS}`);
  return parseAdapter(json, weights, { config: path, weights: `${folder}/${ADAPTER_WEIGHTS}` });
}

/**
 * Reads an adapter whose files are in memory, as in a browser. What it returns goes to loadModel() as `adapter`.
 *
 * @param json adapter_config.json: parsed, text, or bytes.
 * @param bytes adapter_model.safetensors: an ArrayBuffer, as fetch() returns, or any view.
 * @param files The names of the files in error messages.
 * @returns The settings, and the scorers as [3G, D] each (§5).
 * @throws {FileFormatError} If something is missing, out of range, or contradicts the rest.
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseAdapter } from 'neural-attention-search';
 * const file = (name: string) => readFile(`models/adapters/keep-0.1-w32/${name}`); // in a browser: fetch()
 * const adapter = await parseAdapter(await file('adapter_config.json'), await file('adapter_model.safetensors'));
 * console.log(adapter.window); // 32
 * ```
 */
export async function parseAdapter(
  json: unknown, bytes: Bytes,
  files: { config: string; weights: string } = { config: ADAPTER_CONFIG, weights: ADAPTER_WEIGHTS },
): Promise<Adapter> {
  record({ config: of('string'), weights: of('string') })('files', files);
  const fail = (what: string): never => {
    throw new FileFormatError(`${files.config}${what}: copy the adapter again, or fine-tune again`);
  };
  const parsed = jsonOf(json, files.config);
  if (!isRecord(parsed)) return fail(' is not a JSON object');
  expectJson(files.config, parsed);
  const fields: unknown = JSON.parse(JSON.stringify(parsed)); // what is no JSON counts as missing, and a Date is text
  if (!isRecord(fields)) return fail(' is not a JSON object');
  if (fields['format'] !== FORMAT) fail(` has the format ${shown(fields['format'])}, not ${JSON.stringify(FORMAT)}`);
  const { version, recency } = fields;
  const twice = version === SECOND_WINDOW_VERSION;
  if (version !== VERSION && version !== LOW_RANK_VERSION && !twice) fail(` has version ${shown(version)}, but this package reads versions ${VERSION} to ${SECOND_WINDOW_VERSION}`);
  if (!twice && fields['localWindow'] !== undefined) fail(` has a localWindow, which only version ${SECOND_WINDOW_VERSION} has`);
  const number = (name: string, fits: (value: number) => boolean, must: string): number => {
    const value = fields[name];
    return typeof value === 'number' && fits(value) ? value : fail(`: ${name} is ${shown(value)}, not ${must}`);
  };
  const whole = (name: string, least: number) =>
    number(name, (x) => Number.isInteger(x) && x >= least && x < 2 ** 31, `a whole number from ${least}`);
  const share = (name: string) => number(name, (x) => x >= 0 && x <= 1, 'a share from 0 to 1');
  const text = (name: string): string => {
    const value = fields[name];
    return typeof value === 'string' ? value : fail(`: ${name} is ${shown(value)}, not a string`);
  };
  const keptByLayer = fields['keptByLayer'];
  const listed = Array.isArray(keptByLayer) && keptByLayer.every((x) => typeof x === 'number' && x >= 0);
  if (!listed) return fail(': keptByLayer is not a list of shares');
  const base = isRecord(fields['base']) ? fields['base'] : fail(' has no base');
  const aged = recency === undefined || isRecency(recency, base['layers'], base['kvHeads']);
  if (!aged) return fail(': recency is not a number from 0 for each KV head of each layer');
  const pooling = text('pooling');
  if (pooling !== 'mean' && pooling !== 'max') return fail(`: pooling is ${shown(pooling)}, not mean or max`);
  if (text('base_sha256') !== await hashOf(base)) fail(' was changed: base_sha256 is not the hash of base');
  const baseWeights = fields['base_weights_sha256'] === undefined ? undefined : text('base_weights_sha256');
  if (baseWeights !== undefined && !/^[0-9a-f]{64}$/.test(baseWeights)) fail(`: base_weights_sha256 is ${shown(baseWeights)}, not a SHA-256`);
  const overrides = fields['config_overrides'];
  if (overrides !== undefined && !isRecord(overrides)) return fail(`: config_overrides is ${shown(overrides)}, not an object`);
  const { tensors } = decodeSafetensors(bytesOf(bytes, files.weights), files.weights);
  const ranked = version === LOW_RANK_VERSION || (twice && fields['peft_type'] === PEFT_TYPE);
  const sizes = ranked && String(fields['target_modules']) !== String(TARGETS)
    ? fail(`: target_modules is ${shown(fields['target_modules'])}, not ${JSON.stringify(TARGETS)}`)
    : base as unknown as Sizes;
  const changes = ranked && { rank: whole('r', 1), alpha: number('lora_alpha', (x) => x > 0, 'a number above 0') };
  const parts = splitWeights(tensors, sizes, changes ? changes.rank : 0, keptByLayer.length, files.weights);
  return {
    baseModel: text('base_model'),
    base,
    ...(baseWeights !== undefined && { baseWeights }),
    ...(overrides !== undefined && { configOverrides: overrides }),
    window: whole('window', 0),
    ...(twice && { localWindow: whole('localWindow', 0) }),
    chunk: whole('chunk', 1),
    pooling,
    temperature: number('temperature', (x) => x > 0, 'a number above 0'),
    ...(recency !== undefined && { recency: recency as Recency }),
    lambda: number('lambda', (x) => x >= 0, 'a number, 0 or more'),
    targetKeep: share('targetKeep'),
    kept: share('kept'),
    keptByLayer: keptByLayer as number[],
    context: whole('context', 1),
    steps: whole('steps', 0),
    seed: number('seed', (x) => Number.isSafeInteger(x) && x >= 0, 'a whole number from 0'),
    packageVersion: text('packageVersion'),
    weights: parts.scorers,
    ...(changes && { lowRank: { ...changes, weights: parts.changes } }),
  };
}

/** The config of the base together with the adapter's types. */
export function adaptedConfig(adapter: AdapterSettings, config: ModelConfig): ModelConfig {
  const { window, localWindow, chunk, pooling, lambda, temperature, recency } = adapter;
  const more = { ...(localWindow !== undefined && { localWindow }), ...(recency && { recency }) };
  return { ...config, nats: { policy: 'nats', window, chunk, pooling, lambda, temperature, ...more } };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value).slice(0, 100);
}
