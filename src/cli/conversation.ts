/**
 * A conversation: its messages, and the session that has read them.
 * @module
 */
import { StoppedError } from '../core/errors.ts';
import { chat, chatPrompt, type ChatOptions, unreadTokens } from '../model/generate/chat.ts';
import type { ChatMessage } from '../model/generate/chat-template.ts';
import { formatPolicy } from '../policies/index.ts';
import type { Model } from '../model/model.ts';
import type { FinishReason } from '../model/generate/sequence.ts';
import type { Session } from '../model/session/session.ts';
import { cacheUse, type CacheUse } from './open.ts';
import { patientProgress } from './prompt.ts';

/** An answer, and what it cost. */
export interface Turn {
  readonly content: string;
  readonly finish: FinishReason | 'stopped';
  /** How many tokens were read for it. */
  readonly read: number;
  /** How many tokens the session had read before. */
  readonly readBefore: number;
  /** Whether everything was read again, because it did not begin with what had been read. */
  readonly again: boolean;
  readonly newTokens: number;
  readonly seconds: number;
  readonly policy: string;
  readonly cache: CacheUse;
}

/** A conversation in progress. */
export class Conversation {
  readonly #model: Model;
  readonly #options: ChatOptions;
  readonly #system: readonly ChatMessage[];
  #messages: ChatMessage[];
  #session: Session | undefined;

  constructor(model: Model, options: ChatOptions, system: string | undefined) {
    this.#model = model;
    this.#options = options;
    this.#system = system === undefined ? [] : [{ role: 'system', content: system }];
    this.#messages = [...this.#system];
  }

  /** Forgets all messages except the system's. */
  reset(): void {
    this.#session?.dispose();
    this.#session = undefined;
    this.#messages = [...this.#system];
  }

  /** Answers a message. If `signal` aborts, the answer is what was generated until then. */
  async answer(content: string, signal: AbortSignal, onText: (text: string) => void): Promise<Turn> {
    const messages = [...this.#messages, { role: 'user', content }];
    const begin = performance.now();
    const { session, unread, again } = await this.#sessionFor(messages);
    const readBefore = session.lengths[0];
    const progress = patientProgress('read (tokens)');
    let [text, newTokens]: [string, number] = ['', 0];
    let finish: Turn['finish'] = 'stopped';
    try {
      const onPrompt = (done: number, total: number) => progress.update(done, total);
      const onToken = () => {
        if (newTokens++ === 0) progress.finish();
      };
      const options = { ...this.#options, session, signal, onPrompt, onToken };
      for await (const piece of chat(this.#model, messages, options)) {
        text += piece.text;
        finish = piece.finish ?? finish;
        if (piece.text !== '') onText(piece.text);
      }
    } catch (error) {
      if (!(error instanceof StoppedError)) throw error;
    } finally {
      progress.finish();
    }
    this.#messages = [...messages, { role: 'assistant', content: text }];
    return {
      content: text, finish, read: unread, readBefore, again, newTokens, seconds: (performance.now() - begin) / 1000,
      policy: formatPolicy(session.policy), cache: await cacheUse(this.#model, session),
    };
  }

  /** The session if it can continue with these messages, otherwise a new one. */
  async #sessionFor(messages: readonly ChatMessage[]): Promise<{ session: Session; unread: number; again: boolean }> {
    const prompt = await chatPrompt(this.#model, messages, this.#options);
    const unread = this.#session && unreadTokens(this.#model, this.#session, prompt);
    if (this.#session && unread) return { session: this.#session, unread: unread.length, again: false };
    const again = this.#session !== undefined;
    this.#session?.dispose();
    const { policy, cache } = this.#options;
    this.#session = this.#model.session({ ...(policy && { policy }), ...(cache && { cache }) });
    return { session: this.#session, unread: prompt.tokens.length, again };
  }

  /** Frees the session. */
  dispose(): void {
    this.#session?.dispose();
  }
}
