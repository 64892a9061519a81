/**
 * The oracle's plain objects: a case (inputs and truths), and the report on someone's outputs for it.
 *
 * Names of tensors, and their shapes; B batch, H query heads, G KV heads, N tokens, d head size, C chunk size,
 * Nc = ceil(N / C) chunks, R steps of a cache run:
 *
 *     inputs   q, dout [B,H,N,d]   k, v [B,G,N,d]   scores, noise [B,G,Nc,3]   forced [B,Nc]   types [B,G,Nc]
 *     search   types [B,G,Nc] (an output if scores are an input)               §6
 *     life     last [B,G,N]   mask [B,G,N,N] (left out when N > 300)           §2
 *     forward  out [B,H,N,d]   lse [B,H,N]                                     §3
 *     backward dq [B,H,N,d]   dk, dv [B,G,N,d]                                 §4
 *     types    dm_rows [B,G,N]: sum over j <= i of dM[i,j], over the group     §4
 *              dg, dl, dw [B,G,Nc] (§5)   dscores [B,G,Nc,3] (§6, §7)
 *     cache    cache_out [B,H,N,d]   cache_live [R,B,G,N]: 1 where position j is held after step r's eviction
 *              cache_closed_by [B,G,N]: the position whose GLOBAL closed LOCAL j, or -1
 *              cache_evicted_at [B,G,N]: the step at whose end j was evicted, or -1
 *              cache_bytes [R,B,G]: bytes resident after step r                §8
 * @module
 */
import type { MaskGradientRule } from '../core/training-engine.ts';
import type { NamedTensor } from '../formats/named-tensor.ts';

/** Tensors by name. */
export type Tensors = Readonly<Record<string, NamedTensor>>;

/** An arithmetic that outputs claim: where a kernel keeps P, dS and its results. It accumulates in f32 or wider. */
export type ClaimedDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/** The numbers of a case that are not tensors. */
export interface CaseParameters {
  readonly batch: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly tokens: number;
  readonly headDim: number;
  /** W (§2), in tokens. */
  readonly window: number;
  /** C (§2), in tokens. */
  readonly chunk: number;
  /** Multiplies q . k. */
  readonly scale: number;
  /** How dM weighs hidden keys (§4). */
  readonly rule: MaskGradientRule;
  /** tau (§6); 1 if types are given. */
  readonly temperature: number;
  /** K of §7: added to (dg, dl, dw) times the kept pairs before dscores; 0 for none. dg, dl and dw are without it. */
  readonly price: number;
  /** Tokens that each step of the cache run takes in (§8), which sum to N; none: no cache run. */
  readonly steps: readonly number[];
}

/** Positions of a truth that are not compared, because what they see is NaN or infinite there. */
export type NotCompared = Readonly<Record<string, readonly number[]>>;

/** Inputs, and what the algorithm makes of them. */
export interface OracleCase {
  readonly name: string;
  /** Which mistakes it is after. */
  readonly why: string;
  readonly parameters: CaseParameters;
  readonly inputs: Tensors;
  /** Truths, float64 or integer, in the order in which the algorithm computes them. */
  readonly expected: Tensors;
  /** By truth: flat indices that may hold anything. */
  readonly notCompared: NotCompared;
}

/** How far one output lies from its truth. */
export interface TensorReport {
  readonly name: string;
  /** `skipped` only if the caller did not ask for it. */
  readonly status: 'pass' | 'fail' | 'missing' | 'wrong shape' | 'wrong dtype' | 'skipped';
  /** What to say beyond the numbers, such as both shapes. */
  readonly note?: string;
  /** Where the budget comes from, in words. */
  readonly budget?: string;
  readonly compared: number;
  readonly failed: number;
  /** NaN where the truth is a number. */
  readonly nan: number;
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  /** In units in the last place of the dtype that the outputs claim, at the truth. */
  readonly maxUlps: number;
  /** Largest error / budget, its flat index, and the budget there. */
  readonly worst: { readonly ratio: number; readonly at: number; readonly budget: number } | undefined;
  /** First failing flat index in the tensor's order. */
  readonly first: number | undefined;
}

/** Where the outputs first leave the algorithm. */
export interface Divergence {
  readonly tensor: string;
  readonly index: readonly number[];
  readonly batch?: number;
  readonly head?: number;
  readonly kvHead?: number;
  readonly query?: number;
  readonly key?: number;
  readonly step?: number;
  readonly expected: number;
  readonly actual: number;
}

/** What is wrong, as far as the outputs tell. */
export interface Diagnosis {
  /** Wrong visibility, wrong formula, too little precision, or no numbers at all. */
  readonly cause: 'mask' | 'arithmetic' | 'rounding' | 'nan' | 'types' | 'cache' | 'unusable';
  /** One of DIAGNOSES, or 'unknown'. */
  readonly name: string;
  /** Every name that explains these outputs as well, `name` first. */
  readonly candidates: readonly string[];
  /** One line for people: "batch 0, KV head 1, query 517 still sees key 260: ... Looks like: ...". */
  readonly words: string;
}

/** The verdict on one case. */
export interface CaseReport {
  readonly case: string;
  readonly pass: boolean;
  readonly dtype: ClaimedDtype;
  readonly tensors: readonly TensorReport[];
  readonly divergence?: Divergence;
  readonly diagnosis?: Diagnosis;
}

/** The order in which the algorithm computes. */
export const OUTPUT_ORDER = [
  'types', 'last', 'mask', 'out', 'lse', 'dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'dscores',
  'cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes',
] as const;
/** The name of an output. */
export type OutputName = (typeof OUTPUT_ORDER)[number];

/** N beyond which no mask is written: it takes N x N bytes per head. */
export const MOST_MASK_TOKENS = 300;
/** cache_bytes counts key and value in float32 and nothing else. */
export const bytesPerEntry = (headDim: number): number => 2 * headDim * 4;
