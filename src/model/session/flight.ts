/**
 * Decoding with several steps in flight: the next token goes from one step to the next on the engine, and the host
 * reads it later, so that neither waits for the other.
 * @module
 */
import type { Drawing } from '../../core/forms.ts';
import type { FloatArray, Tensor } from '../../core/tensor.ts';
import { drawnToken, nextToken } from '../decoder.ts';
import type { Recording } from './recording.ts';
import { checkNextTokens, readLogits } from './results.ts';

/** What decoding ahead needs of a session. */
export interface AheadOf {
  /** Records a step that feeds one token to each sequence that takes one: these, or what an earlier step found. */
  begin(tokens: ArrayLike<number> | Tensor, taken: readonly number[]): Promise<Recording>;
  /** The tokens that each sequence has read, where NaN stands for those that are not known yet. */
  readonly tokens: readonly number[][];
  /** Explains an error of a step. */
  explain(recording: Recording, error: unknown): Promise<unknown>;
}

/** How the engine draws tokens: by numbers that are uniform in [0, 1), one for each sequence. */
export interface Draws extends Omit<Drawing, 'noise'> {
  readonly noise: readonly number[];
}

/** The steps of one session that are in flight, the oldest first. */
export class Flight {
  readonly #session: AheadOf;
  readonly #steps: { readonly recording: Recording; readonly tokens: Promise<Int32Array> }[] = [];
  /** What the newest step found. */
  #next: Tensor | undefined;

  constructor(session: AheadOf) {
    this.#session = session;
  }

  /** How many steps are in flight. */
  get steps(): number {
    return this.#steps.length;
  }

  /**
   * Records a step that feeds `tokens` [batch] or, without them, what the newest step in flight finds, to the sequences
   * with taken[b] = 1, and finds the most likely token after it, or the one that `draws` says.
   */
  async begin(tokens: ArrayLike<number> | undefined, taken: readonly number[], draws?: Draws): Promise<void> {
    let recording: Recording;
    try {
      recording = await this.#session.begin(tokens ?? this.#next!, taken);
    } catch (error) {
      // It may have been given what is no token: then the error of the step that found it counts.
      for (const step of this.#steps) await checkNextTokens(step.recording.pass, await step.tokens);
      throw error;
    }
    const { model: { engine, config, weights }, tape, pass } = recording;
    try {
      if (draws) {
        const { noise, ...rest } = draws;
        const whole = engine.integers(noise.map((u) => Math.floor(u * 2 ** 31)), [noise.length, 1]);
        this.#next = drawnToken(tape, config, weights, pass.x, { ...rest, noise: tape.own(whole) });
      } else {
        this.#next = nextToken(tape, config, weights, pass.x);
      }
      const found = engine.readIntegers(this.#next);
      found.catch(() => {}); // whoever awaits it hears of it
      this.#steps.push({ recording, tokens: found });
    } catch (error) {
      const known = await this.#session.explain(recording, error);
      recording.dispose();
      throw known;
    }
  }

  /** The tokens that the oldest step found, [batch], which is in flight no longer. */
  async read(): Promise<Int32Array> {
    const { recording, tokens } = this.#steps.shift()!;
    try {
      const found = await checkNextTokens(recording.pass, await tokens);
      // They were fed by the oldest of those that are still in flight.
      for (const [b, each] of this.#session.tokens.entries()) {
        const fed = this.#steps.reduce((sum, step) => sum + step.recording.taken[b], 0);
        if (this.#steps[0]?.recording.taken[b]) each[each.length - fed] = found[b];
      }
      return found;
    } catch (error) {
      throw await this.#session.explain(recording, error);
    } finally {
      recording.dispose();
    }
  }

  /** The logits after the oldest step, [batch,V]. */
  async logits(): Promise<FloatArray> {
    const { recording } = this.#steps[0];
    try {
      return await readLogits(recording.pass, 'last');
    } catch (error) {
      throw await this.#session.explain(recording, error);
    }
  }

  /** Reads what is in flight and nobody wants, so that the session knows the tokens that it was fed. */
  async settle(): Promise<void> {
    try {
      while (this.steps > 0) await this.read();
    } catch {
      this.dispose(); // whoever goes on with the session hears of what is wrong with it
    }
  }

  /** Gives up what is in flight. The session has read it all the same. */
  dispose(): void {
    for (const { recording } of this.#steps.splice(0)) recording.dispose();
  }
}

/**
 * Feeds `first`, and then each next token, in `most` steps: yields what each step finds, [batch]. Up to `ahead` further
 * steps, 1 or more, are recorded before a token is read. If the caller stops early, the session has read these as well.
 * If a step is refused, what those before it find comes first.
 */
export async function* greedyAhead(
  session: AheadOf, first: ArrayLike<number>, most: number, ahead: number,
): AsyncGenerator<Int32Array> {
  const flight = new Flight(session);
  const taken = session.tokens.map(() => 1);
  let refused: { readonly error: unknown } | undefined;
  try {
    for (let [begun, done] = [0, 0]; done < most; done++) {
      for (; !refused && begun < most && flight.steps <= ahead; begun++) {
        await flight.begin(begun === 0 ? first : undefined, taken).catch((error: unknown) => (refused = { error }));
      }
      if (refused && flight.steps === 0) throw refused.error;
      yield await flight.read();
    }
  } finally {
    await flight.settle();
  }
}
