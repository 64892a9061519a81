/**
 * The engine contract: every operation of the system, with its shapes, units and equation.
 *
 * An engine owns tensors and runs operations on them. Dispatch is synchronous and returns a handle;
 * only reading back is asynchronous. Randomness, text and files never enter an engine: noise arrives
 * as a tensor. Model, training, evaluation, CLI and tests are written once, against this interface.
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
import type { FloatArray } from './tensor.ts';

/** A handle to an array that lives wherever its engine computes. */
export interface Tensor {
  readonly shape: readonly number[];
  /** Whether the elements are real numbers or whole numbers. */
  readonly kind: 'float' | 'integer';
  /** Frees the memory. Calling it again does nothing; using the tensor afterwards is a DisposedError. */
  dispose(): void;
  /** dispose(), at the end of the block of a `using`. */
  [Symbol.dispose](): void;
}

/** How the mask's gradient weighs hidden keys (§4). `bounded` keeps every weight at most 1. */
export type MaskGradientRule = 'exact' | 'bounded';
/** How hidden states of a chunk become one before they are scored (§2). */
export type Pooling = 'mean' | 'max';

/** Where types and lifetimes come from: window W (tokens, >= 0) and chunk size C (tokens, >= 1). */
export interface LifetimeOptions {
  readonly window: number;
  readonly chunk: number;
  /**
   * Ends the life of every token j at j + bound, whatever its type (tokens, >= 0; default: no bound). For models
   * whose attention has a window of its own.
   */
  readonly bound?: number;
}

/** q [B,H,N,d], k and v [B,G,N,d], last [B,G,N] integer; scale multiplies q·k. */
export interface AttentionInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly last: Tensor;
  readonly scale: number;
}

/** What the backward of attention needs besides the forward's inputs. */
export interface AttentionBackwardInputs extends AttentionInputs {
  /** The forward's result, [B,H,N,d]. */
  readonly out: Tensor;
  /** The forward's log-sum-exp, [B,H,N]. */
  readonly lse: Tensor;
  /** Cotangent of `out`, [B,H,N,d]. */
  readonly dOut: Tensor;
  /** Give it to get dTypes: the types [B,G,Nc] that `last` came from, and how. */
  readonly types?: { readonly types: Tensor; readonly rule: MaskGradientRule } & LifetimeOptions;
}

/** AdamW's numbers for one step; `step` counts from 1. */
export interface AdamWOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly step: number;
  /** Clips by global norm: gradients are scaled by min(1, maxNorm / sqrt(squaredNorm)). */
  readonly clip?: { readonly squaredNorm: Tensor; readonly maxNorm: number };
}

/** Layout of a cache: B sequences, G KV heads of size d, entries allocated in blocks. */
export interface CacheOptions extends LifetimeOptions {
  readonly batch: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Entries per allocation block; a head's memory is a whole number of blocks. */
  readonly blockSize: number;
}

/** What a cache holds and has served; every array is [B*G], sequence-major. */
export interface CacheStats {
  /** Tokens seen so far by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries held now. */
  readonly live: Int32Array;
  /** The most entries that one query could see so far. */
  readonly peakLive: Int32Array;
  /** Sum over all queries so far of the entries each could see. */
  readonly visiblePairs: Float64Array;
  /** Bytes resident now, bookkeeping included. */
  readonly bytes: Float64Array;
  /** Bytes of one entry: key, value and bookkeeping. */
  readonly entryBytes: number;
}

/**
 * What a cache holds, as plain arrays. Heads follow one another, sequence-major, and the E entries of a head keep
 * the order in which its engine adds them up.
 */
export interface CacheSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Entries of each head, [B*G]; they add up to E. */
  readonly live: Int32Array;
  /** Keys and values [E,d], in the precision that the engine keeps. */
  readonly keys: FloatArray;
  readonly values: FloatArray;
  /** Position of each entry, [E]. */
  readonly positions: Int32Array;
  /** The last query that may see it, [E]; FOREVER, or what the bound leaves of it, where its type does not say yet. */
  readonly last: Int32Array;
  /** 1 for a LOCAL entry that no GLOBAL has closed, [E]. */
  readonly open: Uint8Array;
  /** As in CacheStats. */
  readonly peakLive: Int32Array;
  readonly visiblePairs: Float64Array;
}

/** What a chunk pool remembers. */
export interface ChunkPoolSnapshot {
  /** Tokens seen by each sequence, [B]. */
  readonly seen: Int32Array;
  /** Sum or maximum of what has arrived of each sequence's newest chunk, [B,D]. */
  readonly state: FloatArray;
}

