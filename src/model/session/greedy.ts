/**
 * Greedy decoding with several steps in flight: the next token goes from one step to the next on the engine, and the
 * host reads it later, so that neither waits for the other.
 * @module
 */
import type { Tensor } from '../../core/tensor.ts';
import { nextToken } from '../decoder.ts';
import type { Recording } from './recording.ts';
import { checkNextTokens } from './results.ts';

/** What decoding ahead needs of a session. */
export interface AheadOf {
  /** Records a step that feeds one token per sequence: those, or what an earlier step found. */
  begin(tokens: ArrayLike<number> | Tensor): Promise<Recording>;
  /** The tokens that each sequence has read, where NaN stands for those that are not known yet. */
  readonly tokens: readonly number[][];
  /** Explains an error of a step. */
  explain(recording: Recording, error: unknown): Promise<unknown>;
}

/**
 * Feeds `first`, and then each next token, in `most` steps: yields what each step finds, [batch]. Up to `ahead` further
 * steps, 1 or more, are recorded before a token is read. If the caller stops early, the session has read these as well.
 */
export async function* greedyAhead(
  session: AheadOf, first: ArrayLike<number>, most: number, ahead: number,
): AsyncGenerator<Int32Array> {
  const flight: { readonly recording: Recording; readonly tokens: Promise<Int32Array> }[] = [];
  let fed: ArrayLike<number> | Tensor = first;
  const begin = async (): Promise<void> => {
    const recording = await session.begin(fed);
    const { model: { engine, config, weights }, tape } = recording;
    try {
      fed = nextToken(tape, config, weights, recording.pass.x);
      const tokens = engine.readIntegers(fed);
      tokens.catch(() => {}); // whoever awaits it hears of it
      flight.push({ recording, tokens });
    } catch (error) {
      const known = await session.explain(recording, error);
      tape.dispose();
      throw known;
    }
  };
  try {
    for (let [begun, done] = [0, 0]; done < most; done++) {
      for (; begun < most && flight.length <= ahead; begun++) {
        await begin().catch(async (error: unknown) => {
          // It may have been given what is no token: then the error of the step that found it counts.
          for (const { recording, tokens } of flight) await checkNextTokens(recording.pass, await tokens);
          throw error;
        });
      }
      const { recording, tokens } = flight.shift()!;
      let found: Int32Array;
      try {
        found = await checkNextTokens(recording.pass, await tokens);
      } catch (error) {
        throw await session.explain(recording, error);
      } finally {
        recording.tape.dispose();
      }
      // What this step found was fed by the oldest of those in flight.
      if (flight.length > 0) session.tokens.forEach((each, b) => (each[each.length - flight.length] = found[b]));
      yield found;
    }
  } finally {
    for (const { recording } of flight) recording.tape.dispose();
  }
}
