/**
 * The options for continuing a prompt, the checks on them, and their defaults.
 * @module
 */
import { optional } from '../../core/arguments.ts';
import type { CacheDtype } from '../../core/cache.ts';
import { expectCacheDtype } from '../../core/checks.ts';
import { described } from '../../core/described.ts';
import { ValueError } from '../../core/errors.ts';
import { expectWhole } from '../../core/shape.ts';
import { formatPolicy, type Policy } from '../../policies/index.ts';
import type { GenerationDefaults } from '../config/generation-config.ts';
import { expectKnown } from '../../core/known-options.ts';
import type { Sampling } from './sampler.ts';
import type { Session } from '../session/session.ts';

/**
 * How to continue a prompt. An option that is left out is taken from the model's generation_config.json, or if that
 * says nothing either, has the default given here.
 */
export interface GenerateOptions {
  /** The most tokens to generate. Default: 128. */
  readonly maxNewTokens?: number;
  /** Divides the logits; 0 always takes the most likely token. Default: 1. */
  readonly temperature?: number;
  /** Sample among the k most likely tokens. Default: all. */
  readonly topK?: number;
  /** Sample among the fewest most likely tokens that together have this share of the probability. Default: 1, all. */
  readonly topP?: number;
  /** Sample among tokens with at least this share of the probability of the most likely one. Default: 0, all. */
  readonly minP?: number;
  /** Makes every token of prompt and continuation less likely by this factor, as Hugging Face does. Default: 1. */
  readonly repetitionPenalty?: number;
  /** Texts at which the continuation stops. It includes what comes before a stop, but not the stop itself. */
  readonly stop?: string | readonly string[];
  /** Seeds the random numbers. Default: 0. */
  readonly seed?: number;
  /** What the cache keeps. Default: what the model was trained with, or with `session`, what the session keeps. */
  readonly policy?: Policy;
  /** The dtype of keys and values in the cache. Default: the first in the `stores.cache` of the engine. */
  readonly cache?: CacheDtype;
  /** Aborting it ends with a StoppedError, whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal;
  /** Prompt tokens fed per step. Affects speed and peak memory, never results. Default: chosen by the engine. */
  readonly prefillStep?: number;
  /**
   * A session to continue. What it has read is not read again, the prompts follow it, and a prompt gets the tokenizer's
   * starts only if its sequence is still empty. The session stays open. When `generate()` is over, however it ended,
   * the session has read every token that was picked, including the last one and one that ends a text; only a prompt
   * that was interrupted is read in part. A prompt without tokens continues where the last one ended.
   */
  readonly session?: Session;
  /** Makes onToken get log-probabilities: of the token picked, and of this many of the most likely ones (0 to 100). */
  readonly logprobs?: number;
  /** Called with every token as soon as it is picked, before its text. */
  readonly onToken?: (token: GeneratedToken) => void;
  /** Called while prompts are read, with the tokens done and the tokens in all of the longest prompt. */
  readonly onPrompt?: (done: number, total: number) => void;
  /** Called after every step with the session, to look at its caches. */
  readonly onStep?: (session: Session) => void | Promise<void>;
}

/** A token and its natural log-probability. */
export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A token that was picked, with log-probabilities if they were requested. */
export interface GeneratedToken {
  readonly sequence: number;
  readonly token: number;
  /** By the model's own distribution, before penalty, temperature and filters. */
  readonly logprob?: number;
  /** The most likely tokens of that distribution, in descending order. */
  readonly top?: readonly TokenLogprob[];
}

const NAMES = [
  'maxNewTokens', 'temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'stop', 'seed', 'policy', 'cache', 'signal',
  'prefillStep', 'session', 'logprobs', 'onToken', 'onPrompt', 'onStep',
] as const satisfies readonly (keyof GenerateOptions)[];

/** How to sample and when to end, with every gap filled. */
export interface Generation {
  /** The most new tokens after a prompt of this length. */
  readonly maxNewTokens: (promptTokens: number) => number;
  readonly sampling: Sampling;
  readonly stop: readonly string[];
}

/** The defaults if neither the caller nor the model's generation_config.json says anything. */
export const GENERATE_DEFAULTS = { maxNewTokens: 128, temperature: 1 } as const;

