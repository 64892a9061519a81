/**
 * The engine contract: every operation of inference, with its shapes, units and equation. What training needs in
 * addition is in training-engine.ts, and what a cache does in cache.ts.
 *
 * An engine owns tensors and runs operations on them. Dispatch is synchronous and returns a handle;
 * only reading back is asynchronous. Randomness, text and files never enter an engine: noise arrives
 * as a tensor. Model, training, evaluation, CLI and tests are written once, for this interface.
 *
 * Letters in shapes: B batch, H query heads, G key/value heads (H is a multiple of G), N query tokens,
 * d head size, D model width, V vocabulary, C chunk size, Nc = ceil(N / C) chunks, `...` any leading axes.
 * "float" tensors hold the engine's precision, "integer" tensors hold whole numbers up to FOREVER.
 * §n cites the algorithm chapter (docs/algorithm.md).
 *
 * Errors, for every operation: ShapeError when shapes contradict each other, ValueError when a number
 * is outside the operation's domain, DisposedError when a handle or the engine is used after dispose().
 * @module
 */
import type { Cache, CacheDtype, CacheOptions, ChunkPool, MassCacheOptions } from './cache.ts';
import type { Forms } from './forms.ts';
import type { LifetimeOptions } from './lifetime.ts';
import type { FloatArray, Tensor, WeightDtype } from './tensor.ts';

export type {
  Cache, CacheLayout, CacheOptions, CacheSnapshot, CacheStats, ChunkPool, ChunkPoolSnapshot, MassCacheOptions,
} from './cache.ts';
export type { LifetimeOptions } from './lifetime.ts';
export type { Tensor } from './tensor.ts';

/** How the hidden states of a chunk are combined into one before they are scored (§2). */
export type Pooling = 'mean' | 'max';

/** q [B,H,N,d], k and v [B,G,N,d], last [B,G,N] integer; scale multiplies q·k. */
export interface AttentionInputs<A = Tensor> {
  readonly q: A;
  readonly k: A;
  readonly v: A;
  readonly last: A;
  readonly scale: number;
}

/** How types are chosen (§6): noise [B,G,Nc,3]; forceGlobal [B,Nc] integer, 1 where the type must be GLOBAL. */
export interface TokenTypesOptions<A = Tensor> {
  readonly noise?: A;
  readonly temperature: number;
  readonly forceGlobal?: A;
}

/** The dtypes in which an engine can store numbers. */
export interface Stores {
  /** Dtypes of weights. */
  readonly weights: readonly WeightDtype[];
  /** Dtypes of keys and values in a cache. The first is the default. */
  readonly cache: readonly CacheDtype[];
}

/** What every engine offers: the operations of inference. */
export interface Engine {
  /** A name for people to read, such as 'reference float64'. */
  readonly name: string;
  readonly precision: 'float64' | 'float32';
  /** The number of prompt tokens per step that is about the fastest for reading a prompt. Default: 64. */
  readonly prefillStep?: number;
  /** The most bytes that one tensor may have, and what sets this limit. Absent if only memory limits it. */
  readonly limits?: { readonly tensorBytes: number; readonly name: string };
  /** The dtypes in which it can store numbers. Weights of other dtypes are widened without changing their values. */
  readonly stores: Stores;
  /** The forms that it computes in one call. The others are composed of the operations below (composed-forms.ts). */
  readonly forms?: Partial<Forms>;

  // ---- data -------------------------------------------------------------------------------------
  /** Uploads a copy of floats. An engine may use an array in shared memory without a copy, so do not write to it. */
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor;
  /**
   * Uploads a copy of a weight as a file stores it: little-endian, row-major. It is kept in this dtype if the engine
   * can store it. read() gives it in the engine's precision.
   */
  weight(bytes: Uint8Array, dtype: WeightDtype, shape: readonly number[]): Tensor;
  /** Uploads a copy of integers. */
  integers(data: ArrayLike<number>, shape: readonly number[]): Tensor;
  zeros(shape: readonly number[]): Tensor;
  /** Copies a float tensor back. */
  read(tensor: Tensor): Promise<FloatArray>;
  /** Copies an integer tensor back. */
  readIntegers(tensor: Tensor): Promise<Int32Array>;
  /** Frees everything that the engine still holds. It may be called again. */
  dispose(): void;
  [Symbol.dispose](): void;

  // ---- element-wise -----------------------------------------------------------------------------
  /** a + b, same shapes. */
  add(a: Tensor, b: Tensor): Tensor;

  // ---- layers -----------------------------------------------------------------------------------
  /** Rows of weight [V,D] picked by ids [...]: [...,D]. */
  embedding(weight: Tensor, ids: Tensor): Tensor;
  /** Rows of x [...,D], numbered row-major over its leading axes, picked by `rows` [...] integer: [...,D], exactly. */
  pickRows(x: Tensor, rows: Tensor): Tensor;
  /** y = x Wᵀ, plus the bias if there is one: x [...,K], weight [M,K], bias [M] -> [...,M]. */
  linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor;
  /** y = x / sqrt(mean(x²) + epsilon) * weight: x [...,D], weight [D]. */
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor;
  /** silu(gate) * up, same shapes. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  /** [B,N,heads*d] -> [B,heads,N,d]. Its backward is mergeHeads. */
  splitHeads(x: Tensor, heads: number): Tensor;
  /** [B,heads,N,d] -> [B,N,heads*d]. Its backward is splitHeads. */
  mergeHeads(x: Tensor): Tensor;
  /**
   * Rotary embedding in the half-split layout: with x = (a, b) halves, (a cos - b sin, b cos + a sin).
   * x [B,heads,N,d], cos and sin [B,N,d/2]. `inverse` rotates back, which is the backward.
   */
  rope(x: Tensor, cos: Tensor, sin: Tensor, inverse?: boolean): Tensor;

  /**
   * The index of the largest element of each row of x [...,V], ties to the lowest: integers [...]. It is -1 for a row
   * with an element that is NaN or infinite.
   */
  argmax(x: Tensor): Tensor;

  // ---- token types and lifetime -----------------------------------------------------------------
  /** x [B,N,D] -> [B,Nc,D]: hidden states pooled over each chunk, the last one possibly short. */
  poolChunks(x: Tensor, chunk: number, pooling: Pooling): Tensor;
  createChunkPool(batch: number, width: number, chunk: number, pooling: Pooling): ChunkPool;
  /**
   * §6: probabilities y = softmax((scores + noise) / temperature) and types = argmax y (ties: lowest).
   * scores [B,G,Nc,3].
   * @returns types [B,G,Nc] integer, probabilities [B,G,Nc,3].
   */
  tokenTypes(scores: Tensor, options: TokenTypesOptions): { types: Tensor; probabilities: Tensor };
  /** §2: last(j) [B,G,N] from types [B,G,ceil(N/C)]. */
  lifetime(types: Tensor, length: number, options: LifetimeOptions): Tensor;

  // ---- attention and cache ----------------------------------------------------------------------
  /** §3: out [B,H,N,d] and log-sum-exp [B,H,N] (nats). Hidden keys and values are never read. */
  attention(inputs: AttentionInputs): { out: Tensor; lse: Tensor };
  /** @throws {UnsupportedError} If the engine lacks the rule. */
  createCache(options: CacheOptions | MassCacheOptions): Cache;
}
