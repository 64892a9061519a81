/**
 * How to continue a prompt: the options, what they must be, and what holds where none is given.
 * @module
 */
import { ValueError } from '../../core/errors.ts';
import { expectWhole } from '../../core/shape.ts';
import { formatPolicy, type Policy } from '../../policies/index.ts';
import type { GenerationDefaults } from '../config/generation-config.ts';
import { expectKnown } from '../../core/known-options.ts';
import type { Sampling } from './sampler.ts';
import type { Session } from '../session/session.ts';

/**
 * How to continue a prompt. Where an option is left out, what the model's generation_config.json says holds; where
 * that says nothing either, the default that is told here.
 */
export interface GenerateOptions {
  /** Most tokens to make (default 128). */
  readonly maxNewTokens?: number;
  /** Divides the logits (default 1); 0 picks the likeliest token. */
  readonly temperature?: number;
  /** Sample among the k likeliest tokens (default: all). */
  readonly topK?: number;
  /** Sample among the fewest likeliest tokens that have this share of the probability (default 1: all). */
  readonly topP?: number;
  /** Sample among tokens with at least this share of the likeliest one's probability (default 0: all). */
  readonly minP?: number;
  /** Makes every token of prompt and continuation less likely by this factor, as Hugging Face does (default 1). */
  readonly repetitionPenalty?: number;
  /** Texts at which the continuation ends: what comes before is given, the stop itself is not. */
  readonly stop?: string | readonly string[];
  /** Names the random stream (default 0). */
  readonly seed?: number;
  /** What the cache keeps (default: as trained). With `session`, the session says it. */
  readonly policy?: Policy;
  /** Aborting ends with a StoppedError, whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal;
  /** Prompt tokens fed per step (default: as the engine likes): peak memory of the prompt follows it. */
  readonly prefillStep?: number;
  /**
   * A session to go on from: nothing that it has read is read again, the prompts come after it, and a prompt gets
   * its tokenizer's starts only where its sequence is still empty. The session stays open. When `generate()` is over,
   * however it ended, the session has read every token that was picked, the last one and one that ends a text included;
   * only a prompt that was interrupted is read in part. A prompt without tokens goes on where the last one ended.
   */
  readonly session?: Session;
  /** With it, onToken gets log-probabilities: of the token picked, and of this many of the likeliest (0 to 100). */
  readonly logprobs?: number;
  /** Called with every token as it is picked, before its text is given. */
  readonly onToken?: (token: GeneratedToken) => void;
  /** Called while prompts are read, with tokens done and tokens in all of the longest prompt. */
  readonly onPrompt?: (done: number, total: number) => void;
  /** Called after every step with the session, to look at its caches. */
  readonly onStep?: (session: Session) => void | Promise<void>;
}

/** A token and its natural log-probability. */
export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A token that was picked. Log-probabilities are there if they were asked for. */
export interface GeneratedToken {
  readonly sequence: number;
  readonly token: number;
  /** By the model's own distribution: before penalty, temperature and the filters. */
  readonly logprob?: number;
  /** The likeliest tokens of that distribution, likeliest first. */
  readonly top?: readonly TokenLogprob[];
}

const NAMES = [
  'maxNewTokens', 'temperature', 'topK', 'topP', 'minP', 'repetitionPenalty', 'stop', 'seed', 'policy', 'signal',
  'prefillStep', 'session', 'logprobs', 'onToken', 'onPrompt', 'onStep',
] as const satisfies readonly (keyof GenerateOptions)[];

/** How to sample and when to end, with every gap filled. */
export interface Generation {
  /** Most new tokens after a prompt of this length. */
  readonly maxNewTokens: (promptTokens: number) => number;
  readonly sampling: Sampling;
  readonly stop: readonly string[];
}

/** What holds where neither the caller nor the model's generation_config.json says anything. */
export const GENERATE_DEFAULTS = { maxNewTokens: 128, temperature: 1 } as const;

/** Fills the gaps of `options` from `file`, and those that are left with the defaults. */
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
 * @throws {ValueError} If one is not known, of the wrong type, or out of range.
 */
export function checkGenerateOptions(options: GenerateOptions): void {
  expectKnown('generate()', options, NAMES);
  const { maxNewTokens, temperature, topK, topP, minP, repetitionPenalty, seed, prefillStep, stop, signal } = options;
  const { logprobs, session, policy } = options;
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
    if (text === '') throw new ValueError('stop holds an empty text, at which everything would end: leave it out');
  }
  if (logprobs !== undefined) expectWhole('logprobs', logprobs, 0);
  if (logprobs !== undefined && logprobs > 100) throw new ValueError(`logprobs is ${logprobs}: at most 100 tokens are told`);
  for (const name of ['onStep', 'onToken', 'onPrompt'] as const) {
    const callback: unknown = options[name];
    if (callback !== undefined && typeof callback !== 'function') throw new ValueError(`${name} is a ${typeof callback}: pass a function`);
  }
  if (session && policy && formatPolicy(policy) !== formatPolicy(session.policy)) {
    throw new ValueError(`the policy is ${formatPolicy(policy)} but the session was made with ${formatPolicy(session.policy)}: leave policy out`);
  }
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.aborted !== 'boolean') {
    throw new ValueError('signal is no AbortSignal: pass the signal of an AbortController');
  }
}

function expectNumber(name: string, value: unknown, fits: (value: number) => boolean, must: string): void {
  if (value === undefined) return;
  if (typeof value === 'number' && Number.isFinite(value) && fits(value)) return;
  throw new ValueError(`${name} is ${typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : String(value)}: it must be ${must}`);
}

/** The stops as a list. */
export function stopsOf(stop: GenerateOptions['stop']): readonly string[] {
  if (stop === undefined || typeof stop === 'string') return stop === undefined ? [] : [stop];
  if (Array.isArray(stop)) return stop as readonly string[];
  throw new ValueError(`stop is a ${typeof stop}: pass a text, or a list of texts`);
}
