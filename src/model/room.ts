/**
 * Whether an engine's limits allow a step, found out before anything of it is computed. What does not fit is refused
 * with the most that does.
 * @module
 */
import { CACHE_BYTES, type CacheDtype, type CacheStats } from '../core/cache.ts';
import type { Engine } from '../core/engine.ts';
import { DeviceError } from '../core/errors.ts';
import { mostAfter, scoreWidth } from '../core/mass.ts';
import { formatPolicy, kindOf, type Policy } from '../policies/index.ts';
import type { ModelConfig } from './config/config.ts';
import { cacheEntries, longestContext } from './plan-cache.ts';
import { cacheRule } from './policy.ts';

/** The largest tensor of a pass: how many numbers a token of it has, and what it holds. */
function widest({ hiddenSize, intermediateSize, heads, headDim }: ModelConfig): readonly [width: number, what: string] {
  const all = [
    [intermediateSize, 'the feed-forward part'], [heads * headDim, 'the queries'], [hiddenSize, 'the hidden states'],
  ] as const;
  return all.reduce((most, each) => (each[0] > most[0] ? each : most));
}

const bytesOf = ({ precision }: Engine): number => (precision === 'float64' ? 8 : 4);

/** What a session says of itself. */
interface Sequences {
  readonly engine: Engine;
  readonly policy: Policy;
  readonly batch: number;
  readonly blockSize: number;
  readonly cache: CacheDtype | undefined;
  /** The tokens that each sequence has seen. */
  readonly lengths: readonly number[];
}

/**
 * Refuses a step of T tokens, of which no sequence takes more than `taken`, whose results are too large for a tensor.
 *
 * @param rows How many tokens of each sequence have logits.
 * @throws {DeviceError} With the most tokens that fit.
 */
export function expectStepRoom(session: Sequences, config: ModelConfig, T: number, taken: number, rows: number): void {
  const { engine, batch } = session;
  const { limits } = engine;
  if (!limits) return;
  const [width, what] = widest(config);
  for (const [tokens, numbers, name] of [[T, width, what], [rows, config.vocabSize, 'the logits']] as const) {
    const each = batch * numbers * bytesOf(engine);
    if (tokens * each <= limits.tensorBytes) continue;
    const fits = Math.floor(limits.tensorBytes / each);
    const fewer = `take shorter steps${name === 'the logits' ? ', or logits of the last token only' : ' (prefillStep)'}`;
    const remedy = fits > 0 ? `at most ${fits} instead of ${tokens} tokens fit: ${fewer}`
      : `at most ${Math.floor(limits.tensorBytes / (numbers * bytesOf(engine)))} sequences fit: use a smaller batch`;
    throw new DeviceError(`${name} of a step of ${T} tokens for ${batch} sequences take ${tokens * each} bytes but ${limits.name} is ${limits.tensorBytes} on ${engine.name}; ${remedy}`);
  }
  expectCacheRoom(session, config, taken, taken);
}

/**
 * Refuses `tokens` more tokens for a session, in steps of at most `step`, with which the keys of a layer would be too
 * large for a tensor. What learned types will keep is not known before: see expectLearnedRoom().
 *
 * @throws {DeviceError} With the longest context that fits or, under a policy that bounds the cache, the longest step.
 */
export function expectCacheRoom(
  { engine, policy, batch, blockSize, cache, lengths }: Sequences, config: ModelConfig, tokens: number, step: number,
): void {
  const { limits } = engine;
  if (!limits || kindOf(policy).learned) return;
  const { heads, kvHeads } = config;
  const rule = cacheRule(policy, config);
  const words = keyWords({ engine, cache }, config);
  // Slots have a position and a lifetime besides. Under a budget they have the numbers of a score and, during a step, a
  // weight for each query head and two numbers more.
  const numbers = 'mass' in rule ? Math.max(words, scoreWidth(rule.mass), 2 + heads / kvHeads) : Math.max(words, 2);
  const heldAfter = (count: number): number => (count === 0 ? 0
    : 'mass' in rule ? Math.min(count, mostAfter(rule.mass, count - 1)) : Math.max(...cacheEntries(config, policy, count)));
  const bytes = (held: number): number =>
    Math.ceil(held / blockSize) * blockSize * batch * kvHeads * numbers * 4;
  const all = Math.max(...lengths) + tokens;
  const held = heldAfter(all);
  const wanted = Math.min(all, held + Math.min(step, tokens));
  if (bytes(wanted) <= limits.tensorBytes) return;
  const exceeds = (count: number): string | undefined => (bytes(count) > limits.tensorBytes ? limits.name : undefined);
  const { tokens: fits } = longestContext(exceeds, 2 ** 31 - 2);
  const most = held < all ? `a step of at most ${Math.max(0, fits - held)} tokens fits: take shorter steps (prefillStep)`
    : `a context of at most ${fits} tokens fits: evict more, store keys and values as f16 (cache)`;
  throw new DeviceError(`the cache of a layer takes ${bytes(wanted)} bytes for ${batch} sequences of ${all} tokens under the policy ${formatPolicy(policy)}, but ${limits.name} is ${limits.tensorBytes} on ${engine.name}; ${most}, or use a smaller batch`);
}

