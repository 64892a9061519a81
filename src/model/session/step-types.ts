/**
 * The types of the tokens of a step: learned (§6, without noise) or fixed.
 * @module
 */
import type { Engine, Tensor } from '../../core/engine.ts';
import { NumericError } from '../../core/errors.ts';
import { firstNotFinite } from '../../core/finite.ts';
import { chunkOf } from '../../core/lifetime.ts';
import type { Tape } from '../../core/tape.ts';
import { kindOf, type Policy } from '../../policies/index.ts';
import type { ModelConfig } from '../config/config.ts';
import { type Weights, weightOf } from '../decoder.ts';
import { scorerName } from '../config/names.ts';
import { typeScores } from '../scorer.ts';

/** T more tokens for sequences that have seen `seen` tokens. */
interface Step {
  readonly config: ModelConfig;
  readonly seen: readonly number[];
  readonly T: number;
}

/** The checks of the scorers of each model, which are run once. */
const checks = new WeakMap<Weights, Promise<void>>();

/**
 * Refuses scorers that hold NaN or infinity. Types, unlike logits, would hide them: an infinite score is simply the
 * largest or the smallest, and gives a type like any other. The scorers are read once per model.
 *
 * @throws {NumericError} With the name of the weight.
 */
export function expectScorers(engine: Engine, weights: Weights, layers: number): Promise<void> {
  let check = checks.get(weights);
  if (!check) checks.set(weights, check = readScorers(engine, weights, layers));
  return check;
}

async function readScorers(engine: Engine, weights: Weights, layers: number): Promise<void> {
  for (let layer = 0; layer < layers; layer++) {
    const name = scorerName(layer);
    const data = await engine.read(weightOf(weights, name));
    const at = firstNotFinite(data);
    if (at >= 0) {
      throw new NumericError(`token types cannot be chosen: the weight '${name}' holds ${data[at]} at element ${at}: its file is damaged, or the training that made it diverged`);
    }
  }
}

/** The types [B,G,T] of a fixed pattern, which are those of every layer; undefined if the policy is no such pattern. */
export function fixedTypes(policy: Policy, { config: { kvHeads: G }, seen, T }: Step): Int32Array | undefined {
  const kind = kindOf(policy);
  if (!kind.type || kind.learned || kind.ranks) return undefined;
  const types = new Int32Array(seen.length * G * T);
  for (let n = 0; n < types.length; n++) types[n] = kind.type(policy, seen[Math.floor(n / (G * T))] + (n % T));
  return types;
}

/**
 * The types [B,G,nc] that a layer's scorer gives to hidden states [B,nc,D], one row per chunk that the step touches.
 */
export function learnedTypes(
  tape: Tape, pooled: Tensor, weights: Weights, layer: number, { config, seen }: Step,
): Tensor {
  const rows = pooled.shape[1];
  const scores = typeScores(tape, pooled, weights, layer, config.kvHeads);
  const first = Int32Array.from({ length: seen.length * rows }, (_, n) => {
    return chunkOf(seen[Math.floor(n / rows)], config.nats.chunk) + (n % rows) === 0 ? 1 : 0;
  });
  // Only the first chunk of a sequence is forced, so later steps need no upload for this.
  const forced = first.includes(1) && { forceGlobal: tape.own(tape.engine.integers(first, [seen.length, rows])) };
  const { types, probabilities } = tape.engine.tokenTypes(scores, { temperature: 1, ...forced });
  tape.own(probabilities);
  return tape.own(types);
}
