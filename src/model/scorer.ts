/**
 * The scores that a layer gives to the types of its tokens (§6).
 * @module
 */
import type { Tensor } from '../core/engine.ts';
import type { Tape } from '../core/tape.ts';
import type { ModelConfig } from './config/config.ts';
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

/**
 * The scores by which tokens are ranked: those of typeScores(), with that of GLOBAL higher by the recency of the KV
 * head for each token before it. Ranks are only compared, so it is as if tokens became less wanted with age.
 */
export function rankScores(
  tape: Tape, hidden: Tensor, weights: Weights, layer: number, { kvHeads, nats }: ModelConfig,
  positions: readonly number[],
): Tensor {
  const scores = typeScores(tape, hidden, weights, layer, kvHeads);
  if (!nats.recency) return scores;
  const [B, , T] = scores.shape;
  const added = new Float64Array(B * kvHeads * T * 3);
  for (let b = 0; b < B; b++) {
    nats.recency[layer].forEach((each, g) => {
      for (let t = 0; t < T; t++) added[((b * kvHeads + g) * T + t) * 3] = each * positions[b * T + t];
    });
  }
  return tape.own(tape.engine.add(scores, tape.own(tape.engine.tensor(added, scores.shape))));
}
