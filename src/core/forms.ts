/**
 * Forms: parts of a decoder that an engine may compute in one call. Those that it lacks are composed of single
 * operations (composed-forms.ts). The law for engines: a fused form equals the composition within the error budget
 * (test/forms.test.ts). Letters in shapes are those of engine.ts.
 * @module
 */
import type { Cache } from './cache.ts';
import type { Tensor } from './tensor.ts';

/** A root-mean-square norm: weight [D]. */
export interface Norm<T = Tensor> {
  readonly weight: T;
  readonly epsilon: number;
}

/** A projection of hidden states to heads: weight [heads*d,D], bias [heads*d], and a norm [d] of each head. */
export interface Projection<T = Tensor> {
  readonly heads: number;
  readonly weight: T;
  readonly bias?: T;
  readonly norm?: Norm<T>;
}

/** What the inputs of attention are computed from: hidden states x [B,N,D], and rotary tables cos and sin [B,N,d/2]. */
export interface ProjectInputs<T = Tensor> {
  readonly x: T;
  readonly norm: Norm<T>;
  readonly q: Projection<T>;
  readonly k: Projection<T>;
  readonly v: Projection<T>;
  readonly cos: T;
  readonly sin: T;
}

/** The normed input [B,N,D], q [B,H,N,d] and k [B,G,N,d] after rotation, v [B,G,N,d]. */
export interface Projected<T = Tensor> {
  readonly hidden: T;
  readonly q: T;
  readonly k: T;
  readonly v: T;
}

/** A feed-forward layer: gate and up [F,D], down [D,F]. */
export interface FeedForwardInputs<T = Tensor> {
  readonly x: T;
  readonly norm: Norm<T>;
  readonly gate: T;
  readonly up: T;
  readonly down: T;
}

/**
 * How a token is drawn from logits. Tokens are in the order of their logits, ties to the lowest index, and their
 * weights are exp((logit - largest logit) / temperature). topK, then topP, then minP leave fewer of the first ones,
 * as Hugging Face's `generate` does.
 */
export interface Drawing<T = Tensor> {
  /** Integers [...], one for each row of logits: floor(2^31 u) for a number u that is uniform in [0, 1). */
  readonly noise: T;
  /** Above 0. */
  readonly temperature: number;
  /** Leaves the first k tokens. */
  readonly topK?: number | undefined;
  /** Leaves the fewest tokens that have this share of the weight. */
  readonly topP?: number | undefined;
  /** Leaves tokens of at least this weight. */
  readonly minP?: number | undefined;
}

/** A layer of a decoder: the weights that its forms read. */
export interface DecoderLayer<T = Tensor> {
  readonly attention: Omit<ProjectInputs<T>, 'x' | 'cos' | 'sin'>;
  /** [D,H*d] */
  readonly output: T;
  readonly feedForward: Omit<FeedForwardInputs<T>, 'x'>;
  /** The scorer of token types (§6), [3*G,D], if there is one. */
  readonly scorer?: T;
}

/** One token of each sequence, all of which go through the layers of a decoder. */
export interface LayersInputs<T = Tensor, C = Cache> {
  /** Integers [B,1]. */
  readonly ids: T;
  /** [V,D] */
  readonly embedding: T;
  /** They belong to weights that do not change, and are the same array in every call. */
  readonly layers: readonly DecoderLayer<T>[];
  /** The cache of each layer. */
  readonly caches: readonly C[];
  /** Numbers of the host: rotary tables [B,d/2]. */
  readonly cos: ArrayLike<number>;
  readonly sin: ArrayLike<number>;
  /**
   * Numbers of the host: types [B,G] of the tokens, which are those of every layer. Without them each layer chooses its
   * own, those with the largest scores, as tokenTypes() does without noise; then no token is the first of its
   * sequence, whose type is not chosen.
   */
  readonly types?: ArrayLike<number> | undefined;
  readonly scale: number;
}

/** What the layers made of it. */
export interface LayersMade<T = Tensor> {
  /** [B,1,D] */
  readonly x: T;
  /** The inputs and outputs of attention in each layer, which last until x is disposed of. */
  stages(): readonly (Projected<T> & { readonly attended: T })[];
  /** The types that each layer chose, integers [B,G,1], which last as long. Absent if they were given. */
  types?(): readonly T[];
}

/** The forms. Attention together with the cache is Cache.step() and Cache.prefill(). */
export interface Forms<T = Tensor, C = Cache> {
  /** The inputs of a layer's attention: norm, projections, norms of heads, rotation. */
  project(inputs: ProjectInputs<T>): Projected<T>;
  /** x [B,N,D] plus the merged heads of `attended` [B,H,N,d], projected by weight [D,H*d]. */
  output(x: T, attended: T, weight: T): T;
  /** x + down(silu(gate(n)) * up(n)) with n = norm(x): [...,D]. */
  feedForward(inputs: FeedForwardInputs<T>): T;
  /** The language model head [V,D], applied to the norm of hidden states x [...,D]: [...,V]. */
  logits(x: T, norm: Norm<T>, head: T): T;
  /**
   * The token with the largest of these logits, ties to the lowest: integers [...]. It is -1 where a logit is NaN or
   * infinite. With it, a step of greedy decoding reads back one number for each sequence.
   */
  nextToken(x: T, norm: Norm<T>, head: T): T;
  /**
   * The token that `drawing` draws from these logits: the first one at which the sum of the weights exceeds u times
   * that of all that are left; integers [...]. It is -1 where a logit is NaN or infinite. Engines that lack it leave
   * the choice to the host, which draws the same token unless u lies within their rounding of the border between two.
   */
  drawnToken?(x: T, norm: Norm<T>, head: T, drawing: Drawing<T>): T;
  /**
   * All layers of a decoder for one token of each sequence, with a step of each cache: embedding, and then project(),
   * Cache.step(), output() and feedForward() of layer after layer. Types that are chosen, and all that follows from
   * them, have the bits that they have by these calls. Undefined, and nothing has happened, where the engine would
   * rather be called for each of them.
   */
  layers?(inputs: LayersInputs<T, C>): LayersMade<T> | undefined;
}
