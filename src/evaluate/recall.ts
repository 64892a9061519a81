/**
 * Measures whether a model still knows what it read long ago. Perplexity hides forgetting, but a pass key in long
 * filler reveals it.
 * @module
 */
import { type Expected, expectSignal, finite, list, of, oneOf, optional, record, wholeFrom } from '../core/arguments.ts';
import type { CacheDtype } from '../core/cache.ts';
import { expectCacheDtype } from '../core/checks.ts';
import type { CacheStats } from '../core/engine.ts';
import { expectGoing, ValueError } from '../core/errors.ts';
import { expectPolicy, formatPolicy, type Policy } from '../policies/index.ts';
import { expectKnown } from '../core/known-options.ts';
import { expectModel, type Model } from '../model/model.ts';
import { withStarts } from '../model/tokenizer/tokenizer.ts';
import { type Generator, generator, Stream } from '../core/random.ts';
import { expectWhole } from '../core/shape.ts';

/** `passkey`: one number to remember. `pairs`: several names with their numbers, one of which is asked for. */
export type RecallKind = 'passkey' | 'pairs';

/** A text that ends with a question about a fact in it. */
export interface RecallDocument {
  /** Ends where the answer begins. */
  readonly prompt: string;
  readonly answer: string;
  /** The number of characters from the fact to the answer. */
  readonly distance: number;
}

/** A string, or a text that is read like one, by code units of UTF-16. */
export interface Filler {
  readonly length: number;
  slice(start: number, end: number): string;
}

/** Options of recallDocuments(). */
export interface RecallOptions {
  readonly kind: RecallKind;
  /** How many documents to make. */
  readonly documents: number;
  /** The approximate number of characters of each. */
  readonly length: number;
  /** How many facts a document of kind `pairs` holds. Default: 4. */
  readonly pairs?: number;
  readonly seed?: number;
  /** The text that filler is cut from. Default: sentences of random words. */
  readonly filler?: Filler;
}

