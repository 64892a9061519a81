/**
 * Forms: parts of a decoder that an engine may compute in one go. Those that it lacks are composed of single operations
 * (composed-forms.ts). Law: what an engine fuses equals the composition within the error budget (test/forms.test.ts).
 * Letters in shapes are those of engine.ts.
 * @module
 */
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

/** What attention's inputs are made of: hidden states x [B,N,D], and rotary tables cos and sin [B,N,d/2]. */
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

/** The forms. Attention together with the cache is Cache.step() and Cache.prefill(). */
export interface Forms<T = Tensor> {
  /** Norm, projections, norms of heads, rotation: what a layer's attention gets. */
  project(inputs: ProjectInputs<T>): Projected<T>;
  /** x [B,N,D] plus the projection by weight [D,H*d] of the merged heads of `attended` [B,H,N,d]. */
  output(x: T, attended: T, weight: T): T;
  /** x + down(silu(gate(n)) * up(n)) with n = norm(x): [...,D]. */
  feedForward(inputs: FeedForwardInputs<T>): T;
  /** The language model head [V,D] over normed hidden states x [...,D]: [...,V]. */
  logits(x: T, norm: Norm<T>, head: T): T;
}
