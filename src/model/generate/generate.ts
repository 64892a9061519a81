/**
 * Generates text: takes prompts, and yields pieces of text with one readback per step.
 * @module
 */
import { type Expected, expectAttached, list, numbers } from '../../core/arguments.ts';
import type { CacheDtype } from '../../core/cache.ts';
import { described } from '../../core/described.ts';
import { expectGoing, ValueError } from '../../core/errors.ts';
import { PREFILL_STEP } from '../../core/prefill.ts';
import type { FloatArray } from '../../core/tensor.ts';
import { canGoAhead, goAhead, type Progress } from './ahead.ts';
import { checkGenerateOptions, fillOptions, type GenerateOptions } from './generate-options.ts';
import type { TextModel } from './text-model.ts';
import { type GeneratedPiece, Sequence } from './sequence.ts';
import { Session } from '../session/session.ts';
import { expectCacheRoom } from '../room.ts';
import { withStarts } from '../tokenizer/tokenizer.ts';

/** A prompt: text, or tokens, which are fed unchanged. */
export type Prompt = string | ArrayLike<number>;

const PROMPT: Expected = (name, value) => {
  if (typeof value !== 'string') numbers()(name, value);
};

/** Continues every prompt until it ends or has got maxNewTokens tokens. */
export async function* generate(
  model: TextModel, prompts: readonly Prompt[], options: GenerateOptions = {},
): AsyncGenerator<GeneratedPiece> {
  checkGenerateOptions(options);
  list(PROMPT)('prompts', prompts);
  if (prompts.length === 0) throw new ValueError('no prompt was given: pass at least one');
  const { session: given, signal, onStep, onPrompt, policy, cache } = options;
  if (given !== undefined) checkSession(given, model, cache);
  const prefillStep = options.prefillStep ?? model.engine.prefillStep ?? PREFILL_STEP;
  if (given && given.batch !== prompts.length) {
    throw new ValueError(`${prompts.length} prompts for a session of ${given.batch} sequences: pass a prompt for each`);
  }
  const kept = given && rowsOf(given);
  const tokens = prompts.map((prompt, n) => promptTokens(model, prompt, n, given?.lengths[n] ?? 0, kept));
  const session = given ?? model.session({ batch: prompts.length, ...(policy && { policy }), ...(cache && { cache }) });
  const generation = fillOptions(options, model.generationDefaults);
  const sequences = tokens.map((each, n) => new Sequence(model, generation, options, n, each, session));
  const longest = Math.max(...tokens.map((each) => each.length));
  try {
    expectCacheRoom(session, model.config, longest, prefillStep);
  } catch (error) {
    if (!given) session.dispose();
    throw error;
  }
  const read = [...session.lengths]; // plus what is fed from here on
  const progress: Progress = {
    given: given !== undefined, signal, read, failed: false,
    expectUntouched: () => given && expectUntouched(given, read),
  };
  try {
    if (kept) yield* sequences.filter(({ left }) => left === 0).flatMap((each) => each.take(kept[each.n]!));
    for (let done = 0; sequences.some(({ left }) => left > 0);) {
      expectGoing(signal, () => `generation was stopped after ${Math.max(...sequences.map(({ made }) => made))} tokens`);
      progress.failed = true;
      progress.expectUntouched();
      const left = sequences.map((each) => each.left);
      const next = await feed(session, sequences, prefillStep);
      for (const each of sequences) read[each.n] += left[each.n] - each.left;
      progress.failed = false;
      await onStep?.(session);
      if (done < longest) onPrompt?.(done = Math.min(longest, done + prefillStep), longest);
      for (const each of sequences) {
        const found = next[each.n];
        if (found !== undefined) yield* each.take(found);
      }
      if (!onStep && done >= longest && canGoAhead(session, sequences)) yield* goAhead(session, sequences, progress);
    }
  } finally {
    if (!given) session.dispose();
    else if (!progress.failed && isUntouched(given, read)) await settle(session, sequences);
  }
}

