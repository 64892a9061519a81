/**
 * What is read back after a pass through all layers: logits, or only the tokens with the largest ones.
 * @module
 */
import { NumericError } from '../../core/errors.ts';
import { pickRows } from '../../core/layers.ts';
import type { Tape } from '../../core/tape.ts';
import type { FloatArray, Tensor } from '../../core/tensor.ts';
import { headLogits, nextToken } from '../decoder.ts';
import type { LogitsWanted, SessionModel } from './session-options.ts';
import { checkRows, type Step, type Watch } from './watch.ts';

/** A pass: hidden states x [B,T,D] after the last layer, valid until the tape is disposed of. */
export interface Pass extends Step {
  readonly model: SessionModel;
  readonly tape: Tape;
  readonly watch: Watch;
  readonly x: Tensor;
}

/**
 * The logits that are wanted, or an empty array once the pass has been computed.
 *
 * @throws {NumericError} If one of them is NaN or infinite.
 */
export async function readLogits(pass: Pass, wanted: LogitsWanted): Promise<FloatArray> {
  const { model: { engine, config, weights }, tape, watch } = pass;
  const rows = wanted === 'all' ? pass.x : lastStates(pass);
  if (wanted === 'none') {
    // Reading one row waits for all the work of the step, and fails if any of it failed.
    const read = await engine.read(rows);
    await checkRows('hidden states', read, 'last', pass, watch);
    return read.subarray(0, 0);
  }
  const logits = await engine.read(headLogits(tape, config, weights, rows));
  await checkRows('logits', logits, wanted, pass, watch);
  return logits;
}

/**
 * The token with the largest logit after the last token that each sequence took, [B].
 *
 * @throws {NumericError} If a logit is NaN or infinite.
 */
export async function readNextTokens(pass: Pass): Promise<Int32Array> {
  const { model: { engine, config, weights }, tape } = pass;
  return checkNextTokens(pass, await engine.readIntegers(nextToken(tape, config, weights, lastStates(pass))));
}

/**
 * The tokens that a pass found, [B].
 *
 * @throws {NumericError} If one is -1, since a logit is NaN or infinite.
 */
export async function checkNextTokens(pass: Pass, tokens: Int32Array): Promise<Int32Array> {
  const { model: { engine }, taken } = pass;
  const none = taken.findIndex((count, b) => count > 0 && tokens[b] < 0);
  if (none < 0) return tokens;
  await readLogits(pass, 'last'); // throws, and says where the number comes from
  throw new NumericError(`the engine '${engine.name}' found no largest logit for sequence ${none}, although all are finite: report it`);
}

/** The hidden state of the last token that each sequence took, or of its first one if it took none. */
function lastStates({ model: { engine }, tape, x, taken, T }: Pass): Tensor {
  if (T === 1) return x;
  const rows = taken.map((count, b) => b * T + Math.max(count - 1, 0));
  return pickRows(tape, x, tape.own(engine.integers(rows, [taken.length])));
}
