/**
 * One of the sequences that are generated together: what to feed, which tokens are picked, and when it ends.
 * @module
 */
import { generator, Stream } from '../../core/random.ts';
import type { FloatArray } from '../../core/tensor.ts';
import type { Generation, GenerateOptions } from './generate-options.ts';
import { logprobsOf } from './logprobs.ts';
import type { TextModel } from './text-model.ts';
import { Sampler } from './sampler.ts';
import type { Session } from '../session/session.ts';
import { StopWatch } from './stops.ts';

/** Why a continuation ended: at a token that ends texts, at a stop text, or at maxNewTokens. */
export type FinishReason = 'end' | 'stop' | 'length';

/** A piece of text and the sequence it belongs to. */
export interface GeneratedPiece {
  readonly sequence: number;
  /** Only the last piece of a sequence may be empty. */
  readonly text: string;
  /** In the last piece of a sequence: why it ended. */
  readonly finish?: FinishReason;
}

/** The special token written as `text`, if there is one. */
function specialToken({ tokenizer }: TextModel, text: string): number | undefined {
  const [token, ...more] = tokenizer.encode(text);
  return token !== undefined && more.length === 0 && tokenizer.byteLength(token) === 0 ? token : undefined;
}

/** A prompt and its continuation. */
export class Sequence {
  readonly n: number;
  /** Whether it goes on. */
  get going(): boolean {
    return !this.#ended;
  }

  /** How an engine draws its tokens, or undefined if the logits are needed here. */
  get drawing(): Sampler['drawing'] {
    return this.#options.logprobs === undefined ? this.#sampler.drawing : undefined;
  }

  /** The number by which the next token is drawn. */
  draw(): number {
    return this.#random.uniform();
  }

  /** How many tokens have been generated so far. */
  made = 0;
  /** The logits after the last token that was fed, unless more of the prompt is to come. */
  row: FloatArray | undefined;
  readonly #options: GenerateOptions;
  readonly #most: number;
  readonly #ends: ReadonlySet<number>;
  readonly #sampler: Sampler;
  readonly #random: ReturnType<typeof generator>;
  readonly #decoder: { push(token: number): string; end(): string };
  readonly #stops: StopWatch;
  /** The stops that are special tokens, which give no text. */
  readonly #stopTokens: ReadonlySet<number>;
  readonly #seen: Set<number>;
  #tokens: Int32Array;
  #fed = 0;
  #ended = false;
  #inPrompt = true;

  constructor(
    model: TextModel, generation: Generation, options: GenerateOptions, n: number, tokens: Int32Array, session: Session,
  ) {
    const { tokenizer } = model;
    const length = session.lengths[n];
    this.n = n;
    this.#options = options;
    this.#tokens = tokens;
    this.#most = generation.maxNewTokens(length + tokens.length);
    this.#sampler = new Sampler(generation.sampling);
    this.#random = generator(options.seed ?? 0, length === 0 ? [Stream.SAMPLE, n] : [Stream.SAMPLE, n, length]);
    this.#decoder = tokenizer.decoder();
    this.#ends = new Set(model.ends);
    this.#stopTokens = new Set(generation.stop.flatMap((stop) => specialToken(model, stop) ?? []));
    this.#stops = new StopWatch(generation.stop);
    this.#seen = new Set([...session.tokens[n], ...tokens]);
  }

  /** Whether only the most likely next token matters, and not the logits. */
  get greedy(): boolean {
    return !this.#ended && this.#options.logprobs === undefined && this.#sampler.greedy;
  }

  /** How many more tokens may be generated. */
  get room(): number {
    return this.#most - this.made;
  }

  /** How many tokens are still to be fed. */
  get left(): number {
    return this.#tokens.length - this.#fed;
  }

  /** Copies as many of the next tokens to feed as there is room for, and returns their number. */
  next(room: Int32Array): number {
    const some = this.#tokens.subarray(this.#fed, this.#fed + room.length);
    room.set(some);
    this.#fed += some.length;
    return some.length;
  }

  /** Gives up the rest of a prompt that was interrupted. */
  leavePrompt(): void {
    if (!this.#inPrompt || this.left === 0) return;
    this.#fed = this.#tokens.length;
    this.row = undefined;
  }

  /**
   * Takes the logits after the last token, or if it is greedy the next token, and returns the text that this completes.
   */
  take(next: FloatArray | number): GeneratedPiece[] {
    if (this.#ended) return [];
    const token = typeof next === 'number' ? next : this.#sampler.pick(next, this.#random, this.#seen);
    this.#tell(token, next);
    this.made++;
    this.#seen.add(token);
    this.#inPrompt = false;
    const text = this.#stops.push(this.#decoder.push(token));
    const finish = this.#finish(token, text.stopped);
    [this.#tokens, this.#fed] = [Int32Array.of(token), finish && !this.#options.session ? 1 : 0];
    if (!finish) return text.text === '' ? [] : [{ sequence: this.n, text: text.text }];
    this.#ended = true;
    return [this.#last(text.text, finish)];
  }

  #finish(token: number, stopped: boolean): FinishReason | undefined {
    if (this.#ends.has(token)) return 'end';
    if (stopped || this.#stopTokens.has(token)) return 'stop';
    return this.made === this.#most ? 'length' : undefined;
  }

  /** The last piece, with the text that was held back, up to a stop. */
  #last(text: string, finish: FinishReason): GeneratedPiece {
    if (finish === 'stop') return { sequence: this.n, text: text + this.#stops.end(), finish };
    const { text: more, stopped } = this.#stops.push(this.#decoder.end());
    return { sequence: this.n, text: text + more + (stopped ? '' : this.#stops.end()), finish };
  }

  #tell(token: number, next: FloatArray | number): void {
    const { onToken, logprobs } = this.#options;
    const row = typeof next === 'number' ? undefined : next;
    const told = row && logprobs !== undefined && logprobsOf(row, token, logprobs, this.#sampler.total);
    onToken?.({ sequence: this.n, token, ...told });
  }
}
