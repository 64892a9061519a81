/**
 * A session as a file: safetensors with a checksum, in the same form on every engine and in every runtime.
 *
 *     tokens.{b}                  I32 [N]    the ids that sequence b has read
 *     layers.{n}.live             I32 [B,G]  number of entries of each head, E in all
 *     layers.{n}.keys, .values    F32 or F64 [E,d], in the precision of the engine
 *     layers.{n}.positions, .last I32 [E]    the position of each entry, and the last query that may see it
 *     layers.{n}.open             U8  [E]    1 for a LOCAL entry that no GLOBAL has closed
 *     layers.{n}.peak_live        I32 [B,G]  the counts of CacheStats
 *     layers.{n}.visible_pairs    F64 [B,G]
 *     layers.{n}.scores           F32 or F64 [E,S], only under a budget: the scores that its rule keeps of each entry
 *     layers.{n}.pool             F32 or F64 [B,D], only if C > 1: sum or maximum of the newest chunk
 *
 * The metadata holds the format and its version, the model's hash, the policy, the block size, the engine's name, and
 * the dtype of the caches if one was chosen.
 * @module
 */
import { checkCacheSnapshot, checkChunkPoolSnapshot } from '../../core/snapshots.ts';
import { CACHE_DTYPES, type CacheDtype } from '../../core/cache.ts';
import type { CacheSnapshot, ChunkPoolSnapshot } from '../../core/engine.ts';
import { FileFormatError, isNamedError, NumericError } from '../../core/errors.ts';
import { firstNotFinite } from '../../core/finite.ts';
import { decodeSealedArrays, encodeSealed } from '../../formats/sealed.ts';
import type { StoredArray, WritableArray } from '../../formats/safetensors.ts';
import { shown } from '../../formats/safetensors-header.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { formatPolicy, parsePolicy, type Policy } from '../../policies/index.ts';
import type { ModelConfig } from '../config/config.ts';
import { cacheRule } from '../policy.ts';

const FORMAT = 'neural-attention-search session';
const VERSION = '1';
const FILE = 'the snapshot of a session';
const REMEDY = 'copy it again, or read the text again';

/** The largest block size, far above what any cache needs. */
export const MAX_BLOCK = 65536;

/** The content of a session, without its model. */
export interface SessionState {
  readonly policy: Policy;
  readonly blockSize: number;
  /** The dtype of keys and values, if it was chosen. */
  readonly cache?: CacheDtype;
  /** The ids that each sequence has read. */
  readonly tokens: readonly ArrayLike<number>[];
  /** One for each layer. */
  readonly caches: readonly CacheSnapshot[];
  /** One for each layer, or none if chunks have one token. */
  readonly pools: readonly ChunkPoolSnapshot[];
}

/**
 * Encodes a session.
 *
 * @param model The hash of its model; see modelHash().
 * @param engine The name of its engine, for people to read.
 * @throws {NumericError} If a key, a value, a score or a pooled state is NaN or infinite, and so of no use.
 */
export async function encodeSession(state: SessionState, model: string, engine: string): Promise<Uint8Array> {
  const [B, layers] = [state.tokens.length, state.caches.length];
  const tensors: [string, WritableArray][] = state.tokens.map((ids, b) => {
    return [`tokens.${b}`, { data: Int32Array.from(ids), shape: [ids.length], dtype: 'I32' }];
  });
  const whole = (name: string, data: Int32Array, shape: readonly number[]) =>
    void tensors.push([name, { data, shape, dtype: 'I32' }]);
  const real = (name: string, data: FloatArray, shape: readonly number[]): void => {
    const at = firstNotFinite(data);
    if (at >= 0) throw new NumericError(`${name} of the session holds ${data[at]} at element ${at}: it is not saved; read the text again, on an engine of more precision`);
    tensors.push([name, { data, shape, dtype: data instanceof Float64Array ? 'F64' : 'F32' }]);
  };
  for (const [n, cache] of state.caches.entries()) {
    const of = (name: string): string => `layers.${n}.${name}`;
    const [E, heads] = [cache.positions.length, [B, cache.live.length / B]];
    real(of('keys'), cache.keys, [E, E === 0 ? 0 : cache.keys.length / E]);
    real(of('values'), cache.values, [E, E === 0 ? 0 : cache.values.length / E]);
    whole(of('positions'), cache.positions, [E]);
    whole(of('last'), cache.last, [E]);
    tensors.push([of('open'), { data: Int32Array.from(cache.open), shape: [E], dtype: 'U8' }]);
    whole(of('live'), cache.live, heads);
    whole(of('peak_live'), cache.peakLive, heads);
    real(of('visible_pairs'), cache.visiblePairs, heads);
    if (cache.scores) real(of('scores'), cache.scores, [E, E === 0 ? 0 : cache.scores.length / E]);
    const pool = state.pools[n];
    if (pool) real(of('pool'), pool.state, [B, pool.state.length / B]);
  }
  return encodeSealed(tensors, {
    format: FORMAT, version: VERSION, model, policy: formatPolicy(state.policy), engine,
    batch: String(B), layers: String(layers), block_size: String(state.blockSize),
    ...(state.cache && { cache: state.cache }),
  });
}

/**
 * Decodes a session, and checks that it belongs to this model.
 *
 * @throws {FileFormatError} If the bytes are not a snapshot, are damaged, or are of another version or another model,
 *   or if the content contradicts itself or the config.
 */
