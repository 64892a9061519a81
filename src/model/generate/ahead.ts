/**
 * Generating with several steps in flight: the engine chooses each token, and has begun the step after it when the host
 * reads it.
 * @module
 */
import { expectGoing } from '../../core/errors.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { flightOf, type Session } from '../session/session.ts';
import type { GeneratedPiece, Sequence } from './sequence.ts';

/** What generate() and its steps in flight share. */
export interface Progress {
  /** Whether the caller goes on with the session, which then has to read every token that was picked, and no other. */
  readonly given: boolean;
  readonly signal: AbortSignal | undefined;
  /** The tokens that each sequence has read. */
  readonly read: number[];
  /** Throws if something else feeds the session. */
  readonly expectUntouched: () => void;
  /** Whether a step was begun that did not end. */
  failed: boolean;
}

/**
 * Whether the engine can choose what follows all sequences that go on: each has one token to feed, and no use for
 * logits.
 */
export function canGoAhead({ engine }: Session, sequences: readonly Sequence[]): boolean {
  const draws = engine.forms?.drawnToken !== undefined;
  const going = sequences.filter((each) => each.going);
  return going.length > 0 && going.every((each) => each.left === 1 && (each.greedy || (draws && each.drawing)));
}

/**
 * Goes on until all sequences end. At most one step more than those whose tokens were read is in flight, and it feeds
 * the token that was read last. So a given session has read what it should, whenever its caller stops. One that is not
 * given is of no use afterwards, since it may have read more.
 */
export async function* goAhead(
  session: Session, sequences: readonly Sequence[], progress: Progress,
): AsyncGenerator<GeneratedPiece> {
  const { given, signal, read } = progress;
  const flight = flightOf(session);
  const ids = new Int32Array(sequences.length);
  const begin = async (tokens: Int32Array | undefined, taken: readonly number[]): Promise<void> => {
    progress.expectUntouched();
    progress.failed = true;
    const drawing = sequences.find((each) => each.going)?.drawing;
    const noise = sequences.map((each, n) => (drawing && taken[n] > 0 && each.going ? each.draw() : 0));
    await flight.begin(tokens, taken, drawing && { ...drawing, noise });
    for (const each of sequences) {
      read[each.n] += taken[each.n];
      if (taken[each.n] > 0) each.row = undefined;
    }
    progress.failed = false;
  };
  /** Keeps the logits after the step in flight for sequences that take its token as their last one. */
  const keepRows = async (last: (each: Sequence) => boolean): Promise<void> => {
    if (!given || flight.steps === 0 || !sequences.some(last)) return;
    progress.failed = true;
    const logits: FloatArray = await flight.logits();
    const V = logits.length / sequences.length;
    for (const each of sequences.filter(last)) each.row = logits.slice(each.n * V, (each.n + 1) * V);
    progress.failed = false;
  };
  let taken = sequences.map((each) => each.next(ids.subarray(each.n, each.n + 1)));
  try {
    await begin(ids, taken);
    await keepRows((each) => taken[each.n] > 0 && !each.going);
    while (sequences.some((each) => each.going)) {
      const then = sequences.map((each, n) => Number(each.going && taken[n] > 0 && (given || each.room > 1)));
      if (then.includes(1)) await begin(undefined, then);
      progress.failed = true;
      const found = await flight.read();
      progress.failed = false;
      const pieces = sequences.flatMap((each, n) => (taken[n] > 0 ? each.take(found[n]) : []));
      for (const each of sequences) if (then[each.n] > 0) each.next(ids.subarray(0, 1)); // it was fed already
      await keepRows((each) => then[each.n] > 0 && !each.going);
      taken = then;
      yield* pieces;
      expectGoing(signal, () => `generation was stopped after ${Math.max(...sequences.map(({ made }) => made))} tokens`);
    }
  } finally {
    if (!progress.failed) await keepRows((each) => taken[each.n] > 0 && each.going);
    flight.dispose();
  }
}
