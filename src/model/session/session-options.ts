/**
 * What a session is made from, and how tokens are fed to it.
 * @module
 */
import type { CacheDtype } from '../../core/cache.ts';
import type { Engine } from '../../core/engine.ts';
import type { Policy } from '../../policies/index.ts';
import type { ModelConfig } from '../config/config.ts';
import type { Weights } from '../decoder.ts';

/** How a session keeps its cache. */
export interface SessionOptions {
  /** The number of sequences that are decoded together. Default: 1. */
  readonly batch?: number;
  /** What the cache keeps. Default: the policy that the model was trained with. */
  readonly policy?: Policy;
  /** Entries per allocation block. Default: 16. */
  readonly blockSize?: number;
  /** The dtype of keys and values. Default: the first in the `stores.cache` of the engine. */
  readonly cache?: CacheDtype;
}

/** The names of the options. */
export const SESSION_OPTIONS: readonly (keyof SessionOptions)[] = ['batch', 'policy', 'blockSize', 'cache'];

/**
 * Which logits a step computes: those of all its tokens, those of the last token that each sequence took, or none.
 * Logits that are not requested take no time, although the head is the largest product of a small model.
 */
export type LogitsWanted = 'all' | 'last' | 'none';

/** How to feed tokens. */
export interface StepOptions {
  /** Sequence b uses its first counts[b] tokens. Default: all T. */
  readonly counts?: readonly number[];
  /** Called for each layer with the types chosen, integers [batch,G,nc]. It is never called under a budget. */
  readonly onTypes?: (layer: number, types: Int32Array) => void;
  /** Which logits to compute. Default: 'all'. */
  readonly logits?: LogitsWanted;
}

/** What a session needs from the model that makes it. */
export interface SessionModel {
  readonly engine: Engine;
  readonly config: ModelConfig;
  readonly weights: Weights;
  /** The model's hash, for snapshots. */
  hash(): Promise<string>;
}
