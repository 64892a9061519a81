/**
 * What an engine has to provide: its own arrays, and the mathematics on them.
 *
 * checked() makes an engine of the contract from it. When a kernel is called, the kinds, shapes, numbers and lifetimes
 * of its arguments have been checked, and `sizes`, its last argument, says what the shapes mean. The kernel itself
 * refuses only what exceeds its own limits (DeviceError), and values that only it can see (ValueError). Names and
 * equations are those of engine.ts and training-engine.ts.
 * @module
 */
import type {
  CacheOptions, CacheSnapshot, CacheStats, CacheStep, ChunkPoolSnapshot, MassCacheOptions,
} from './cache.ts';
import type { AttentionInputs, Engine, Pooling, TokenTypesOptions } from './engine.ts';
import type { Forms } from './forms.ts';
import type { LifetimeOptions } from './lifetime.ts';
import type { AppendSizes, AttentionSizes, HeadSizes, LinearSizes, PoolSizes, TypeSizes } from './sizes.ts';
import type { FloatArray, Shaped, WeightDtype } from './tensor.ts';
import type { AdamWOptions, AttentionBackwardInputs } from './training-engine.ts';

/** The operations of inference on arrays A. */
export interface Kernels<A extends Shaped> extends Pick<Engine, 'name' | 'precision' | 'prefillStep' | 'limits' | 'stores'> {
  // ---- data -------------------------------------------------------------------------------------
  /** Copies the data; see Engine.tensor. */
  tensor(data: ArrayLike<number>, shape: readonly number[]): A;
  /** The dtype in which an array of floats is stored. */
  dtypeOf(x: A): WeightDtype;
  /** Copies the bytes; see Engine.weight. */
  weight(bytes: Uint8Array, dtype: WeightDtype, shape: readonly number[]): A;
  /** The data is already a copy. */
  integers(data: Int32Array, shape: readonly number[]): A;
  zeros(shape: readonly number[]): A;
  read(x: A): Promise<FloatArray>;
  readIntegers(x: A): Promise<Int32Array>;
  /** The integers of an array, if the host knows them without waiting. They are then checked before they are used. */
  known(x: A): Int32Array | undefined;
  /** No later call uses the array, but the work of earlier calls may still read it. */
  free(x: A): void;
  dispose(): void;

  // ---- layers -----------------------------------------------------------------------------------
  add(a: A, b: A, sizes: { n: number }): A;
  embedding(weight: A, ids: A, sizes: { count: number; V: number; D: number }): A;
  pickRows(x: A, rows: A, sizes: { count: number; D: number }): A;
  linear(x: A, weight: A, bias: A | undefined, sizes: LinearSizes): A;
  rmsNorm(x: A, weight: A, epsilon: number, sizes: { rows: number; D: number }): A;
  swiglu(gate: A, up: A, sizes: { n: number }): A;
  splitHeads(x: A, sizes: HeadSizes): A;
  mergeHeads(x: A, sizes: HeadSizes): A;
  rope(x: A, cos: A, sin: A, inverse: boolean, sizes: HeadSizes): A;
  argmax(x: A, sizes: { rows: number; D: number }): A;

  // ---- token types and lifetime -----------------------------------------------------------------
  poolChunks(x: A, pooling: Pooling, sizes: PoolSizes & { N: number; chunks: number }): A;
  createChunkPool(pooling: Pooling, sizes: PoolSizes): PoolKernels<A>;
  tokenTypes(scores: A, options: TokenTypesOptions<A>, sizes: TypeSizes): { types: A; probabilities: A };
  lifetime(types: A, options: LifetimeOptions, sizes: TypeSizes & { N: number }): A;

  // ---- attention and cache ----------------------------------------------------------------------
  attention(inputs: AttentionInputs<A>, sizes: AttentionSizes): { out: A; lse: A };
  createCache(options: CacheOptions): CacheKernels<A>;
  /** Absent in an engine without caches under a budget (§11). */
  createMassCache?(options: MassCacheOptions): CacheKernels<A>;

  /** The forms that are computed in one call; see forms.ts. */
  readonly forms?: Partial<Forms<A, CacheKernels<A>>>;
}

/** The operations of inference and training on arrays A. */
export interface TrainingKernels<A extends Shaped> extends Kernels<A> {
  accumulate(sum: A, x: A, sizes: { n: number }): void;
  embeddingBackward(dOut: A, ids: A, sizes: { count: number; V: number; D: number }): A;
  linearBackwardInput(dOut: A, weight: A, sizes: LinearSizes): A;
  linearBackwardWeight(dOut: A, x: A, sizes: LinearSizes): A;
  linearBackwardBias(dOut: A, sizes: { rows: number; M: number }): A;
  rmsNormBackward(
    dOut: A, x: A, weight: A, epsilon: number, sizes: { rows: number; D: number },
  ): { dx: A; dWeight: A };
  swigluBackward(dOut: A, gate: A, up: A, sizes: { n: number }): { dGate: A; dUp: A };
  crossEntropy(logits: A, targets: A, sizes: { rows: number; V: number }): A;
  crossEntropyBackward(logits: A, targets: A, weight: number, sizes: { rows: number; V: number }): A;
  sumOfSquares(tensors: readonly A[], sizes: { lengths: readonly number[] }): A;
  adamW(parameter: A, gradient: A, m: A, v: A, options: AdamWOptions<A>, sizes: { n: number }): void;
  tokenTypesBackward(
    dTypes: A, probabilities: A, options: Omit<TokenTypesOptions<A>, 'noise'>, sizes: TypeSizes,
  ): A;
  keptShare(last: A, sizes: { B: number; G: number; N: number }): A;
  addMemoryPrice(
    dTypes: A, types: A, options: LifetimeOptions & { weight: number }, sizes: TypeSizes & { N: number },
  ): A;
  attentionBackward(
    inputs: AttentionBackwardInputs<A>, sizes: AttentionSizes,
  ): { dq: A; dk: A; dv: A; dTypes?: A };
}

/** The cache of one layer. */
export interface CacheKernels<A extends Shaped> {
  /** Under a budget, `types` is undefined, or the scores [B,G,T,3] by which a rule ranks. */
  append(k: A, v: A, types: A | undefined, sizes: AppendSizes): void;
  attend(q: A, scale: number, sizes: { H: number; T: number }): A;
  evict(): void;
  /** append(), attend() and evict() in one call. If it is absent, they are called one after the other. */
  step?(step: CacheStep<A>, sizes: AppendSizes & { H: number }): A;
  /** The same for a cache that has not seen any token. */
  prefill?(step: CacheStep<A>, sizes: AppendSizes & { H: number }): A;
  clear(): void;
  stats(): Promise<CacheStats>;
  /** The positions of head b G + g. */
  positions(head: number): Promise<Int32Array>;
  fork(): CacheKernels<A>;
  snapshot(): Promise<CacheSnapshot>;
  /** The arrays of the snapshot belong to the caller: copy what is used later. */
  restore(snapshot: CacheSnapshot): void;
  /** Called once. */
  dispose(): void;
}

/** A running pool of chunks. */
export interface PoolKernels<A extends Shaped> {
  push(x: A, sizes: AppendSizes): A;
  fork(): PoolKernels<A>;
  snapshot(): Promise<ChunkPoolSnapshot>;
  restore(snapshot: ChunkPoolSnapshot): void;
  /** Called once. */
  dispose(): void;
}