/** The evicting cache of one layer (§8): ragged heads, original positions, blocks freed. */
export interface Cache {
  readonly options: CacheOptions;
  /**
   * Step 1: appends k and v [B,G,T,d]. Sequence b takes only its first counts[b] tokens (default T).
   * `types` [B,G,nc] holds one type per chunk touched: row r is chunk floor(seen_b / C) + r, so for
   * C = 1 it is one type per new token. The type of a chunk that is not full yet is ignored.
   */
  append(k: Tensor, v: Tensor, types: Tensor, counts?: readonly number[]): void;
  /**
   * Step 2: each of the newest queries q [B,H,T,d] over all entries, cached and new: out [B,H,T,d].
   * Rows beyond counts[b] are 0.
   */
  attend(q: Tensor, scale: number): Tensor;
  /** Step 3: frees every entry that the next query cannot see. */
  evict(): void;
  /** Forgets everything and frees all blocks. */
  clear(): void;
  stats(): Promise<CacheStats>;
  /** Positions held by KV head `g` of sequence `b`, ascending. */
  positions(b: number, g: number): Promise<Int32Array>;
  /** A cache of its own that goes on as this one does, to the bit. */
  fork(): Cache;
  /** What is held between two steps. Dead entries are left out once evict() was called. */
  snapshot(): Promise<CacheSnapshot>;
  /**
   * Holds what the snapshot holds, and nothing else: the cache goes on as the one of which it was taken, to the bit
   * on the same engine. There is no newest step: attend() wants an append() first.
   * @throws {ShapeError} If the snapshot is of another layout. @throws {ValueError} If it contradicts itself.
   */
  restore(snapshot: CacheSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** Pools hidden states over chunks while they arrive in steps of any size (§2, C > 1). */
export interface ChunkPool {
  /**
   * Takes x [B,T,D], of which sequence b uses its first counts[b] rows (default T), and returns
   * [B,nc,D] with nc = floor((T + C - 2) / C) + 1: row r pools what has arrived so far of chunk
   * floor(seen_b / C) + r. Rows of chunks that nothing has reached are 0.
   */
  push(x: Tensor, counts?: readonly number[]): Tensor;
  /** A pool of its own that goes on as this one does, to the bit. */
  fork(): ChunkPool;
  snapshot(): Promise<ChunkPoolSnapshot>;
  /** Remembers what the snapshot does, and nothing else. Errors as of Cache.restore. */
  restore(snapshot: ChunkPoolSnapshot): void;
  dispose(): void;
  [Symbol.dispose](): void;
}

/** The operations. A backward stands beside its forward; `dX` is the cotangent of `x`. */
export interface Engine {
  /** For people: 'reference float64', ... */
  readonly name: string;
  readonly precision: 'float64' | 'float32';
  /** Prompt tokens per step at which a prompt is read about fastest, where that is not 64. */
  readonly prefillStep?: number;
  /** The most bytes that one tensor may have, and what sets this limit; none where memory is the only one. */
  readonly limits?: { readonly tensorBytes: number; readonly name: string };

  // ---- data -------------------------------------------------------------------------------------
  /** Uploads a copy of real numbers; those on shared memory an engine may use where they lie: do not write to them. */
  tensor(data: ArrayLike<number>, shape: readonly number[]): Tensor;
  /** Uploads a copy of whole numbers. */
  integers(data: ArrayLike<number>, shape: readonly number[]): Tensor;
  zeros(shape: readonly number[]): Tensor;
  /** Copies a float tensor back. */
  read(tensor: Tensor): Promise<FloatArray>;
  /** Copies an integer tensor back. */
  readIntegers(tensor: Tensor): Promise<Int32Array>;
  /** Frees everything the engine still holds. Idempotent. */
  dispose(): void;
  [Symbol.dispose](): void;

  // ---- element-wise -----------------------------------------------------------------------------
  /** a + b, same shapes. */
  add(a: Tensor, b: Tensor): Tensor;
  /** sum += x in place, same shapes. */
  accumulate(sum: Tensor, x: Tensor): void;

  // ---- layers -----------------------------------------------------------------------------------
  /** Rows of weight [V,D] picked by ids [...]: [...,D]. */
  embedding(weight: Tensor, ids: Tensor): Tensor;
  /** dWeight [V,D]. */
  embeddingBackward(dOut: Tensor, ids: Tensor, vocabulary: number): Tensor;
  /** Rows of x [...,D], numbered row-major over its leading axes, picked by `rows` [...] integer: [...,D], exactly. */
  pickRows(x: Tensor, rows: Tensor): Tensor;
  /** y = x Wᵀ: x [...,K], weight [M,K] -> [...,M]. */
  linear(x: Tensor, weight: Tensor): Tensor;
  /** dx = dy W, [...,K]. */
  linearBackwardInput(dOut: Tensor, weight: Tensor): Tensor;
  /** dW = dyᵀ x, [M,K]. */
  linearBackwardWeight(dOut: Tensor, x: Tensor): Tensor;
  /** y = x / sqrt(mean(x²) + epsilon) * weight: x [...,D], weight [D]. */
  rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor;
  rmsNormBackward(dOut: Tensor, x: Tensor, weight: Tensor, epsilon: number): { dx: Tensor; dWeight: Tensor };
  /** silu(gate) * up, same shapes. */
  swiglu(gate: Tensor, up: Tensor): Tensor;
  swigluBackward(dOut: Tensor, gate: Tensor, up: Tensor): { dGate: Tensor; dUp: Tensor };
  /** [B,N,heads*d] -> [B,heads,N,d]. Its backward is mergeHeads. */
  splitHeads(x: Tensor, heads: number): Tensor;
  /** [B,heads,N,d] -> [B,N,heads*d]. Its backward is splitHeads. */
  mergeHeads(x: Tensor): Tensor;
  /**
   * Rotary embedding in the half-split layout: with x = (a, b) halves, (a cos - b sin, b cos + a sin).
   * x [B,heads,N,d], cos and sin [B,N,d/2]. `inverse` rotates back, which is the backward.
   */
  rope(x: Tensor, cos: Tensor, sin: Tensor, inverse?: boolean): Tensor;
  /** Loss in nats of each token: logits [...,V], targets [...] integer in 0..V-1, or -1 for none (loss 0). */
  crossEntropy(logits: Tensor, targets: Tensor): Tensor;
  /** weight * d(sum of losses)/dlogits, [...,V]. */
  crossEntropyBackward(logits: Tensor, targets: Tensor, weight: number): Tensor;

  // ---- optimiser --------------------------------------------------------------------------------
  /** Sum of squares over all tensors, [1]. */
  sumOfSquares(tensors: readonly Tensor[]): Tensor;
  /** Loshchilov & Hutter (2019): updates parameter, m and v in place. */
  adamW(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, options: AdamWOptions): void;

  // ---- token types and lifetime -----------------------------------------------------------------
  /** x [B,N,D] -> [B,Nc,D]: hidden states pooled over each chunk, the last one possibly short. */
  poolChunks(x: Tensor, chunk: number, pooling: Pooling): Tensor;
  createChunkPool(batch: number, width: number, chunk: number, pooling: Pooling): ChunkPool;
  /**
   * §6: probabilities y = softmax((scores + noise) / temperature) and types = argmax y (ties: lowest).
   * scores and noise [B,G,Nc,3]; forceGlobal [B,Nc] integer, 1 where the type must be GLOBAL.
   * @returns types [B,G,Nc] integer, probabilities [B,G,Nc,3].
   */
  tokenTypes(scores: Tensor, options: { noise?: Tensor; temperature: number; forceGlobal?: Tensor }): {
    types: Tensor;
    probabilities: Tensor;
  };
  /** Straight through: dscores = y (dt - sum_c y_c dt_c) / temperature, 0 where the type was forced. */
  tokenTypesBackward(
    dTypes: Tensor,
    probabilities: Tensor,
    options: { temperature: number; forceGlobal?: Tensor },
  ): Tensor;
  /** §2: last(j) [B,G,N] from types [B,G,ceil(N/C)]. */
  lifetime(types: Tensor, length: number, options: LifetimeOptions): Tensor;
  /** §7: mean over j of kept_j, [B,G]. */
  keptShare(last: Tensor): Tensor;
  /** §7: dTypes + the price's cotangent with K = `weight`, [B,G,Nc,3], for sequences of `length` tokens. */
  addMemoryPrice(
    dTypes: Tensor,
    types: Tensor,
    length: number,
    options: LifetimeOptions & { weight: number },
  ): Tensor;

  // ---- attention and cache ----------------------------------------------------------------------
  /** §3: out [B,H,N,d] and log-sum-exp [B,H,N] (nats). Hidden keys and values are never touched. */
  attention(inputs: AttentionInputs): { out: Tensor; lse: Tensor };
  /** §4 and §5: dTypes [B,G,Nc,3] = (dg, dl, dw) only if `types` was given; it reads hidden keys by definition. */
  attentionBackward(inputs: AttentionBackwardInputs): { dq: Tensor; dk: Tensor; dv: Tensor; dTypes?: Tensor };
  createCache(options: CacheOptions): Cache;
}