/** A session whose caches can be asked what they hold. */
interface Asked extends Sequences {
  stats(): Promise<readonly CacheStats[]>;
}

/** What the caches of a session held when they were last asked: the entries of their heads, after so many tokens. */
interface Known {
  readonly live: readonly ArrayLike<number>[];
  readonly lengths: readonly number[];
}
const known = new WeakMap<Asked, Known>();
/** The checks of the newest steps. */
const checks = new WeakMap<Asked, Promise<void>>();

/**
 * Refuses a step of taken[b] tokens of sequence b, under a policy by learned types, with which the keys of a layer
 * would be too large for a tensor. A head holds no more than when its cache was last asked and what came since; the
 * caches are asked, which waits for all steps before, only if there might be no room for that. Steps that nobody
 * awaited are checked in their order, so that each counts those before it and none overtakes another.
 *
 * @throws {DeviceError} With the longest step that fits.
 */
export function expectLearnedRoom(session: Asked, config: ModelConfig, taken: readonly number[]): Promise<void> {
  const check = (): Promise<void> => checkLearnedRoom(session, config, taken);
  const checked = (checks.get(session) ?? Promise.resolve()).then(check, check);
  checks.set(session, checked);
  return checked;
}

async function checkLearnedRoom(session: Asked, config: ModelConfig, taken: readonly number[]): Promise<void> {
  const { engine: { limits, name }, batch, blockSize, policy, lengths } = session;
  if (!limits) return;
  const { kvHeads } = config;
  const width = Math.max(keyWords(session, config), 2) * 4; // slots have a position and a lifetime besides
  const bytes = (entries: (head: number) => number): number => {
    let blocks = 0;
    for (let head = 0; head < batch * kvHeads; head++) blocks += Math.ceil(entries(head) / blockSize);
    return blocks * blockSize * width;
  };
  const fits = (held: ArrayLike<number>, since: readonly number[], counts: readonly number[]): boolean =>
    bytes((head) => {
      const b = Math.floor(head / kvHeads);
      return held[head] + since[b] + counts[b];
    }) <= limits.tensorBytes;
  const none = new Int32Array(batch * kvHeads);
  if (fits(none, lengths, taken)) return; // even if all are kept
  const before = known.get(session);
  const since = before && lengths.map((length, b) => length - before.lengths[b]);
  if (before?.live.every((held) => fits(held, since!, taken))) return;
  const live = (await session.stats()).map((stats) => stats.live);
  known.set(session, { live, lengths });
  const now = lengths.map(() => 0);
  const layer = live.findIndex((held) => !fits(held, now, taken));
  if (layer < 0) return;
  const most = Math.max(...taken);
  const exceeds = (count: number): string | undefined =>
    (live.every((held) => fits(held, now, taken.map((all) => Math.min(all, count)))) ? undefined : limits.name);
  const { tokens } = longestContext(exceeds, most);
  const held = Array.from(live[layer]).reduce((sum, count) => sum + count, 0);
  throw new DeviceError(`the cache of layer ${layer} holds ${held} entries over ${batch * kvHeads} heads under the policy ${formatPolicy(policy)}, and a step of ${most} tokens makes its keys exceed ${limits.name}, which is ${limits.tensorBytes} bytes on ${name}; a step of at most ${tokens} tokens fits: ${tokens > 0 ? 'take shorter steps (prefillStep)' : 'no more can be read'}, evict more, store keys and values as f16 (cache), or use a smaller batch`);
}

/** The words of four bytes that a cache stores a key in. */
function keyWords({ engine, cache }: Pick<Sequences, 'engine' | 'cache'>, { headDim }: ModelConfig): number {
  return Math.ceil((headDim * CACHE_BYTES[cache ?? engine.stores.cache[0]]) / 4);
}

/**
 * Refuses a step of training whose results are too large for a tensor.
 *
 * @param batch Sequences that are computed at once, of N tokens.
 * @throws {DeviceError} With the longest context, and the largest batch, that fit.
 */
export function expectTrainingRoom(engine: Engine, config: ModelConfig, batch: number, N: number): void {
  const { limits } = engine;
  if (!limits) return;
  const [width, what] = widest(config);
  // The gradient of the types goes through 16 queries of every KV head at a time, or more.
  const types = [16 * config.kvHeads, 'the gradient of the types'] as const;
  const parts = [[config.vocabSize, 'the logits'] as const, [width, what] as const, types];
  const [numbers, name] = parts.reduce((most, each) => (each[0] > most[0] ? each : most));
  const each = numbers * bytesOf(engine);
  const bytes = batch * N * each;
  if (bytes <= limits.tensorBytes) return;
  const [context, sequences] = [batch, N].map((count) => Math.floor(limits.tensorBytes / (each * count)));
  const fits = [
    ...(context > 0 ? [`a context of at most ${context} tokens`] : []),
    ...(sequences > 0 ? [`a batch of at most ${sequences}`] : []),
  ];
  const most = fits.length > 0 ? `${fits.join(', or ')} fits` : 'use a smaller batch, a shorter context or a smaller vocabulary';
  throw new DeviceError(`${name} of a step of training take ${bytes} bytes for ${batch} sequences of ${N} tokens, but ${limits.name} is ${limits.tensorBytes} on ${engine.name}; ${most}`);
}
