/**
 * Measures a model on text that it does not learn from: without noise or gradients, with types as at inference.
 * @module
 */
import type { TrainingEngine } from '../core/training-engine.ts';
import { fail } from '../core/described.ts';
import { NumericError, ValueError } from '../core/errors.ts';
import type { ModelConfig } from '../model/config/config.ts';
import { decode, type Weights } from '../model/decoder.ts';
import { crossEntropy } from '../core/layers.ts';
import { Tape } from '../core/tape.ts';
import { cut, expectTokens } from './data.ts';
import { studentAndTeacher } from './finetune-gradients.ts';
import { Search } from './gradients.ts';
import type { TrainOptions } from './options.ts';
import type { TokenSource } from './token-store.ts';

/** A measurement on held-out text. */
export interface Validation {
  /** How many tokens were scored. */
  readonly tokens: number;
  /** In training, nats per token; in fine-tuning, the mean squared error of the final hidden states. */
  readonly loss: number;
  /** In fine-tuning, the loss over the mean square of the teacher's hidden states. */
  readonly relativeLoss?: number;
  /** The mean kept share of the cache (§7), 0..1. */
  readonly kept: number;
}

/** How many tokens a validation scores by default. */
export const VALIDATION_TOKENS = 16_384;

/**
 * Consecutive windows of `context` + 1 tokens that score the first `most` targets. Each begins with the last token of
 * the one before.
 *
 * @throws {ValueError} If there are fewer than 2 tokens.
 */
export function validationWindows(tokens: TokenSource, context: number, most: number = Infinity): Int32Array[] {
  expectTokens('tokens', tokens);
  if (typeof most !== 'number' || !(most >= 1)) fail('most', most, 'a number of tokens, 1 or more');
  if (tokens.length < 2) throw new ValueError(`the text to validate on has ${tokens.length} tokens: it needs 2 or more`);
  const targets = Math.min(most, tokens.length - 1);
  const windows: Int32Array[] = [];
  for (let start = 0; start < targets; start += context) {
    windows.push(cut(tokens, start, Math.min(start + context, targets) + 1));
  }
  return windows;
}

/** The mean loss over `windows`, computed one after the other. @throws {NumericError} If it is NaN or infinite. */
export async function validateTraining(
  engine: TrainingEngine, config: ModelConfig, options: TrainOptions, weights: Weights, windows: readonly Int32Array[],
): Promise<Validation> {
  let [loss, kept, tokens] = [0, 0, 0];
  for (const window of windows) {
    const N = window.length - 1;
    const tape = new Tape(engine, false);
    try {
      const search = new Search(tape, config, options, weights, 1, N);
      const ids = tape.own(engine.integers(window.subarray(0, N), [1, N]));
      const positions = Array.from({ length: N }, (_, n) => n);
      const logits = decode(tape, config, weights, ids, positions, (layer, inputs) => search.attend(layer, inputs));
      const targets = tape.own(engine.integers(window.subarray(1), [1, N]));
      for (const each of await engine.read(crossEntropy(tape, logits, targets, 1))) loss += each;
      kept += (await search.summary()).kept * N;
      tokens += N;
    } finally {
      tape.dispose();
    }
  }
  return checked({ tokens, loss: loss / tokens, kept: kept / tokens });
}

/**
 * The mean distance of the student from the teacher over `windows`. @throws {NumericError} If it is NaN or infinite.
 */
export async function validateFinetuning(
  engine: TrainingEngine, config: ModelConfig, options: TrainOptions, weights: Weights, windows: readonly Int32Array[],
): Promise<Validation> {
  let [loss, signal, kept, tokens] = [0, 0, 0, 0];
  for (const each of windows) {
    const window = each.subarray(0, each.length - 1);
    const one = await studentAndTeacher(engine, config, options, weights, [window]);
    loss += one.loss;
    signal += one.signal;
    kept += one.keptByLayer.reduce((a, b) => a + b, 0) / one.keptByLayer.length * window.length;
    tokens += window.length;
  }
  return checked({ tokens, loss: loss / tokens, relativeLoss: loss / signal, kept: kept / tokens });
}

function checked(found: Validation): Validation {
  if (Number.isFinite(found.loss)) return found;
  throw new NumericError(`the loss on the text to validate on is ${found.loss}: the weights have diverged, so go back to an earlier state and use a lower learning rate`);
}