/** Fills gaps in `options` from `file`, and remaining gaps with the defaults. */
export function fillOptions(
  options: GenerateOptions, file: Omit<GenerationDefaults, 'unsupported'> = {},
  otherwise: { readonly maxNewTokens: number; readonly temperature: number } = GENERATE_DEFAULTS,
): Generation {
  const asksToSample = [options.topK, options.topP, options.minP].some((each) => each !== undefined);
  const temperature = file.temperature === 0 && asksToSample ? undefined : file.temperature;
  const { maxNewTokens = file.maxNewTokens } = options;
  return {
    maxNewTokens: (promptTokens) => {
      if (maxNewTokens !== undefined || file.maxLength === undefined) return maxNewTokens ?? otherwise.maxNewTokens;
      return Math.max(1, file.maxLength - promptTokens);
    },
    sampling: {
      temperature: options.temperature ?? temperature ?? otherwise.temperature,
      topK: options.topK ?? file.topK,
      topP: options.topP ?? file.topP,
      minP: options.minP ?? file.minP,
      repetitionPenalty: options.repetitionPenalty ?? file.repetitionPenalty,
    },
    stop: options.stop === undefined ? file.stop ?? [] : stopsOf(options.stop),
  };
}

/**
 * Checks the options that a caller gave.
 *
 * @throws {ValueError} If one is unknown, of the wrong type, or out of range.
 */
export function checkGenerateOptions(options: GenerateOptions): void {
  expectKnown('generate()', options, NAMES);
  const { maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, seed, prefillStep, stop, signal } = options;
  const { logprobs, session, policy, cache } = options;
  optional(expectCacheDtype)('cache', cache);
  if (maxNewTokens !== undefined) expectWhole('maxNewTokens', maxNewTokens, 1);
  if (prefillStep !== undefined) expectWhole('prefillStep', prefillStep, 1);
  if (topK !== undefined) expectWhole('topK', topK, 1);
  expectNumber('temperature', temperature, (t) => t >= 0, 'a finite number, 0 or more');
  expectNumber('topP', topP, (p) => p > 0 && p <= 1, 'above 0 and at most 1');
  expectNumber('minP', minP, (p) => p >= 0 && p <= 1, 'a number from 0 to 1');
  expectNumber('repetitionPenalty', repetitionPenalty, (p) => p > 0, 'a finite number above 0');
  expectNumber('seed', seed, Number.isSafeInteger, 'a whole number');
  for (const text of stopsOf(stop)) {
    if (typeof text !== 'string') throw new ValueError(`stop holds a ${typeof text}: pass a text, or a list of texts`);
    if (text === '') throw new ValueError('stop holds an empty text, at which everything would stop: leave it out');
  }
  if (logprobs !== undefined) expectWhole('logprobs', logprobs, 0);
  if (logprobs !== undefined && logprobs > 100) throw new ValueError(`logprobs is ${logprobs}: it must be at most 100`);
  for (const name of ['onStep', 'onToken', 'onPrompt'] as const) {
    const callback: unknown = options[name];
    if (callback !== undefined && typeof callback !== 'function') throw new ValueError(`${name} is a ${typeof callback}: pass a function`);
  }
  if (session && policy && formatPolicy(policy) !== formatPolicy(session.policy)) {
    throw new ValueError(`the policy is ${formatPolicy(policy)} but the session was made with ${formatPolicy(session.policy)}: leave policy out`);
  }
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.aborted !== 'boolean') {
    throw new ValueError('signal is not an AbortSignal: pass the signal of an AbortController');
  }
}

function expectNumber(name: string, value: unknown, fits: (value: number) => boolean, must: string): void {
  if (value === undefined) return;
  if (typeof value === 'number' && Number.isFinite(value) && fits(value)) return;
  throw new ValueError(`${name} is ${typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : described(value)}: it must be ${must}`);
}

/** The stops as a list. */
export function stopsOf(stop: GenerateOptions['stop']): readonly string[] {
  if (stop === undefined || typeof stop === 'string') return stop === undefined ? [] : [stop];
  if (Array.isArray(stop)) return stop as readonly string[];
  throw new ValueError(`stop is a ${typeof stop}: pass a text, or a list of texts`);
}
