/**
 * Records what happens to a text: every token is decoded through the evicting cache under each policy, and after every
 * step the caches are asked what they hold.
 * @module
 */
import { expectInt32, expectSignal, list, of, optional, record } from '../../core/arguments.ts';
import { checkIds } from '../../core/checks.ts';
import { expectGoing, ValueError } from '../../core/errors.ts';
import { expectKnown } from '../../core/known-options.ts';
import { FOREVER, TokenType } from '../../core/lifetime.ts';
import type { ModelConfig } from '../../model/config/config.ts';
import { expectModel, type Model } from '../../model/model.ts';
import { cacheRule, checkPolicy } from '../../model/policy.ts';
import { Session } from '../../model/session/session.ts';
import { expectPolicy, formatPolicy, kindOf, type Policy } from '../../policies/index.ts';
import { expectMark } from './checks.ts';
import { type Observed, observe, type Seen } from './observe.ts';
import { piecesOf, textsOf } from './texts.ts';
import { type HeadTrace, type Mark, NO_TYPE, type PolicyTrace, type Trace } from './trace.ts';
import { Usage } from './usage.ts';

/** Options of recordTrace(). */
export interface TraceOptions {
  /** Default: what the model was trained with, alone. */
  readonly policies?: readonly Policy[];
  /** The numbers of the layers to record. Default: all. */
  readonly layers?: readonly number[];
  /** Tokens to watch. */
  readonly marks?: readonly Mark[];
  /** What the trace calls the model. Default: nothing. */
  readonly name?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** The most tokens, so that positions fit into 16 bits. */
export const MOST_TOKENS = 65_534;

/**
 * Feeds `tokens` one by one under each policy, and records what the caches keep and what uses it. What is held is what
 * the engine's caches say, not what a rule predicts. Attention is computed again, in float64, from the queries and keys
 * that the caches were given.
 *
 * @param tokens As they are to be fed, with the tokenizer's starts if any: 1 to 65,534.
 * @throws {ValueError} If a token, a layer, a mark or a policy does not fit the model.
 * @throws {StoppedError} If `signal` aborts.
 * @example
 * ```ts
 * import { loadModel, parsePolicy, recordTrace, withStarts } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const tokens = withStarts(model.tokenizer, model.tokenizer.encode('We the people'));
 * const trace = await recordTrace(model, tokens, { policies: [parsePolicy('window:2')] });
 * // The last query that saw entry 5 in the first KV head of the first layer.
 * console.log(trace.policies[0].heads[0][0].last[5]); // 7
 * model.dispose();
 * ```
 */
export async function recordTrace(model: Model, tokens: Int32Array, options: TraceOptions = {}): Promise<Trace> {
  expectKnown('recordTrace()', options, ['policies', 'layers', 'marks', 'name', 'signal', 'onProgress']);
  expectModel('model', model);
  expectInt32('tokens', tokens);
  record({
    policies: optional(list(expectPolicy)), layers: optional(list(of('number'))), marks: optional(list(expectMark)),
    name: optional(of('string')), signal: optional(expectSignal), onProgress: optional(of('function')),
  })('options', options);
  const { config, engine } = model;
  const { policies = [model.policy], marks = [], name = '', signal, onProgress } = options;
  const layers = options.layers ?? Array.from({ length: config.layers }, (_, layer) => layer);
  if (tokens.length === 0 || tokens.length > MOST_TOKENS) {
    throw new ValueError(`${tokens.length} tokens: a trace takes 1 to ${MOST_TOKENS}`);
  }
  checkIds(tokens, config.vocabSize);
  for (const layer of layers) {
    if (Number.isInteger(layer) && layer >= 0 && layer < config.layers) continue;
    throw new ValueError(`layer ${layer}: the model has layers 0 to ${config.layers - 1}`);
  }
  for (const { name: mark, begin, end } of marks) {
    if (Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin < end && end <= tokens.length) continue;
    throw new ValueError(`the mark '${mark}' is tokens ${begin} to ${end}: it must lie within the ${tokens.length} that are read`);
  }
  for (const policy of policies) checkPolicy(policy, config, model.weights);
  const traced: PolicyTrace[] = [];
  for (const [n, policy] of policies.entries()) {
    const tick = (done: number): void => {
      onProgress?.(n * tokens.length + done, policies.length * tokens.length);
      expectGoing(signal, () => `the trace was stopped at token ${done} under ${formatPolicy(policy)}`);
    };
    traced.push(await recordPolicy(model, tokens, policy, layers, tick));
  }
  const predicted = traced.flatMap((each) => [...each.predicted]);
  return {
    model: name, engine: engine.name, tokens: tokens.slice(),
    pieces: piecesOf(model.tokenizer, tokens), texts: textsOf(model.tokenizer, [...tokens, ...predicted]),
    layers: [...layers], kvHeads: config.kvHeads, policies: traced, marks: [...marks],
  };
}

/** Two traces of one text as one. */
export function joined(one: Trace, other: Trace): Trace {
  return { ...one, texts: { ...one.texts, ...other.texts }, policies: [...one.policies, ...other.policies] };
}

async function recordPolicy(
  model: Model, tokens: Int32Array, policy: Policy, layers: readonly number[], tick: (done: number) => void,
): Promise<PolicyTrace> {
  const { config } = model;
  const observed = observe(model.engine);
  const weights = model.weights;
  const session = new Session({ engine: observed.engine, config, weights, hash: () => model.hash() }, { policy });
  try {
    const heads = layers.map(() =>
      Array.from({ length: config.kvHeads }, (_, g) => new HeadRecorder(config, tokens.length, g, policy)));
    const loss = new Float32Array(tokens.length).fill(NaN);
    const predicted = new Int32Array(tokens.length);
    for (let i = 0; i < tokens.length; i++) {
      tick(i);
      const logits = await session.step([tokens[i]]);
      predicted[i] = largest(logits);
      if (i + 1 < tokens.length) loss[i] = lossOf(logits, tokens[i + 1]);
      await recordStep(observed, observed.take(), layers, heads, i);
    }
    tick(tokens.length);
    const [{ entryBytes }] = await session.stats();
    const { reach, ...rule } = cacheRule(policy, config);
    return {
      policy: formatPolicy(policy), entryBytes, loss, predicted,
      heads: heads.map((layer) => layer.map((head) => head.finish())),
      ...('mass' in rule ? { budget: { by: kindOf(policy).name, ...rule.mass.budget } }
        : { lifetimes: rule }),
      ...(reach !== undefined && { reach }),
    };
  } finally {
    session.dispose();
  }
}

async function recordStep(
  { caches }: Observed, seen: readonly Seen[], layers: readonly number[],
  heads: readonly (readonly HeadRecorder[])[], i: number,
): Promise<void> {
  await Promise.all(seen.map(async (layer, l) => {
    // Awaited even for layers that are not recorded: a read that fails must not go unnoticed.
    const [q, k, types, scores] = await Promise.all([layer.q, layer.k, layer.types, layer.scores]);
    const at = layers.indexOf(l);
    if (at < 0) return;
    await Promise.all(heads[at].map(async (head, g) => {
      head.add(i, { q, k, scale: layer.scale, type: types?.[g], scores: scores?.subarray(3 * g, 3 * g + 3) });
      head.held(i, await caches[l].positions(0, g));
    }));
  }));
}

/** What one step gives a KV head. */
interface HeadStep {
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly scale: number;
  readonly type: number | undefined;
  readonly scores: ArrayLike<number> | undefined;
}

/** Writes the record of one KV head. */
class HeadRecorder {
  readonly #types: Uint8Array;
  readonly #last: Int32Array;
  readonly #usage: Usage;
  readonly #chunk: number;
  #scores: Float32Array = new Float32Array(0);
  #alive: readonly number[] = [];

