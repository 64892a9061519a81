/**
 * The oracle's plain objects: a case (inputs and truths), and the report on someone's outputs for it.
 *
 * Tensors by name, with their shapes, for a batch of B, H query heads, G KV heads, N tokens, head size d, chunk size C,
 * Nc = ceil(N / C) chunks and R steps of a cache run:
 *
 *     inputs   q, dout [B,H,N,d]   k, v [B,G,N,d]   scores, noise [B,G,Nc,3]   forced [B,Nc]   types [B,G,Nc]
 *     search   types [B,G,Nc] (an output if scores are an input)               §6
 *     life     last [B,G,N]   mask [B,G,N,N] (omitted when N > 300)            §2
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

/** The dtype in which outputs claim that their kernel keeps P, dS and its results. Sums accumulate in f32 or wider. */
export type ClaimedDtype = 'f64' | 'f32' | 'f16' | 'bf16';

/**
 * What P and dS are rounded to before they are multiplied by v, k and q, if that is coarser than what is stored: TF32
 * by a cut or to nearest, or one of the two fp8 formats.
 */
export type Products = 'tf32' | 'e4m3' | 'e5m2';

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
  /** K of §7, 0 for no price. dscores includes the price of the kept pairs; the truths dg, dl and dw do not. */
  readonly price: number;
  /** How many tokens each step of the cache run takes in (§8), N in total. Empty if there is no cache run. */
  readonly steps: readonly number[];
}

/** By the name of a truth, the flat indices not compared because what they depend on is NaN or infinite. */
export type NotCompared = Readonly<Record<string, readonly number[]>>;

/** Inputs, and what the algorithm computes from them. */
export interface OracleCase {
  readonly name: string;
  /** Which mistakes it is meant to catch. */
  readonly why: string;
  readonly parameters: CaseParameters;
  readonly inputs: Tensors;
  /** Truths, float64 or integer, in the order in which the algorithm computes them. */
  readonly expected: Tensors;
  /** Where outputs may hold anything. */
  readonly notCompared: NotCompared;
}

/** How far one output is from its truth. */
export interface TensorReport {
  readonly name: string;
  /** `skipped` only if the caller did not ask for it. */
  readonly status: 'pass' | 'fail' | 'missing' | 'wrong shape' | 'wrong dtype' | 'skipped';
  /** What the numbers alone do not say, such as both shapes. */
  readonly note?: string;
  /** Where the budget comes from, in words. */
  readonly budget?: string;
  readonly compared: number;
  readonly failed: number;
  /** How many outputs are NaN where the truth is a number. */
  readonly nan: number;
  readonly maxAbsolute: number;
  readonly maxRelative: number;
  /** In units in the last place of the dtype that the outputs claim, at the truth. */
  readonly maxUlps: number;
  /** The largest ratio of error to budget, its flat index, and the budget there. */
  readonly worst: { readonly ratio: number; readonly at: number; readonly budget: number } | undefined;
  /** The first flat index that fails. */
  readonly first: number | undefined;
}

/** Where the outputs first depart from the algorithm. */
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

/** The worst error of each tile. */
export interface ErrorMap {
  /** The output, or `mask` for pairs that a diagnosis says are wrong. */
  readonly tensor: OutputName;
  /**
   * `errors`: of the numbers themselves. `pairs`: pairs that are wrongly seen or hidden. `shares`: the errors of rows,
   * each shared among the keys that its query sees, or of keys among the queries that see them, by the true
   * probabilities: where they may come from, which is not proof that they do.
   */
  readonly shows: 'errors' | 'pairs' | 'shares';
  /** How many queries or keys a tile has, down and, where not 1, across. */
  readonly tile: number;
  readonly tileAcross?: number;
  /** What the rows and columns of the map count. */
  readonly down: string;
  readonly across: string;
  /** The head that it is of, in words, if of one alone. */
  readonly of?: string;
  /**
   * By row and column: 0 where all passes, 1 to 9 for errors of up to 10^n budgets, 10 for NaN and infinities, and -1
   * where nothing is visible or compared.
   */
  readonly cells: readonly (readonly number[])[];
}

/** What is wrong, as far as the outputs tell. */
export interface Diagnosis {
  /** Wrong visibility, wrong formula, too little precision, or no numbers at all. */
  readonly cause: 'mask' | 'arithmetic' | 'rounding' | 'nan' | 'types' | 'cache' | 'unusable';
  /** One of DIAGNOSES, or 'unknown'. */
  readonly name: string;
  /** Every name that explains these outputs, `name` first. */
  readonly candidates: readonly string[];
  /** One line for people: "batch 0, KV head 1, query 517 still sees key 260: ... Looks like: ...". */
  readonly words: string;
  /** Where the first failing output fails, if not everywhere: "only in odd query heads", "only in rows from 64". */
  readonly where?: readonly string[];
  /** Everything that holds of all that fails and not of the rest, for comparison between cases. */
  readonly facts?: readonly string[];
  /** How much of the first failing output fails: "in 2 of 4 query heads, 31 of 40 rows". */
  readonly spread?: string;
  /** What is known beside some of the candidates, by name: a factor, which input, which terms. */
  readonly details?: Readonly<Record<string, readonly string[]>>;
  /** If a mask explains the numbers: which pairs of the head that fails first it gets wrong, by tiles. */
  readonly pairs?: ErrorMap;
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

/** The outputs in the order in which the algorithm computes them. */
export const OUTPUT_ORDER = [
  'types', 'last', 'mask', 'out', 'lse', 'dv', 'dq', 'dk', 'dm_rows', 'dw', 'dl', 'dg', 'dscores',
  'cache_closed_by', 'cache_evicted_at', 'cache_live', 'cache_out', 'cache_bytes',
] as const;
/** The name of an output. */
export type OutputName = (typeof OUTPUT_ORDER)[number];

/** The largest N for which a mask is written, as it takes N x N bytes per head. */
export const MOST_MASK_TOKENS = 300;
/** What cache_bytes counts per entry: its key and its value in float32, and nothing else. */
export const bytesPerEntry = (headDim: number): number => 2 * headDim * 4;