export async function decodeSession(
  bytes: Uint8Array, config: ModelConfig, modelHash: () => Promise<string>,
): Promise<SessionState> {
  const { tensors, metadata } = await decodeSealedArrays(bytes, FILE, REMEDY);
  const { format, version } = metadata;
  if (format !== FORMAT) fail(`the file's format is ${quoted(format)}: pass what session.snapshot() returned`);
  if (version !== VERSION) fail(`it has version ${quoted(version)}, but this library reads version ${VERSION}: restore it with the version that wrote it`);
  const model = await modelHash();
  if (metadata['model'] !== model) fail(`it was taken of another model (${quoted(metadata['model'])}; this one is ${model}): restore it with the model and adapter of which it was taken`);
  try {
    return read(new Tensors(tensors), metadata, config);
  } catch (error) {
    if (error instanceof FileFormatError || !isNamedError(error)) throw error;
    return fail(`${error.message}; ${REMEDY}`);
  }
}

function read(tensors: Tensors, metadata: Readonly<Record<string, string>>, config: ModelConfig): SessionState {
  const policy = parsePolicy(metadata['policy'] ?? '');
  const [batch, layers, blockSize] = ['batch', 'layers', 'block_size'].map((name) => wholeOf(name, metadata[name]));
  if (blockSize > MAX_BLOCK) fail(`its block_size is ${blockSize}: it must be at most ${MAX_BLOCK}`);
  if (layers !== config.layers) fail(`it has ${layers} layers, but the model has ${config.layers}: ${REMEDY}`);
  const cache = CACHE_DTYPES.find((each) => each === metadata['cache']);
  if (cache !== metadata['cache']) fail(`its cache is ${quoted(metadata['cache'])}: it must be ${CACHE_DTYPES.join(', ')} or missing`);
  const tokens = Array.from({ length: batch }, (_, b) => tensors.whole(`tokens.${b}`));
  for (const [b, ids] of tokens.entries()) {
    const strange = ids.find((id) => id < 0 || id >= config.vocabSize);
    if (strange !== undefined) fail(`sequence ${b} has read token ${strange}, but the vocabulary has ${config.vocabSize}: ${REMEDY}`);
  }
  const seen = Int32Array.from(tokens, (ids) => ids.length);
  const { kvHeads, headDim, hiddenSize } = config;
  const rule = cacheRule(policy, config);
  const caches: CacheSnapshot[] = [];
  const pools: ChunkPoolSnapshot[] = [];
  for (let n = 0; n < config.layers; n++) {
    const of = (name: string): string => `layers.${n}.${name}`;
    const held: CacheSnapshot = {
      seen, live: tensors.whole(of('live')), keys: tensors.real(of('keys')), values: tensors.real(of('values')),
      positions: tensors.whole(of('positions')), last: tensors.whole(of('last')),
      open: Uint8Array.from(tensors.whole(of('open'))), peakLive: tensors.whole(of('peak_live')),
      visiblePairs: Float64Array.from(tensors.real(of('visible_pairs'))),
      ...('mass' in rule && { scores: tensors.real(of('scores')) }),
    };
    checkCacheSnapshot(held, { batch, kvHeads, headDim, blockSize, ...rule });
    caches.push(held);
    if ('mass' in rule || rule.chunk === 1) continue;
    const pool = { seen, state: tensors.real(of('pool')) };
    checkChunkPoolSnapshot(pool, batch, hiddenSize);
    pools.push(pool);
  }
  tensors.expectNoMore();
  return { policy, blockSize, ...(cache && { cache }), tokens, caches, pools };
}

/** The tensors of the file, each of which may be taken once. */
class Tensors {
  readonly #tensors: Map<string, StoredArray>;

  constructor(tensors: ReadonlyMap<string, StoredArray>) {
    this.#tensors = new Map(tensors);
  }

  whole(name: string): Int32Array {
    const { data } = this.#take(name);
    return data instanceof Int32Array ? data : fail(`'${name}' holds floats, but integers are expected: ${REMEDY}`);
  }

  /** Refuses NaN and infinities. */
  real(name: string): FloatArray {
    const { data } = this.#take(name);
    if (data instanceof Int32Array) return fail(`'${name}' holds integers, but floats are expected: ${REMEDY}`);
    const at = firstNotFinite(data);
    return at < 0 ? data : fail(`'${name}' holds ${data[at]} at element ${at}, so it cannot be continued: read the text again`);
  }

  #take(name: string): StoredArray {
    const tensor = this.#tensors.get(name) ?? fail(`it lacks '${name}': ${REMEDY}`);
    this.#tensors.delete(name);
    return tensor;
  }

  expectNoMore(): void {
    for (const name of this.#tensors.keys()) fail(`it holds '${shown(name)}', which no session of this model has: ${REMEDY}`);
  }
}

function wholeOf(name: string, text: string | undefined): number {
  if (text === undefined || !/^[1-9]\d{0,8}$/.test(text)) return fail(`its ${name} is ${quoted(text)}: it must be a whole number above 0`);
  return Number(text);
}

function quoted(text: string | undefined): string {
  return text === undefined ? 'missing' : `'${shown(text)}'`;
}

function fail(what: string): never {
  throw new FileFormatError(`${FILE}: ${what}`);
}