  constructor(config: ModelConfig, tokens: number, g: number, policy: Policy) {
    const { heads, kvHeads, headDim } = config;
    const rule = cacheRule(policy, config);
    this.#chunk = 'mass' in rule ? 1 : rule.chunk;
    this.#types = new Uint8Array(tokens).fill(NO_TYPE);
    this.#last = new Int32Array(tokens).fill(FOREVER);
    this.#usage = new Usage(tokens, g, { kvHeads, group: heads / kvHeads, headDim });
  }

  /** Query i sees what was held before it, and its own entry. */
  add(i: number, { q, k, scale, type, scores }: HeadStep): void {
    this.#usage.add(i, [...this.#alive, i], q, k, scale);
    const begin = i - (i % this.#chunk); // what is known of a chunk replaces what was known before
    if (type !== undefined) this.#types.fill(type, begin, i + 1);
    if (!scores) return;
    if (this.#scores.length === 0) this.#scores = new Float32Array(3 * this.#types.length);
    for (let j = begin; j <= i; j++) this.#scores.set(scores, 3 * j);
  }

  /** The positions that the cache says it holds after step i. What it no longer holds was last seen by query i. */
  held(i: number, positions: Int32Array): void {
    const now = new Set(positions);
    for (const j of [...this.#alive, i]) if (!now.has(j)) this.#last[j] = i;
    this.#alive = [...positions];
  }

  finish(): HeadTrace {
    const N = this.#types.length;
    const whole = N - (N % this.#chunk);
    if (this.#types[0] !== NO_TYPE) this.#types.fill(TokenType.GLOBAL, whole); // a chunk that is not full (§2)
    const { received, users, userWeights, used, usedWeights } = this.#usage;
    return {
      types: this.#types, last: this.#last, scores: this.#scores, received, users, userWeights, used, usedWeights,
    };
  }
}

function largest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let n = 1; n < logits.length; n++) if (logits[n] > logits[best]) best = n;
  return best;
}

/** -log softmax(logits)[target], in nats. */
function lossOf(logits: ArrayLike<number>, target: number): number {
  const max = logits[largest(logits)];
  let sum = 0;
  for (let n = 0; n < logits.length; n++) sum += Math.exp(logits[n] - max);
  return max + Math.log(sum) - logits[target];
}
