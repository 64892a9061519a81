/**
 * Recipes: what a case is made of, as plain data, and the checks on it.
 * @module
 */
import type { MaskGradientRule } from '../../core/training-engine.ts';
import { ValueError } from '../../core/errors.ts';
import { expectKnown } from '../../core/known-options.ts';
import { chunkCount, TokenType } from '../../core/lifetime.ts';
import { expectPositive, expectWhole } from '../../core/shape.ts';
import type { CaseParameters } from '../types.ts';

/** Types chosen by scores that are drawn (§6): the types and dscores become truths. */
export interface ScoredTypes {
  /** `spread`: multiples of 1/16. `tied`: 0 or 1. `near`: 0 or 2^-14, distinct, but not as float32 probabilities. */
  readonly scores: 'spread' | 'tied' | 'near';
  /** Whether noise is added, as in training. */
  readonly noise: boolean;
  /** Which chunks are GLOBAL whatever their scores: the first, or the first and the last (§2). */
  readonly forced?: 'first' | 'ends';
}

/** Types given as letters G, L, W, one string per KV head. Short strings repeat, and heads take the strings in turn. */
export interface GivenTypes {
  readonly pattern: readonly string[];
}

/**
 * How q and k are drawn. `normal`: S is a few units. `flat`: S = 0. `sharp`: S is some tens. `rising`, `falling`: S
 * climbs or falls by 128 scale along the keys. `large`: S is about 1e4. `close`: S is 1e4 or -1e4, and differs between
 * keys by 1e-3. `equal-keys`, `equal-queries`: S = 0, as k or q is 0, and all terms of the sums in out, dv and dk, or
 * in dq, have one sign, so that sums in a narrow dtype stop growing.
 */
export type Logits =
  'normal' | 'flat' | 'sharp' | 'rising' | 'falling' | 'large' | 'close' | 'equal-keys' | 'equal-queries';

/** NaN or infinities written over keys and values of batch 0, KV head 0. Such a case has no gradients. */
export interface Poison {
  readonly with: 'nan' | 'infinity';
  readonly positions: readonly number[];
}

/** What, together with a seed, makes a case. */
export interface Recipe {
  /** [a-z0-9-]+. Names the file, and seeds the draws unless `draws` does. */
  readonly name: string;
  /** Which mistakes it is meant to catch. */
  readonly why: string;
  /** Cases with the same `draws`, sizes and hints have the same inputs. */
  readonly draws?: string;
  /** Default 1. */
  readonly batch?: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly tokens: number;
  readonly headDim: number;
  readonly window: number;
  /** Default 1. */
  readonly chunk?: number;
  /** Default 1 / sqrt(headDim). */
  readonly scale?: number;
  /** Default `bounded`. */
  readonly rule?: MaskGradientRule;
  /** Default 1. Powers of two keep the arguments of the softmax exact. */
  readonly temperature?: number;
  /** Default 0. */
  readonly price?: number;
  readonly types: ScoredTypes | GivenTypes;
  /** Default `normal`. */
  readonly logits?: Logits;
  readonly poison?: Poison;
  /** Whether there is a dout, and so gradients. Default: true unless there is poison. */
  readonly backward?: boolean;
  /** Rounds q, k, v and dout to this, so that they are exact in both fp8 formats too. */
  readonly exact?: 'e5m2';
  /** How many tokens each step of the cache run takes in. Default: no cache run. */
  readonly steps?: readonly number[];
}

/** The numbers of a recipe, with defaults filled in. */
export function parametersOf(recipe: Recipe): CaseParameters {
  const { queryHeads, kvHeads, tokens, headDim, window } = recipe;
  return {
    batch: recipe.batch ?? 1, queryHeads, kvHeads, tokens, headDim, window, chunk: recipe.chunk ?? 1,
    scale: recipe.scale ?? 1 / Math.sqrt(headDim), rule: recipe.rule ?? 'bounded',
    temperature: recipe.temperature ?? 1, price: recipe.price ?? 0, steps: recipe.steps ?? [],
  };
}

const PARAMETERS = [
  'batch', 'queryHeads', 'kvHeads', 'tokens', 'headDim', 'window', 'chunk', 'scale', 'rule', 'temperature', 'price',
  'steps',
] satisfies (keyof CaseParameters)[];

/**
 * @throws {ValueError} If a number is out of range, the steps do not sum to N, or a case has no such parameter, such as
 *   a second window: the truths would be those without it.
 */
export function checkParameters(parameters: CaseParameters): void {
  expectKnown('a case', parameters, PARAMETERS, 'parameter');
  const { queryHeads: H, kvHeads: G, tokens: N, scale, rule, temperature, price, steps } = parameters;
  for (const name of ['batch', 'queryHeads', 'kvHeads', 'tokens', 'headDim', 'chunk'] as const) {
    expectWhole(name, parameters[name], 1);
  }
  expectWhole('window', parameters.window, 0);
  if (H % G !== 0) throw new ValueError(`${H} query heads over ${G} KV heads: make the first a multiple of the second`);
  expectPositive('temperature', temperature);
  if (!Number.isFinite(scale)) throw new ValueError(`scale is ${scale}: it must be finite`);
  if (!(price >= 0) || !Number.isFinite(price)) throw new ValueError(`price is ${price}: it must be finite, 0 or more`);
  if (rule !== 'exact' && rule !== 'bounded') throw new ValueError(`rule is ${String(rule)}: it must be 'exact' or 'bounded'`);
  for (const step of steps) expectWhole('a step', step, 1);
  const sum = steps.reduce((a, b) => a + b, 0);
  if (steps.length > 0 && sum !== N) throw new ValueError(`the steps take in ${sum} tokens but there are ${N}: make them sum to ${N}`);
}

/** The types [G,Nc] that the letters stand for. @throws {ValueError} If a letter is none of G, L, W. */
export function typesOf({ pattern }: GivenTypes, { kvHeads, tokens, chunk }: CaseParameters): Int32Array {
  const chunks = chunkCount(tokens, chunk);
  const letters = { G: TokenType.GLOBAL, L: TokenType.LOCAL, W: TokenType.WINDOW };
  return Int32Array.from({ length: kvHeads * chunks }, (_, n) => {
    const head = pattern[Math.floor(n / chunks) % pattern.length] ?? '';
    const letter = head[(n % chunks) % head.length] ?? '';
    if (!Object.hasOwn(letters, letter)) throw new ValueError(`a type is '${letter}': patterns consist of G, L and W`);
    return letters[letter as keyof typeof letters];
  });
}