/** Refuses anything but a session of this model. With another model's session, that model would answer. */
function checkSession(session: unknown, model: TextModel, cache: CacheDtype | undefined): void {
  if (!(session instanceof Session)) throw new ValueError('session is not a Session: pass what model.session() or model.restore() returned, or leave it out');
  if (!session.isOf(model)) throw new ValueError('the session belongs to another model: pass one that this model made');
  const own = session.cache ?? session.engine.stores.cache[0];
  if (cache && cache !== own) throw new ValueError(`the cache is ${cache} but the session was made with ${own}: leave cache out`);
}

/** Refuses to continue in a session that has been fed by others in the meantime, which would mix two texts into one. */
function expectUntouched(session: Session, read: readonly number[]): void {
  if (isUntouched(session, read)) return;
  throw new ValueError(`the session has read ${session.lengths.join(', ')} tokens but should have read ${read.join(', ')}: something else feeds it at the same time; generate one text after another, or each in its own fork()`);
}

function isUntouched({ lengths }: Session, read: readonly number[]): boolean {
  return lengths.every((length, n) => length === read[n]);
}

/** The tokens to feed for a prompt. */
function promptTokens(
  model: TextModel, prompt: Prompt, n: number, seen: number, kept?: readonly unknown[],
): Int32Array {
  if (typeof prompt === 'string') {
    const tokens = model.tokenizer.encode(prompt);
    if (tokens.length > 0) return seen === 0 ? withStarts(model.tokenizer, tokens) : tokens;
  } else {
    if (!Array.isArray(prompt) && !ArrayBuffer.isView(prompt)) {
      throw new ValueError(`prompt ${n} is ${described(prompt)}: pass a text, or a list of tokens`);
    }
    expectAttached(`prompt ${n}`, prompt);
    const { vocabSize } = model.config;
    for (let at = 0; at < prompt.length; at++) {
      const token: unknown = prompt[at];
      if (typeof token === 'number' && Number.isInteger(token) && token >= 0 && token < vocabSize) continue;
      throw new ValueError(`prompt ${n} holds ${described(token)}: a token is a whole number from 0 to ${vocabSize - 1}`);
    }
    if (prompt.length > 0) return Int32Array.from(prompt);
  }
  if (kept?.[n] === undefined) throw new ValueError(`prompt ${n} has no tokens: give it at least one character`);
  return new Int32Array(0);
}

/** What follows the last token of a sequence: logits, or the most likely token if nothing else matters. */
type Next = FloatArray | number | undefined;

/**
 * Does one step over all sequences, and returns what follows those that have no token left to feed.
 *
 * @param rows Whether to read logits even if only the most likely tokens matter.
 */
async function feed(
  session: Session, sequences: readonly Sequence[], most: number, rows = false,
): Promise<Next[]> {
  const T = Math.min(most, Math.max(...sequences.map(({ left }) => left)));
  const ids = new Int32Array(sequences.length * T);
  const counts = sequences.map((each) => each.next(ids.subarray(each.n * T, (each.n + 1) * T)));
  const through = sequences.filter(({ left, n }) => counts[n] > 0 && left === 0);
  const next: Next[] = sequences.map(() => undefined);
  if (!rows && through.length > 0 && through.every(({ greedy }) => greedy)) {
    const tokens = await session.next(ids, { counts });
    for (const each of through) [next[each.n], each.row] = [tokens[each.n], undefined];
    return next;
  }
  const logits = await session.step(ids, { counts, logits: through.length > 0 ? 'last' : 'none' });
  const V = logits.length / sequences.length;
  for (const each of through) next[each.n] = each.row = logits.subarray(each.n * V, (each.n + 1) * V);
  return next;
}

/**
 * The logits after the last tokens of sessions that were passed to generate(). They are valid until something else is
 * fed.
 */
const lastRows = new WeakMap<Session, { lengths: readonly number[]; rows: (FloatArray | undefined)[] }>();

function rowsOf(session: Session): readonly (FloatArray | undefined)[] | undefined {
  const found = lastRows.get(session);
  return found?.lengths.every((length, n) => length === session.lengths[n]) ? found.rows : undefined;
}

/** Lets a session read the tokens that were picked, so that the session holds the whole text. */
async function settle(session: Session, sequences: readonly Sequence[]): Promise<void> {
  for (const each of sequences) each.leavePrompt();
  if (sequences.some(({ left }) => left > 0)) await feed(session, sequences, 1, true);
  lastRows.set(session, { lengths: session.lengths, rows: sequences.map(({ row }) => row) });
}
