/**
 * Measures the quality and the memory of a policy by decoding text through the real evicting cache.
 * @module
 */
import { expectInt32, expectSignal, of, optional, record } from '../core/arguments.ts';
import type { CacheDtype } from '../core/cache.ts';
import { checkIds, expectCacheDtype } from '../core/checks.ts';
import { expectGoing, ValueError } from '../core/errors.ts';
import { expectResult } from '../core/finite.ts';
import type { CacheStats } from '../core/engine.ts';
import { expectPolicy, formatPolicy, type Policy } from '../policies/index.ts';
import { expectKnown } from '../core/known-options.ts';
import { expectModel, type Model } from '../model/model.ts';
import { fullEntryBytes } from '../model/policy.ts';
import { repeatsStarts } from '../model/tokenizer/tokenizer.ts';
import { expectWhole } from '../core/shape.ts';
import type { FloatArray } from '../core/tensor.ts';

/** Options of evaluate(). */
export interface EvaluateOptions {
  /** What the cache keeps. Default: what the model was trained with. */
  readonly policy?: Policy;
  /** The dtype of keys and values in the cache. Default: the first in the `stores.cache` of the engine. */
  readonly cache?: CacheDtype;
  /** Tokens of text per sequence, after which a new cache begins. Default: the model's maxPositions. */
  readonly context?: number;
  /** Tokens fed per step. Affects speed, never results. Default: 1, plain decoding. */
  readonly step?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Called after every step with the types chosen in each layer, [G,n] for the n inputs fed. The first of them is input
   * `at` of its context, and the context begins with token `from - at` of the text. Its first inputs are the
   * tokenizer's `starts`, which shift the tokens of the text behind them.
   */
  readonly onTypes?: (layer: number, from: number, types: Int32Array, at: number) => void;
}

/** What a policy did with one context. */
export interface ContextEvaluation {
  /** The number of tokens that were fed. */
  readonly inputs: number;
  /** The number of tokens that were scored. */
  readonly scored: number;
  /** The sum of their losses, in nats. */
  readonly loss: number;
  /** Visible pairs, the mean over layers and KV heads. */
  readonly visiblePairs: number;
  /** Entries held at the end, the mean over layers and KV heads. */
  readonly live: number;
}

/** What one policy costs, and how well the model does with it. */
export interface Evaluation {
  readonly policy: string;
  /** The number of tokens of the text, without those that its tokenizer puts before texts. */
  readonly tokens: number;
  readonly context: number;
  /** exp of the mean loss per scored token. */
  readonly perplexity: number;
  readonly bitsPerByte: number;
  /** Visible pairs over causal pairs: the mean share of a full cache that is alive. */
  readonly meanLiveShare: number;
  /** Live entries at the ends of the contexts over those of full caches, over all contexts. */
  readonly endLiveShare: number;
  /** The most entries alive at once, summed over heads, over the most that a full cache holds. */
  readonly peakLiveShare: number;
  /** Live entries at the end of the last of the longest contexts, per layer and KV head. */
  readonly live: readonly (readonly number[])[];
  /** Resident bytes at the same point, per layer and KV head. */
  readonly bytes: readonly (readonly number[])[];
  /** The same for a full cache of that length, per KV head. */
  readonly fullEntries: number;
  readonly fullBytesPerHead: number;
  readonly residentBytes: number;
  readonly fullBytes: number;
  readonly msPerToken: number;
  /** The parts of the text, in order. */
  readonly contexts: readonly ContextEvaluation[];
}

/**
 * Decodes a text in sequences of `context` tokens and scores every token that follows another. If the tokenizer puts
 * tokens before texts (`starts`), each sequence begins with them, and all tokens of the text are scored; if it puts
 * none, the first token of each sequence follows nothing and is not scored.
 *
 * @param model The model, whose engine computes.
 * @param text The tokens of the text. Those that the tokenizer puts before texts may be left out.
 * @returns Perplexity, bits per byte, live share, bytes and time.
 * @throws {ValueError} If there are no tokens to score, or the policy needs scorers that the model lacks.
 * @throws {NumericError} If a logit or a result is NaN or infinite.
 * @throws {StoppedError} If `signal` aborts; its `cause` is the reason.
 * @example
 * ```ts
 * import { evaluate, loadModel } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const tokens = model.tokenizer.encode('We the people');
 * const { meanLiveShare } = await evaluate(model, tokens, { policy: { kind: 'full' } });
 * console.log(meanLiveShare); // 1
 * model.dispose();
 * ```
 */
