/**
 * Measures whether a model still knows what it read long ago. Perplexity hides forgetting, but a pass key in long
 * filler reveals it.
 * @module
 */
import { expectSignal, of, optional, record } from '../../core/arguments.ts';
import type { CacheDtype } from '../../core/cache.ts';
import { expectCacheDtype } from '../../core/checks.ts';
import type { CacheStats } from '../../core/engine.ts';
import { expectGoing, ValueError } from '../../core/errors.ts';
import { expectKnown } from '../../core/known-options.ts';
import { expectWhole } from '../../core/shape.ts';
import { expectModel, type Model } from '../../model/model.ts';
import { withStarts } from '../../model/tokenizer/tokenizer.ts';
import { expectPolicy, formatPolicy, type Policy } from '../../policies/index.ts';
import { expectDocuments, type RecallDocument } from './documents.ts';

/** What a model remembers under one policy, and how much the cache keeps for that. */
export interface Recall {
  readonly policy: string;
  readonly documents: number;
  /** The number of tokens of each document without the answer's last one. */
  readonly lengths: readonly number[];
  /** The mean number of tokens of a document without the answer's last one, rounded. */
  readonly meanTokens: number;
  /** For each document, whether every token of the answer is the most likely one. */
  readonly right: readonly boolean[];
  /** The share of documents that are right. */
  readonly accuracy: number;
  /** The share of the answers' tokens that are the most likely ones. */
  readonly tokenAccuracy: number;
  /** The accuracy and the mean distance of each quarter of the documents, nearest first. */
  readonly byDistance: readonly { readonly distance: number; readonly accuracy: number }[];
  /** Visible pairs over causal pairs. */
  readonly meanLiveShare: number;
  /** The entries held at the question over those of a full cache. */
  readonly residentShare: number;
}

/**
 * Asks the questions, decoding through the real cache. A token of an answer is right if it is the most likely one after
 * the prompt and the true tokens before it.
 *
 * @param options.policy What the cache keeps. Default: what the model was trained with.
 * @param options.cache The dtype of keys and values in the cache. Default: chosen by the engine.
 * @param options.step Tokens fed at once. Affects speed, never results. Default: 64.
 * @returns The shares of right answers, and of the cache that was kept for them.
 * @throws {ValueError} If there are no documents, or an answer has no tokens.
 * @throws {StoppedError} If `signal` aborts; its `cause` is the reason.
 * @example
 * ```ts
 * import { loadModel, measureRecall, recallDocuments } from 'neural-attention-search';
 * const model = await loadModel('models/nats');
 * const documents = recallDocuments({ kind: 'passkey', documents: 1, length: 200 });
 * const { residentShare } = await measureRecall(model, documents, { policy: { kind: 'full' } });
 * console.log(residentShare); // 1
 * model.dispose();
 * ```
 */
export async function measureRecall(
  model: Model, documents: readonly RecallDocument[],
  options: {
    policy?: Policy; cache?: CacheDtype; step?: number; signal?: AbortSignal;
    onProgress?: (done: number, total: number) => void;
  } = {},
): Promise<Recall> {
  expectModel('model', model);
  expectDocuments('documents', documents);
  record({
    policy: optional(expectPolicy), cache: optional(expectCacheDtype), signal: optional(expectSignal),
    onProgress: optional(of('function')),
  })('options', options);
  expectKnown('measureRecall()', options, ['policy', 'cache', 'step', 'signal', 'onProgress']);
  const { policy = model.policy, cache, step = 64, signal, onProgress } = options;
  expectWhole('step', step, 1);
  if (documents.length === 0) throw new ValueError('there are no documents to ask about: pass at least one');
  const lengths: number[] = [];
  let [tokens, rightTokens, inputs, visible, causal, entries, all] = [0, 0, 0, 0, 0, 0, 0];
  const right: boolean[] = [];
  for (const [n, { prompt, answer }] of documents.entries()) {
    expectGoing(signal, () => `the questions were stopped after ${n} of ${documents.length}`);
    const asked = withStarts(model.tokenizer, model.tokenizer.encode(prompt));
    if (asked.length === 0) throw new ValueError(`document ${n} has a prompt without tokens`);
    // The answer's own tokens: encoded together with the prompt, it might be split differently.
    const wanted = model.tokenizer.encode(answer);
    if (wanted.length === 0) throw new ValueError(`document ${n} has an answer without tokens`);
    const ids = Int32Array.from([...asked, ...wanted.subarray(0, -1)]);
    const session = model.session({ policy, ...(cache && { cache }) });
    try {
      let hits = 0;
      for (let at = 0; at < ids.length; at += step) {
        const fed = ids.subarray(at, at + step);
        const logits = await session.step(fed);
        const V = logits.length / fed.length;
        for (let t = Math.max(0, asked.length - 1 - at); t < fed.length; t++) {
          if (best(logits.subarray(t * V, (t + 1) * V)) === wanted[at + t - asked.length + 1]) hits++;
        }
      }
      right.push(hits === wanted.length);
      rightTokens += hits;
      tokens += wanted.length;
      inputs += ids.length;
      lengths.push(ids.length);
      const stats = await session.stats();
      for (const layer of stats) {
        visible += total(layer.visiblePairs);
        causal += layer.visiblePairs.length * ids.length * (ids.length + 1) / 2;
      }
      entries += total(stats.flatMap((layer: CacheStats) => [...layer.live]));
      all += stats.length * model.config.kvHeads * ids.length;
    } finally {
      session.dispose();
    }
    onProgress?.(n + 1, documents.length);
  }
  const order = documents.map(({ distance }, n) => ({ distance, right: right[n] }))
    .sort((a, b) => a.distance - b.distance);
  const quarters = Math.min(4, order.length);
  const byDistance = Array.from({ length: quarters }, (_, q) => {
    const own = order.slice(Math.floor(q * order.length / quarters), Math.floor((q + 1) * order.length / quarters));
    const distance = total(own.map((each) => each.distance)) / own.length;
    return { distance, accuracy: share(own.map((each) => each.right)) };
  });
  return {
    policy: formatPolicy(policy), documents: documents.length, byDistance, lengths, right,
    meanTokens: Math.round(inputs / documents.length),
    accuracy: share(right), tokenAccuracy: rightTokens / tokens,
    meanLiveShare: visible / causal, residentShare: entries / all,
  };
}

function best(logits: ArrayLike<number>): number {
  let at = 0;
  for (let n = 1; n < logits.length; n++) if (logits[n] > logits[at]) at = n;
  return at;
}

const total = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
const share = (hits: readonly boolean[]): number => hits.filter(Boolean).length / hits.length;
