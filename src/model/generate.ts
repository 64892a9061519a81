/**
 * Sampling: prompts in, pieces of text out, one readback per step.
 * @module
 */
import { StoppedError, ValueError } from '../errors.ts';
import { type Generator, generator, Stream } from '../random.ts';
import { expectWhole } from '../shape.ts';
import type { FloatArray } from '../tensor.ts';
import type { Policy } from './config.ts';
import type { Model } from './model.ts';
import type { Session } from './session.ts';

/** How to continue a prompt. */
export interface GenerateOptions {
  readonly maxNewTokens?: number;
  readonly temperature?: number;
  readonly topK?: number;
  readonly seed?: number;
  readonly policy?: Policy;
  readonly signal?: AbortSignal;
  /** Prompt tokens fed per step (default 64): peak memory of the prompt follows it. */
  readonly prefillStep?: number;
  /** Called after every step with the session, to look at its caches. */
  readonly onStep?: (session: Session) => void | Promise<void>;
}

/** A piece of text and the sequence it belongs to. */
export interface GeneratedPiece {
  readonly sequence: number;
  readonly text: string;
}

/** Continues every prompt until it ends or has maxNewTokens more tokens. */
export async function* generate(
  model: Model, prompts: readonly string[], options: GenerateOptions = {},
): AsyncGenerator<GeneratedPiece> {
  const { maxNewTokens = 128, temperature = 1, topK, seed = 0, policy, signal, prefillStep = 64, onStep } = options;
  expectWhole('maxNewTokens', maxNewTokens, 1);
  expectWhole('prefillStep', prefillStep, 1);
  if (topK !== undefined) expectWhole('topK', topK, 1);
  if (!(temperature >= 0) || !Number.isFinite(temperature)) throw new ValueError(`temperature is ${temperature}: it must be 0 or more`);
  if (prompts.length === 0) throw new ValueError('no prompt was given: pass at least one');
  const { tokenizer } = model;
  const { eosTokenIds: stops = [] } = model.config;
  const pending = prompts.map((prompt, n) => {
    const tokens = tokenizer.encode(prompt);
    if (tokens.length === 0) throw new ValueError(`prompt ${n} has no tokens: give it at least one character`);
    return [tokenizer.bos, ...tokens];
  });
  const batch = prompts.length;
  const decoders = prompts.map(() => tokenizer.decoder());
  const randoms = prompts.map((_, n) => generator(seed, [Stream.SAMPLE, n]));
  const made = new Int32Array(batch);
  const session = model.session({ batch, ...(policy && { policy }) });
  try {
    while (pending.some((tokens) => tokens.length > 0)) {
      if (signal?.aborted) throw new StoppedError(`generation was stopped after ${Math.max(...made)} tokens`);
      const T = Math.min(prefillStep, Math.max(...pending.map((tokens) => tokens.length)));
      const counts = pending.map((tokens) => Math.min(T, tokens.length));
      const ids = new Int32Array(batch * T);
      pending.forEach((tokens, b) => ids.set(tokens.splice(0, counts[b]), b * T));
      const logits = await session.step(ids, { counts });
      await onStep?.(session);
      const V = logits.length / (batch * T);
      for (let b = 0; b < batch; b++) {
        if (counts[b] === 0 || pending[b]!.length > 0) continue;
        const row = (b * T + counts[b]! - 1) * V;
        const token = sample(logits.subarray(row, row + V), temperature, topK, randoms[b]!);
        made[b] = made[b]! + 1;
        const ends = token === tokenizer.eos || stops.includes(token) || made[b] === maxNewTokens;
        const text = decoders[b]!.push(token) + (ends ? decoders[b]!.end() : '');
        if (!ends) pending[b]!.push(token);
        if (text !== '') yield { sequence: b, text };
      }
    }
  } finally {
    session.dispose();
  }
}

/** One token from softmax(logits / temperature) over the k likeliest; ties go to the lowest index. */
export function sample(logits: FloatArray, temperature: number, topK: number | undefined, random: Generator): number {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const best = order[0]!;
  if (temperature === 0) return best;
  const candidates = order.slice(0, topK ?? order.length);
  const weights = candidates.map((token) => Math.exp((logits[token]! - logits[best]!) / temperature));
  let rest = random.uniform() * weights.reduce((sum, w) => sum + w, 0);
  for (const [n, token] of candidates.entries()) {
    rest -= weights[n]!;
    if (rest < 0) return token;
  }
  return best;
}
