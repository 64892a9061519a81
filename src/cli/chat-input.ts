/**
 * The user's side of a conversation: lines from a terminal or a pipe, and Ctrl-C, which stops an answer.
 * @module
 */
import { constants } from 'node:os';
import { createInterface, type Interface } from 'node:readline';
import { conversationSignals } from './signals.ts';

/** Reads lines, and gives every answer a signal that Ctrl-C aborts. */
export class ChatInput {
  readonly #readline: Interface;
  readonly #interactive = Boolean(process.stdin.isTTY);
  #answer: AbortController | undefined;
  #left = false;
  /** Whether the user has ended the input, as Ctrl-D does even while an answer is being given. */
  #ended = false;
  readonly #giveBack: () => void;

  constructor() {
    this.#readline = createInterface({
      input: process.stdin, terminal: this.#interactive, prompt: '> ',
      ...(this.#interactive && { output: process.stderr }),
    });
    this.#readline.on('SIGINT', this.#onInterrupt).on('close', () => void (this.#ended = true));
    this.#giveBack = conversationSignals(this.#onInterrupt, this.#onEnd);
  }

  /** Lines until the user leaves. */
  async *lines(): AsyncGenerator<string> {
    const lines = this.#readline[Symbol.asyncIterator]();
    for (;;) {
      if (this.#left) return;
      // A prompt after the end would open stdin again, and nothing would close it.
      if (this.#interactive && !this.#ended) this.#readline.prompt();
      const { value, done } = await lines.next();
      if (done || this.#left) break;
      yield value;
    }
    if (this.#interactive) process.stderr.write('\n');
  }

  /** Does work that Ctrl-C stops without ending the conversation. */
  async answering<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#answer = new AbortController();
    try {
      return await work(this.#answer.signal);
    } finally {
      this.#answer = undefined;
    }
  }

  /** Ends the lines. */
  leave(): void {
    this.#left = true;
    this.#readline.close();
  }

  /** Stops reading stdin and listening to signals. */
  dispose(): void {
    this.#readline.close();
    this.#giveBack();
  }

  readonly #onInterrupt = (): void => {
    if (this.#answer && !this.#answer.signal.aborted) {
      this.#answer.abort(new Error('Ctrl-C'));
      return;
    }
    process.exitCode = 128 + constants.signals.SIGINT;
    this.leave();
  };

  readonly #onEnd = (name: NodeJS.Signals): void => {
    process.exitCode = 128 + constants.signals[name];
    this.#answer?.abort(new Error(name));
    this.leave();
  };
}