export async function evaluate(model: Model, text: Int32Array, options: EvaluateOptions = {}): Promise<Evaluation> {
  expectModel('model', model);
  expectInt32('text', text);
  record({
    policy: optional(expectPolicy), cache: optional(expectCacheDtype), signal: optional(expectSignal),
    onProgress: optional(of('function')), onTypes: optional(of('function')),
  })('options', options);
  expectKnown('evaluate()', options, ['policy', 'cache', 'context', 'step', 'signal', 'onProgress', 'onTypes']);
  const { policy = model.policy, context = model.config.maxPositions, step = 1, signal, onProgress, onTypes } = options;
  const { cache } = options;
  expectWhole('context', context, 1);
  expectWhole('step', step, 1);
  const { starts } = model.tokenizer;
  // Every context gets the starts below, so drop those that the text brings itself.
  const tokens = repeatsStarts(model.tokenizer, text) ? text.subarray(starts.length) : text;
  if (tokens.length === 0) throw new ValueError('the text to evaluate is empty: pass files with text in them');
  checkIds(tokens, model.config.vocabSize);
  const unscored = starts.length > 0 ? 0 : 1; // tokens per context
  if (Math.min(tokens.length, context) <= unscored) {
    throw new ValueError(`a context of ${Math.min(tokens.length, context)} tokens leaves none to score, since this tokenizer puts no token before texts: pass longer text, or raise the context`);
  }
  const totals = { bytes: 0, peak: 0, peakFull: 0, seconds: 0 };
  const contexts: ContextEvaluation[] = [];
  let ends: CacheStats[] = [];
  let endLength = 0;
  for (let start = 0; start < tokens.length; start += context) {
    const targets = tokens.subarray(start, Math.min(start + context, tokens.length));
    for (const token of targets.subarray(unscored)) totals.bytes += model.tokenizer.byteLength(token);
    const inputs = Int32Array.from([...starts, ...targets.subarray(0, -1)]);
    if (inputs.length === 0) continue; // a single token at the end, which follows nothing
    const session = model.session({ policy, ...(cache && { cache }) });
    let [loss, scored] = [0, 0];
    try {
      for (let at = 0; at < inputs.length; at += step) {
        expectGoing(signal, () => `evaluation was stopped after ${start + at} of ${tokens.length} tokens`);
        const ids = inputs.subarray(at, at + step);
        const begin = performance.now();
        const logits = await session.step(ids, {
          ...(onTypes && { onTypes: (layer: number, types: Int32Array) => onTypes(layer, start + at, types, at) }),
        });
        totals.seconds += (performance.now() - begin) / 1000;
        const V = logits.length / ids.length;
        for (let n = 0; n < ids.length; n++) {
          const target = targets[at + n + 1 - starts.length]; // the token after this input
          if (target === undefined) continue; // another of the starts follows
          loss += negativeLogProbability(logits, n * V, V, target);
          scored++;
        }
        onProgress?.(start + Math.max(0, at + ids.length + 1 - starts.length), tokens.length);
      }
      const stats = await session.stats();
      contexts.push({
        inputs: inputs.length, scored, loss,
        visiblePairs: mean(stats.flatMap((layer) => [...layer.visiblePairs])),
        live: mean(stats.flatMap((layer) => [...layer.live])),
      });
      if (inputs.length >= endLength) {
        [ends, endLength] = [stats, inputs.length];
        const peaks = stats.flatMap((layer) => [...layer.peakLive]);
        totals.peak = Math.max(totals.peak, sum(peaks));
        totals.peakFull = peaks.length * inputs.length;
      }
    } finally {
      session.dispose();
    }
  }
  const all = (of: (context: ContextEvaluation) => number): number => sum(contexts.map(of));
  const [loss, scored] = [all((one) => one.loss), all((one) => one.scored)];
  const perplexity = expectResult('the perplexity', Math.exp(loss / scored), () =>
    `the mean loss is ${loss / scored} nats per token: the model is damaged, or its training diverged`);
  const bitsPerByte = expectResult('bits per byte', loss / Math.LN2 / totals.bytes, () =>
    `the loss is ${loss} nats over ${totals.bytes} bytes: pass tokens that stand for text`);
  const bytes = ends.map((layer) => [...layer.bytes]);
  const entryBytes = await fullEntryBytes(model.engine, model.config, cache);
  const heads = ends.length * model.config.kvHeads;
  return {
    policy: formatPolicy(policy),
    tokens: tokens.length,
    context,
    perplexity,
    bitsPerByte,
    meanLiveShare: all((one) => one.visiblePairs) / all(({ inputs }) => inputs * (inputs + 1) / 2),
    endLiveShare: all((one) => one.live) / all((one) => one.inputs),
    peakLiveShare: totals.peak / totals.peakFull,
    live: ends.map((layer) => [...layer.live]),
    bytes,
    fullEntries: endLength,
    fullBytesPerHead: endLength * entryBytes,
    residentBytes: sum(bytes.flat()),
    fullBytes: endLength * entryBytes * heads,
    msPerToken: (1000 * totals.seconds) / scored,
    contexts,
  };
}

const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);
const mean = (x: readonly number[]): number => sum(x) / x.length;

/** -log softmax(z)[target]. NaN logits give NaN. */
function negativeLogProbability(z: FloatArray, start: number, length: number, target: number): number {
  let max = -Infinity;
  for (let v = 0; v < length; v++) max = Math.max(max, z[start + v]);
  let total = 0;
  for (let v = 0; v < length; v++) total += Math.exp(z[start + v] - max);
  return max + Math.log(total) - z[start + target];
}
