/**
 * The second half of the engine contract: what training needs, which an engine may lack. Letters and errors are those
 * of engine.ts. `dX` is the cotangent of `x`.
 * @module
 */
import type { AttentionInputs, Engine, TokenTypesOptions } from './engine.ts';
import { UnsupportedError } from './errors.ts';
import type { LifetimeOptions } from './lifetime.ts';
import type { Tensor } from './tensor.ts';

/** How the mask's gradient weighs hidden keys (§4). `bounded` keeps every weight at most 1. */
export type MaskGradientRule = 'exact' | 'bounded';

/** What the backward of attention needs in addition to the inputs of the forward. */
export interface AttentionBackwardInputs<A = Tensor> extends AttentionInputs<A> {
  /** The result of the forward, [B,H,N,d]. */
  readonly out: A;
  /** The log-sum-exp of the forward, [B,H,N]. */
  readonly lse: A;
  /** The cotangent of `out`, [B,H,N,d]. */
  readonly dOut: A;
  /** Required for dTypes: the types [B,G,Nc] from which `last` was computed, and with which options. */
  readonly types?: { readonly types: A; readonly rule: MaskGradientRule } & LifetimeOptions;
}

/** The options of AdamW for one step. `step` counts from 1. */
export interface AdamWOptions<A = Tensor> {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
  /**
   * Clips by global norm: gradients are scaled by min(1 / scale, maxNorm / sqrt(squaredNorm)), where scale (default: 1)
   * is the factor by which they are larger than those of the loss.
   */
  readonly clip?: { readonly squaredNorm: A; readonly maxNorm: number; readonly scale?: number };
  /** One number, [1]: if it is NaN or infinite, nothing is changed. */
  readonly guard?: A;
}

/** An engine that also trains: every forward of {@linkcode Engine} has its backward here. */
export interface TrainingEngine extends Engine {
  /** sum += x in place, same shapes. */
  accumulate(sum: Tensor, x: Tensor): void;

  // ---- layers -----------------------------------------------------------------------------------
  /** dWeight [V,D]. */
  embeddingBackward(dOut: Tensor, ids: Tensor, vocabulary: number): Tensor;
  /** dx = dy W, [...,K]. */
  linearBackwardInput(dOut: Tensor, weight: Tensor): Tensor;
  /** dW = dyᵀ x, [M,K]. */
  linearBackwardWeight(dOut: Tensor, x: Tensor): Tensor;
  /** db = sum of dy over its rows, [M]. */
  linearBackwardBias(dOut: Tensor): Tensor;
  rmsNormBackward(dOut: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dWeight: Tensor };
  swigluBackward(dOut: Tensor, gate: Tensor, up: Tensor): { dGate: Tensor; dUp: Tensor };
  /** Loss in nats of each token: logits [...,V], targets [...] integer in 0..V-1, or -1 for none (loss 0). */
  crossEntropy(logits: Tensor, targets: Tensor): Tensor;
  /** weight * d(sum of losses)/dlogits, [...,V]. */
  crossEntropyBackward(logits: Tensor, targets: Tensor, weight: number): Tensor;

  // ---- optimiser --------------------------------------------------------------------------------
  /** Sum of squares over all tensors, [1]. */
  sumOfSquares(tensors: readonly Tensor[]): Tensor;
  /** Loshchilov & Hutter (2019): updates parameter, m and v in place. */
  adamW(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, options: AdamWOptions): void;

  // ---- token types and attention ----------------------------------------------------------------
  /** Straight through: dscores = y (dt - sum_c y_c dt_c) / temperature, 0 where the type was forced. */
  tokenTypesBackward(dTypes: Tensor, probabilities: Tensor, options: Omit<TokenTypesOptions, 'noise'>): Tensor;
  /** §7: mean over j of kept_j, [B,G]. */
  keptShare(last: Tensor): Tensor;
  /** §7: dTypes + the price's cotangent with K = `weight`, [B,G,Nc,3], for sequences of `length` tokens. */
  addMemoryPrice(dTypes: Tensor, types: Tensor, length: number, options: LifetimeOptions & { weight: number }): Tensor;
  /** §4 and §5: dTypes [B,G,Nc,3] = (dg, dl, dw) is given only if `types` is; by definition it reads hidden keys. */
  attentionBackward(inputs: AttentionBackwardInputs): { dq: Tensor; dk: Tensor; dv: Tensor; dTypes?: Tensor };
}

/** The operations that an engine has only if it supports training. */
const TRAINING = {
  accumulate: true, embeddingBackward: true, linearBackwardInput: true, linearBackwardWeight: true,
  linearBackwardBias: true,
  rmsNormBackward: true, swigluBackward: true, crossEntropy: true, crossEntropyBackward: true, sumOfSquares: true,
  adamW: true, tokenTypesBackward: true, keptShare: true, addMemoryPrice: true, attentionBackward: true,
} satisfies Readonly<Record<Exclude<keyof TrainingEngine, keyof Engine>, true>>;

/**
 * Returns the engine if it supports training.
 *
 * @throws {UnsupportedError} If it lacks an operation that training needs.
 */
export function requireTraining(engine: Engine): TrainingEngine {
  const missing = Object.keys(TRAINING).find((name) => typeof Reflect.get(engine, name) !== 'function');
  if (missing === undefined) return engine as TrainingEngine;
  throw new UnsupportedError(`the engine '${engine.name}' has no ${missing}(), it only runs models: train on an engine of createEngine()`);
}