/** What a model remembers under one policy, and how much the cache keeps for that. */
export interface Recall {
  readonly policy: string;
  readonly documents: number;
  /** The number of tokens of each document without the answer's last one. */
  readonly lengths: readonly number[];
  /** The mean number of tokens of a document without the answer's last one, rounded. */
  readonly meanTokens: number;
  /** The share of documents for which every token of the answer is the most likely one. */
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

const DIGITS = { passkey: 5, pairs: 3 } as const;
const NAMES = [
  'amber', 'birch', 'cedar', 'delta', 'ember', 'fjord', 'grove', 'heron', 'ivory', 'jade', 'koala', 'lotus', 'maple',
  'nickel', 'olive', 'pearl', 'quartz', 'raven', 'slate', 'topaz', 'umber', 'violet', 'willow', 'yarrow', 'zinc',
] as const;
const WORDS = [
  'the', 'a', 'sea', 'wind', 'ship', 'man', 'old', 'grey', 'went', 'came', 'saw', 'over', 'under', 'and', 'then', 'long',
  'water', 'house', 'night', 'day', 'road', 'stone', 'light', 'slow', 'far', 'home', 'again', 'we', 'they', 'he', 'she',
] as const;

/** A string, or a text that is read like one. */
const expectFiller: Expected = (name, value) => {
  if (typeof value !== 'string') record({ length: wholeFrom(0), slice: of('function') })(name, value);
};

/**
 * Makes documents of filler with facts in it, which end with a question about one of the facts.
 *
 * @returns The documents. The same seed gives the same ones, and asking for more adds to them at the end.
 * @throws {ValueError} If a document has no room for its facts, or there is too little filler.
 * @example
 * ```ts
 * import { recallDocuments } from 'neural-attention-search';
 * const [first] = recallDocuments({ kind: 'passkey', documents: 1, length: 200 });
 * const { prompt, answer } = first!;
 * console.log(prompt.includes(`pass key is ${answer}. `), prompt.endsWith('The pass key is ')); // true true
 * ```
 */
export function recallDocuments(options: RecallOptions): RecallDocument[] {
  record({
    kind: oneOf('passkey', 'pairs'), length: finite, seed: optional(wholeFrom(0)), filler: optional(expectFiller),
  })('options', options);
  expectKnown('recallDocuments()', options, ['kind', 'documents', 'length', 'pairs', 'seed', 'filler']);
  const { kind, documents, length, pairs = 4, seed = 0, filler } = options;
  expectWhole('documents', documents, 1, 2 ** 24);
  expectWhole('length', length, 1, 2 ** 29);
  expectWhole('pairs', pairs, 1);
  if (pairs > NAMES.length) throw new ValueError(`pairs is ${pairs}: there are names for at most ${NAMES.length}`);
  const facts = kind === 'passkey' ? 1 : pairs;
  const least = 60 * (facts + 1);
  if (!(length >= least)) {
    throw new ValueError(`a document of ${length} characters has no room for ${facts} facts: make it ${least} or more`);
  }
  if (filler !== undefined && filler.length < length) {
    throw new ValueError(`the filler has ${filler.length} characters: documents of ${length} need at least as many`);
  }
  const made = { ...options, pairs: facts };
  return Array.from({ length: documents }, (_, n) => document(generator(seed, [Stream.RECALL, n]), made));
}

function document(random: Generator, { kind, length, pairs = 1, filler }: RecallOptions): RecallDocument {
  const digits = (): string => Array.from({ length: DIGITS[kind] }, () => random.below(10)).join('');
  const names = shuffled(random).slice(0, pairs);
  const facts = names.map((name) => ({ name, answer: digits() }));
  const say = ({ name, answer }: { name: string; answer: string }): string =>
    kind === 'passkey' ? `The pass key is ${answer}. ` : `The key of ${name} is ${answer}. `;
  const asked = facts[random.below(facts.length)];
  const question = say(asked).slice(0, -(asked.answer.length + 2));
  const room = length - facts.reduce((sum, fact) => sum + say(fact).length, 0) - question.length;
  const text = filler === undefined ? sentences(random, room) : piece(random, filler, room);
  // Facts go between sentences, at places drawn uniformly.
  const ends = [0, ...[...text.matchAll(/[.!?]\s+/g)].map((match) => match.index + match[0].length)];
  const places = facts.map((fact) => ({ fact, at: ends[random.below(ends.length)] })).sort((a, b) => a.at - b.at);
  let [prompt, from, told] = ['', 0, 0];
  for (const { fact, at } of places) {
    prompt += text.slice(from, at);
    if (fact === asked) told = prompt.length;
    prompt += say(fact);
    from = at;
  }
  prompt += `${text.slice(from).trimEnd()} ${question}`;
  return { prompt, answer: asked.answer, distance: prompt.length - told };
}

function shuffled(random: Generator): string[] {
  const names: string[] = [...NAMES];
  for (let n = names.length - 1; n > 0; n--) {
    const other = random.below(n + 1);
    [names[n], names[other]] = [names[other], names[n]];
  }
  return names;
}

function sentences(random: Generator, room: number): string {
  let text = '';
  while (text.length < room) {
    const words = Array.from({ length: 4 + random.below(6) }, () => WORDS[random.below(WORDS.length)]);
    const sentence = words.join(' ');
    text += `${sentence[0].toUpperCase()}${sentence.slice(1)}. `;
  }
  return text.slice(0, Math.max(0, text.lastIndexOf('. ', room - 2) + 2));
}

function piece(random: Generator, filler: Filler, room: number): string {
  const begin = random.below(Math.max(1, filler.length - room));
  const cut = filler.slice(begin, begin + room);
  of('string')('what the filler\'s slice() returned', cut);
  return cut.replace(/\s+/g, ' ').replaceAll(/[\uD800-\uDBFF]$|^[\uDC00-\uDFFF]/g, '');
}

const DOCUMENTS: Expected = (name, value) => {
  list(record({ prompt: of('string'), answer: of('string'), distance: optional(finite) }))(name, value);
};

/**
 * The text to train on: every prompt with its answer, one per line.
 *
 * @example
 * ```ts
 * import { recallDocuments, recallText } from 'neural-attention-search';
 * const text = recallText(recallDocuments({ kind: 'pairs', documents: 3, length: 400 }));
 * console.log(text.split('\n').length); // 4
 * ```
 */
export function recallText(documents: readonly RecallDocument[]): string {
  DOCUMENTS('documents', documents);
  return documents.map(({ prompt, answer }) => `${prompt}${answer}.\n`).join('');
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
  DOCUMENTS('documents', documents);
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
    policy: formatPolicy(policy), documents: documents.length, byDistance, lengths,
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
