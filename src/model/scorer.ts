/**
 * The scores that a layer gives to the types of its tokens (§6).
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { Tape } from '../core/tape.ts';
import { scorerName } from './config/names.ts';
import { type Weights, weightOf } from './decoder.ts';
import { linear, splitHeads } from '../core/layers.ts';

/**
 * The scores [B,kvHeads,rows,3] of hidden states [B,rows,D], with one row per chunk. Their gradient reaches the scorer
 * but not the hidden states.
 */
export function typeScores(tape: Tape, hidden: Tensor, weights: Weights, layer: number, kvHeads: number): Tensor {
  const scorer = weightOf(weights, scorerName(layer));
  return splitHeads(tape, linear(tape, hidden, scorer, { detach: true }), kvHeads);
}
